"""The creatives that were written, each with its passport and its product, by client. Knows no route and no writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import creatives, insert_new


@dataclass(frozen=True, slots=True)
class NewCreative:
    """What is kept of one creative; the single columns are for questions, `document` is the answer."""

    client: str
    id: str
    sku: str
    channel: str
    validity: float
    bundle_digest: str
    product_digest: str
    document: dict[str, Any]
    """`Creative.as_dict()`."""
    product: dict[str, Any]
    """`dataclasses.asdict` of the product it was written for."""
    batch_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeptCreative:
    """A creative as it was kept."""

    client: str
    document: dict[str, Any]
    product: dict[str, Any]
    batch_id: str | None
    created_at: datetime


_COLUMNS = [creatives.c[name] for name in KeptCreative.__slots__]
_NEW = NewCreative.__slots__


def insert(connection: Connection, rows: Sequence[NewCreative]) -> None:
    """Keep them. The same id of the same client means the same words, so the first row stands."""
    if rows:
        # A dictionary by hand: dataclasses.asdict would copy both documents in depth.
        values = [{name: getattr(row, name) for name in _NEW} for row in rows]
        connection.execute(insert_new(connection, creatives), values)


def find(connection: Connection, client: str, creative_id: str) -> KeptCreative | None:
    """None where this client has no such creative, whoever else has."""
    query = sa.select(*_COLUMNS).where(creatives.c.client == client, creatives.c.id == creative_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else KeptCreative(*row)


def find_many(connection: Connection, client: str, creative_ids: Sequence[str]) -> dict[str, KeptCreative]:
    """Those of the client's that are there, by id. For a page of a batch: at most a few thousand ids."""
    if not creative_ids:
        return {}
    query = sa.select(creatives.c.id, *_COLUMNS)
    query = query.where(creatives.c.client == client, creatives.c.id.in_(creative_ids))
    return {creative_id: KeptCreative(*rest) for creative_id, *rest in connection.execute(query)}


def of_any_client(connection: Connection, creative_id: str) -> list[KeptCreative]:
    """Every client's, oldest first: for those who run the service, never for a route."""
    query = sa.select(*_COLUMNS).where(creatives.c.id == creative_id).order_by(creatives.c.created_at)
    return [KeptCreative(*row) for row in connection.execute(query)]


def count(connection: Connection, client: str | None = None) -> int:
    """Of one client, or of all."""
    query = sa.select(sa.func.count()).select_from(creatives)
    if client is not None:
        query = query.where(creatives.c.client == client)
    return connection.execute(query).scalar_one()
