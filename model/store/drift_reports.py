"""Drift reports: what was said of each window. Knows no statistics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from model.store.tables import drift_reports, insert_new

Mode = Literal["batch", "online"]
Verdict = Literal["drift", "steady", "too_few"]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """One window against one reference."""

    id: str
    """`dr_` and hex digits, from mode, window and reference."""
    task: str
    mode: Mode
    window_start: datetime
    window_end: datetime
    """Both when a snapshot was made, for one of a snapshot."""
    rows: int
    reference: str
    """Digest."""
    verdict: Verdict
    why: str
    share: float
    """Drifted columns among those that could be judged."""
    hurts: bool
    """Validity is below the reference's by more than its margin."""
    columns: dict[str, Any]
    """`measured`: a list, one entry a column; `validity`; `bundles`: creatives by bundle digest; `skipped` lines."""
    report_key: str
    """Of the JSON in the object store; Evidently's page lies beside it."""
    created_at: datetime


_COLUMNS = [drift_reports.c[name] for name in DriftReport.__slots__]


def insert(connection: Connection, report: DriftReport) -> bool:
    """False where there is one of that id; the first row stands."""
    values = {name: getattr(report, name) for name in DriftReport.__slots__}
    return connection.execute(insert_new(connection, drift_reports).values(**values)).rowcount == 1


def find(connection: Connection, report_id: str) -> DriftReport | None:
    """None where there is no such report."""
    return _one(connection, sa.select(*_COLUMNS).where(drift_reports.c.id == report_id))


def newest(connection: Connection, mode: Mode, task: str | None = None) -> DriftReport | None:
    """Of the latest window; of every task where none is named."""
    query = sa.select(*_COLUMNS).where(drift_reports.c.mode == mode)
    if task is not None:
        query = query.where(drift_reports.c.task == task)
    return _one(connection, query.order_by(*_LATEST).limit(1))


def latest(connection: Connection, task: str, mode: Mode, count: int) -> list[DriftReport]:
    """So many, the latest window first."""
    query = sa.select(*_COLUMNS).where(drift_reports.c.task == task, drift_reports.c.mode == mode)
    return [DriftReport(*row) for row in connection.execute(query.order_by(*_LATEST).limit(count))]


def since(connection: Connection, task: str, mode: Mode, start: datetime) -> list[DriftReport]:
    """Of windows that begin then or later, the earliest first."""
    query = sa.select(*_COLUMNS).where(
        drift_reports.c.task == task, drift_reports.c.mode == mode, drift_reports.c.window_start >= start
    )
    query = query.order_by(drift_reports.c.window_end, drift_reports.c.created_at, drift_reports.c.id)
    return [DriftReport(*row) for row in connection.execute(query)]


_LATEST = (drift_reports.c.window_end.desc(), drift_reports.c.created_at.desc(), drift_reports.c.id)


def _one(connection: Connection, query: sa.Select[Any]) -> DriftReport | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else DriftReport(*row)
