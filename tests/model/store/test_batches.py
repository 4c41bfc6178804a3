"""Batches: claimed by one, finished once, counted right, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from model.store import batches, creatives
from tests.model.store.rows import NOON, new_batch, new_creative, new_items

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def queued(database, batch_id="ba_1", count=3, *, refused=(), **given):
    with database.begin() as connection:
        return batches.insert(connection, new_batch(batch_id, **given), new_items(count, refused=refused))


def claimed(database, owner, now=NOON, **given):
    with database.begin() as connection:
        return batches.claim(connection, owner, now + MINUTE, now, **given)


def finished(database, place, state="done", batch_id="ba_1", ids=("cr_1",)):
    with database.begin() as connection:
        return batches.finish_item(connection, batch_id, place, state, ids, "" if state == "done" else "why", now=NOON)


def looked_up(database, batch_id="ba_1", client="shop"):
    with database.connect() as connection:
        return batches.find(connection, client, batch_id)


def items(database, batch_id="ba_1"):
    with database.connect() as connection:
        return batches.results(connection, batch_id, -1, 100)


def test_a_batch_comes_back_as_it_was_asked_for_and_only_to_its_client(database):
    row = queued(database, refused={1})

    assert looked_up(database) == row
    assert looked_up(database, client="other") is None
    assert (row.state, row.products, row.written, row.rejected) == ("queued", 3, 0, 1)
    assert row.settings == {"channels": ["x"], "seed": 7}
    assert [(item.place, item.state, item.error, item.product["sku"]) for item in items(database)] == [
        (0, "waiting", "", "S0"),
        (1, "failed", "no title", "S1"),
        (2, "waiting", "", "S2"),
    ]


@pytest.mark.parametrize(("count", "refused", "state"), [(2, {0, 1}, "done"), (2, {0}, "queued"), (0, set(), "done")])
def test_a_batch_without_anything_to_write_is_done_at_once(database, count, refused, state):
    assert queued(database, count=count, refused=refused).state == state


def test_batches_are_listed_newest_first_page_by_page(database):
    for number in range(5):
        queued(database, f"ba_{number}", 1, created_at=NOON + (number // 2) * MINUTE)
    queued(database, "ba_other", 1, client="other")
    pages, before = [], None
    with database.connect() as connection:
        while page := batches.listed(connection, "shop", 2, before):
            pages.append([row.id for row in page])
            before = page[-1].created_at, page[-1].id

    assert pages == [["ba_4", "ba_3"], ["ba_2", "ba_1"], ["ba_0"]]


def test_the_oldest_waiting_batch_is_claimed_first_and_each_by_one(database):
    for number in (2, 1, 3):
        queued(database, f"ba_{number}", 1, created_at=NOON + number * SECOND)
    claims = [claimed(database, f"worker-{number}") for number in range(4)]

    assert [claim and (claim.id, claim.lease_owner) for claim in claims] == [
        ("ba_1", "worker-0"),
        ("ba_2", "worker-1"),
        ("ba_3", "worker-2"),
        None,
    ]
    assert claims[0].state == "running"
    assert claims[0].lease_until == NOON + MINUTE


def test_a_batch_that_is_not_wanted_is_left_for_others(database):
    queued(database)

    assert claimed(database, "worker", except_ids=["ba_1"]) is None
    assert claimed(database, "worker", except_ids=["ba_2"]).id == "ba_1"


def test_a_batch_is_claimed_again_once_its_lease_has_lapsed(database):
    queued(database)
    claimed(database, "killed")
    before = claimed(database, "other", now=NOON + MINUTE)
    after = claimed(database, "other", now=NOON + MINUTE + timedelta(microseconds=1))

    assert before is None
    assert after.lease_owner == "other"


def test_the_first_claim_says_when_it_was_begun_and_later_ones_leave_that(database):
    before = queued(database).started_at
    first = claimed(database, "killed")
    second = claimed(database, "other", now=NOON + 2 * MINUTE)

    assert (before, first.started_at, second.started_at) == (None, NOON, NOON)


def test_attempts_are_counted_given_back_and_not_counted_for_an_item_that_is_finished(database):
    queued(database)
    with database.begin() as connection:
        counted = [batches.take_up(connection, "ba_1", place) for place in (0, 0, 1)]
        batches.put_back(connection, "ba_1", 1)
        batches.put_back(connection, "ba_1", 1)
        batches.finish_item(connection, "ba_1", 2, "done", ["cr_1"])
        of_finished = batches.take_up(connection, "ba_1", 2)
        items = batches.results(connection, "ba_1", -1, 3)

    assert counted == [1, 2, 1]
    assert of_finished == 0
    assert [item.attempts for item in items] == [2, 0, 0]


def test_items_that_were_tried_before_come_after_those_that_were_not(database):
    queued(database)
    with database.begin() as connection:
        batches.take_up(connection, "ba_1", 0)
        waiting = batches.next_items(connection, "ba_1", 3)

    assert [item.place for item in waiting] == [1, 2, 0]


def test_only_the_owner_renews_or_gives_back(database):
    queued(database)
    claimed(database, "mine")
    with database.begin() as connection:
        renewals = [batches.renew(connection, "ba_1", owner, NOON + 5 * MINUTE) for owner in ("mine", "theirs")]
        releases = [batches.release(connection, "ba_1", owner) for owner in ("theirs", "mine", "mine")]

    assert renewals == [True, False]
    assert releases == [False, True, False]
    assert looked_up(database).state == "queued"
    assert claimed(database, "theirs").lease_owner == "theirs"


def test_a_cancelled_batch_cannot_be_renewed(database):
    queued(database)
    claimed(database, "mine")
    with database.begin() as connection:
        batches.cancel(connection, "shop", "ba_1", NOON)

        assert not batches.renew(connection, "ba_1", "mine", NOON + MINUTE)


def test_an_item_is_finished_once_and_the_first_result_stands(database):
    queued(database)
    answers = [finished(database, 0, ids=("cr_first",)), finished(database, 0, "failed"), finished(database, 9)]
    row = looked_up(database)

    assert answers == [True, False, False]
    assert (row.written, row.rejected) == (1, 0)
    assert (items(database)[0].state, items(database)[0].creatives) == ("done", ["cr_first"])


def test_items_that_wait_come_in_order_and_the_last_one_ends_the_batch(database):
    queued(database, count=4, refused={1})
    claimed(database, "worker")
    with database.connect() as connection:
        first = [item.place for item in batches.next_items(connection, "ba_1", 2)]
    finished(database, 0)
    finished(database, 2, "failed")
    before = looked_up(database)
    finished(database, 3)
    after = looked_up(database)

    assert first == [0, 2]
    assert before.state == "running"
    assert (after.state, after.written, after.rejected, after.lease_owner) == ("done", 2, 2, None)
    assert claimed(database, "other", now=NOON + 9 * MINUTE) is None


def test_cancelling_keeps_what_is_finished_and_takes_no_more(database):
    queued(database, count=3)
    finished(database, 1)
    with database.begin() as connection:
        row = batches.cancel(connection, "shop", "ba_1", NOON + MINUTE)

    assert (row.state, row.written, row.updated_at) == ("cancelled", 1, NOON + MINUTE)
    assert [item.state for item in items(database)] == ["cancelled", "done", "cancelled"]
    assert not finished(database, 0)
    assert looked_up(database).state == "cancelled"
    with database.connect() as connection:
        assert batches.next_items(connection, "ba_1", 9) == []


def test_another_clients_batch_is_not_cancelled_and_a_done_one_stays_done(database):
    queued(database, count=1)
    with database.begin() as connection:
        by_other = batches.cancel(connection, "other", "ba_1", NOON)
    untouched = looked_up(database).state
    finished(database, 0)
    with database.begin() as connection:
        after = batches.cancel(connection, "shop", "ba_1", NOON)

    assert by_other is None
    assert untouched == "queued"
    assert after.state == "done"


def test_a_batch_that_cannot_be_worked_on_fails_once(database):
    queued(database, count=2)
    finished(database, 0)
    with database.begin() as connection:
        answers = [batches.fail(connection, "ba_1", NOON) for _ in range(2)]
        counted = batches.count_by_state(connection)

    assert answers == [True, False]
    assert counted == {"failed": 1}
    assert [item.state for item in items(database)] == ["done", "cancelled"]


def test_results_are_paged_by_place(database):
    queued(database, count=5)
    with database.connect() as connection:
        pages = [[item.place for item in batches.results(connection, "ba_1", after, 2)] for after in (-1, 1, 3, 4)]

    assert pages == [[0, 1], [2, 3], [4], []]


def test_two_workers_on_one_batch_give_each_item_its_creative_exactly_once(database):
    """As after a lapsed lease: both believe that the batch is theirs."""
    queued(database, count=40)
    began, won, failures = threading.Barrier(2, timeout=60), {"a": 0, "b": 0}, []

    def work(owner):
        began.wait()
        while True:
            with database.connect() as connection:
                waiting = batches.next_items(connection, "ba_1", 3)
            if not waiting:
                return
            for item in waiting:
                with database.begin() as connection:
                    first = batches.finish_item(connection, "ba_1", item.place, "done", [f"cr_{owner}_{item.place}"])
                    if first:
                        creatives.insert(connection, [new_creative(f"cr_{owner}_{item.place}", batch_id="ba_1")])
                        won[owner] += 1

    def guarded(owner):
        try:
            work(owner)
        except Exception as error:  # noqa: BLE001 -- any of them is a failure of the test
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(owner,)) for owner in won]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    row = looked_up(database)
    with database.connect() as connection:
        kept = creatives.count(connection)

    assert failures == []
    assert (row.state, row.written, row.rejected) == ("done", 40, 0)
    assert kept == sum(won.values()) == 40
    assert all(len(item.creatives) == 1 for item in items(database))


def test_two_who_claim_at_once_never_get_the_same_batch(database):
    for number in range(8):
        queued(database, f"ba_{number}", 1)
    began, claims = threading.Barrier(4, timeout=60), []

    def claim_all(owner):
        began.wait()
        while row := claimed(database, owner):
            claims.append((row.id, owner))

    threads = [threading.Thread(target=claim_all, args=(f"worker-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(batch_id for batch_id, _ in claims) == [f"ba_{number}" for number in range(8)]
