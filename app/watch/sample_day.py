"""
What a healthy day of pipelines leaves in the stores, so that their dashboard has something to show on a laptop.

A sample and no measurement: nothing here runs a pipeline. Whoever shows it says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from model.store import drift_reports, pipeline_runs, retrains
from model.store.drift_reports import DriftReport
from model.store.retrains import Ended, NewRetrain, Trigger
from model.store.tables import Database

TASK = "ad_writer"
BY = "sample day"
HOUR = timedelta(hours=1)
LAST_RUNS = {
    "monitor_drift": timedelta(minutes=20), "ingest_catalogue": timedelta(hours=7),
    "generate_batch": timedelta(hours=5), "train_writer": timedelta(days=6), "release_writer": timedelta(days=6),
}  # fmt: skip
"""How long ago the last run of each DAG went through."""
RETRAINS: tuple[tuple[Trigger, Ended, int, bool | None], ...] = (
    ("schedule", "promoted", 34, True),
    ("drift", "refused", 20, None),
    ("drift", "promoted", 13, True),
    ("feedback", "promoted", 6, True),
)
"""What caused it, how it ended, days ago, and whether it helped."""


def record(database: Database, now: datetime | None = None) -> None:
    """Add the day to the stores. Nothing where it is there already."""
    now = now or datetime.now(UTC)
    with database.begin() as connection:
        if pipeline_runs.ended(connection):
            return
        _runs(connection, now)
        _drift(connection, now)
        _retrains(connection, now)


def _runs(connection: Connection, now: datetime) -> None:
    for dag, ago in LAST_RUNS.items():
        pipeline_runs.record(connection, dag, f"sample-{dag}", "", "succeeded", now - ago)


def _drift(connection: Connection, now: datetime) -> None:
    end = now - LAST_RUNS["monitor_drift"]
    report = DriftReport(
        id=f"dr_{end:%Y%m%d%H%M%S}", task=TASK, mode="online", window_start=end - HOUR, window_end=end, rows=1800,
        reference="0" * 64, verdict="steady", why="a sample", share=0.0, hurts=False, columns={}, report_key="",
        created_at=end,
    )  # fmt: skip
    drift_reports.insert(connection, report)


def _retrains(connection: Connection, now: datetime) -> None:
    for trigger, outcome, days, helped in RETRAINS:
        begun = now - timedelta(days=days)
        row = retrains.ask(connection, NewRetrain(TASK, trigger, {"sample": True}, BY, begun))
        retrains.finish(connection, row.id, outcome, at=begun + HOUR, why="a sample")
        if helped is not None:
            retrains.judge_help(connection, row.id, helped, {})
