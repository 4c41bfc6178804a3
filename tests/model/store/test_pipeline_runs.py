"""How runs ended, on both databases: said twice it counts once, and each pipeline is summed up in one row."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from model.store import pipeline_runs, tables
from model.store.pipeline_runs import Ended
from tests.model.store.rows import NOON

HOUR = timedelta(hours=1)


def record(database, *said, at=NOON):
    with database.begin() as connection:
        return pipeline_runs.record(connection, *said, at)


def ended(database):
    with database.connect() as connection:
        return pipeline_runs.ended(connection)


def test_nothing_has_ended_before_anybody_says_so(database):
    assert ended(database) == []


def test_what_is_said_twice_counts_once_and_keeps_its_first_time(database):
    first = record(database, "train_writer", "r1", "", "succeeded")
    again = record(database, "train_writer", "r1", "", "succeeded", at=NOON + HOUR)

    assert (first, again) == (True, False)
    assert ended(database) == [Ended("train_writer", NOON, 0, 0)]


def test_a_task_that_failed_and_its_run_that_succeeded_later_are_two_facts(database):
    record(database, "train_writer", "r1", "evaluate_candidate", "failed")
    record(database, "train_writer", "r1", "", "late", at=NOON + HOUR)
    record(database, "train_writer", "r1", "", "succeeded", at=NOON + 2 * HOUR)

    assert ended(database) == [Ended("train_writer", NOON + 2 * HOUR, 1, 1)]


def test_the_latest_success_counts_whatever_the_order_they_are_told_in(database):
    record(database, "monitor_drift", "r2", "", "succeeded", at=NOON + HOUR)
    record(database, "monitor_drift", "r1", "", "succeeded")

    assert ended(database) == [Ended("monitor_drift", NOON + HOUR, 0, 0)]


def test_every_failed_task_counts_and_pipelines_come_by_name(database):
    for task in ("ingest", "publish_features"):
        record(database, "ingest_catalogue", "r1", task, "failed")
    record(database, "ingest_catalogue", "r2", "ingest", "failed")
    record(database, "generate_batch", "r1", "", "late")

    assert ended(database) == [Ended("generate_batch", None, 0, 1), Ended("ingest_catalogue", None, 3, 0)]


def test_what_is_said_in_a_transaction_that_is_rolled_back_was_not_said(database):
    with database.begin() as connection:
        pipeline_runs.record(connection, "train_writer", "r1", "", "failed", NOON)
        connection.rollback()

    assert ended(database) == []


def test_a_success_lets_go_of_successes_of_a_quarter_before_and_of_no_failure(database):
    early = NOON - pipeline_runs.SUCCESSES_KEPT
    record(database, "rollback_writer", "old", "", "succeeded", at=early - HOUR)
    record(database, "rollback_writer", "old", "carry_rollback", "failed", at=early - HOUR)
    record(database, "rollback_writer", "edge", "", "succeeded", at=early)
    record(database, "train_writer", "old", "", "succeeded", at=early - HOUR)
    record(database, "rollback_writer", "new", "", "succeeded")

    with database.connect() as connection:
        kept = {tuple(row) for row in connection.execute(sa.select(tables.pipeline_runs.c["dag", "run", "state"]))}

    assert kept == {
        ("rollback_writer", "old", "failed"),
        ("rollback_writer", "edge", "succeeded"),
        ("rollback_writer", "new", "succeeded"),
        ("train_writer", "old", "succeeded"),
    }
