"""
What one client has made lately, in numbers: creatives, findings, feedback, batches.

Every question looks at a bounded number of the client's newest rows; knows no route.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from model.store.tables import batches, creatives, feedback

ROWS_MAX = 100_000
"""Of each table: a fraction of a second, and more than a client makes in a week."""
DOCUMENTS_MAX = 2_000
"""Read for their findings, at about 1 kB each."""


@dataclass(frozen=True, slots=True)
class ChannelCount:
    """Creatives of one channel."""

    channel: str
    count: int
    mean_validity: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with the newest creatives that are not perfect."""

    creatives: int
    """That were read for it."""
    by_kind: dict[str, int]


def channel_counts(
    connection: Connection, client: str, since: datetime, rows_max: int = ROWS_MAX
) -> list[ChannelCount]:
    """By name of the channel; those without a creative are left out."""
    newest = _newest(creatives, client, since, rows_max, creatives.c.channel, creatives.c.validity)
    query = sa.select(newest.c.channel, sa.func.count(), sa.func.avg(newest.c.validity)).group_by(newest.c.channel)
    return [ChannelCount(*row) for row in connection.execute(query.order_by(newest.c.channel))]


def findings(
    connection: Connection, client: str, since: datetime, documents_max: int = DOCUMENTS_MAX, rows_max: int = ROWS_MAX
) -> Findings:
    """Of at most `documents_max` creatives whose validity is below 1, the newest first."""
    newest = _newest(creatives, client, since, rows_max, creatives.c.document, creatives.c.validity)
    query = sa.select(newest.c.document).where(newest.c.validity < 1)
    documents = connection.execute(query.order_by(newest.c.created_at.desc()).limit(documents_max)).scalars().all()
    kinds = Counter(finding["kind"] for document in documents for finding in document["findings"])
    return Findings(len(documents), dict(sorted(kinds.items())))


def feedback_counts(
    connection: Connection, client: str, since: datetime, rows_max: int = ROWS_MAX
) -> dict[tuple[str, str], int]:
    """By verdict and state; pairs that never came are left out."""
    newest = _newest(feedback, client, since, rows_max, feedback.c.verdict, feedback.c.state)
    query = sa.select(newest.c.verdict, newest.c.state, sa.func.count()).group_by(newest.c.verdict, newest.c.state)
    return {(verdict, state): count for verdict, state, count in connection.execute(query)}


def batch_counts(connection: Connection, client: str, since: datetime, rows_max: int = ROWS_MAX) -> dict[str, int]:
    """By state; those that no batch has are left out."""
    newest = _newest(batches, client, since, rows_max, batches.c.state)
    query = sa.select(newest.c.state, sa.func.count()).group_by(newest.c.state)
    return dict(connection.execute(query).all())


def _newest(
    table: Table, client: str, since: datetime, rows_max: int, *columns: sa.ColumnElement[object]
) -> sa.Subquery:
    query = sa.select(table.c.created_at, *columns).where(table.c.client == client, table.c.created_at >= since)
    return query.order_by(table.c.created_at.desc()).limit(rows_max).subquery()
