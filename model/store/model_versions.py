"""
What registry and promotion ledger said when they were last looked at, so that the service need ask neither.

Knows no registry: `publication` brings the rows, all of a task at once. A picture never takes the place of a newer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypedDict

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from model.store.model_tables import model_pictures, model_versions, promotions
from model.store.tables import insert_new

LINES_MAX = 1_000
"""Of the ledger, the newest, are told."""


class Score(TypedDict):
    """A mean with the ends of its interval, where it has one."""

    mean: float
    low: float | None
    high: float | None


class GateVerdict(TypedDict):
    """What the gate said of a version last, one sentence a reason."""

    passed: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version, as a list shows it. A text is empty where there is no such thing."""

    number: int
    aliases: list[str]
    created_at: datetime
    bundle_digest: str
    dataset_digest: str
    git_commit: str
    run_id: str
    certificate: str
    """passed or failed."""
    scores: dict[str, Score]
    gate: GateVerdict | None
    """None where it was never put before the gate."""

    @property
    def version(self) -> str:
        """Its number, as the API writes it."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class FullVersionRow(VersionRow):
    """With what takes room."""

    card: str
    """Markdown."""
    samples: list[dict[str, Any]]
    """In the form of `model.heldout_samples`."""


@dataclass(frozen=True, slots=True)
class PromotionRow:
    """One line of the promotion ledger."""

    line: int
    """From 1, its place there."""
    time: datetime
    who: str
    action: str
    state: str
    source: str
    """Champion before; empty where there was none."""
    target: str
    """Champion after, or asked for."""
    why: str
    note: str


def edition(connection: Connection, task: str) -> int:
    """How many pictures there have been. Read it before the registry, and hand it to `replace`."""
    found = connection.execute(sa.select(model_pictures.c.edition).where(model_pictures.c.task == task))
    return found.scalar_one_or_none() or 0


def replace(
    connection: Connection,
    task: str,
    before: int,
    at: datetime,
    versions: Sequence[FullVersionRow],
    lines: Sequence[PromotionRow] | None,
) -> bool:
    """
    Put this picture in the place of edition `before`; `lines` of None leaves the ledger's as they are.

    False, and nothing is changed, where another picture came meanwhile: look at the registry again.
    """
    connection.execute(insert_new(connection, model_pictures).values(task=task, edition=0, published_at=at))
    same = model_pictures.c.task == task, model_pictures.c.edition == before
    statement = sa.update(model_pictures).where(*same).values(edition=before + 1, published_at=at)
    if connection.execute(statement).rowcount != 1:
        return False
    _put(connection, task, model_versions, versions)
    if lines is not None:
        _put(connection, task, promotions, lines)
    return True


def published_at(connection: Connection, task: str) -> datetime | None:
    """When the registry was last looked at; None where it never was."""
    query = sa.select(model_pictures.c.published_at).where(model_pictures.c.task == task, model_pictures.c.edition > 0)
    return connection.execute(query).scalar_one_or_none()


def listed(connection: Connection, task: str, limit: int) -> list[VersionRow]:
    """The newest first."""
    query = sa.select(*_columns(VersionRow, model_versions)).where(model_versions.c.task == task)
    rows = connection.execute(query.order_by(model_versions.c.number.desc()).limit(limit))
    return [VersionRow(*row) for row in rows]


def find(connection: Connection, task: str, number: int) -> FullVersionRow | None:
    """None where there is no such version, or nobody has told of it."""
    same = model_versions.c.task == task, model_versions.c.number == number
    row = connection.execute(sa.select(*_columns(FullVersionRow, model_versions)).where(*same)).one_or_none()
    return None if row is None else FullVersionRow(*row)


def history(connection: Connection, task: str, limit: int) -> list[PromotionRow]:
    """The ledger's lines, the newest first."""
    query = sa.select(*_columns(PromotionRow, promotions)).where(promotions.c.task == task)
    return [PromotionRow(*row) for row in connection.execute(query.order_by(promotions.c.line.desc()).limit(limit))]


def _columns(row: type[Any], table: Table) -> list[sa.Column[Any]]:
    return [table.c[field.name] for field in fields(row)]


def _put(connection: Connection, task: str, table: Table, rows: Sequence[Any]) -> None:
    connection.execute(sa.delete(table).where(table.c.task == task))
    if rows:
        names = [field.name for field in fields(rows[0])]
        values = [{"task": task} | {name: getattr(row, name) for name in names} for row in rows]
        connection.execute(sa.insert(table), values)
