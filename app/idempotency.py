"""
`Idempotency-Key`: a request that is sent twice is worked on once, and answered twice with the same bytes.

Follows draft-ietf-httpapi-idempotency-key-header-07, but lets a duplicate in this process wait where the draft would
refuse it. Knows no resource: a route hands in its work.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection

from app.identity import Caller
from app.problem import Problem, ProblemKind, invalid
from model.store import idempotency
from model.store.idempotency import Answer, KeyBusyError, KeyReusedError
from model.store.tables import StoreDownError

if TYPE_CHECKING:  # the parts hold our KeysInUse
    from app.parts import Parts

KEY_HEADER = "Idempotency-Key"
KEY_PATTERN = "^[!-~]{1,255}$"
"""Visible ASCII: nothing that a log, a header or a database could read in another way."""
REPLAYED_HEADER = "Idempotent-Replayed"
KEPT_HOURS = 24
"""Longer than any client retries; after that the key is free again."""
CLAIM_TIMEOUTS = 2.0
"""A request is answered within one timeout: a claim that is this many old belongs to a process that died."""
PURGE_SECONDS = 600.0
"""Between two sweeps of answers that are older than KEPT_HOURS."""
BUSY_RETRY_SECONDS = 2

_KeyHeader = Annotated[
    str | None,
    Header(
        alias=KEY_HEADER,
        pattern=KEY_PATTERN,
        description="Of your choice, a UUID for instance, and new for every new request. Sent again within "
        f"{KEPT_HOURS} hours with the same body, it gives the first answer again, and nothing is made twice.",
        examples=['"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
    ),
]


async def describe_key(_key: _KeyHeader = None) -> None:
    """Puts the header into the OpenAPI document; `once` reads it. Async, or FastAPI would run it in a thread."""


TAKES_KEY: Any = Depends(describe_key)
"""For `dependencies=[...]` of every creating route."""

Work = Callable[[], Awaitable[Response]]


@dataclass(slots=True, eq=False)
class _Claim:
    """The right to answer one key, while `once` works; stands in `request.state.claim`."""

    client: str
    key: str
    is_kept: bool = False

    def keep(self, connection: Connection, answer: Response) -> None:
        idempotency.finish(connection, self.client, self.key, answer.status_code, _stored(answer))
        self.is_kept = True


def keep_answer(request: Request, connection: Connection, answer: Response) -> None:
    """
    Store `answer` in the transaction of what it tells of: then the two exist together or not at all.

    For work that makes its answer before the commit; what others answer, `once` stores afterwards. Does nothing for a
    request without a key.
    """
    claim: _Claim | None = getattr(request.state, "claim", None)
    if claim is not None:
        claim.keep(connection, answer)


@dataclass(slots=True, eq=False)
class _Running:
    """A keyed request in progress, and those that wait for its answer: None where it failed."""

    digest: str
    answer: asyncio.Future[Answer | None]


@dataclass(slots=True, eq=False)
class KeysInUse:
    """The keyed requests that this process is working on; one for an app. For one event loop: nothing is locked."""

    clock: Callable[[], float] = time.monotonic
    _running: dict[tuple[str, str], _Running] = field(default_factory=dict)
    _purged_at_seconds: float = -math.inf

    def is_purge_due(self) -> bool:
        """True once in PURGE_SECONDS."""
        now = self.clock()
        if now - self._purged_at_seconds < PURGE_SECONDS:
            return False
        self._purged_at_seconds = now
        return True

    async def answer(self, place: tuple[str, str], digest: str, timeout_seconds: float) -> Answer | None:
        """
        What the request at work on this key answers; None where there is none, or where it failed: claim it then.

        Raises KeyReusedError where that is another request, and KeyBusyError where it is not done in time.
        """
        deadline_seconds = self.clock() + timeout_seconds
        while running := self._running.get(place):
            if running.digest != digest:
                raise KeyReusedError
            waiting = asyncio.shield(running.answer)  # one who leaves must not cancel what others wait for
            try:
                answer = await asyncio.wait_for(waiting, max(0.0, deadline_seconds - self.clock()))
            except TimeoutError:
                raise KeyBusyError from None
            if answer is not None:
                return answer
        return None

    def claim(self, place: tuple[str, str], digest: str) -> None:
        """Hold the key from now on. Call it after `answer` gave None, without awaiting anything between."""
        self._running[place] = _Running(digest, asyncio.get_running_loop().create_future())

    def release(self, place: tuple[str, str], answer: Answer | None) -> None:
        """Wake those who wait: with the answer, or with None to try themselves."""
        self._running.pop(place).answer.set_result(answer)


async def once(
    request: Request, parts: Parts, caller: Caller, operation: str, body_bytes: bytes, work: Work
) -> Response:
    """
    What `work` answers; for a key that was used before with the same request, the first answer and no work.

    Only answers below 300 are kept: after any other the key is free, and the request may be corrected and sent again.
    Raises a Problem for a key that is malformed, in use in another process, or was used for another request.
    """
    key = _key(request)
    if key is None:
        return await work()
    place, digest = (caller.client, key), _digest(request, operation, body_bytes)
    try:
        if answer := await parts.keys.answer(place, digest, parts.settings.request_timeout_seconds):
            return _replayed(answer)
        request.state.claim = _Claim(*place)
        return await _claimed(parts, request.state.claim, operation, digest, work)
    except KeyReusedError:
        detail = "Send the request that this key was first used for, or choose a new key for a new request."
        raise Problem(ProblemKind.KEY_REUSED, detail) from None
    except KeyBusyError:
        detail = f"Send the same request with the same key again in {BUSY_RETRY_SECONDS} s to get its answer."
        wait = {"Retry-After": str(BUSY_RETRY_SECONDS)}
        raise Problem(ProblemKind.KEY_BUSY, detail, headers=wait) from None


async def _claimed(parts: Parts, claim: _Claim, operation: str, digest: str, work: Work) -> Response:
    """Whatever happens, the key is released: that is what keeps a duplicate from waiting for nothing."""
    place = (claim.client, claim.key)
    answer: Answer | None = None
    parts.keys.claim(place, digest)
    try:
        begun = await _begin(parts, place, operation, digest)
        if isinstance(begun, Answer):
            answer = begun
            return _replayed(begun)
        response = await _worked(parts, claim, work)
        if response.status_code < 300:
            answer = Answer(response.status_code, _stored(response))
        return response
    finally:
        parts.keys.release(place, answer)


async def _begin(parts: Parts, place: tuple[str, str], operation: str, digest: str) -> Answer | str:
    """The kept answer, or "new" where the key is ours now. Raises KeyReusedError, KeyBusyError and StoreDownError."""
    now = datetime.now(UTC)
    kept_since = now - timedelta(hours=KEPT_HOURS)
    lapsed_before = now - timedelta(seconds=CLAIM_TIMEOUTS * parts.settings.request_timeout_seconds)
    if parts.keys.is_purge_due():
        await parts.writes.run(lambda connection: idempotency.purge(connection, kept_since))
    return await parts.writes.run(
        lambda connection: idempotency.begin(
            connection, *place, operation, digest, now=now, lapsed_before=lapsed_before
        )
    )


async def _worked(parts: Parts, claim: _Claim, work: Work) -> Response:
    """The answer of `work`, kept where it is a success; where it is none, the key is given back."""
    try:
        response = await work()
        if response.status_code < 300 and not claim.is_kept:
            await parts.writes.run(lambda connection: claim.keep(connection, response))
    except BaseException:
        _forget(parts, claim)
        raise
    if response.status_code >= 300:
        _forget(parts, claim)
    return response


def _forget(parts: Parts, claim: _Claim) -> None:
    """
    Not awaited, so that a cancelled request does it too; the queue keeps its order, so a retry comes after it.

    Where the store is down the claim stays, and lapses.
    """
    try:
        parts.writes.submit(lambda connection: idempotency.forget(connection, claim.client, claim.key))
    except StoreDownError:
        return


def _key(request: Request) -> str | None:
    """A quoted key, as the draft has it, and a bare one, as most clients send it, are the same key."""
    given = request.headers.getlist(KEY_HEADER)
    if not given:
        return None
    if len(given) > 1 or not re.fullmatch(KEY_PATTERN, given[0]):
        raise invalid("Send one key of 1 to 255 visible ASCII characters, without spaces.", parameter=KEY_HEADER)
    is_quoted = len(given[0]) > 2 and given[0][0] == given[0][-1] == '"'
    return given[0][1:-1] if is_quoted else given[0]


def _digest(request: Request, operation: str, body_bytes: bytes) -> str:
    """Of all that makes the request what it is: a key belongs to one body at one address."""
    digest = hashlib.sha256()
    media_type = request.headers.get("content-type", "")
    for part in (operation, request.url.path, request.url.query, media_type):
        digest.update(part.encode() + b"\0")
    digest.update(body_bytes)
    return digest.hexdigest()


def json_answer(content: BaseModel, status: int = 200, **headers: str) -> Response:
    """A whole answer as `once` keeps it; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(content.model_dump_json(), status, named, "application/json")


def _stored(response: Response) -> str:
    """Body and headers as text, because the store knows no HTTP."""
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return json.dumps({"headers": headers, "body": bytes(response.body).decode()}, ensure_ascii=False)


def _replayed(answer: Answer) -> Response:
    stored = json.loads(answer.answer)
    headers = {**stored["headers"], REPLAYED_HEADER: "true"}
    return Response(stored["body"].encode(), status_code=answer.status, headers=headers)
