"""
What the page Health is given: asked of the API in the name of the session, each part with its own trouble.

What the service is like is open to all who sign in; drift and deployment are for the model's owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from app.ui import charts, health_figures
from app.ui.api_client import ApiClient
from app.ui.drift_figures import drift_of
from app.ui.problems import detail_of
from app.ui.sessions import ADMIN, Session

DAYS = (1, 2, 3, 4, 5, 6, 7)
REPORTS = {"limit": "60"}


async def given(api: ApiClient, session: Session, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything that health.html names; `query` chooses the drift report whose page stands inside, by `report`."""
    *windows, version, ready, metrics = await asyncio.gather(
        *(api.ask(session, "GET", "/v1/stats", params={"days": str(days)}) for days in DAYS),
        *(api.open_to_all(path) for path in ("/version", "/readyz", "/metrics")),
    )
    stats = [answer.json() for answer in windows if answer.status_code == httpx.codes.OK]
    is_ready, is_whole = ready.status_code == httpx.codes.OK, len(stats) == len(DAYS)
    may_look = ADMIN in session.token.scopes
    return {
        "trouble": "" if is_whole else detail_of(windows[0]),
        "is_ready": is_ready,
        "ready_detail": "" if is_ready else detail_of(ready),
        "version": version.json() if version.status_code == httpx.codes.OK else {},
        "service": health_figures.of_service(metrics.text),
        "stats": stats[-1] if stats else None,
        "days": charts.days(health_figures.by_day(stats)) if is_whole else "",
        "may_look": may_look,
        **(await _owners(api, session, query) if may_look else {}),
    }


async def _owners(api: ApiClient, session: Session, query: Mapping[str, str]) -> dict[str, Any]:
    reports, deployment = await asyncio.gather(
        api.ask(session, "GET", "/v1/drift", params=REPORTS),
        api.ask(session, "GET", "/v1/deployment"),
    )
    has_reports, has_deployment = (each.status_code == httpx.codes.OK for each in (reports, deployment))
    deployed = deployment.json() if has_deployment else None
    return {
        "drift": drift_of(reports.json()["reports"] if has_reports else [], query.get("report", "")),
        "drift_trouble": "" if has_reports else detail_of(reports),
        "deployment": deployed,
        "agreement": health_figures.agreement(deployed) if deployed else "",
        "deployment_trouble": "" if has_deployment else detail_of(deployment),
        "is_open": "report" in query,
    }


async def reports_of(api: ApiClient, session: Session) -> list[Any]:
    """The latest drift reports; empty for whoever may not see them, and where they cannot be had."""
    if ADMIN not in session.token.scopes:
        return []
    answer = await api.ask(session, "GET", "/v1/drift", params=REPORTS)
    return list(answer.json()["reports"]) if answer.status_code == httpx.codes.OK else []
