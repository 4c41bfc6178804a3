"""The database when something breaks: a lock, a restart, a deadlock, a full disk, a kill."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from model.store import clients, creatives
from model.store.driver_errors import down_reason
from model.store.tables import Database, StoreConflictError, StoreDownError, metadata
from tests.model.store.rows import new_client, new_creative
from tests.real_parts import wait_until


def test_a_locked_database_is_down_after_a_wait_and_then_back(sqlite_database, monkeypatch):
    impatient = Database(str(sqlite_database.engine.url))
    sa.event.listen(impatient.engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout = 50").close())
    with (
        sqlite_database.begin(),
        pytest.raises(StoreDownError, match="locked"),
        impatient.begin(),
    ):
        pass
    with impatient.begin() as connection:
        clients.insert(connection, new_client())
    impatient.dispose()

    with sqlite_database.connect() as connection:
        assert len(clients.listed(connection)) == 1


def test_readers_do_not_wait_for_a_writer(sqlite_database):
    with sqlite_database.begin() as writing, sqlite_database.connect() as reading:
        clients.insert(writing, new_client())

        assert clients.listed(reading) == []


def test_postgres_stopped_and_started_again_is_used_again_by_itself(postgres, postgres_database):
    with postgres_database.begin() as connection:
        creatives.insert(connection, [new_creative("cr_before")])
    postgres.stop()
    try:
        with pytest.raises(StoreDownError):
            postgres_database.ping()
    finally:
        postgres.start()
    postgres_database.ping()
    with postgres_database.begin() as connection:
        creatives.insert(connection, [new_creative("cr_after")])

    with postgres_database.connect() as connection:
        assert creatives.count(connection) == 2


def test_postgres_stopped_in_mid_transaction_keeps_nothing_of_it(postgres, postgres_database):
    def interrupted():
        with postgres_database.begin() as connection:
            creatives.insert(connection, [new_creative("cr_lost")])
            postgres.stop()
            postgres.start()
            creatives.insert(connection, [new_creative("cr_lost_too")])

    with pytest.raises(StoreDownError):
        interrupted()

    with postgres_database.connect() as connection:
        assert creatives.count(connection) == 0


def test_two_transactions_that_wait_for_each_other_are_told_apart_from_a_database_that_is_down(postgres_database):
    both_hold_one, outcomes = threading.Barrier(2, timeout=60), []
    table = metadata.tables["clients"]

    def change(first, second):
        try:
            with postgres_database.begin() as connection:
                connection.execute(sa.update(table).where(table.c.name == first).values(scopes="a"))
                both_hold_one.wait()
                connection.execute(sa.update(table).where(table.c.name == second).values(scopes="b"))
            outcomes.append("kept")
        except StoreConflictError:
            outcomes.append("conflict")

    with postgres_database.begin() as connection:
        for name in ("one", "two"):
            clients.insert(connection, new_client(name))
    threads = [threading.Thread(target=change, args=order) for order in (("one", "two"), ("two", "one"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(outcomes) == ["conflict", "kept"]


FILL = """
import resource, signal, sys
from model.store import creatives
from model.store.tables import Database, StoreDownError
from tests.model.store.rows import new_creative

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
database = Database(sys.argv[1])
kept = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    while kept < 10_000:
        with database.begin() as connection:
            creatives.insert(connection, [new_creative(f"cr_{kept}", document={"body": "x" * 4000})])
        kept += 1
        print(kept, flush=True)
except StoreDownError as error:
    print(error, flush=True)
"""


def test_a_full_disk_loses_nothing_that_was_acknowledged(sqlite_database):
    bytes_max = 512 * 1024
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(sqlite_database.engine.url), str(bytes_max)],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    *_, acknowledged, said = done.stdout.splitlines()
    with sqlite_database.connect() as connection:
        kept = creatives.count(connection)
    with sqlite_database.begin() as connection:
        creatives.insert(connection, [new_creative("cr_once_more")])
        sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()

    assert kept == int(acknowledged) > 10
    assert said.startswith("the database cannot be used: its disk")
    assert sound == "ok"


WRITE_FOR_EVER = """
import itertools, sys
from model.store import creatives
from model.store.tables import Database
from model.store.write_queue import WriteQueue
from tests.model.store.rows import new_creative

queue = WriteQueue(Database(sys.argv[1]), depth_max=1000)
for number in itertools.count():
    rows = [new_creative(f"cr_{number}")]
    queue.submit(lambda connection: creatives.insert(connection, rows)).result()
    print(number + 1, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(sqlite_database):
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(sqlite_database.engine.url)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == 50:
                process.kill()
                break
        acknowledged = 50 + len(process.stdout.read().splitlines())
    with sqlite_database.connect() as connection:
        kept = creatives.count(connection)

    assert kept in {acknowledged, acknowledged + 1}  # one may be committed and not printed


def test_every_connection_that_is_taken_makes_the_next_wait_and_then_say_so(sqlite_database, monkeypatch):
    monkeypatch.setattr(sqlite_database.engine.pool, "_timeout", 0.05)
    held = [sqlite_database.engine.connect() for _ in range(16)]
    try:
        with pytest.raises(StoreDownError, match="every connection is taken"):
            sqlite_database.ping()
    finally:
        for connection in held:
            connection.close()
    wait_until(lambda: sqlite_database.ping() is None, "a free connection")


def test_a_read_only_server_is_said_to_be_one(postgres_database):
    address = postgres_database.engine.url
    options = f"{address.query['options']} -c default_transaction_read_only=on"
    url = address.update_query_dict({"options": options}).render_as_string(hide_password=False)
    database = Database(url)
    database.ping()
    with pytest.raises(StoreDownError, match=r"it is read-only$"), database.begin() as connection:
        clients.insert(connection, new_client())
    database.dispose()


def test_a_read_only_file_is_said_to_be_one(sqlite_database):
    with sqlite_database.begin() as connection:  # in WAL mode already, or opening it would be a change
        clients.insert(connection, new_client())
    database = Database(f"sqlite:///file:{sqlite_database.engine.url.database}?mode=ro&uri=true")
    database.ping()
    with pytest.raises(StoreDownError, match=r"it is read-only$"), database.begin() as connection:
        clients.insert(connection, new_client("other"))
    database.dispose()


def test_a_server_that_refuses_us_is_told_apart_from_one_that_is_gone(postgres):
    database = Database(postgres.url("nobody_made_this"))
    with pytest.raises(StoreDownError, match=r"refuses the connection, and its own log says why$") as caught:
        database.ping()
    database.dispose()

    assert "nobody_made_this" not in str(caught.value)


def test_a_statement_that_takes_too_long_is_stopped(postgres_database):
    hurried = "SELECT set_config('statement_timeout', '50ms', true), pg_sleep(0)"
    with postgres_database.connect() as connection:
        connection.execute(sa.text(hurried))
        with pytest.raises(sa.exc.OperationalError) as caught:
            connection.execute(sa.text("SELECT pg_sleep(5)"))

    assert down_reason(caught.value) == "it took too long"


def test_a_mistake_of_ours_is_not_called_a_database_that_is_down(database):
    with pytest.raises(sa.exc.DBAPIError) as caught, database.begin() as connection:
        connection.execute(sa.text("SELEC 1"))

    assert not isinstance(caught.value, StoreDownError)
