"""
The composition root of the service: settings in, an ASGI app out.

Everything is built here and nowhere else; run it with `adloom serve`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware import Middleware

from app import creatives, health, problem
from app.openapi import DESCRIPTION, TAGS, DocumentedApp
from app.parts import Parts
from app.pictures import Pictures
from app.recent import RecentCreatives
from app.reference import PAGE_POLICY, reference_page
from app.request_log import RequestLog
from app.settings import Settings
from app.strict_json import BodyLimit
from app.studio import Studio, WritesCreatives
from model.writer import open_writer


def create_app(settings: Settings, *, writer: WritesCreatives | None = None) -> FastAPI:
    """
    Build the service around the bundle that `settings` names, or around `writer` where a test gives one.

    Loads and verifies the bundle at once, so a broken one raises BundleError here and not in a request.
    """
    parts = Parts(
        settings=settings,
        studio=Studio(
            writer or _open_writer(settings),
            queue_depth_max=settings.queue_depth_max,
            timeout_seconds=settings.request_timeout_seconds,
            writers=settings.writers,
        ),
        pictures=Pictures(
            drawn_at_once_max=settings.pictures_drawn_at_once_max, timeout_seconds=settings.request_timeout_seconds
        ),
        recent=RecentCreatives(settings.creatives_kept_max),
    )
    app = DocumentedApp(
        title="Adloom",
        version=health.package_version() or "0",
        summary="Ad creatives from product data, grounded in it and valid for their channel",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,  # FastAPI's pages load scripts from a CDN; ours, below, needs no other host
        redoc_url=None,
        redirect_slashes=False,  # the redirect would repeat whatever Host the client sent
        lifespan=_lifespan,
        middleware=[  # outermost first
            Middleware(RequestLog),
            Middleware(BodyLimit, bytes_max=settings.body_bytes_max),
        ],
    )
    app.state.parts = parts
    problem.install(app)
    app.include_router(creatives.router)
    app.include_router(health.router)
    _add_pages(app)
    return app


def _open_writer(settings: Settings) -> WritesCreatives:
    """The writer puts commit and image into every passport; nobody else knows them."""
    return open_writer(
        settings.bundle,
        threads=settings.threads,
        git_commit=settings.git_commit,
        image_digest=settings.image_digest,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The server calls the second half only after the last request has been answered."""
    parts: Parts = app.state.parts
    parts.studio.start()
    yield
    parts.studio.close()


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def redirect_to_reference() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/docs", include_in_schema=False)
    async def show_reference() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()), headers={"Content-Security-Policy": PAGE_POLICY})
