"""
The routes that remember things, on a real database and a folder, for one caller a token.

A token here is `CLIENT/SCOPE+SCOPE`: the real `identify` reads it, and a verifier that believes it.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from app import problem
from app.idempotency import KeysInUse
from app.identity import SCOPES, BrokenTokenError, Caller
from app.openapi import DocumentedApp
from app.request_log import RequestLog
from app.settings import Settings
from app.strict_json import BodyLimit
from model.store.objects import ObjectStore
from model.store.tables import Database
from model.store.write_queue import WriteQueue
from tests.app.service_client import WAIT_SECONDS_MAX

SHOP = {"Authorization": f"Bearer shop/{'+'.join(SCOPES)}"}
RIVAL = {"Authorization": f"Bearer rival/{'+'.join(SCOPES)}"}


def bearer(client: str, *scopes: str) -> dict[str, str]:
    """The header of a caller with these scopes alone."""
    return {"Authorization": f"Bearer {client}/{'+'.join(scopes)}"}


class BelievedTokens:
    """Satisfies `identity.VerifiesTokens`."""

    async def caller(self, token: str) -> Caller:
        client, _, scopes = token.partition("/")
        if not client:
            raise BrokenTokenError(token)
        return Caller(client, frozenset(scopes.split("+")))


class CountedFeedback:
    """The one method of the metrics that these routes call."""

    def __init__(self) -> None:
        self.verdicts: list[str] = []

    def feedback(self, verdict: str) -> None:
        self.verdicts.append(verdict)


class NoWorker:
    """Batches are taken, and nobody works on them."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def sqlite_url(folder: Path) -> str:
    """Of a database file in `folder`."""
    return f"sqlite:///{folder / 'adloom.db'}"


def opened(folder: Path, url: str = "") -> Database:
    """A database with its tables."""
    database = Database(url or sqlite_url(folder))
    database.upgrade()
    return database


def parts_of(client: httpx.AsyncClient) -> Any:
    """What stands behind a client of `remembering`."""
    transport: Any = client._transport
    return transport.app.state.parts


@asynccontextmanager
async def remembering(
    folder: Path,
    routers: Sequence[APIRouter],
    *,
    headers: dict[str, str] | None = None,
    url: str = "",
    worker: Any = None,
    **settings: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client, the shop's where no other `headers` are given; `settings` differ from the defaults as given."""
    database = opened(folder, url)
    parts = SimpleNamespace(
        settings=Settings(**settings),
        database=database,
        objects=ObjectStore(str(folder / "objects")),
        writes=WriteQueue(database, depth_max=2048),
        keys=KeysInUse(),
        tokens=BelievedTokens(),
        metrics=CountedFeedback(),
        batches=worker or NoWorker(),
    )
    transport = httpx.ASGITransport(app_of(parts, routers))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers or SHOP) as client:
            yield client
    finally:
        parts.writes.close()
        database.dispose()


def app_of(parts: Any, routers: Sequence[APIRouter]) -> FastAPI:
    """The routes behind the layers that the service has around them."""
    app = DocumentedApp(
        middleware=[Middleware(RequestLog), Middleware(BodyLimit, bytes_max=parts.settings.batch_body_bytes_max)]
    )
    app.state.parts = parts
    problem.install(app)
    for router in routers:
        app.include_router(router)
    return app


def gate_before(patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> tuple[threading.Event, threading.Event]:
    """Has that function of a module wait: the first is set once it is called, and it goes on once the second is."""
    begun, gate, real = threading.Event(), threading.Event(), getattr(module, name)

    def held(*given: Any) -> Any:
        begun.set()
        assert gate.wait(WAIT_SECONDS_MAX)
        return real(*given)

    patch.setattr(module, name, held)
    return begun, gate
