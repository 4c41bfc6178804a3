"""Drift reports: what was said of each window. Knows no statistics."""

from __future__ import annotations

from collections.abc import Mapping
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
    """
    `measured`: a list, one entry a column; `validity`, and the `validity_margin` that it may fall by; `bundles`:
    creatives by bundle digest; `skipped` lines; `page_bytes` of Evidently's page, 0 where it made none.
    """
    report_key: str
    """Of the JSON in the object store; Evidently's page lies beside it. Empty once both have expired."""
    created_at: datetime

    @property
    def page_key(self) -> str:
        """Of Evidently's page; empty where there is none. Rows that do not say had one if a column could be judged."""
        measured = self.columns.get("measured", ())
        judged = any(column.get("verdict") != "too_few" for column in measured)
        is_there = self.report_key and self.columns.get("page_bytes", judged)
        return f"{self.report_key.removesuffix('.json')}.html" if is_there else ""


def threshold(column: Mapping[str, Any]) -> float:
    """From which distance on a measured column drifts: what matters, and what chance does not reach."""
    return float(max(column.get("floor", 0), column.get("limit", 0)))


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


def recent(connection: Connection, mode: Mode | None, limit: int) -> list[DriftReport]:
    """Of every task, the latest window first; of both modes where none is named."""
    query = sa.select(*_COLUMNS).order_by(*_LATEST).limit(limit)
    if mode is not None:
        query = query.where(drift_reports.c.mode == mode)
    return [DriftReport(*row) for row in connection.execute(query)]


def since(connection: Connection, task: str, mode: Mode, start: datetime) -> list[DriftReport]:
    """Of windows that begin then or later, the earliest first."""
    query = sa.select(*_COLUMNS).where(
        drift_reports.c.task == task, drift_reports.c.mode == mode, drift_reports.c.window_start >= start
    )
    query = query.order_by(drift_reports.c.window_end, drift_reports.c.created_at, drift_reports.c.id)
    return [DriftReport(*row) for row in connection.execute(query)]


def past(connection: Connection, before: datetime, newest_kept: int, limit: int) -> list[DriftReport]:
    """
    Reports made before then of which the objects are still kept, the oldest first.

    The `newest_kept` of each task and mode are not among them, however old they are.
    """
    place = sa.func.row_number().over(partition_by=(drift_reports.c.task, drift_reports.c.mode), order_by=_LATEST)
    placed = sa.select(drift_reports.c.id, place.label("place")).where(drift_reports.c.report_key != "").subquery()
    query = (
        sa.select(*_COLUMNS)
        .join(placed, placed.c.id == drift_reports.c.id)
        .where(placed.c.place > newest_kept, drift_reports.c.created_at < before)
        .order_by(drift_reports.c.created_at, drift_reports.c.id)
        .limit(limit)
    )
    return [DriftReport(*row) for row in connection.execute(query)]


def forget_objects(connection: Connection, report_id: str) -> None:
    """Its JSON and its page are gone; what was said of the window stays."""
    connection.execute(sa.update(drift_reports).where(drift_reports.c.id == report_id).values(report_key=""))


_LATEST = (drift_reports.c.window_end.desc(), drift_reports.c.created_at.desc(), drift_reports.c.id)


def _one(connection: Connection, query: sa.Select[Any]) -> DriftReport | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else DriftReport(*row)
