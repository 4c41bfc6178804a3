"""Batches are written: in turns, one product after another, and whatever one of them does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.batch_worker import ATTEMPTS, FAILED, BatchWorker, WrittenItem
from app.settings import Settings
from model.product import Product
from model.store import batches, creatives
from model.store.batches import NewBatch, NewItem
from model.store.tables import Database
from model.store.write_queue import WriteQueue
from tests.app.batch_process import BatchWriter
from tests.app.batch_work import (
    SETTINGS,
    WAIT_SECONDS_MAX,
    assert_written_once,
    opened,
    queue,
    row_of,
    wait_for,
    working,
)
from tests.real_parts import PostgresServer, postgres_server, wait_until


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    with opened(f"sqlite:///{tmp_path / 'adloom.db'}") as opened_one:
        yield opened_one


def test_a_batch_is_written_kept_and_told_of(sqlite: Database) -> None:
    writer = BatchWriter()
    with working(sqlite, writer) as told:
        batch_id = queue(sqlite, 40)
        wait_for(sqlite, batch_id)
        wait_until(lambda: len(told) == 40, "the last to be told")

    assert_written_once(sqlite, batch_id, 40)
    assert sorted(writer.calls) == sorted((f"BOWL-{number}", "instagram", "plain", 2, 3) for number in range(40))
    assert writer.interactive == {False}
    assert {each.product.sku for each in told} == {f"BOWL-{number}" for number in range(40)}
    assert all(each.batch.id == batch_id and len(each.creatives) == 1 and each.took_seconds > 0 for each in told)


def test_every_channel_is_written_and_as_many_candidates_are_kept_as_were_asked_for(sqlite: Database) -> None:
    batch_id = queue(sqlite, 1, channels=["x", "instagram"], candidates=3, return_candidates=2)
    with working(sqlite, BatchWriter()):
        wait_for(sqlite, batch_id)
    with sqlite.connect() as connection:
        item = batches.results(connection, batch_id, -1, 1)[0]
        found = creatives.find_many(connection, "shop", item.creatives)
    documents = [found[creative_id].document for creative_id in item.creatives]

    assert [document["channel"] for document in documents] == ["x", "x", "instagram", "instagram"]
    assert all(one["validity"] > two["validity"] for one, two in (documents[:2], documents[2:]))


def test_a_product_that_fails_is_tried_again_and_then_fails_alone(sqlite: Database) -> None:
    writer = BatchWriter(fail_sku="BOWL-1")
    batch_id = queue(sqlite, 5)
    with working(sqlite, writer) as told:
        row = wait_for(sqlite, batch_id)
    with sqlite.connect() as connection:
        items = batches.results(connection, batch_id, -1, 5)

    assert (row.written, row.rejected) == (4, 1)
    assert [item.state for item in items] == ["done", "failed", "done", "done", "done"]
    assert items[1].error == FAILED
    assert len(told) == 4
    assert sum(sku == "BOWL-1" for sku, *_ in writer.calls) == ATTEMPTS


def test_a_product_that_the_database_does_not_take_fails_alone(postgres: PostgresServer) -> None:
    with opened(postgres.new_database()) as database:
        batch = NewBatch("ba_" + "0" * 32, "shop", SETTINGS, "inline", datetime.now(UTC))
        skus = ("BOWL", "nul\x00", "VASE")  # PostgreSQL keeps no NUL in a text
        with database.begin() as connection:
            batches.insert(connection, batch, [NewItem(asdict(Product(sku, "Blue bowl"))) for sku in skus])
        with working(database, BatchWriter()):
            wait_for(database, batch.id)
        with database.connect() as connection:
            states = [item.state for item in batches.results(connection, batch.id, -1, 3)]

    assert states == ["done", "failed", "done"]


def test_an_engine_that_is_down_fails_no_product(sqlite: Database) -> None:
    writer = BatchWriter(fail_sku="BOWL-0")
    writer.alive = False
    batch_id = queue(sqlite, 1)
    with working(sqlite, writer):
        wait_until(lambda: bool(writer.calls), "the first try")
    row = row_of(sqlite, batch_id)

    assert (row.state, row.rejected) == ("queued", 0)


def test_clients_take_turns_and_so_do_the_batches_of_one(sqlite: Database) -> None:
    writer = BatchWriter()
    writer.gate.clear()
    ids = {name: queue(sqlite, count, client, name) for name, client, count in (
        ("LARGE", "shop", 60), ("SMALL", "shop", 3), ("RIVAL", "rival", 3),
    )}  # fmt: skip
    with working(sqlite, writer, writers=1):
        for name, client in (("LARGE", "shop"), ("SMALL", "shop"), ("RIVAL", "rival")):
            wait_until(lambda row=(ids[name], client): row_of(sqlite, *row).state == "running", "the claim")
        writer.gate.set()
        for name, client in (("RIVAL", "rival"), ("SMALL", "shop"), ("LARGE", "shop")):
            wait_for(sqlite, ids[name], client)
    order = [sku.partition("-")[0] for sku, *_ in writer.calls]

    # One of the large batch was in hand. Then every second product is the rival's, and of the shop's every second is
    # the small batch's, until these are done.
    assert order[:10] == ["LARGE", "RIVAL", "SMALL", "RIVAL", "LARGE", "RIVAL", "SMALL", "LARGE", "SMALL", "LARGE"]
    assert order[10:] == ["LARGE"] * 56


def test_a_busy_process_leaves_batches_to_an_idle_one(sqlite: Database) -> None:
    busy, idle = BatchWriter(), BatchWriter()
    busy.gate.clear()
    ids = [queue(sqlite, 1, name=f"B{number}") for number in range(6)]
    with working(sqlite, busy, writers=1):
        assert busy.begun.wait(WAIT_SECONDS_MAX)
        with working(sqlite, idle, writers=1):
            wait_until(lambda: len(idle.calls) >= 3, "the idle one to take some", WAIT_SECONDS_MAX)
            busy.gate.set()
            for batch_id in ids:
                wait_for(sqlite, batch_id)

    assert len(busy.calls) + len(idle.calls) == 6


def test_a_new_batch_is_begun_at_once_where_the_worker_is_woken(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.batch_worker.POLL_IDLE_SECONDS", 3600.0)
    writer = BatchWriter()
    writes = WriteQueue(sqlite, depth_max=16)
    worker = BatchWorker(sqlite, writes, writer, Settings(batch_writers=1), lease_seconds=3600)
    worker.start()
    try:
        batch_id = queue(sqlite, 1)
        worker.wake()
        wait_for(sqlite, batch_id)
    finally:
        worker.close()
        writes.close()

    assert_written_once(sqlite, batch_id, 1)


def test_without_batch_writers_nothing_runs(sqlite: Database) -> None:
    with working(sqlite, BatchWriter(), writers=0):
        running = [thread.name for thread in threading.enumerate() if thread.name.startswith("adloom-batch")]

    assert running == []


def test_a_cancelled_batch_drops_what_is_in_hand(sqlite: Database) -> None:
    writer = BatchWriter()
    writer.gate.clear()
    batch_id = queue(sqlite, 10)
    with working(sqlite, writer, lease_seconds=0.3) as told:
        assert writer.begun.wait(WAIT_SECONDS_MAX)
        with sqlite.begin() as connection:
            batches.cancel(connection, "shop", batch_id)
        other = queue(sqlite, 1, name="OTHER")
        # The gate stays shut: only a writer that was told to stop can begin with the other batch.
        wait_until(lambda: "OTHER-0" in writer.started, "the other batch to be begun", WAIT_SECONDS_MAX)
        writer.gate.set()
        wait_for(sqlite, other)
    row = row_of(sqlite, batch_id)

    assert (row.state, row.written) == ("cancelled", 0)
    assert [each.product.sku for each in told] == ["OTHER-0"]


def test_a_listener_that_fails_stops_nothing(sqlite: Database) -> None:
    def fail(_written: WrittenItem) -> None:
        raise RuntimeError("the listener is broken")

    batch_id = queue(sqlite, 3)
    writes = WriteQueue(sqlite, depth_max=16)
    worker = BatchWorker(sqlite, writes, BatchWriter(), Settings(batch_writers=1), fail)
    worker.start()
    try:
        wait_for(sqlite, batch_id)
    finally:
        worker.close()
        writes.close()

    assert_written_once(sqlite, batch_id, 3)


def test_a_thread_that_ends_is_trouble(sqlite: Database) -> None:
    class Deadly(BatchWriter):
        def write(self, *asked: Any, **manner: Any) -> Any:
            raise SystemExit("gone")

    queue(sqlite, 1)
    writes = WriteQueue(sqlite, depth_max=16)
    worker = BatchWorker(sqlite, writes, Deadly(), Settings(batch_writers=1))
    before = worker.trouble()
    worker.start()
    try:
        wait_until(lambda: worker.trouble() != "", "the thread to end")
        after = worker.trouble()
    finally:
        worker.close()
        writes.close()

    assert before == ""
    assert "adloom-batch-0" in after
