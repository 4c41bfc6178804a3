"""What the exporter says of pipelines: failures, lateness and the last success, by DAG."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.exporter_sources import all_sources
from model.store import pipeline_runs
from tests.app.exporter_stores import Stores
from tests.repo.tree import ROOT

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def _read(stores):
    readings = all_sources(stores.database, stores.ledger_path, "")["pipelines"]()
    return {(reading.metric.name, *reading.labels): reading.value for reading in readings}


def test_a_pipeline_is_told_by_its_failures_its_lateness_and_its_last_success(tmp_path):
    stores = Stores(tmp_path)
    stores.database.upgrade()
    with stores.database.begin() as connection:
        for hours, run, task, state in (
            (0, "first", "ingest", "failed"),
            (0, "first", "ingest", "failed"),  # said twice
            (0, "first", "", "failed"),
            (1, "second", "", "succeeded"),
            (2, "third", "", "succeeded"),
            (3, "fourth", "", "late"),
        ):
            pipeline_runs.record(connection, "ingest_catalogue", run, task, state, NOON + timedelta(hours=hours))
        pipeline_runs.record(connection, "train_writer", "first", "train_candidate", "failed", NOON)
    told = _read(stores)
    stores.database.dispose()

    assert {key: value for key, value in told.items() if value} == {
        ("adloom_pipeline_failures_total", "ingest_catalogue"): 2,
        ("adloom_pipeline_late_total", "ingest_catalogue"): 1,
        ("adloom_pipeline_success_timestamp_seconds", "ingest_catalogue"): (NOON + timedelta(hours=2)).timestamp(),
        ("adloom_pipeline_failures_total", "train_writer"): 1,
    }
    assert told["adloom_pipeline_late_total", "train_writer"] == 0


def test_before_a_pipeline_ran_its_counters_are_zero_and_no_success_is_told(tmp_path):
    stores = Stores(tmp_path)
    stores.database.upgrade()
    told = _read(stores)
    stores.database.dispose()

    assert told == {
        (metric, dag): 0
        for metric in ("adloom_pipeline_failures_total", "adloom_pipeline_late_total")
        for dag in (path.stem for path in (ROOT / "pipelines/dags").glob("[a-z]*.py"))
    }


def test_a_pipeline_that_is_none_of_ours_is_told_once_it_has_ended(tmp_path):
    stores = Stores(tmp_path)
    stores.database.upgrade()
    with stores.database.begin() as connection:
        pipeline_runs.record(connection, "of_the_platform", "first", "", "failed", NOON)
    told = _read(stores)
    stores.database.dispose()

    assert told["adloom_pipeline_failures_total", "of_the_platform"] == 1
