"""
What a healthy day of pipelines leaves in the stores, so that their dashboard has something to show on a laptop.

A sample and no measurement: nothing here runs a pipeline. Whoever shows it says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

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

FEATURES: tuple[tuple[str, str, str, float], ...] = (
    ("title_words", "input", "wasserstein", 0.31),
    ("description_words", "input", "wasserstein", 0.62),
    ("embedding_distance", "input", "wasserstein", 0.48),
    ("price_log10", "input", "wasserstein", 0.57),
    ("category", "input", "jensenshannon", 0.74),
    ("channel", "output", "jensenshannon", 0.22),
    ("validity", "output", "wasserstein", 0.18),
    ("findings", "output", "wasserstein", 0.4),
)
"""Name, side and method of some columns of a drift report, and how far each is on its way to drift: 1 is there."""


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
    columns = {"measured": [_measured(*feature) for feature in FEATURES], "validity": None}
    report = DriftReport(
        id=f"dr_{end:%Y%m%d%H%M%S}", task=TASK, mode="online", window_start=end - HOUR, window_end=end, rows=1800,
        reference="0" * 64, verdict="steady", why="a sample", share=0.0, hurts=False, columns=columns, report_key="",
        created_at=end,
    )  # fmt: skip
    drift_reports.insert(connection, report)


def _measured(name: str, side: str, method: str, share: float) -> dict[str, Any]:
    """As a drift report holds it, with 1 for the distance from which on it would have drifted."""
    return {
        "name": name, "side": side, "method": method, "rows": 1800, "verdict": "steady", "distance": share,
        "floor": 1.0, "limit": 0.5, "reference": None, "window": None,
    }  # fmt: skip


def _retrains(connection: Connection, now: datetime) -> None:
    for trigger, outcome, days, helped in RETRAINS:
        begun = now - timedelta(days=days)
        row = retrains.ask(connection, NewRetrain(TASK, trigger, {"sample": True}, BY, begun))
        retrains.finish(connection, row.id, outcome, at=begun + HOUR, why="a sample")
        if helped is not None:
            retrains.judge_help(connection, row.id, helped, {})
