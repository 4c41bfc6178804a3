"""Answers kept by `Idempotency-Key`, so that a request sent twice is done once. Knows no HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import StoreError, idempotency, insert_new


class KeyReusedError(StoreError):
    """The key stands for another request."""


class KeyBusyError(StoreError):
    """A request with this key is being worked on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first request was answered."""

    status: int
    answer: str


def begin(
    connection: Connection,
    client: str,
    key: str,
    operation: str,
    body_digest: str,
    *,
    now: datetime,
    lapsed_before: datetime,
) -> Literal["new"] | Answer:
    """
    Claim the key, or give back what it was answered.

    A claim older than `lapsed_before` is of a process that died, and is taken over.
    Raises KeyReusedError for another request, KeyBusyError for one that is at work.
    """
    claim = {"operation": operation, "body_digest": body_digest, "state": "working", "created_at": now}
    fresh = insert_new(connection, idempotency).values(client=client, key=key, status=0, answer="", **claim)
    if connection.execute(fresh).rowcount == 1:
        return "new"
    row = connection.execute(sa.select(idempotency).where(*_is(client, key)).with_for_update()).one_or_none()
    if row is None:  # given back between our two statements: whoever did that, or the next, may claim it
        raise KeyBusyError("the key was given back just now; try again")
    if row.operation != operation or row.body_digest != body_digest:
        raise KeyReusedError("the key was used for another request")
    if row.state == "done":
        return Answer(row.status, row.answer)
    if row.created_at >= lapsed_before:
        raise KeyBusyError("the first request with this key is being worked on")
    connection.execute(sa.update(idempotency).where(*_is(client, key)).values(**claim))
    return "new"


def finish(connection: Connection, client: str, key: str, status: int, answer: str) -> None:
    """Keep the answer of a claimed key."""
    done = sa.update(idempotency).where(*_is(client, key))
    connection.execute(done.values(state="done", status=status, answer=answer))


def forget(connection: Connection, client: str, key: str) -> None:
    """Give a claimed key back; an answer that was kept stays."""
    connection.execute(sa.delete(idempotency).where(*_is(client, key), idempotency.c.state == "working"))


def purge(connection: Connection, before: datetime) -> int:
    """Delete all that began before; returns how many."""
    return connection.execute(sa.delete(idempotency).where(idempotency.c.created_at < before)).rowcount


def _is(client: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return idempotency.c.client == client, idempotency.c.key == key
