"""
Say how a run of a DAG, or a task of it, ended: the exporter counts it, and alerts go by that.

Airflow's callbacks call it; a person may too. Said twice it counts once.

Example: adloom record-run --dag ingest_catalogue --run scheduled__2026-01-15T02:00:00+00:00 --state succeeded
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from model.store import pipeline_runs
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("record-run", __doc__)
    options.add_argument("--dag", required=True)
    options.add_argument("--run", required=True)
    options.add_argument("--task", default="", help="default: the run as a whole")
    options.add_argument("--state", choices=pipeline_runs.STATES, required=True)
    arguments = options.parse_args(argv)
    with PipelineSettings().open_database().begin() as connection:
        is_new = pipeline_runs.record(
            connection, arguments.dag, arguments.run, arguments.task, arguments.state, datetime.now(UTC)
        )
    give({"outcome": "recorded" if is_new else "unchanged"})
    return 0
