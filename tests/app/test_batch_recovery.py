"""A process may be killed, stopped, paused or cut off from its database: every product is written, and once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.batch_worker import ATTEMPTS, FATAL, BatchWorker
from model.creative import Creative
from model.store import batches
from model.store.tables import Database
from model.tickets import CancelledError
from tests.app.batch_process import POLL_SECONDS, BatchWriter
from tests.app.batch_work import WAIT_SECONDS_MAX, assert_written_once, opened, queue, row_of, wait_for, working
from tests.real_parts import PostgresServer, postgres_server, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'adloom.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    if request.param == "sqlite":
        return sqlite_url
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with opened(url) as opened_one:
        yield opened_one


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as opened_one:
        yield opened_one


def test_closing_takes_no_longer_than_the_next_token_and_gives_the_batch_back(sqlite: Database) -> None:
    writer = BatchWriter()
    writer.gate.clear()
    batch_id = queue(sqlite, 10)
    with working(sqlite, writer):
        assert writer.begun.wait(WAIT_SECONDS_MAX)
    is_shut = not writer.gate.is_set()
    given_back = row_of(sqlite, batch_id)
    with working(sqlite, BatchWriter()):
        wait_for(sqlite, batch_id)

    assert is_shut  # it was closed with an item in hand
    assert (given_back.state, given_back.lease_owner, given_back.written) == ("queued", None, 0)
    assert_written_once(sqlite, batch_id, 10)


class Paused(BatchWorker):
    """A process that was stopped for longer than its lease: it renews nothing, and claims once."""

    def _renew(self) -> None:
        return

    def _claim(self) -> None:
        if not self._rota.batches():
            super()._claim()


def test_a_batch_is_taken_over_only_when_its_lease_has_lapsed(sqlite: Database) -> None:
    stuck = BatchWriter()
    stuck.gate.clear()
    batch_id = queue(sqlite, 10)
    with working(sqlite, stuck, writers=1, kind=Paused, lease_seconds=3600):
        assert stuck.begun.wait(WAIT_SECONDS_MAX)
        with working(sqlite, BatchWriter()) as told:
            other = queue(sqlite, 1, name="OTHER")
            wait_for(sqlite, other)
            wait_until(lambda: bool(told), "the other batch to be told of")
            untouched = [each.product.sku for each in told]
            soon = datetime.now(UTC) - timedelta(seconds=1)
            with sqlite.begin() as connection:
                owner = row_of(sqlite, batch_id).lease_owner or ""
                batches.renew(connection, batch_id, owner, soon)
            wait_for(sqlite, batch_id)

    assert untouched == ["OTHER-0"]
    assert_written_once(sqlite, batch_id, 10)


def test_what_a_stopped_process_had_in_hand_is_kept_once(database: Database) -> None:
    stuck = BatchWriter()
    stuck.gate.clear()
    batch_id = queue(database, 20)
    with working(database, stuck, kind=Paused, lease_seconds=0.1) as told_late:
        assert stuck.begun.wait(WAIT_SECONDS_MAX)
        with working(database, BatchWriter()) as told:
            wait_for(database, batch_id)
            stuck.gate.set()
            wait_until(lambda: len(stuck.calls) >= 2, "what was in hand")
        wait_until(lambda: len(told) == 20, "the last to be told")

    assert_written_once(database, batch_id, 20)
    assert told_late == []


class TurnstileWriter(BatchWriter):
    """Lets as many products through as the test says."""

    def __init__(self, free: int, **options: Any) -> None:
        super().__init__(**options)
        self.turns = threading.Semaphore(free)

    def write(self, *order: Any, cancelled: Callable[[], bool], **manner: Any) -> tuple[Creative, ...]:
        self.begun.set()
        while not self.turns.acquire(timeout=POLL_SECONDS):
            if cancelled():
                raise CancelledError
        return super().write(*order, cancelled=cancelled, **manner)


def test_two_processes_on_the_same_batch_at_once_write_each_product_once(database: Database) -> None:
    batch_id = queue(database, 150)
    one, other = (TurnstileWriter(0, seconds=0.005) for _ in range(2))
    with working(database, one, kind=Paused, lease_seconds=0.1) as told_by_one:
        assert one.begun.wait(WAIT_SECONDS_MAX)
        with working(database, other, lease_seconds=0.5) as told_by_other:
            assert other.begun.wait(WAIT_SECONDS_MAX)
            for writer, told in ((one, told_by_one), (other, told_by_other)):
                writer.turns.release(20)
                wait_until(lambda told=told: bool(told), "a product of each", WAIT_SECONDS_MAX)
            for writer in (one, other):
                writer.turns.release(300)
            wait_for(database, batch_id)
            wait_until(lambda: len(told_by_one) + len(told_by_other) == 150, "the last to be told")

    assert_written_once(database, batch_id, 150)
    assert told_by_one
    assert told_by_other
    assert not {each.product.sku for each in told_by_one} & {each.product.sku for each in told_by_other}


@contextmanager
def process(
    url: str, *, lease_seconds: float, fatal_sku: str = "", products_max: int = 1000
) -> Iterator[subprocess.Popen[str]]:
    manner = ["0.02", str(lease_seconds), fatal_sku, str(products_max)]
    command = [sys.executable, "-m", "tests.app.batch_process", url, *manner]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.proof
def test_a_process_killed_in_the_middle_is_followed_by_one_that_finishes(database: Database, url: str) -> None:
    batch_id = queue(database, 120)
    with process(url, lease_seconds=1, products_max=60) as first:
        wait_until(lambda: row_of(database, batch_id).written >= 20, "some items", WAIT_SECONDS_MAX)
        first.kill()
        told = first.communicate()[0].split()[1::2]
    before = row_of(database, batch_id)
    with process(url, lease_seconds=1) as second:
        wait_for(database, batch_id)
        second.kill()
        told_later = second.communicate()[0].split()[1::2]

    assert 20 <= before.written < 120
    assert before.state == "running"
    assert_written_once(database, batch_id, 120)
    assert not set(told) & set(told_later)
    # Two threads: each may have been killed, or stopped by us, between its commit and its line.
    assert len(told) + len(told_later) >= 120 - 4


@pytest.mark.proof
def test_a_product_that_kills_its_process_fails_after_three_and_the_others_are_written(
    database: Database, url: str
) -> None:
    batch_id = queue(database, 12)
    statuses = []
    while row_of(database, batch_id).state != "done":
        with process(url, lease_seconds=0.5, fatal_sku="BOWL-0") as started:
            wait_until(
                lambda: started.poll() is not None or row_of(database, batch_id).state == "done",
                "the end of the process, or of the batch",
                WAIT_SECONDS_MAX,
            )
            statuses.append(started.poll())
    row = row_of(database, batch_id)
    with database.connect() as connection:
        items = batches.results(connection, batch_id, -1, 12)

    assert statuses == [-signal.SIGKILL] * ATTEMPTS + [None]
    assert (row.written, row.rejected) == (11, 1)
    assert [item.place for item in items if item.state == "failed"] == [0]
    assert items[0].error == FATAL
    assert max(item.attempts for item in items[1:]) <= ATTEMPTS


@pytest.mark.proof
def test_a_database_that_is_away_for_a_while_costs_no_product(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(postgres.new_database()) as database:
        batch_id = queue(database, 100)
        writer = BatchWriter(seconds=0.005)
        with working(database, writer):
            wait_until(lambda: row_of(database, batch_id).written >= 20, "some items", WAIT_SECONDS_MAX)
            writer.gate.clear()
            wait_until(lambda: len(writer.started) > len(writer.calls), "an item to be in hand")
            postgres.stop()
            writer.gate.set()
            wait_until(lambda: "a written item waits for the database" in caplog.text, "the outage to be noticed")
            postgres.start()
            wait_for(database, batch_id)

        assert_written_once(database, batch_id, 100)
