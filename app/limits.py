"""
How often a client may call: one limit for each operation and client, counted by slowapi.

`include` puts identity and limit before every route of a router, so that a refused request costs no more than its
headers. Knows no route by name beyond the few in OPERATION_LIMITS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from limits import RateLimitItem, parse_many
from slowapi import Limiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import request_counts
from app.identity import Caller, authenticate, identify, require
from app.problem import Problem, ProblemKind

OPERATION_LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "issueToken": "120/minute",  # of one address: a token lives for minutes, and each one costs a slow hash
        "refuseToken": "60/minute",  # 401 answers for one address; past it they become 429
        "guessSecret": "20/minute",  # failed secrets for one client name from one address
    }
)
"""Before the default; the settings come before these, and a client's own limits before the settings."""
SHARED_THREADS = 4
"""Requests that talk to Redis at once: it answers in a fraction of a millisecond."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands after one more request."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until the window ends, rounded up; at least 1."""

    def headers(self) -> dict[str, str]:
        """Of the answer. The names are those of draft-ietf-httpapi-ratelimit-headers up to its version 07."""
        headers = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }
        if not self.is_allowed:
            headers["Retry-After"] = str(self.reset_seconds)
        return headers


class Limits:
    """
    Counts requests in fixed windows, in memory or in Redis.

    Fixed windows need one number for each caller and operation, and their headers are exact; the price is that a
    caller may send twice the limit around the end of a window. For the event loop, not for threads.
    """

    def __init__(
        self,
        url: str,
        *,
        default: str,
        operations: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Raises ValueError for a limit or address nobody can read."""
        self._default = default
        self._operations = {**OPERATION_LIMITS, **operations}
        for text in (default, *self._operations.values()):
            check_limit(text)
        self._limiter = _limiter(url)
        self._storage = cast("request_counts.Counts", self._limiter.limiter.storage)
        is_shared = isinstance(self._storage, request_counts.SharedCounts)
        self._threads = ThreadPoolExecutor(SHARED_THREADS, "adloom-limits") if is_shared else None
        self._items: dict[tuple[str, str], tuple[RateLimitItem, str]] = {}

    async def charge(self, operation: str, key: str, own: Mapping[str, str] = MappingProxyType({})) -> Standing:
        """Count one request of `key` (client or address) to `operation`; `own` are the client's own limits."""
        text = self._text(operation, own)
        item, name = self._item(operation, text)
        if self._threads is None:
            return self._standing(item, key, name)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._standing, item, key, name)

    async def require(self, operation: str, key: str, own: Mapping[str, str] = MappingProxyType({})) -> Standing:
        """As `charge`; raises a 429 Problem past the limit."""
        standing = await self.charge(operation, key, own)
        if not standing.is_allowed:
            raise too_many(standing)
        return standing

    def look(self, operation: str, key: str) -> Standing:
        """Where `key` stands, and whether one more would be allowed, without counting; as far as this process knows."""
        text = self._text(operation, {})
        item, name = self._item(operation, text)
        is_allowed = self._limiter.limiter.test(item, key, name)
        return self._stats(item, key, name, is_allowed=is_allowed)

    def trouble(self) -> str:
        """Why replicas do not share their counts; empty where they do, or need not. No reason to be unready."""
        shared = self._storage if isinstance(self._storage, request_counts.SharedCounts) else None
        return "Redis is gone: this process counts requests for itself" if shared and shared.is_down else ""

    def close(self) -> None:
        """Let go of Redis and of the threads that speak to it."""
        if isinstance(self._storage, request_counts.SharedCounts):
            self._storage.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _text(self, operation: str, own: Mapping[str, str]) -> str:
        """The limit that counts; one that nobody can read in a client's row is as if it were not there."""
        text = own.get(operation, "")
        if text and ((operation, text) in self._items or is_limit(text)):
            return text
        return self._operations.get(operation, self._default)

    def _item(self, operation: str, text: str) -> tuple[RateLimitItem, str]:
        """A limit as slowapi reads it, and the name it counts under: as many as settings and clients name."""
        found = self._items.get((operation, text))
        if found is None:
            found = self._items[operation, text] = (parse_many(text)[0], f"{operation} {text}")
        return found

    def _standing(self, item: RateLimitItem, key: str, name: str) -> Standing:
        """By slowapi's strategy alone: its decorator makes a tenth of a millisecond of the same call."""
        is_allowed = self._limiter.limiter.hit(item, key, name)
        return self._stats(item, key, name, is_allowed=is_allowed)

    def _stats(self, item: RateLimitItem, key: str, name: str, *, is_allowed: bool) -> Standing:
        ends_at, remaining = self._limiter.limiter.get_window_stats(item, key, name)
        return Standing(is_allowed, item.amount, remaining, max(1, math.ceil(ends_at - time.time())))


