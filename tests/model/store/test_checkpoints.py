"""SQLite's log goes into its file beside the commits; what fails there costs no commit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from model.store import creatives
from model.store.checkpoints import CHANGES_BETWEEN, Checkpoints
from model.store.tables import Database, StoreDownError
from model.store.write_queue import WriteQueue
from tests.model.store.rows import new_creative
from tests.real_parts import wait_until

WAIT_SECONDS_MAX = 60


class CountedDatabase:
    """Counts what it is told; fails the first time."""

    def __init__(self):
        self.calls = 0
        self.begun = threading.Event()

    def checkpoint(self):
        self.calls += 1
        self.begun.set()
        if self.calls == 1:
            raise StoreDownError("the database cannot be used: its disk is full")


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path}/adloom.db", log_pages_max=1_000_000)
    made.upgrade()
    made.dispose()  # the last to leave writes the log back
    yield made
    made.dispose()


def file_bytes(database):
    return Path(database.engine.url.database).stat().st_size


def write(queue, first, count):
    futures = [
        queue.submit(lambda connection, n=number: creatives.insert(connection, [new_creative(f"cr_{n}")]))
        for number in range(first, first + count)
    ]
    for future in futures:
        future.result(WAIT_SECONDS_MAX)


def test_rows_reach_the_file_after_so_many_changes_and_not_before(database):
    before = file_bytes(database)
    queue = WriteQueue(database, depth_max=10_000)
    write(queue, 0, CHANGES_BETWEEN - 1)
    meanwhile = file_bytes(database)
    write(queue, CHANGES_BETWEEN, 1)
    wait_until(lambda: file_bytes(database) > before, "the checkpoint")
    queue.close()

    assert meanwhile == before


def test_a_reader_in_the_middle_of_its_transaction_keeps_nobody_waiting(database):
    queue = WriteQueue(database, depth_max=10_000)
    with database.connect() as reader:
        count = creatives.count(reader)
        write(queue, 0, 3 * CHANGES_BETWEEN)
        database.checkpoint()
        again = creatives.count(reader)
    queue.close()

    assert count == again == 0


def test_one_that_fails_is_said_and_the_next_is_tried(caplog):
    database = CountedDatabase()
    checkpoints = Checkpoints(database)
    checkpoints.count(CHANGES_BETWEEN)
    wait_until(lambda: "no checkpoint" in caplog.text, "the warning")
    checkpoints.count(CHANGES_BETWEEN)
    wait_until(lambda: database.calls == 2, "the second try")
    checkpoints.close()

    assert "its disk is full" in caplog.text


def test_one_that_was_never_needed_closes_without_a_thread():
    database = CountedDatabase()
    checkpoints = Checkpoints(database)
    checkpoints.count(CHANGES_BETWEEN - 1)
    checkpoints.close()

    assert database.calls == 0
    assert not database.begun.is_set()


def test_postgresql_is_left_alone(postgres_database):
    postgres_database.checkpoint()

    assert not postgres_database.is_sqlite
