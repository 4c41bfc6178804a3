"""
What each source gave and what became of it, and how far each source has been read.

Knows no catalogue. A cursor moves only from where its reader saw it, so that of two who read at once one starts again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import ingests, insert_new, source_cursors

State = Literal["kept", "unchanged", "refused"]


@dataclass(frozen=True, slots=True)
class Ingest:
    """What a source gave, once however often it gave it. rows == accepted + rejected + merged."""

    id: str
    """Of what was given and what it was to replace, so that the same again is the same row."""
    source: str
    client: str
    state: State
    digest: str
    """Of the snapshot that is the source's after it; empty where there is none yet."""
    rows: int
    accepted: int
    rejected: int
    merged: int
    why: str
    """The verdict in words; empty unless it was refused."""
    quality_key: str
    started_at: datetime
    ended_at: datetime
    """When the source gave this for the last time."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a source has been read."""

    source: str
    cursor: Mapping[str, Any]
    updated_at: datetime


_COLUMNS = [ingests.c[name] for name in Ingest.__slots__]
_CURSOR_COLUMNS = [source_cursors.c[name] for name in Cursor.__slots__]


def note(connection: Connection, ingest: Ingest) -> bool:
    """Keep it. False where the same was given before: then only its `ended_at` moves on, never back."""
    values = {name: getattr(ingest, name) for name in Ingest.__slots__}
    if connection.execute(insert_new(connection, ingests).values(**values)).rowcount == 1:
        return True
    earlier = sa.update(ingests).where(ingests.c.id == ingest.id, ingests.c.ended_at < ingest.ended_at)
    connection.execute(earlier.values(ended_at=ingest.ended_at))
    return False


def find(connection: Connection, ingest_id: str) -> Ingest | None:
    """None where there is none."""
    row = connection.execute(sa.select(*_COLUMNS).where(ingests.c.id == ingest_id)).one_or_none()
    return None if row is None else Ingest(*row)


def newest(connection: Connection, source: str) -> Ingest | None:
    """What the source gave last."""
    query = sa.select(*_COLUMNS).where(ingests.c.source == source)
    row = connection.execute(query.order_by(ingests.c.ended_at.desc(), ingests.c.id).limit(1)).one_or_none()
    return None if row is None else Ingest(*row)


def good_until(connection: Connection) -> datetime | None:
    """When any source last gave a catalogue that was kept, or the one that is kept already."""
    latest = sa.func.max(ingests.c.ended_at, type_=ingests.c.ended_at.type)
    query = sa.select(latest).where(ingests.c.state.in_(("kept", "unchanged")))
    return cast("datetime | None", connection.execute(query).scalar_one())


def listed(connection: Connection, source: str, count: int) -> list[Ingest]:
    """At most `count` of the source's, newest first."""
    query = sa.select(*_COLUMNS).where(ingests.c.source == source)
    return [
        Ingest(*row) for row in connection.execute(query.order_by(ingests.c.ended_at.desc(), ingests.c.id).limit(count))
    ]


def cursor(connection: Connection, source: str) -> Cursor | None:
    """None where the source was never read to its end."""
    row = connection.execute(sa.select(*_CURSOR_COLUMNS).where(source_cursors.c.source == source)).one_or_none()
    return None if row is None else Cursor(*row)


def move_cursor(connection: Connection, expected: Cursor | None, moved: Cursor) -> bool:
    """From where its reader saw it, None for nowhere, to `moved`. False where somebody moved it in between."""
    values = {"cursor": dict(moved.cursor), "updated_at": moved.updated_at}
    if expected is None:
        first = insert_new(connection, source_cursors).values(source=moved.source, **values)
        return connection.execute(first).rowcount == 1
    query = sa.select(*_CURSOR_COLUMNS).where(source_cursors.c.source == moved.source).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None or Cursor(*row) != expected:
        return False
    connection.execute(sa.update(source_cursors).where(source_cursors.c.source == moved.source).values(**values))
    return True
