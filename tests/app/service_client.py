"""
The service in this process: a client of `create_app` around a writer of the test's choice, and what tests send it.

Knows no network and no bundle.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from fastapi import FastAPI

from app.identity import SCOPES
from app.main import create_app
from app.parts import Parts
from app.settings import Settings
from app.studio import Studio, WritesCreatives
from model.channel import ChannelSpec
from model.creative import Creative
from model.product import Product
from model.prompt import VOICES
from model.store import clients
from model.store.clients import Client
from model.tally import EngineCounts
from model.tickets import CancelledError, Watch, unwatched
from tests.fakes import FakeWriter

CLIENT = "shop"
WAIT_SECONDS_MAX = 60.0
"""A test that waits longer than this for another thread has failed."""

BOWL: dict[str, Any] = {"sku": "BOWL", "title": "Blue ceramic bowl", "description": "Holds 0.5 l."}


def order(**changes: Any) -> dict[str, Any]:
    """A valid request for one channel, with `changes` to its members; those of `product` are merged."""
    product = {**BOWL, **changes.pop("product", {})}
    return {"product": product, "channels": ["instagram"], **changes}


class ServiceWriter(FakeWriter):
    """A FakeWriter that can be stopped, as the service wants its writer."""

    alive = True
    queued = 0

    @property
    def counts(self) -> EngineCounts:
        """Of an engine that did nothing."""
        return EngineCounts()

    def write(
        self,
        product: Product,
        spec: ChannelSpec,
        *,
        voice: str = VOICES[0],
        candidates: int = 4,
        seed: int = 0,
        interactive: bool = True,
        cancelled: Callable[[], bool] = lambda: False,
        watch: Watch = unwatched,
    ) -> tuple[Creative, ...]:
        """What `words` gives, unless it has been cancelled by then."""
        written = self.words(product, spec, voice, candidates, seed)
        watch(candidates, candidates)
        if cancelled():
            raise CancelledError
        return written

    def words(
        self, product: Product, spec: ChannelSpec, voice: str, candidates: int, seed: int
    ) -> tuple[Creative, ...]:
        """For subclasses to change."""
        return super().write(product, spec, voice=voice, candidates=candidates, seed=seed)


class GatedWriter(ServiceWriter):
    """Begins every call and finishes none before `gate` is set; `begun` is set by the first."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.gate = threading.Event()

    def words(
        self, product: Product, spec: ChannelSpec, voice: str, candidates: int, seed: int
    ) -> tuple[Creative, ...]:
        self.begun.set()
        if not self.gate.wait(WAIT_SECONDS_MAX):
            raise TimeoutError("the test never opened the gate")
        return super().words(product, spec, voice, candidates, seed)


class DyingWriter(GatedWriter):
    """Takes its thread with it once the gate is open, as an error of the interpreter would."""

    def words(
        self, product: Product, spec: ChannelSpec, voice: str, candidates: int, seed: int
    ) -> tuple[Creative, ...]:
        super().words(product, spec, voice, candidates, seed)
        raise SystemExit("the writer is gone")


def add_client(parts: Parts, name: str = CLIENT, scopes: Iterable[str] = tuple(SCOPES), **limits: str) -> None:
    """A client whose secret nobody knows."""
    now = datetime.now(UTC)
    with parts.database.begin() as connection:
        clients.insert(connection, Client(name, "unknown", frozenset(scopes), limits, now, now))


def bearer(parts: Parts, name: str = CLIENT, scopes: Iterable[str] = tuple(SCOPES)) -> dict[str, str]:
    """The header of a token of the service's own issuer."""
    assert parts.token_desk.issuer is not None
    return {"Authorization": f"Bearer {parts.token_desk.issuer.issue(name, scopes)}"}


def parts_of(client: httpx.AsyncClient) -> Parts:
    """What `create_app` built behind a client of `service`."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    app = transport.app
    assert isinstance(app, FastAPI)
    parts: Parts = app.state.parts
    return parts


def studio_of(client: httpx.AsyncClient) -> Studio:
    """The studio behind a client of `service`."""
    return parts_of(client).studio


def embedded(folder: Path | str) -> dict[str, Any]:
    """Settings of a service whose stores lie in `folder`, and whose limits no test meets by chance."""
    return {
        "database_url": f"sqlite:///{folder}/adloom.db",
        "objects_url": f"{folder}/objects",
        "issuer_key": Path(folder, "issuer.pem"),
        "limit_default": "100000/minute",
        "writers": 1,
    }


@asynccontextmanager
async def service(writer: WritesCreatives | None = None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """
    A client of a started service, with a token of CLIENT that holds every scope.

    Its stores lie in a folder of its own; `settings` differ from the defaults as given.
    """
    with TemporaryDirectory() as folder:
        app = create_app(Settings(**(embedded(folder) | settings)), writer=writer or ServiceWriter())
        parts: Parts = app.state.parts
        if parts.token_desk.issuer is not None:
            add_client(parts)
        headers = bearer(parts) if parts.token_desk.issuer is not None else {}
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as client,
        ):
            yield client
