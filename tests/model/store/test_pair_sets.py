"""Sets of training pairs in both databases: kept once, marked once, taken back and in again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from model.store import pair_sets
from model.store.pair_sets import PairSetRow

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def new_set(set_id="ps_1", minutes=0, **given):
    row = PairSetRow(
        set_id, "c" * 64, "shop", "waiting", "", "", accepted=3, refused=1, held_out=1, learnt=0,
        faults=[{"line": 2, "reason": "title: is missing – “empty”"}], created_at=NOON + timedelta(minutes=minutes),
        used_at=None,
    )  # fmt: skip
    return replace(row, **given)


@pytest.fixture
def connection(database):
    with database.begin() as connection:
        yield connection


def test_a_set_comes_back_as_it_was_kept_and_the_first_row_stands(connection):
    first = pair_sets.insert(connection, new_set())
    second = pair_sets.insert(connection, new_set(asked_by="rival"))

    assert (first, second) == (True, False)
    assert pair_sets.find(connection, "ps_1") == new_set()
    assert pair_sets.find(connection, "ps_2") is None


def test_a_set_is_used_once(connection):
    pair_sets.insert(connection, new_set())
    used = [
        pair_sets.use(connection, "ps_1", digest, learnt=2, why="drawn", at=NOON) for digest in ("d" * 64, "e" * 64)
    ]
    row = pair_sets.find(connection, "ps_1")

    assert used == [True, False]
    assert (row.state, row.dataset_digest, row.learnt, row.why, row.used_at) == ("used", "d" * 64, 2, "drawn", NOON)


def test_a_set_that_was_taken_back_meanwhile_names_the_dataset_and_stays_so(connection):
    pair_sets.insert(connection, new_set())
    pair_sets.dismiss(connection, "ps_1", "taken back by shop")
    used = [
        pair_sets.use(connection, "ps_1", digest, learnt=2, why="drawn", at=NOON) for digest in ("d" * 64, "e" * 64)
    ]
    expected = {"state": "dismissed", "why": "taken back by shop", "dataset_digest": "d" * 64, "learnt": 2}

    assert used == [True, False]
    assert pair_sets.find(connection, "ps_1") == new_set(**expected, used_at=NOON)
    assert pair_sets.revive(connection, "ps_1")
    assert pair_sets.find(connection, "ps_1").state == "used"


def test_a_set_whose_file_was_judged_again_has_its_new_counts_and_keeps_the_rest(connection):
    for name in ("ps_1", "ps_2"):
        pair_sets.insert(connection, new_set(name))
    judged = {"content_digest": "e" * 64, "accepted": 4, "refused": 0, "held_out": 2, "faults": []}
    pair_sets.renew(connection, new_set(minutes=5, asked_by="rival", state="used", learnt=7, **judged))

    assert pair_sets.find(connection, "ps_1") == new_set(**judged)
    assert pair_sets.find(connection, "ps_2") == new_set("ps_2")


def test_datasets_are_made_of_what_waits_and_what_was_used_oldest_first(connection):
    for minutes, name in ((3, "ps_a"), (1, "ps_b"), (2, "ps_c"), (2, "ps_0")):
        pair_sets.insert(connection, new_set(name, minutes))
    pair_sets.use(connection, "ps_b", "d" * 64, learnt=1, why="", at=NOON)
    pair_sets.dismiss(connection, "ps_c", "no")

    assert [row.id for row in pair_sets.learnable(connection)] == ["ps_b", "ps_0", "ps_a"]
    assert [row.id for row in pair_sets.waiting(connection)] == ["ps_0", "ps_a"]
    assert [row.id for row in pair_sets.newest(connection, 3)] == ["ps_a", "ps_0", "ps_c"]


def test_a_dismissed_set_is_taken_in_again_as_what_it_was(connection):
    for name in ("ps_1", "ps_2", "ps_3"):
        pair_sets.insert(connection, new_set(name))
    pair_sets.use(connection, "ps_2", "d" * 64, learnt=1, why="", at=NOON)
    kept = pair_sets.dismiss(connection, "ps_2", "no")
    dismissed = [pair_sets.dismiss(connection, name, "no", also_used=True) for name in ("ps_1", "ps_2", "ps_1")]
    whys = [pair_sets.find(connection, name).why for name in ("ps_1", "ps_2")]
    revived = [pair_sets.revive(connection, name) for name in ("ps_1", "ps_2", "ps_3")]

    assert kept is False
    assert (dismissed, whys) == ([True, True, False], ["no", "no"])
    assert revived == [True, True, False]
    assert [pair_sets.find(connection, name).state for name in ("ps_1", "ps_2", "ps_3")] == [
        "waiting", "used", "waiting",
    ]  # fmt: skip


def test_pairs_lie_where_their_digest_says():
    assert new_set().object_key == f"pairs/{'c' * 64}.jsonl"
