"""
Batches and their items: who works on which, and what came of each product.

Knows no writer. A batch is worked on by whoever holds its lease; an item is finished once, whoever tries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import batch_items, batches

State = Literal["queued", "running", "done", "cancelled", "failed"]
ItemState = Literal["waiting", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a client asked for."""

    id: str
    """`ba_` and hex digits."""
    client: str
    settings: Mapping[str, Any]
    """Channels, voice, candidates, seed: whatever the worker needs, as JSON."""
    source: str
    """inline, or the digest of a snapshot."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewItem:
    """One product of a batch. With an error it is refused from the start and counts as rejected."""

    product: Mapping[str, Any]
    error: str = ""


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch; products = written + rejected + what waits or was cancelled."""

    id: str
    client: str
    state: State
    settings: dict[str, Any]
    products: int
    written: int
    rejected: int
    source: str
    created_at: datetime
    updated_at: datetime
    lease_owner: str | None
    lease_until: datetime | None
    started_at: datetime | None = None
    """When it was claimed first."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One product and what came of it."""

    batch_id: str
    place: int
    """From 0, in the order of the request."""
    product: dict[str, Any]
    state: ItemState
    creatives: list[str]
    """Ids."""
    error: str
    updated_at: datetime
    attempts: int = 0
    """How often it was taken up, whatever came of that."""


_COLUMNS = [batches.c[name] for name in BatchRow.__slots__]
_ITEM_COLUMNS = [batch_items.c[name] for name in BatchItem.__slots__]
_OPEN = batches.c.state.in_(("queued", "running"))


def insert(connection: Connection, batch: NewBatch, items: Sequence[NewItem]) -> BatchRow:
    """Queue a batch. One without an item to write is done at once."""
    rejected = sum(bool(item.error) for item in items)
    at = batch.created_at
    row = BatchRow(
        id=batch.id,
        client=batch.client,
        state="queued" if rejected < len(items) else "done",
        settings=dict(batch.settings),
        products=len(items),
        written=0,
        rejected=rejected,
        source=batch.source,
        created_at=at,
        updated_at=at,
        lease_owner=None,
        lease_until=None,
    )
    connection.execute(sa.insert(batches).values({name: getattr(row, name) for name in BatchRow.__slots__}))
    if items:
        connection.execute(
            sa.insert(batch_items),
            [
                {
                    "batch_id": batch.id,
                    "place": place,
                    "product": dict(item.product),
                    "state": "failed" if item.error else "waiting",
                    "creatives": [],
                    "error": item.error,
                    "updated_at": at,
                }
                for place, item in enumerate(items)
            ],
        )
    return row


def find(connection: Connection, client: str, batch_id: str) -> BatchRow | None:
    """None where this client has no such batch, whoever else has."""
    query = sa.select(*_COLUMNS).where(batches.c.client == client, batches.c.id == batch_id)
    return _one(connection, query)


def listed(
    connection: Connection, client: str, count: int, before: tuple[datetime, str] | None = None
) -> list[BatchRow]:
    """At most `count` of the client's, newest first; `before` is (created_at, id) of the last one seen."""
    query = sa.select(*_COLUMNS).where(batches.c.client == client)
    if before is not None:
        at, batch_id = before
        same_time = sa.and_(batches.c.created_at == at, batches.c.id < batch_id)
        query = query.where(sa.or_(batches.c.created_at < at, same_time))
    query = query.order_by(batches.c.created_at.desc(), batches.c.id.desc()).limit(count)
    return [BatchRow(*row) for row in connection.execute(query)]


def count_by_state(connection: Connection) -> dict[str, int]:
    """Of all clients; a state that no batch has is not there."""
    query = sa.select(batches.c.state, sa.func.count()).group_by(batches.c.state)
    return dict(connection.execute(query).all())


def claim(
    connection: Connection, owner: str, until: datetime, now: datetime, *, except_ids: Sequence[str] = ()
) -> BatchRow | None:
    """
    The oldest batch that is queued or whose lease has lapsed, leased to `owner`; None where there is none.

    Two who ask at once never get the same. `except_ids` are those that the owner does not want.
    """
    lapsed = sa.and_(batches.c.state == "running", batches.c.lease_until < now)
    query = sa.select(batches.c.id).where(sa.or_(batches.c.state == "queued", lapsed))
    if except_ids:
        query = query.where(batches.c.id.not_in(list(except_ids)))
    query = query.order_by(batches.c.created_at, batches.c.id).limit(1)
    # SQLite has no FOR UPDATE and needs none: `Database.begin` has locked the whole of it.
    batch_id = connection.execute(query.with_for_update(skip_locked=True)).scalar_one_or_none()
    if batch_id is None:
        return None
    lease = {"state": "running", "lease_owner": owner, "lease_until": until, "updated_at": now}
    started_at = sa.func.coalesce(batches.c.started_at, sa.literal(now, batches.c.started_at.type))
    connection.execute(sa.update(batches).where(batches.c.id == batch_id).values(**lease, started_at=started_at))
    return _one(connection, sa.select(*_COLUMNS).where(batches.c.id == batch_id))


