"""Rollbacks on both databases: one open at a time, one carrier at a time, and what a lost one leaves to the next."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from model.store import rollbacks
from model.store.rollbacks import NewRollback, RollbackOpenError
from tests.model.store.rows import NOON

LEASE = timedelta(seconds=30)
RACERS = 8


def new_rollback(**given):
    values = {"task": "ad_writer", "target": "7", "reason": "odd ads", "asked_by": "shop", "created_at": NOON}
    return NewRollback(**values | given)


def asked(database, **given):
    with database.begin() as connection:
        return rollbacks.ask(connection, new_rollback(**given))


def claimed(database, carrier, at=NOON, task="ad_writer"):
    with database.begin() as connection:
        return rollbacks.claim(connection, task, carrier, now=at, until=at + LEASE, environment="prod")


def found(database, rollback_id):
    with database.connect() as connection:
        return rollbacks.find(connection, rollback_id)


def at_once(work):
    """What each of many threads got, by its number."""
    gate, outcomes = threading.Barrier(RACERS), {}

    def run(number):
        gate.wait(60)
        try:
            outcomes[number] = work(number)
        except RollbackOpenError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_a_rollback_comes_back_as_it_was_asked_for_and_the_same_again_is_the_same(database):
    row, again = asked(database), asked(database)

    assert found(database, row.id) == row == again
    assert found(database, "rb_0") is None
    assert (row.id[:3], row.state, row.target, row.source, row.created_at) == ("rb_", "waiting", "7", "", NOON)
    assert (row.started_at, row.ended_at) == (None, None)


@pytest.mark.parametrize("is_running", [False, True])
def test_a_second_one_is_refused_with_the_one_that_is_open(database, is_running):
    first = asked(database)
    if is_running:
        claimed(database, "a")
    with pytest.raises(RollbackOpenError, match=first.id) as refused:
        asked(database, reason="another")

    assert refused.value.row == found(database, first.id)
    assert refused.value.row.state == ("running" if is_running else "waiting")
    assert asked(database, task="fraud").state == "waiting"


def test_of_eight_that_ask_at_once_one_gets_a_row(database):
    outcomes = at_once(lambda number: asked(database, asked_by=f"shop-{number}"))
    given = [one for one in outcomes.values() if not isinstance(one, RollbackOpenError)]

    assert len(outcomes) == RACERS
    assert len(given) == 1
    assert {one.row.id for one in outcomes.values() if isinstance(one, RollbackOpenError)} == {given[0].id}


def test_of_eight_carriers_at_once_one_gets_it(database):
    row = asked(database)
    outcomes = at_once(lambda number: claimed(database, f"carrier-{number}"))
    given = [one for one in outcomes.values() if one is not None]

    assert len(outcomes) == RACERS
    assert [one.id for one in given] == [row.id]
    assert given[0] == found(database, row.id)
    assert (given[0].state, given[0].environment, given[0].started_at) == ("running", "prod", NOON)


def test_of_eight_that_find_a_lease_lapsed_one_gets_it(database):
    asked(database)
    claimed(database, "lost")
    later = NOON + 2 * LEASE
    outcomes = at_once(lambda number: claimed(database, f"carrier-{number}", later))
    given = [one for one in outcomes.values() if one is not None]

    assert len(outcomes) == RACERS
    assert len(given) == 1
    assert given[0].started_at == NOON


def test_nothing_is_claimed_where_nothing_waits_or_of_another_task(database):
    nothing = claimed(database, "a")
    asked(database)

    assert nothing is None
    assert claimed(database, "a", task="fraud") is None


@pytest.mark.parametrize(("seconds", "is_free"), [(0, False), (1, True)])
def test_a_lease_holds_until_its_end_and_no_longer(database, seconds, is_free):
    asked(database)
    claimed(database, "a")
    taken = claimed(database, "b", NOON + LEASE + timedelta(seconds=seconds))

    assert (taken is not None) == is_free


def test_a_lease_that_is_renewed_goes_on_and_one_that_was_lost_is_not_renewed(database):
    row = asked(database)
    claimed(database, "a")
    with database.begin() as connection:
        renewed = rollbacks.renew(connection, row.id, "a", NOON + 2 * LEASE)
    early = claimed(database, "b", NOON + LEASE + timedelta(seconds=1))
    late = claimed(database, "b", NOON + 3 * LEASE)
    with database.begin() as connection:
        again = rollbacks.renew(connection, row.id, "a", NOON + 9 * LEASE)

    assert (renewed, early, again) == (True, None, False)
    assert late.id == row.id


def test_what_is_left_is_free_at_once_and_says_how_far_it_was(database):
    row = asked(database, target="")
    claimed(database, "a")
    with database.begin() as connection:
        rollbacks.note(connection, row.id, "a", source="8", target="7", attempt="f00")
        assert rollbacks.leave(connection, row.id, "a", "waiting for a merge")
    between, taken = found(database, row.id), claimed(database, "b", NOON)

    assert (between.state, between.why) == ("running", "waiting for a merge")
    assert (taken.source, taken.target, taken.attempt, taken.started_at) == ("8", "7", "f00", NOON)


@pytest.mark.parametrize("state", ["done", "refused", "failed"])
def test_it_ends_once_and_by_its_carrier_alone(database, state):
    row = asked(database, target="")
    claimed(database, "a")
    with database.begin() as connection:
        ends = [
            rollbacks.finish(connection, row.id, carrier, given, at=NOON + LEASE, why="because", target="7")
            for carrier, given in (("b", "done"), ("a", state), ("a", "done"))
        ]
        noted = rollbacks.note(connection, row.id, "a", why="late")
    ended = found(database, row.id)

    assert (ends, noted) == ([False, True, False], False)
    assert (ended.state, ended.why, ended.source, ended.target) == (state, "because", "", "7")
    assert ended.ended_at == NOON + LEASE
    assert claimed(database, "c", NOON + 9 * LEASE) is None
    assert asked(database, created_at=NOON + LEASE).state == "waiting"


def test_it_is_withdrawn_while_it_waits_and_not_after(database):
    first = asked(database)
    with database.begin() as connection:
        taken_back = [rollbacks.withdraw(connection, first.id, NOON + LEASE) for _ in range(2)]
    second = asked(database, reason="again")
    claimed(database, "a")
    with database.begin() as connection:
        too_late = rollbacks.withdraw(connection, second.id, NOON)

    assert (taken_back, too_late) == ([True, False], False)
    assert (found(database, first.id).state, found(database, first.id).ended_at) == ("withdrawn", NOON + LEASE)
    assert found(database, second.id).state == "running"
