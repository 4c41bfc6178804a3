"""Retrains on both databases: one open at a time whoever asks, and what is remembered of those that ended."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from model.store import retrains
from model.store.retrains import NewRetrain, RetrainOpenError
from tests.model.store.rows import NOON

DAY = timedelta(days=1)


def new_retrain(**given):
    values = {"task": "ad_writer", "trigger": "manual", "cause": {"reason": "new season"}, "asked_by": "shop"}
    return NewRetrain(**values | {"created_at": NOON} | given)


def ended(connection, state, at, helped=None, **given):
    row = retrains.ask(connection, new_retrain(created_at=at, **given))
    retrains.start(connection, row.id, at)
    retrains.finish(connection, row.id, state, at=at + DAY / 24)
    if helped is not None:
        assert retrains.judge_help(connection, row.id, helped, {"validity": 0.5})
    return row.id


def test_a_retrain_comes_back_as_it_was_asked_for(database):
    with database.begin() as connection:
        row = retrains.ask(connection, new_retrain())
    with database.connect() as connection:
        found = retrains.find(connection, row.id)
        nothing = retrains.find(connection, "rt_0")

    assert found == row
    assert nothing is None
    assert row.id.startswith("rt_")
    assert (row.state, row.cause, row.created_at, row.helped) == ("waiting", {"reason": "new season"}, NOON, None)


def test_the_same_request_again_finds_its_own_row_even_when_that_has_ended(database):
    with database.begin() as connection:
        first = retrains.ask(connection, new_retrain())
        again = retrains.ask(connection, new_retrain())
        retrains.finish(connection, first.id, "dismissed", at=NOON + DAY)
        later = retrains.ask(connection, new_retrain())

    assert again == first
    assert (later.id, later.state) == (first.id, "dismissed")


@pytest.mark.parametrize("is_running", [False, True])
def test_a_second_one_is_refused_with_the_one_that_is_open(database, is_running):
    with database.begin() as connection:
        first = retrains.ask(connection, new_retrain())
        if is_running:
            retrains.start(connection, first.id, NOON)
    with pytest.raises(RetrainOpenError, match=first.id) as refused, database.begin() as connection:
        retrains.ask(connection, new_retrain(trigger="drift"))
    with database.connect() as connection:
        found = retrains.find(connection, first.id)

    assert refused.value.row == found
    assert found.state == ("running" if is_running else "waiting")


def test_another_task_has_a_retrain_of_its_own(database):
    with database.begin() as connection:
        first = retrains.ask(connection, new_retrain())
        other = retrains.ask(connection, new_retrain(task="fraud"))

        assert retrains.find_open(connection, "ad_writer") == first
        assert retrains.find_open(connection, "fraud") == other


def test_of_eight_that_ask_at_once_one_gets_a_row(database):
    barrier, outcomes = threading.Barrier(8), []

    def ask(number):
        barrier.wait()
        try:
            with database.begin() as connection:
                outcomes.append(retrains.ask(connection, new_retrain(asked_by=f"shop-{number}")).id)
        except RetrainOpenError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.connect() as connection:
        rows = retrains.since(connection, "ad_writer", NOON)
    given = [outcome for outcome in outcomes if isinstance(outcome, str)]

    assert len(outcomes) == 8
    assert given == [row.id for row in rows]
    assert {outcome.row.id for outcome in outcomes if not isinstance(outcome, str)} == set(given)


def test_it_starts_once_and_ends_once(database):
    facts = {"dataset_digest": "d", "run_id": "r", "bundle_digest": "b", "version": "7"}
    with database.begin() as connection:
        row = retrains.ask(connection, new_retrain())
        starts = [retrains.start(connection, row.id, NOON + DAY * at) for at in (1, 2)]
        ends = [
            retrains.finish(connection, row.id, "promoted", at=NOON + 3 * DAY, before={"validity": 0.5}, **facts),
            retrains.finish(connection, row.id, "failed", at=NOON + 4 * DAY, why="late"),
        ]
        found = retrains.find(connection, row.id)

    assert (starts, ends) == ([True, False], [True, False])
    assert (found.state, found.why, found.started_at, found.ended_at) == ("promoted", "", NOON + DAY, NOON + 3 * DAY)
    assert {name: getattr(found, name) for name in facts} == facts
    assert (found.before, found.after) == ({"validity": 0.5}, None)
    assert not found.is_open


def test_one_that_failed_is_not_judged(database):
    with database.begin() as connection:
        failed = ended(connection, "failed", NOON)

        assert not retrains.judge_help(connection, failed, True, {})
        assert retrains.find(connection, failed).helped is None


def test_the_first_judgement_stands(database):
    with database.begin() as connection:
        promoted = ended(connection, "promoted", NOON, helped=False)

        assert not retrains.judge_help(connection, promoted, True, {})
        assert (retrains.find(connection, promoted).helped, retrains.find(connection, promoted).after) == (
            False, {"validity": 0.5},
        )  # fmt: skip


def test_since_takes_the_moment_itself(database):
    with database.begin() as connection:
        old, new = ended(connection, "refused", NOON), ended(connection, "failed", NOON + DAY)

        assert [row.id for row in retrains.since(connection, "ad_writer", NOON + DAY)] == [new]
        assert [row.id for row in retrains.since(connection, "ad_writer", NOON)] == [old, new]
        assert [row.id for row in retrains.last_ended(connection, "ad_writer")] == [new]
        assert [row.id for row in retrains.last_ended(connection, "ad_writer", "refused")] == [old]


def test_what_has_ended_is_counted_and_what_is_open_is_not(database):
    with database.begin() as connection:
        ended(connection, "promoted", NOON, trigger="drift")
        ended(connection, "promoted", NOON + DAY, trigger="drift")
        ended(connection, "dismissed", NOON + 2 * DAY)
        retrains.ask(connection, new_retrain(created_at=NOON + 3 * DAY))

        assert retrains.counts(connection) == {("drift", "promoted"): 2, ("manual", "dismissed"): 1}


@pytest.mark.parametrize(
    ("helped", "streak"),
    [([], 0), ([False], 1), ([True, False, False], 2), ([False, False, True], 0), ([False, False, None], 2)],
)
def test_the_useless_ones_in_a_row_are_counted_from_the_latest(database, helped, streak):
    with database.begin() as connection:
        for at, each in enumerate(helped):
            ended(connection, "promoted", NOON + at * DAY, helped=each)
        ended(connection, "failed", NOON + 9 * DAY)

        assert retrains.useless_streak(connection, "ad_writer") == streak
