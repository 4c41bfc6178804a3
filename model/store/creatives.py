"""The creatives that were written, each with its passport and its product, by client. Knows no route and no writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import creatives


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


@dataclass(frozen=True, slots=True)
class _Insert:
    """The INSERT in one dialect's words, and how each value is turned into what its driver takes, in that order."""

    sql: str
    columns: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    is_positional: bool

    def parameters(self, row: NewCreative) -> tuple[Any, ...] | dict[str, Any]:
        found = {
            name: getattr(row, name) if process is None else process(getattr(row, name))
            for name, process in self.columns
        }
        return tuple(found.values()) if self.is_positional else found


def insert(connection: Connection, rows: Sequence[NewCreative]) -> None:
    """Keep them. The same id of the same client means the same words, so the first row stands."""
    if rows:
        # Every ad of every client passes here: to have SQLAlchemy look at statement and columns anew for each
        # took a quarter of all the service's time.
        prepared = _prepared(connection.dialect)
        given = [prepared.parameters(row) for row in rows]
        connection.exec_driver_sql(prepared.sql, given[0] if len(given) == 1 else given)


@lru_cache(maxsize=8)
def _prepared(dialect: sa.Dialect) -> _Insert:
    """SQLAlchemy's own words and conversions, asked for once for each engine."""
    compiled = sa.insert(creatives).compile(dialect=dialect, column_keys=list(NewCreative.__slots__))
    order = compiled.positiontup or list(NewCreative.__slots__)
    columns = tuple((name, _processor(name, dialect)) for name in order)
    return _Insert(f"{compiled} ON CONFLICT DO NOTHING", columns, bool(compiled.positional))


def _processor(name: str, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    return creatives.c[name].type.dialect_impl(dialect).bind_processor(dialect)


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


def count(connection: Connection, client: str | None = None) -> int:
    """Of one client, or of all."""
    query = sa.select(sa.func.count()).select_from(creatives)
    if client is not None:
        query = query.where(creatives.c.client == client)
    return connection.execute(query).scalar_one()
