"""What sources gave is noted once, and a cursor moves only from where its reader saw it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from model.store import ingests, snapshots
from model.store.ingests import Cursor, Ingest
from model.store.snapshots import Snapshot
from tests.model.store.rows import NOON

LATER = NOON + timedelta(hours=1)
INGEST = Ingest("i1", "shop", "client", "kept", "d1", 10, 7, 2, 1, "", "quality/d1.json", NOON, NOON)


def test_an_ingest_comes_back(database):
    with database.begin() as connection:
        assert ingests.note(connection, INGEST)

    with database.connect() as connection:
        assert ingests.find(connection, "i1") == INGEST
        assert ingests.find(connection, "i2") is None


@pytest.mark.parametrize(("second", "stands"), [(LATER, LATER), (NOON - timedelta(hours=1), NOON)])
def test_the_same_again_moves_its_time_on_and_never_back(database, second, stands):
    with database.begin() as connection:
        ingests.note(connection, INGEST)
        is_new = ingests.note(connection, replace(INGEST, rows=99, ended_at=second))

    with database.connect() as connection:
        assert ingests.find(connection, "i1") == replace(INGEST, ended_at=stands)
    assert not is_new


def test_the_newest_comes_first_and_other_sources_are_none_of_it(database):
    other = replace(INGEST, id="i3", source="other", ended_at=LATER + timedelta(hours=1))
    with database.begin() as connection:
        for each in (replace(INGEST, id="i2", ended_at=LATER), INGEST, other):
            ingests.note(connection, each)

    with database.connect() as connection:
        assert [each.id for each in ingests.listed(connection, "shop", 5)] == ["i2", "i1"]
        assert [each.id for each in ingests.listed(connection, "shop", 1)] == ["i2"]
        assert ingests.newest(connection, "shop") == replace(INGEST, id="i2", ended_at=LATER)
        assert ingests.newest(connection, "none") is None


def test_a_cursor_comes_back(database):
    first = Cursor("shop", {"since": "2026", "filled": {"title": 1}}, NOON)
    with database.begin() as connection:
        assert ingests.move_cursor(connection, None, first)

    with database.connect() as connection:
        assert ingests.cursor(connection, "shop") == first
        assert ingests.cursor(connection, "other") is None


def test_a_cursor_moves_only_from_where_it_was_seen(database):
    first, second, third = (Cursor("shop", {"since": str(n)}, NOON + timedelta(hours=n)) for n in range(3))
    with database.begin() as connection:
        assert not ingests.move_cursor(connection, first, second)
        assert ingests.move_cursor(connection, None, first)
        assert not ingests.move_cursor(connection, None, second)
        assert ingests.move_cursor(connection, first, second)
        assert not ingests.move_cursor(connection, first, third)

    with database.connect() as connection:
        assert ingests.cursor(connection, "shop") == second


@pytest.mark.parametrize("is_first", [True, False])
def test_of_many_who_move_a_cursor_at_once_one_does(database, is_first):
    seen = None if is_first else Cursor("shop", {"since": "0"}, NOON)
    if seen:
        with database.begin() as connection:
            ingests.move_cursor(connection, None, seen)
    barrier = threading.Barrier(4)

    def move(number):
        barrier.wait()
        with database.begin() as connection:
            return ingests.move_cursor(connection, seen, Cursor("shop", {"since": f"by {number}"}, LATER))

    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(move, range(4)))

    assert moved.count(True) == 1
    with database.connect() as connection:
        assert ingests.cursor(connection, "shop").cursor == {"since": f"by {moved.index(True)}"}


@pytest.mark.parametrize(("at", "stands"), [(LATER, LATER), (NOON - timedelta(hours=1), NOON)])
def test_a_snapshot_may_become_the_newest_again(database, at, stands):
    first = Snapshot("d1", "client", 1, 0, "catalogue/d1.jsonl", NOON)
    with database.begin() as connection:
        snapshots.insert(connection, first)
        snapshots.insert(connection, replace(first, client="other"))
        snapshots.renew(connection, "client", "d1", at)

    with database.connect() as connection:
        assert snapshots.find(connection, "client", "d1").created_at == stands
        assert snapshots.find(connection, "other", "d1").created_at == NOON


def test_the_newest_good_look_counts_and_a_refused_one_does_not(database):
    hour = timedelta(hours=1)
    with database.begin() as connection:
        before = ingests.good_until(connection)
        ingests.note(connection, INGEST)
        ingests.note(connection, replace(INGEST, id="i2", state="unchanged", ended_at=NOON + hour))
        ingests.note(connection, replace(INGEST, id="i3", state="refused", ended_at=NOON + 2 * hour))
        after = ingests.good_until(connection)

    assert before is None
    assert after == NOON + hour