def include(app: FastAPI, router: APIRouter, limits: Limits) -> None:
    """
    `app.include_router`, with a gate before every route: identity, scopes and limit, and only then the body.

    FastAPI itself reads and parses a body before it asks who sent it.
    """
    known = {id(route) for route in app.routes}
    app.include_router(router)
    for route in app.routes:
        if id(route) not in known and isinstance(route, APIRoute):
            route.app = Gate(route.app, limits, route.operation_id or route.name, _scopes_of(route.dependant))


class Gate:
    """
    ASGI app before one route. `scopes` None: the route is open to all, and counted by address.

    A caller without a valid token is counted by address too, but the address is never the reason to refuse a valid
    token: behind a proxy many clients share one.
    """

    def __init__(self, app: ASGIApp, limits: Limits, operation: str, scopes: frozenset[str] | None) -> None:
        self._app = app
        self._limits = limits
        self._operation = operation
        self._scopes = scopes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises the Problem of a refusal for the app's handlers."""
        request = Request(scope, receive)
        headers = [
            (name.lower().encode(), value.encode()) for name, value in (await self._admit(request)).headers().items()
        ]

        async def send_with_standing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, send_with_standing)

    async def _admit(self, request: Request) -> Standing:
        if self._scopes is None:
            return await self._limits.require(self._operation, f"address {address_of(request)}")
        caller = await self._caller(request)
        standing = await self._limits.require(self._operation, f"client {caller.client}", caller.limits)
        try:
            require(caller, self._scopes)
        except Problem as problem:
            problem.headers = {**(problem.headers or {}), **standing.headers()}
            raise
        return standing

    async def _caller(self, request: Request) -> Caller:
        try:
            return await authenticate(request)
        except Problem as problem:
            if problem.kind is ProblemKind.UNAUTHENTICATED:
                standing = await self._limits.require("refuseToken", f"address {address_of(request)}")
                problem.headers = {**(problem.headers or {}), **standing.headers()}
            raise


def too_many(standing: Standing) -> Problem:
    """The 429 answer."""
    seconds = standing.reset_seconds
    return Problem(
        ProblemKind.RATE_LIMITED,
        f"The limit is {standing.limit} requests in one window: wait {seconds} s until the next one begins.",
        headers=standing.headers(),
    )


def check_limit(text: str) -> None:
    """Raises ValueError unless `text` is one limit: "60/minute", "5 per 10 seconds"."""
    if not is_limit(text):
        raise ValueError(f"{text!r} is no limit: write a number of requests and a time, like 60/minute.")


def is_limit(text: str) -> bool:
    """Whether it is one limit, of at least one request in a time longer than none."""
    try:
        limits = parse_many(text)
    except ValueError:
        return False
    return len(limits) == 1 and limits[0].amount > 0 and limits[0].get_expiry() > 0


def address_of(request: Request) -> str:
    """
    Of the connection, as the server saw it: X-Forwarded-For counts only where uvicorn was told to trust a proxy.

    Of IPv6 the first 64 bits, which is what one customer of a provider gets.
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"  # a Unix socket has none
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)


def _scopes_of(dependant: Dependant) -> frozenset[str] | None:
    """What `identify` is asked for anywhere below; None where it is not."""
    found: set[str] | None = None
    for below in dependant.dependencies:
        inner = _scopes_of(below)
        own = frozenset(below.oauth_scopes) if below.call is identify else None
        for scopes in (inner, own):
            if scopes is not None:
                found = (found or set()) | scopes
    return None if found is None else frozenset(found)


def _limiter(url: str) -> Limiter:
    """Raises ValueError for an address that is neither memory:// nor redis://."""
    if not url.startswith(("memory://", "redis://", "rediss://")):
        raise ValueError("ADLOOM_LIMITS_URL: use memory:// or redis://host:port.")
    options: dict[str, Any] = {"strategy": "fixed-window", "key_style": "endpoint", "headers_enabled": False}
    return Limiter(key_func=address_of, storage_uri=f"adloom+{url}", **options)
