"""
The pages as HTML: templates that escape everything, and what each of them is given.

Create, Catalogue and the changes on Model go on in the scripts of assets/; Health and Data need none.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from app.ui import health_page, model_page
from app.ui.data_figures import figures_of
from app.ui.drift_figures import feature_over_time
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
    """What writes, what was published of other versions, and the wishes for another."""
    given = await model_page.given(api_of(request), session_of(request), request.query_params)
    return page(request, "model.html", **given)


async def health(request: Request) -> Response:
    """How the service is, what the session's client made with it lately, and for the owner drift and deployment."""
    given = await health_page.given(api_of(request), session_of(request), request.query_params)
    return page(request, "health.html", dashboards_url=request.app.state.settings.dashboards_url, **given)


async def data(request: Request) -> Response:
    """Pictures of the uploaded catalogue, or of the sample where nothing was uploaded."""
    uploaded = session_of(request).upload
    sample = sample_upload()
    is_sample = uploaded is None or uploaded.name == sample.name
    shown = sample if uploaded is None or is_sample else uploaded
    figures = await asyncio.to_thread(figures_of, shown.rows, () if is_sample else sample.rows)
    if figures and (over_time := feature_over_time(await health_page.reports_of(api_of(request), session_of(request)))):
        figures.append(over_time)
    return page(request, "data.html", figures=figures, name=shown.name, rows=len(shown.rows), is_sample=is_sample)
