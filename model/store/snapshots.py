"""Which catalogues were uploaded, and where in the object store their rows are. Knows no file format."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import insert_new, snapshots


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One catalogue as one client uploaded it."""

    digest: str
    client: str
    rows: int
    rejected: int
    object_key: str
    created_at: datetime


_COLUMNS = [snapshots.c[name] for name in Snapshot.__slots__]


def insert(connection: Connection, snapshot: Snapshot) -> bool:
    """False where the client uploaded the same before; the first row stands."""
    values = {name: getattr(snapshot, name) for name in Snapshot.__slots__}
    return connection.execute(insert_new(connection, snapshots).values(**values)).rowcount == 1


def renew(connection: Connection, client: str, digest: str, at: datetime) -> None:
    """A catalogue that the client had before is its newest again."""
    mine = sa.update(snapshots).where(snapshots.c.client == client, snapshots.c.digest == digest)
    connection.execute(mine.where(snapshots.c.created_at < at).values(created_at=at))


def find(connection: Connection, client: str, digest: str) -> Snapshot | None:
    """None where this client uploaded no such catalogue, whoever else did."""
    query = sa.select(*_COLUMNS).where(snapshots.c.client == client, snapshots.c.digest == digest)
    row = connection.execute(query).one_or_none()
    return None if row is None else Snapshot(*row)


def newest(connection: Connection) -> Snapshot | None:
    """Of any client."""
    query = sa.select(*_COLUMNS).order_by(snapshots.c.created_at.desc(), snapshots.c.digest).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Snapshot(*row)
