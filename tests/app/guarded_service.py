"""
A small service behind identity and limits: real tokens, real clients in a real database, and three routes of its own.

The routes do nothing, so that what a test sees is what stands before them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, FastAPI, Security
from pydantic import BaseModel
from starlette.middleware import Middleware

from app import problem, token_route
from app.client_command import create_client
from app.client_secrets import SecretCheck
from app.identity import CREATIVES_READ, CREATIVES_WRITE, Caller, identify
from app.keys import FixedKeys, KeySource
from app.limits import Limits, include
from app.request_log import RequestLog
from app.strict_json import BodyLimit, StrictJsonRoute
from app.token_route import TokenDesk
from app.tokens import Issuer, Tokens, open_issuer
from model.store import clients
from model.store.clients import Client
from model.store.tables import Database

AUDIENCE = "adloom"
EVERYTHING = (CREATIVES_READ, CREATIVES_WRITE)
THING = {"name": "kettle"}


class Thing(BaseModel):
    """What POST /v1/things takes."""

    name: str


@dataclass(frozen=True, slots=True)
class GuardedParts:
    """What identity and limits want of `app.state.parts`."""

    tokens: Tokens
    limits: Limits
    token_desk: TokenDesk


@dataclass(frozen=True, slots=True)
class Guarded:
    """A started service and what is behind it. `secret` is that of the client `shop`."""

    http: httpx.AsyncClient
    app: FastAPI
    database: Database
    issuer: Issuer
    secret: str

    def bearer(self, *, client: str = "shop", scopes: Iterable[str] = EVERYTHING) -> dict[str, str]:
        """Headers with a token issued now."""
        return {"Authorization": f"Bearer {self.issuer.issue(client, scopes)}"}

    def change(self, name: str) -> None:
        """Revoke a client, as another process would."""
        with self.database.begin() as connection:
            assert clients.revoke(connection, name, datetime.now(UTC))


def things_router() -> APIRouter:
    """Write with a body, read with a path, and one route that is open to all."""
    router = APIRouter(prefix="/v1", route_class=StrictJsonRoute)

    @router.post("/things", operation_id="writeThing")
    async def write(thing: Thing, caller: Annotated[Caller, Security(identify, scopes=[CREATIVES_WRITE])]) -> Any:
        return {"client": caller.client, "name": thing.name}

    @router.get("/things/{thing_id}", operation_id="getThing")
    async def read(thing_id: str, caller: Annotated[Caller, Security(identify, scopes=[CREATIVES_READ])]) -> Any:
        return {"client": caller.client, "id": thing_id}

    @router.get("/open", operation_id="getOpen")
    async def open_to_all() -> Any:
        return {"open": True}

    return router


def find_client_in(database: Database, reads: list[str]) -> Any:
    """The callable that tokens want; `reads` collects the names it was asked for."""

    def find(name: str) -> Client | None:
        reads.append(name)
        with database.connect() as connection:
            return clients.find(connection, name)

    return find


@asynccontextmanager
async def guarded(
    folder: Path,
    *,
    limits_url: str = "memory://",
    default: str = "1000/minute",
    operations: Mapping[str, str] | None = None,
    client_limits: Mapping[str, str] | None = None,
    client_cache_seconds: float = 0.0,
    keys: KeySource | None = None,
    provider: str = "",
) -> AsyncIterator[Guarded]:
    """The service with one client, `shop`, which may do everything; `provider` replaces the local issuer."""
    database = Database(f"sqlite:///{folder}/adloom.db")
    database.upgrade()
    issuer = open_issuer(folder / "issuer.pem", audience=AUDIENCE, token_seconds=900)
    find_client = find_client_in(database, [])
    tokens = Tokens(
        keys or FixedKeys(issuer.public_key),
        issuer=provider or issuer.name,
        audience=AUDIENCE,
        find_client=find_client,
        is_local=not provider,
        client_cache_seconds=client_cache_seconds,
    )
    limits = Limits(limits_url, default=default, operations=operations or {})
    desk = TokenDesk(None if provider else issuer, provider, find_client, SecretCheck(), limits)
    app = FastAPI(middleware=[Middleware(RequestLog), Middleware(BodyLimit, bytes_max=64 * 1024)])
    app.state.parts = GuardedParts(tokens, limits, desk)
    problem.install(app)
    include(app, things_router(), limits)
    include(app, token_route.router, limits)
    secret = create_client(database, "shop", EVERYTHING, client_limits)
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 4711))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
            yield Guarded(http, app, database, issuer, secret)
    finally:
        limits.close()
        desk.secrets.close()
        database.dispose()
