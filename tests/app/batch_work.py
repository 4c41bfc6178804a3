"""
Batches put into a real database, a worker at work on them, and what has to be so when they are done.

Shared by the tests of the worker and of its recovery.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from app.batch_worker import BatchWorker, WrittenItem
from app.settings import Settings
from model.product import Product
from model.store import batches, creatives
from model.store.batches import BatchRow, NewBatch, NewItem
from model.store.tables import Database
from model.store.tables import creatives as creatives_table
from model.store.write_queue import WriteQueue
from tests.app.batch_process import BatchWriter
from tests.real_parts import wait_until

SETTINGS: dict[str, Any] = {
    "channels": ["instagram"], "voice": "plain", "candidates": 2, "return_candidates": 1, "seed": 3, "refused": 0,
}  # fmt: skip
WAIT_SECONDS_MAX = 60.0


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    database.upgrade()
    try:
        yield database
    finally:
        database.dispose()


def queue(database: Database, count: int, client: str = "shop", name: str = "BOWL", **changes: Any) -> str:
    """The id of a new batch of `count` products."""
    batch = NewBatch(f"ba_{uuid.uuid4().hex}", client, SETTINGS | changes, "inline", datetime.now(UTC))
    items = [NewItem(asdict(Product(f"{name}-{number}", f"Blue ceramic bowl {number}"))) for number in range(count)]
    with database.begin() as connection:
        batches.insert(connection, batch, items)
    return batch.id


@contextmanager
def working(
    database: Database, writer: BatchWriter, *, writers: int = 2, kind: type[BatchWorker] = BatchWorker, **options: Any
) -> Iterator[list[WrittenItem]]:
    """A worker at work; what it told of."""
    told: list[WrittenItem] = []
    writes = WriteQueue(database, depth_max=256)
    worker = kind(database, writes, writer, Settings(batch_writers=writers), told.append, **options)
    worker.start()
    try:
        yield told
        assert worker.trouble() == ""
    finally:
        worker.close()
        writes.close()


def row_of(database: Database, batch_id: str, client: str = "shop") -> BatchRow:
    with database.connect() as connection:
        row = batches.find(connection, client, batch_id)
    assert row is not None
    return row


def wait_for(database: Database, batch_id: str, client: str = "shop") -> BatchRow:
    wait_until(lambda: row_of(database, batch_id, client).state == "done", "the batch", WAIT_SECONDS_MAX)
    return row_of(database, batch_id, client)


def assert_written_once(database: Database, batch_id: str, count: int) -> None:
    """Every item is done, has its creative, and there is no other creative."""
    with database.connect() as connection:
        items = batches.results(connection, batch_id, -1, count + 1)
        ids = [creative_id for item in items for creative_id in item.creatives]
        found = creatives.find_many(connection, "shop", ids)
        query = sa.select(sa.func.count()).where(creatives_table.c.batch_id == batch_id)
        kept = connection.execute(query).scalar_one()
    row = row_of(database, batch_id)

    assert [item.state for item in items] == ["done"] * count
    assert len(ids) == len(set(ids)) == len(found) == kept == count
    assert (row.state, row.written, row.rejected) == ("done", count, 0)