def renew(connection: Connection, batch_id: str, owner: str, until: datetime) -> bool:
    """False where the batch is not the owner's any more, or not running: stop working on it."""
    mine = sa.update(batches).where(batches.c.id == batch_id, batches.c.lease_owner == owner)
    return connection.execute(mine.where(batches.c.state == "running").values(lease_until=until)).rowcount == 1


def release(connection: Connection, batch_id: str, owner: str) -> bool:
    """Queue it again before the lease has lapsed; False where it was not the owner's, or not running."""
    mine = sa.update(batches).where(batches.c.id == batch_id, batches.c.lease_owner == owner)
    free = {"state": "queued", "lease_owner": None, "lease_until": None}
    return connection.execute(mine.where(batches.c.state == "running").values(**free)).rowcount == 1


def next_items(connection: Connection, batch_id: str, count: int) -> list[BatchItem]:
    """
    At most `count` that wait: those tried least often first, then by place.

    A product that takes its process with it so comes when the others are done. Reserves nothing: `finish_item` decides
    who was first.
    """
    query = sa.select(*_ITEM_COLUMNS).where(batch_items.c.batch_id == batch_id, batch_items.c.state == "waiting")
    query = query.order_by(batch_items.c.attempts, batch_items.c.place).limit(count)
    return [BatchItem(*row) for row in connection.execute(query)]


def take_up(connection: Connection, batch_id: str, place: int) -> int:
    """
    Count one more attempt at an item, this one included; 0 where it waits no longer.

    Commit it before the attempt: then one that ends the process is counted too.
    """
    waiting = _waiting(batch_id, place)
    if connection.execute(sa.update(batch_items).where(*waiting).values(attempts=batch_items.c.attempts + 1)).rowcount:
        return int(connection.execute(sa.select(batch_items.c.attempts).where(*waiting)).scalar_one())
    return 0


def put_back(connection: Connection, batch_id: str, place: int) -> None:
    """The attempt was none: it ended for a reason that lies outside the item."""
    waiting = (*_waiting(batch_id, place), batch_items.c.attempts > 0)
    connection.execute(sa.update(batch_items).where(*waiting).values(attempts=batch_items.c.attempts - 1))


def finish_item(
    connection: Connection,
    batch_id: str,
    place: int,
    state: Literal["done", "failed"],
    creatives: Sequence[str],
    error: str = "",
    *,
    now: datetime | None = None,
) -> bool:
    """
    Say what came of an item, count it, and end the batch with its last one.

    False where it was finished or cancelled before: then keep nothing of it. In one transaction with what was written.
    """
    at = now or datetime.now(UTC)
    result = {"state": state, "creatives": list(creatives), "error": error, "updated_at": at}
    if connection.execute(sa.update(batch_items).where(*_waiting(batch_id, place)).values(**result)).rowcount != 1:
        return False
    # The counters are the last word on progress: this update also makes those who finish items wait for each other.
    counter = batches.c.written if state == "done" else batches.c.rejected
    mine = sa.update(batches).where(batches.c.id == batch_id)
    connection.execute(mine.values({counter: counter + 1, batches.c.updated_at: at}))
    is_last = batches.c.written + batches.c.rejected >= batches.c.products
    connection.execute(mine.where(_OPEN, is_last).values(state="done", lease_owner=None, lease_until=None))
    return True


def fail(connection: Connection, batch_id: str, now: datetime) -> bool:
    """End a batch that cannot be worked on at all; what is finished stays. False where it had ended before."""
    return _end(connection, batches.c.id == batch_id, batch_id, "failed", now)


def cancel(connection: Connection, client: str, batch_id: str, now: datetime | None = None) -> BatchRow | None:
    """The batch after it: cancelled, or as it had ended before; what is finished stays. None where there is none."""
    _end(connection, batches.c.id == batch_id, batch_id, "cancelled", now or datetime.now(UTC), client)
    return find(connection, client, batch_id)


def results(connection: Connection, batch_id: str, after_place: int, count: int) -> list[BatchItem]:
    """At most `count` items from the one after `after_place` on (-1 for the first), in whatever state they are."""
    query = sa.select(*_ITEM_COLUMNS).where(batch_items.c.batch_id == batch_id, batch_items.c.place > after_place)
    return [BatchItem(*row) for row in connection.execute(query.order_by(batch_items.c.place).limit(count))]


def _waiting(batch_id: str, place: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (batch_items.c.batch_id == batch_id, batch_items.c.place == place, batch_items.c.state == "waiting")


def _end(
    connection: Connection,
    is_batch: sa.ColumnElement[bool],
    batch_id: str,
    state: State,
    now: datetime,
    client: str | None = None,
) -> bool:
    statement = sa.update(batches).where(is_batch, _OPEN)
    if client is not None:
        statement = statement.where(batches.c.client == client)
    ended = {"state": state, "lease_owner": None, "lease_until": None, "updated_at": now}
    if connection.execute(statement.values(**ended)).rowcount != 1:
        return False
    waiting = sa.update(batch_items).where(batch_items.c.batch_id == batch_id, batch_items.c.state == "waiting")
    connection.execute(waiting.values(state="cancelled", updated_at=now))
    return True


def _one(connection: Connection, query: sa.Select[Any]) -> BatchRow | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else BatchRow(*row)
