"""`adloom record-run`: what Airflow's callbacks say, once, and the step's own answers are one line of JSON."""

from __future__ import annotations

import pytest

from model.store import pipeline_runs
from pipelines.steps import record_run

RUN = ("--dag", "train_writer", "--run", "manual__2026-01-15T02:00:00+00:00")


def ended(database):
    with database.connect() as connection:
        return pipeline_runs.ended(connection)


def test_a_run_is_recorded_once_however_often_it_is_said(stores, step):
    database, _ = stores
    first = step(record_run.main, *RUN, "--state", "succeeded")
    again = step(record_run.main, *RUN, "--state", "succeeded")
    (row,) = ended(database)

    assert first == (0, {"outcome": "recorded"})
    assert again == (0, {"outcome": "unchanged"})
    assert (row.dag, row.failed, row.late) == ("train_writer", 0, 0)
    assert row.succeeded_at is not None


def test_a_failed_task_and_a_late_run_are_counted(stores, step):
    database, _ = stores
    for arguments in (
        ["--state", "failed", "--task", "ingest"],
        ["--state", "failed", "--task", ""],
        ["--state", "late"],
    ):
        assert step(record_run.main, *RUN, *arguments) == (0, {"outcome": "recorded"})
    (row,) = ended(database)

    assert (row.succeeded_at, row.failed, row.late) == (None, 2, 1)


@pytest.mark.parametrize("arguments", [[*RUN, "--state", "skipped"], RUN, [*RUN[:2], "--state", "late"]])
def test_what_is_not_said_in_full_is_a_usage_error(workplace, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        record_run.main(arguments)

    assert stopped.value.code == 2
    assert "usage: adloom record-run" in capsys.readouterr().err
    assert not (workplace / ".adloom").exists()
