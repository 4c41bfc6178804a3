"""What the exporter says of batches that stand still and of the month's retrains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.exporter_sources import batch_states, retrain_outcomes
from model.store import tables
from tests.app.exporter_stores import UPLOADED, Stores

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def stores(tmp_path):
    made = Stores(tmp_path)
    made.database.upgrade()
    yield made
    made.database.dispose()


def values(readings) -> dict[str, float]:
    return {reading.metric.name: reading.value for reading in readings if not reading.labels}


def test_the_batch_that_stands_still_longest_counts(stores):
    stores.order_batch(1)
    stores.order_batch(2)
    with stores.database.begin() as connection:
        later = UPLOADED + timedelta(hours=1)
        connection.execute(sa.update(tables.batches).where(tables.batches.c.id == "ba_2").values(updated_at=later))

    assert values(batch_states(stores.database)) == {"adloom_batch_progress_timestamp_seconds": UPLOADED.timestamp()}


def test_a_batch_that_is_done_stands_still_for_good_and_counts_no_more(stores):
    stores.order_batch(1)
    with stores.database.begin() as connection:
        connection.execute(sa.update(tables.batches).values(state="done"))

    assert values(batch_states(stores.database)) == {}


@pytest.mark.parametrize(("at", "spent"), [(APRIL, 1), (APRIL - timedelta(microseconds=1), 0)])
def test_a_retrain_is_spent_in_the_month_it_was_asked_for(stores, at, spent):
    stores.retrain("drift", "failed", at)
    found = retrain_outcomes(stores.database, lambda: APRIL + timedelta(days=10))

    assert values(found)["adloom_retrains_spent"] == spent


def test_one_that_was_dismissed_or_still_waits_is_not(stores):
    stores.retrain("manual", "dismissed", APRIL)
    found = retrain_outcomes(stores.database, lambda: APRIL + timedelta(days=10))

    assert values(found)["adloom_retrains_spent"] == 0
