"""
The pages as HTML: templates that escape everything, and what each of them is given.

Create, Catalogue and the retrain button go on in the scripts of assets/; Health and Data need none.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from app.ui import charts, health_figures
from app.ui.data_figures import figures_of
from app.ui.forward import api_of, session_of
from app.ui.sample import sample_upload
from app.ui.sessions import Session

FOLDER = Path(__file__).parent / "templates"
PLACES = (
    ("/create", "Create"),
    ("/catalogue", "Catalogue"),
    ("/model", "Model"),
    ("/health", "Health"),
    ("/data", "Data"),
)
DAYS = (1, 2, 3, 4, 5, 6, 7)
ADMIN = "models:admin"
DIGEST = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")


def templates() -> Environment:
    """Everything that is put in is escaped; a name that is not given is an error and not an empty place."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def routes() -> list[Route]:
    """One address each."""
    return [
        Route("/create", create),
        Route("/catalogue", catalogue),
        Route("/model", model),
        Route("/health", health),
        Route("/data", data),
    ]


def page(request: Request, template: str, *, status: int = 200, **given: Any) -> HTMLResponse:
    """One page, with what every page needs."""
    session: Session | None = request.state.session
    environment: Environment = request.app.state.templates
    text = environment.get_template(template).render(
        places=PLACES,
        here=request.url.path,
        who=session.name if session else "",
        csrf=session.csrf if session else "",
        upload_bytes_max=request.app.state.settings.upload_bytes_max,
        **given,
    )
    return HTMLResponse(text, status)


async def create(request: Request) -> Response:
    """One product by hand, or a row of what was uploaded."""
    return page(request, "create.html")


async def catalogue(request: Request) -> Response:
    """Many products."""
    return page(request, "catalogue.html")


async def model(request: Request) -> Response:
    """What writes, and the wish for another."""
    answer = await api_of(request).ask(session_of(request), "GET", "/v1/models")
    models = answer.json()["models"] if answer.status_code == httpx.codes.OK else []
    trouble = "" if models else _detail(answer)
    for each in models:
        each["base"] = DIGEST.sub(r"\1…", each["base"])
    may_retrain = ADMIN in session_of(request).token.scopes
    return page(request, "model.html", models=models, trouble=trouble, may_retrain=may_retrain)


async def health(request: Request) -> Response:
    """How the service is, and what the session's client made with it lately."""
    api, session = api_of(request), session_of(request)
    *windows, version, ready, metrics = await asyncio.gather(
        *(api.ask(session, "GET", "/v1/stats", params={"days": str(days)}) for days in DAYS),
        *(api.open_to_all(path) for path in ("/version", "/readyz", "/metrics")),
    )
    stats = [answer.json() for answer in windows if answer.status_code == httpx.codes.OK]
    return page(
        request,
        "health.html",
        trouble="" if len(stats) == len(DAYS) else _detail(windows[0]),
        is_ready=ready.status_code == httpx.codes.OK,
        ready_detail="" if ready.status_code == httpx.codes.OK else _detail(ready),
        version=version.json() if version.status_code == httpx.codes.OK else {},
        service=health_figures.of_service(metrics.text),
        stats=stats[-1] if stats else None,
        days=charts.days(health_figures.by_day(stats)) if len(stats) == len(DAYS) else "",
        dashboards_url=request.app.state.settings.dashboards_url,
    )


async def data(request: Request) -> Response:
    """Pictures of the uploaded catalogue, or of the sample where nothing was uploaded."""
    uploaded = session_of(request).upload
    sample = sample_upload()
    is_sample = uploaded is None or uploaded.name == sample.name
    shown = sample if uploaded is None or is_sample else uploaded
    figures = await asyncio.to_thread(figures_of, shown.rows, () if is_sample else sample.rows)
    return page(request, "data.html", figures=figures, name=shown.name, rows=len(shown.rows), is_sample=is_sample)


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "The service gave an answer that this page does not understand."
