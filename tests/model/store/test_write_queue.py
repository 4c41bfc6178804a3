"""Group commit: shared, isolated, done only when committed, and clear about a database that is down."""

from __future__ import annotations

import asyncio
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from model.store import clients, creatives
from model.store.tables import Database, StoreDownError, metadata
from model.store.write_queue import GROUP_MAX, WriteQueue
from tests.model.store.rows import new_client, new_creative
from tests.real_parts import wait_until

WAIT_SECONDS_MAX = 60


@pytest.fixture
def queue(database):
    made = WriteQueue(database, depth_max=1000)
    yield made
    made.close()


def inserts(number):
    rows = [new_creative(f"cr_{number}")]
    return lambda connection: creatives.insert(connection, rows)


def kept(database):
    with database.connect() as connection:
        return creatives.count(connection)


class Held:
    """A change that keeps the writer until it is let go, so that others gather behind it."""

    def __init__(self, queue):
        self._begun, self._gate = threading.Event(), threading.Event()
        self.future = queue.submit(self)
        assert self._begun.wait(WAIT_SECONDS_MAX)

    def __call__(self, _connection):
        self._begun.set()
        assert self._gate.wait(WAIT_SECONDS_MAX)

    def let_go(self):
        self._gate.set()


def count_commits(database):
    commits = []
    sa.event.listen(database.engine, "commit", commits.append)
    return commits


def test_a_change_is_committed_when_its_future_is_done_and_its_value_comes_back(database, queue):
    value = queue.submit(lambda connection: inserts(1)(connection) or "kept").result(WAIT_SECONDS_MAX)

    assert value == "kept"
    assert kept(database) == 1


def test_coroutines_wait_for_the_commit_too(database, queue):
    async def write():
        return await asyncio.gather(*(queue.run(inserts(number)) for number in range(20)))

    asyncio.run(write())

    assert kept(database) == 20


def test_changes_that_wait_share_one_commit(database, queue):
    held = Held(queue)
    commits = count_commits(database)
    futures = [queue.submit(inserts(number)) for number in range(50)]
    depth = queue.depth
    held.let_go()
    for future in futures:
        future.result(WAIT_SECONDS_MAX)

    assert depth == 50
    assert len(commits) == 2  # the held one's and theirs
    assert kept(database) == 50


def test_a_group_has_a_bound(database, queue):
    held = Held(queue)
    commits = count_commits(database)
    futures = [queue.submit(lambda _: None) for _ in range(GROUP_MAX + 1)]
    held.let_go()
    for future in futures:
        future.result(WAIT_SECONDS_MAX)

    assert len(commits) == 3


def test_only_the_change_that_raises_fails_and_the_others_still_share_a_commit(database, queue):
    def refuses(connection):
        inserts("of_the_guilty")(connection)
        raise KeyError("guilty")

    def breaks_a_rule(connection):
        table = metadata.tables["clients"]
        connection.execute(sa.insert(table).values(name=None))

    held = Held(queue)
    commits = count_commits(database)
    good = [queue.submit(inserts(number)) for number in range(10)]
    bad = [queue.submit(refuses), queue.submit(breaks_a_rule)]
    good += [queue.submit(inserts(number)) for number in range(10, 20)]
    held.let_go()
    for future in good:
        future.result(WAIT_SECONDS_MAX)

    assert isinstance(bad[0].exception(WAIT_SECONDS_MAX), KeyError)
    assert isinstance(bad[1].exception(WAIT_SECONDS_MAX), IntegrityError | sa.exc.StatementError)
    assert kept(database) == 20
    assert len(commits) == 2


def test_changes_are_made_in_the_order_they_came(database, queue):
    held, order = Held(queue), []
    futures = [queue.submit(lambda _, number=number: order.append(number)) for number in range(30)]
    held.let_go()
    for future in futures:
        future.result(WAIT_SECONDS_MAX)

    assert order == list(range(30))


def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room(sqlite_database):
    queue = WriteQueue(sqlite_database, depth_max=3)
    held = Held(queue)
    futures = [queue.submit(inserts(number)) for number in range(3)]
    with pytest.raises(StoreDownError, match="too many"):
        queue.submit(inserts(3))
    held.let_go()
    for future in futures:
        future.result(WAIT_SECONDS_MAX)
    queue.submit(inserts(4)).result(WAIT_SECONDS_MAX)
    queue.close()

    assert kept(sqlite_database) == 4


