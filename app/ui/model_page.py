"""
What the page Model is given: asked of the API in the name of the session, each part with its own trouble.

A part that cannot be had leaves the others as they are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import httpx

from app.ui import model_figures
from app.ui.api_client import ApiClient
from app.ui.model_card import card_html
from app.ui.problems import UNREADABLE, detail_of
from app.ui.sessions import ADMIN, Session

VERSION = re.compile(r"[1-9][0-9]{0,8}")
DIGEST = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")
LISTED = {"limit": "100"}
SETS = {"limit": "30"}
ASKED = {"limit": "20"}


async def given(api: ApiClient, session: Session, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything that model.html names; `query` chooses the two versions by `left` and `right`."""
    answer = await api.ask(session, "GET", "/v1/models")
    models, trouble = _member(answer, "models")
    for each in models:
        each["base"] = DIGEST.sub(r"\1…", each["base"])
    shown: dict[str, Any] = {"models": models, "trouble": trouble, "may_change": ADMIN in session.token.scopes}
    if not shown["may_change"]:
        return shown
    versions, history, sets, retrains, rollbacks = await asyncio.gather(
        api.ask(session, "GET", "/v1/models/versions", params=LISTED),
        api.ask(session, "GET", "/v1/models/history", params=LISTED),
        api.ask(session, "GET", "/v1/pairs", params=SETS),
        api.ask(session, "GET", "/v1/retrains", params=ASKED),
        api.ask(session, "GET", "/v1/rollbacks", params=ASKED),
    )
    shown |= await _registry(api, session, versions, query)
    entries, shown["history_trouble"] = _member(history, "entries")
    shown["events"] = model_figures.timeline(entries)
    shown["back_to"] = model_figures.earlier_champions(entries, shown["versions"])
    shown["sets"], shown["sets_trouble"] = _member(sets, "sets")
    learnt, shown["retrains_trouble"] = _member(retrains, "retrains")
    shown["retrains"] = model_figures.retrains(learnt)
    asked, shown["rollbacks_trouble"] = _member(rollbacks, "rollbacks")
    shown["open"] = {"retrain": model_figures.open_one(learnt), "rollback": model_figures.open_one(asked)}
    return shown


async def _registry(
    api: ApiClient, session: Session, answer: httpx.Response, query: Mapping[str, str]
) -> dict[str, Any]:
    versions, trouble = _member(answer, "versions")
    asked = [query.get(side, "") for side in ("left", "right")]
    known = {str(one["version"]) for one in versions}
    numbers = model_figures.chosen(versions, *asked)
    left, right = await asyncio.gather(*(_version(api, session, number) for number in numbers))
    rows = await asyncio.to_thread(model_figures.compared, left, right)
    return {
        "versions": versions,
        "versions_trouble": trouble,
        "published_at": answer.json().get("published_at") if not trouble else None,
        "champion": model_figures.aliased(versions, model_figures.CHAMPION),
        "unknown": [one[:20] for one in asked if one and one not in known],
        "sides": [one for one in (left, right) if one],
        "chosen": numbers,
        "compared": rows,
        "summary": model_figures.summary(rows, *numbers) if left and right else "",
        "samples": model_figures.pairs_of_samples(*((one or {}).get("samples", []) for one in (left, right))),
    }


async def _version(api: ApiClient, session: Session, number: str) -> dict[str, Any] | None:
    """With its card as HTML; None where there is none of that number any more."""
    if not VERSION.fullmatch(number):
        return None
    answer = await api.ask(session, "GET", f"/v1/models/versions/{number}")
    if answer.status_code != httpx.codes.OK:
        return None
    version: dict[str, Any] = answer.json()
    return version | {"card": await asyncio.to_thread(card_html, version.get("card", ""))}


def _member(answer: httpx.Response, name: str) -> tuple[list[Any], str]:
    """A list of the answer, or why it is empty."""
    if answer.status_code != httpx.codes.OK:
        return [], detail_of(answer)
    try:
        return list(answer.json()[name]), ""
    except (ValueError, KeyError, TypeError):
        return [], UNREADABLE
