"""
Which snapshots are the present ones: the newest of each source, since a client may have several.

An uploaded catalogue counts as a source of its own. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.snapshots import Snapshot
from model.store.tables import ingests, snapshots

UPLOADED = ""
"""The source of a catalogue that no ingest brought."""


@dataclass(frozen=True, slots=True)
class SourcedSnapshot:
    """A snapshot and the source that it came from."""

    snapshot: Snapshot
    source: str
    before: Snapshot | None
    """The one that it took the place of."""


_COLUMNS = [snapshots.c[name] for name in Snapshot.__slots__]


def history(connection: Connection, client: str | None = None) -> list[SourcedSnapshot]:
    """Every snapshot of the client, or of all, oldest first."""
    query = sa.select(*_COLUMNS).order_by(snapshots.c.created_at, snapshots.c.digest)
    ingested = sa.select(ingests.c.client, ingests.c.digest, ingests.c.source).where(ingests.c.digest != "")
    if client is not None:
        query = query.where(snapshots.c.client == client)
        ingested = ingested.where(ingests.c.client == client)
    sources = {
        (row.client, row.digest): row.source for row in connection.execute(ingested.order_by(ingests.c.ended_at))
    }
    found = [Snapshot(*row) for row in connection.execute(query)]
    return list(_chained(found, sources))


def current(connection: Connection, client: str | None = None) -> list[SourcedSnapshot]:
    """The newest of each source, newest first."""
    newest = {(each.snapshot.client, each.source): each for each in history(connection, client)}
    return sorted(newest.values(), key=lambda each: (each.snapshot.created_at, each.snapshot.digest), reverse=True)


def _chained(found: Iterable[Snapshot], sources: dict[tuple[str, str], str]) -> Iterable[SourcedSnapshot]:
    last: dict[tuple[str, str], Snapshot] = {}
    for snapshot in found:
        source = sources.get((snapshot.client, snapshot.digest), UPLOADED)
        yield SourcedSnapshot(snapshot, source, last.get((snapshot.client, source)))
        last[snapshot.client, source] = snapshot