def test_one_who_leaves_before_the_turn_changes_nothing(database, queue):
    held = Held(queue)
    left, stayed = queue.submit(inserts("left")), queue.submit(inserts("stayed"))
    left.cancel()
    held.let_go()
    stayed.result(WAIT_SECONDS_MAX)

    assert kept(database) == 1


def test_the_writer_goes_on_when_everybody_has_left(database, queue):
    held = Held(queue)
    queue.submit(inserts("left")).cancel()
    held.let_go()
    held.future.result(WAIT_SECONDS_MAX)
    queue.submit(inserts("later")).result(WAIT_SECONDS_MAX)

    assert kept(database) == 1


def test_closing_finishes_what_waits_and_takes_no_more(sqlite_database):
    queue = WriteQueue(sqlite_database, depth_max=100)
    held = Held(queue)
    futures = [queue.submit(inserts(number)) for number in range(20)]
    closing = threading.Thread(target=queue.close)
    closing.start()
    held.let_go()
    closing.join(WAIT_SECONDS_MAX)

    assert [future.exception(0) for future in futures] == [None] * 20
    assert kept(sqlite_database) == 20
    with pytest.raises(StoreDownError, match="stopping"):
        queue.submit(inserts("late"))


def test_a_queue_that_was_never_used_closes_without_a_thread(sqlite_database):
    queue = WriteQueue(sqlite_database, depth_max=1)
    queue.close()

    assert queue.trouble() == ""


def test_a_database_that_is_away_fails_all_that_wait_and_is_used_again_by_itself(postgres, postgres_database):
    queue = WriteQueue(postgres_database, depth_max=1000)
    queue.submit(inserts("before")).result(WAIT_SECONDS_MAX)
    postgres.stop()
    try:
        away = [queue.submit(inserts(number)) for number in range(300)]
        failures = [future.exception(WAIT_SECONDS_MAX) for future in away]
        trouble = queue.trouble()
    finally:
        postgres.start()
    queue.submit(inserts("after")).result(WAIT_SECONDS_MAX)
    queue.close()

    assert {type(failure) for failure in failures} == {StoreDownError}
    assert "cannot be used" in trouble
    assert queue.trouble() == ""
    assert kept(postgres_database) == 2


def test_nothing_acknowledged_is_lost_when_the_database_restarts_under_load(postgres, postgres_database):
    queue = WriteQueue(postgres_database, depth_max=1000)
    acknowledged, refused, stop = [], [], threading.Event()

    def load(worker):
        number = 0
        while not stop.is_set():
            number += 1
            try:
                queue.submit(inserts(f"{worker}_{number}")).result(WAIT_SECONDS_MAX)
                acknowledged.append(f"cr_{worker}_{number}")
            except StoreDownError:
                refused.append(number)

    threads = [threading.Thread(target=load, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 50, "changes before")
    postgres.stop()
    wait_until(lambda: len(refused) > 0, "a refusal")
    postgres.start()
    reached = len(acknowledged) + 50
    wait_until(lambda: len(acknowledged) > reached, "changes after")
    stop.set()
    for thread in threads:
        thread.join(WAIT_SECONDS_MAX)
    queue.close()
    with postgres_database.connect() as connection:
        found = connection.execute(sa.select(metadata.tables["creatives"].c.id)).scalars().all()

    assert set(acknowledged) <= set(found)
    assert len(found) - len(acknowledged) <= 8  # committed in the moment of the cut, and nobody was told


def test_a_deadlock_between_two_replicas_costs_nobody_a_change(postgres_database):
    with postgres_database.begin() as connection:
        for name in ("one", "two"):
            clients.insert(connection, new_client(name))
    other = Database(postgres_database.engine.url.render_as_string(hide_password=False))
    queues = [WriteQueue(each, depth_max=10) for each in (postgres_database, other)]
    table, both_hold_one, tries = metadata.tables["clients"], threading.Barrier(2, timeout=WAIT_SECONDS_MAX), []

    def change(first, second):
        def work(connection):
            connection.execute(sa.update(table).where(table.c.name == first).values(scopes=f"{first} first"))
            if first not in tries:  # a second try meets nobody
                tries.append(first)
                both_hold_one.wait()
            connection.execute(sa.update(table).where(table.c.name == second).values(scopes=f"{first} first"))

        return work

    futures = [queues[0].submit(change("one", "two")), queues[1].submit(change("two", "one"))]
    outcomes = [future.exception(WAIT_SECONDS_MAX) for future in futures]
    for queue in queues:
        queue.close()
    other.dispose()

    assert outcomes == [None, None]
    assert sorted(tries) == ["one", "two"]
