"""
The composition root of the service: settings in, an ASGI app out.

Everything is built here and nowhere else; run it with `adloom serve`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware import Middleware

from app import (
    batches,
    catalogue_route,
    creatives,
    deployment_route,
    drift_route,
    feedback,
    health,
    inference,
    metrics_route,
    models_route,
    pairs_route,
    photographs_route,
    picture_routes,
    problem,
    retrains_route,
    rollbacks_route,
    stats_route,
    token_route,
    versions_route,
)
from app.batch_worker import BatchWorker, WrittenItem
from app.client_secrets import SecretCheck
from app.deployment import Deployment
from app.exporter_truth import GitFile
from app.features import open_products
from app.idempotency import KeysInUse
from app.keys import FixedKeys, KeySource, RemoteKeys
from app.limits import Limits, include
from app.metrics import Metrics, ModelFacts, Sources
from app.openapi import DESCRIPTION, TAGS, DocumentedApp
from app.parts import Parts
from app.pictures import Pictures
from app.reference import PAGE_POLICY, reference_page
from app.request_log import RequestLog
from app.settings import Settings
from app.strict_json import BodyLimit
from app.studio import Studio, WritesCreatives
from app.token_route import TokenDesk
from app.tokens import FindClient, Issuer, Tokens, open_issuer
from model.generation_record import generation
from model.store import clients
from model.store.clients import Client
from model.store.generation_log import GenerationLog
from model.store.objects import ObjectStore
from model.store.tables import Database
from model.store.write_queue import WriteQueue
from model.truth import served_side
from model.writer import Provenance, open_writer

LIMITED = (
    token_route, creatives, picture_routes, batches, catalogue_route, feedback, models_route, versions_route,
    stats_route, photographs_route, pairs_route, retrains_route, rollbacks_route, drift_route, deployment_route,
    inference,
)  # fmt: skip
OPEN = (health, metrics_route)
"""Probes and scrapes: neither a token nor a limit may keep them out."""
JUDGED = (
    *(("POST", "/v1/creatives", status) for status in (200, 401, 429, 500, 503, 504)),
    *(("GET", "/readyz", status) for status in (200, 503)),
)
"""
Answers by which alerts and canaries judge; their series begin at zero, or a rate would not see the first of a kind.

