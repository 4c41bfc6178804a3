"""
Put the page together: settings and a way to the API in, an ASGI application out.

Nothing happens at import; connections are opened when the application starts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from app.ui import catalogue, forward, pages, sign_in
from app.ui.api_client import CONNECT_SECONDS_MAX, KEPT_SECONDS_MAX, ApiClient, ApiDownError
from app.ui.guard import Guard
from app.ui.metrics import Metrics, Timed
from app.ui.openid import Provider, SignInError
from app.ui.problems import problem, service_down
from app.ui.sessions import Sessions
from app.ui.settings import Settings

ASSETS = Path(__file__).parent / "assets"
FONT = "Manrope-VariableFont_wght.ttf"
FONT_SECONDS = 30 * 86_400


def create_app(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Starlette:
    """`transport` reaches the API some other way than the network."""
    sessions = Sessions(
        idle_seconds_max=settings.session_minutes * 60,
        seconds_max=settings.session_minutes_max * 60,
        count_max=settings.sessions_max,
    )
    metrics = Metrics()
    app = Starlette(
        routes=_routes(),
        middleware=[
            Middleware(Timed, metrics=metrics),
            Middleware(Guard, settings=settings, sessions=sessions),
        ],
        exception_handlers={ApiDownError: _down, SignInError: _ended, 404: _missing, 405: _missing},
        lifespan=_lifespan,
    )
    app.state.settings, app.state.sessions, app.state.metrics = settings, sessions, metrics
    app.state.templates = pages.templates()
    app.state.provider = Provider(settings) if settings.oidc_issuer else None
    app.state.http = httpx.AsyncClient(
        base_url=settings.api_url,
        transport=transport,
        timeout=httpx.Timeout(settings.request_timeout_seconds, connect=CONNECT_SECONDS_MAX),
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEPT_SECONDS_MAX),
        trust_env=False,  # the service is a neighbour; a proxy of the environment has no business between
        follow_redirects=False,
    )
    app.state.api = ApiClient(app.state.http, sessions.now, app.state.provider)
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await app.state.http.aclose()


def _routes() -> list[Any]:
    return [
        *sign_in.routes(),
        *pages.routes(),
        *catalogue.routes(),
        *forward.routes(),
        Route("/assets/manrope.ttf", _font),
        Mount("/assets", StaticFiles(directory=ASSETS)),
        Route("/healthz", _alive),
        Route("/readyz", _alive),
        Route("/metrics", _metrics),
    ]


async def _font(_request: Request) -> Response:
    path = str(files("font_manrope").joinpath("files", FONT))
    return FileResponse(path, media_type="font/ttf", headers={"Cache-Control": f"public, max-age={FONT_SECONDS}"})


async def _alive(_request: Request) -> Response:
    """The page can say that the service is down, so it is ready without it."""
    return PlainTextResponse("ok")


async def _metrics(request: Request) -> Response:
    metrics: Metrics = request.app.state.metrics
    metrics.sessions.set(len(request.app.state.sessions))
    metrics.api_failures.set(request.app.state.api.failures)
    return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


async def _down(request: Request, _error: Exception) -> Response:
    """For people a page, for scripts a problem document."""
    return pages.page(request, "down.html", status=503) if _wants_page(request) else service_down()


async def _ended(request: Request, error: Exception) -> Response:
    """The credentials are refused by now: whoever has them signs in again."""
    request.app.state.sessions.close(request.state.cookie)
    if _wants_page(request):
        return RedirectResponse("/sign-in?ended=1", 303)
    return problem(401, "signed-out", str(error))


async def _missing(request: Request, _error: Exception) -> Response:
    if not _wants_page(request) or request.state.session is None:
        return problem(404, "not-found", "There is nothing at this address.")
    return pages.page(request, "missing.html", status=404)
