"""
Probes and identity: is the process alive, can it write, and what exactly is it.

Knows the studio's state and nothing of creatives.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import anyio.to_thread
from fastapi import APIRouter

from app.openapi import problems
from app.parts import PartsOfApp
from app.problem import Problem, ProblemKind
from app.schemas import StatusOut, VersionOut
from model.store.tables import Database, StoreError
from model.validity import VALIDITY_VERSION

SERVICE = "adloom-api"

router = APIRouter(tags=["operation"])


@router.get(
    "/healthz",
    operation_id="getLiveness",
    summary="Is the process worth keeping",
    response_description="It is.",
    responses={
        200: {"content": {"application/json": {"example": {"status": "ok"}}}},
        **problems(ProblemKind.NOT_READY),
    },
)
async def get_liveness(parts: PartsOfApp) -> StatusOut:
    """503 only where nothing but a restart helps: the writer's thread is gone, or stuck on one request."""
    _require_writer(parts)
    return StatusOut(status="ok")


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can the service write",
    response_description="It can: the bundle is loaded and verified, and the writer runs.",
    responses={
        200: {"content": {"application/json": {"example": {"status": "ready"}}}},
        **problems(ProblemKind.NOT_READY, ProblemKind.STORE_DOWN),
    },
)
async def get_readiness(parts: PartsOfApp) -> StatusOut:
    """
    A full queue does not make it unready: refusals with Retry-After are how that is told. An object store that is
    away does not either: what is to be logged waits for it.
    """
    _require_writer(parts)
    if trouble := await anyio.to_thread.run_sync(_database_trouble, parts.database):
        raise Problem(ProblemKind.STORE_DOWN, trouble, headers={"Retry-After": "5"})
    return StatusOut(status="ready")


def _database_trouble(database: Database) -> str:
    try:
        current, head = database.schema()
    except StoreError as error:
        return f"{str(error).capitalize()}."
    if current != head:
        return "The database has other tables than this version needs: run `adloom database upgrade`."
    return ""


def _require_writer(parts: PartsOfApp) -> None:
    if trouble := parts.studio.trouble() or parts.batches.trouble():
        raise Problem(ProblemKind.NOT_READY, f"Restart the process: {trouble}.", headers={"Retry-After": "30"})


@router.get(
    "/version",
    operation_id="getVersion",
    summary="What is running",
    response_description="Versions and digests of code, image and model.",
)
async def get_version(parts: PartsOfApp) -> VersionOut:
    """The same facts that stand in every passport."""
    return VersionOut(
        service=SERVICE,
        version=package_version(),
        git_commit=parts.settings.git_commit,
        image_digest=parts.settings.image_digest,
        bundle_digest=parts.studio.bundle_digest,
        registry_version=parts.settings.registry_version,
        validity_version=VALIDITY_VERSION,
    )


def package_version() -> str:
    """Of the installed distribution; empty in a checkout that is on the path but not installed."""
    try:
        return version("adloom")
    except PackageNotFoundError:
        return ""