All routes with all of their answers would be some thousand series more for each replica.
"""


LOG_PAGES_MAX = 10_000
"""
Of SQLite's log, 40 MB. The write queue has it checkpointed long before that; only under load without a pause, when a
log is never wholly written back, does a commit have to do it, and then there is little left to do.
"""


def create_app(settings: Settings, *, writer: WritesCreatives | None = None) -> FastAPI:
    """
    Build the service around the bundle that `settings` names, or around `writer` where a test gives one.

    Loads and verifies the bundle and makes the tables of an embedded database at once, so that a broken one raises
    BundleError, StoreError or ValueError here and not in a request.
    """
    parts = _assemble(settings, writer or _open_writer(settings))
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
            Middleware(RequestLog, observe=parts.metrics.request),
            Middleware(
                BodyLimit,
                bytes_max=settings.body_bytes_max,
                larger={
                    **dict.fromkeys(("/v1/batches", "/v1/catalogue"), settings.batch_body_bytes_max),
                    "/v1/photographs": photographs_route.BYTES_MAX,
                    "/v1/pairs": pairs_route.BYTES_MAX,
                },
                seconds_max=settings.request_timeout_seconds,
            ),
        ],
    )
    app.state.parts = parts
    problem.install(app, on_store_error=parts.metrics.store_error)
    for module in LIMITED:
        include(app, module.router, parts.limits)
    for module in OPEN:
        app.include_router(module.router)
    _add_pages(app)
    inference.install(app)
    parts.metrics.expect(JUDGED, (route.path for module in LIMITED for route in module.router.routes))
    return app


def _assemble(settings: Settings, writer: WritesCreatives) -> Parts:
    database = Database(settings.database_url, log_pages_max=LOG_PAGES_MAX)
    if database.is_sqlite:
        database.upgrade()  # the embedded default needs no step of its own; a shared database is migrated by a job
    objects = ObjectStore(settings.objects_url)
    generations = GenerationLog(
        objects,
        rows_max=settings.log_rows_max,
        flush_seconds=settings.log_flush_seconds,
        rows_held_max=settings.log_rows_held_max,
        host=socket.gethostname(),
    )
    studio = Studio(
        writer,
        queue_depth_max=settings.queue_depth_max,
        timeout_seconds=settings.request_timeout_seconds,
        writers=settings.writers,
    )
    limits = Limits(
        settings.limits_url,
        default=settings.limit_default,
        operations=settings.limits,
    )
    metrics = Metrics(
        ModelFacts(
            settings.registry_version,
            studio.bundle_digest,
            settings.git_commit,
            settings.git_commit_timestamp_seconds,
        ),
        Sources(
            queue_depth=lambda: studio.queued,
            queue_capacity=lambda: settings.queue_depth_max,
            is_writer_up=lambda: not studio.trouble(),
            is_limits_store_up=lambda: not limits.trouble(),
            engine=lambda: studio.counts,
            generation_log=lambda: generations,
        ),
    )
    writes = WriteQueue(database, depth_max=settings.write_queue_depth_max)
    tokens, desk = _open_access(settings, _client_finder(database), limits)
    return Parts(
        settings=settings,
        studio=studio,
        pictures=Pictures(
            drawn_at_once_max=settings.pictures_drawn_at_once_max, timeout_seconds=settings.request_timeout_seconds
        ),
        database=database,
        writes=writes,
        objects=objects,
        generations=generations,
        tokens=tokens,
        token_desk=desk,
        limits=limits,
        keys=KeysInUse(),
        metrics=metrics,
        batches=BatchWorker(database, writes, writer, settings, _batch_observer(metrics, generations)),
        products=open_products(settings.features_url, database, objects),
        deployment=_open_deployment(settings, database),
    )


def _batch_observer(metrics: Metrics, generations: GenerationLog) -> Callable[[WrittenItem], None]:
    """Counts and logs what batches write as the routes do for theirs."""

    def observe(item: WrittenItem) -> None:
        for creative in item.creatives:
            metrics.written(creative)
            generations.append(
                generation(item.batch.client, item.product, creative, item.took_seconds, batch_id=item.batch.id)
            )

    return observe


def _open_writer(settings: Settings) -> WritesCreatives:
    """The writer puts commit and image into every passport; nobody else knows them."""
    return open_writer(
        settings.bundle,
        threads=settings.threads,
        provenance=Provenance(settings.git_commit, settings.image_digest, settings.registry_version),
    )


def _open_deployment(settings: Settings, database: Database) -> Deployment:
    token_file = Path(settings.git_token_file) if settings.git_token_file else None
    return Deployment(
        database,
        retrains_route.TASK,
        served_side(settings.registry_version, settings.image_digest),
        git=GitFile(settings.git_url, token_file) if settings.git_url else None,
        ledger=Path(settings.ledger) if settings.ledger else None,
    )


def _client_finder(database: Database) -> FindClient:
    def find(name: str) -> Client | None:
        with database.connect() as connection:
            return clients.find(connection, name)

    return find


def _open_access(settings: Settings, find: FindClient, limits: Limits) -> tuple[Tokens, TokenDesk]:
    """Tokens of the provider that the settings name, or of our own issuer where they name none."""
    issuer: Issuer | None = None
    keys: KeySource
    if settings.issuer:
        keys = RemoteKeys(settings.issuer, jwks_url=settings.jwks_url)
    else:
        issuer = open_issuer(settings.issuer_key, audience=settings.audience, token_seconds=settings.token_seconds)
        keys = FixedKeys(issuer.public_key)
    tokens = Tokens(
        keys,
        issuer=issuer.name if issuer else settings.issuer,
        audience=settings.audience,
        find_client=find,
        is_local=issuer is not None,
        skew_seconds=settings.clock_skew_seconds,
        client_cache_seconds=settings.client_cache_seconds,
    )
    return tokens, TokenDesk(issuer, settings.issuer, find, SecretCheck(), limits)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The server calls the second half only after the last request has been answered."""
    parts: Parts = app.state.parts
    parts.studio.start()
    parts.batches.start()
    yield
    await parts.products.close()
    await anyio.to_thread.run_sync(_close, parts)


def _close(parts: Parts) -> None:
    """In the order in which one part uses the next; one that fails does not keep the others open."""
    close: tuple[Callable[[], None], ...] = (
        parts.batches.close, parts.studio.close, parts.writes.close, parts.generations.close,
        parts.token_desk.secrets.close, parts.limits.close, parts.database.dispose,
    )  # fmt: skip
    with ExitStack() as stack:
        for each in reversed(close):
            stack.callback(each)


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def redirect_to_reference() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/docs", include_in_schema=False)
    async def show_reference() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()), headers={"Content-Security-Policy": PAGE_POLICY})
