"""The database itself: how it is reached, made, upgraded, and how it fails."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from model.store import clients
from model.store.migrations import MigrationError, versions
from model.store.tables import Database, StoreDownError, insert_new, metadata
from tests.model.store.rows import NOON, new_client, new_feedback
from tests.real_parts import free_port


def column_facts(database):
    """What is really there: types, nulls, keys, indexes with their conditions."""
    looked = sa.inspect(database.engine)
    return {
        table: (
            [(each["name"], str(each["type"]), each["nullable"]) for each in looked.get_columns(table)],
            looked.get_pk_constraint(table)["constrained_columns"],
            sorted((str(each["name"]), each["options"]) for each in looked.get_foreign_keys(table)),
            sorted(
                (each["name"], each["column_names"], bool(each["unique"]), "where" in str(each.get("dialect_options")))
                for each in looked.get_indexes(table)
            ),
        )
        for table in metadata.tables
    }


def test_migrations_make_what_the_tables_say(database, tmp_path, request):
    with database.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)
    if database.is_sqlite:
        made = Database(f"sqlite:///{tmp_path}/made.db")
    else:
        made = Database(request.getfixturevalue("postgres").new_database())
    metadata.create_all(made.engine)
    expected = column_facts(made)
    made.dispose()

    assert differences == []
    assert column_facts(database) == expected


def test_every_revision_file_is_listed_and_follows_the_one_before():
    files = sorted(path.stem for path in Path(versions.__path__[0]).glob("r*.py"))

    assert [revision.__name__.rsplit(".", 1)[1] for revision in versions.REVISIONS] == files
    assert [revision.down_revision for revision in versions.REVISIONS] == [
        None,
        *(revision.revision for revision in versions.REVISIONS[:-1]),
    ]


def test_a_new_database_has_no_revision_and_then_the_newest(empty_url):
    database = Database(empty_url)
    database.upgrade()
    with database.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE alembic_version"))  # SQLite makes its file here at the latest
    before = database.schema()
    database.upgrade()
    after = database.schema()
    database.dispose()

    assert before == ("", "0006")
    assert after == ("0006", "0006")


def test_an_upgrade_of_what_is_up_to_date_changes_nothing_and_says_nothing(database, caplog, capfd):
    caplog.set_level(logging.INFO)
    with database.begin() as connection:
        clients.insert(connection, new_client())
    database.upgrade()

    with database.connect() as connection:
        assert [client.name for client in clients.listed(connection)] == ["shop"]
    assert [record for record in caplog.records if record.name.startswith("alembic")] == []
    assert capfd.readouterr() == ("", "")


def test_replicas_that_start_at_once_upgrade_once(empty_url):
    failures = []

    def start():
        replica = Database(empty_url)
        try:
            replica.upgrade()
        except Exception as error:  # noqa: BLE001 -- any of them is a failure of the test
            failures.append(error)
        finally:
            replica.dispose()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    database = Database(empty_url)
    schema = database.schema()
    database.dispose()

    assert failures == []
    assert schema == ("0006", "0006")


def test_a_database_of_a_newer_version_is_refused_and_left_alone(empty_url):
    database = Database(empty_url)
    database.upgrade()
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(MigrationError, match="newer version"):
        database.upgrade()
    schema = database.schema()
    database.dispose()

    assert schema == ("9999", "0006")


def test_times_come_back_in_utc_to_the_microsecond(database):
    at = datetime(2026, 3, 1, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.begin() as connection:
        clients.insert(connection, new_client(created_at=at))
        found = clients.find(connection, "shop")

    assert found.created_at == at
    assert found.created_at.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(database):
    with pytest.raises(sa.exc.StatementError, match="without a zone"), database.begin() as connection:
        clients.insert(connection, new_client(created_at=datetime(2026, 1, 1)))  # noqa: DTZ001 -- the point


def test_a_transaction_is_kept_whole_or_not_at_all(database):
    def half_of_it():
        with database.begin() as connection:
            clients.insert(connection, new_client())
            raise KeyError

    with pytest.raises(KeyError):
        half_of_it()
    with database.connect() as connection:
        assert clients.listed(connection) == []


def test_what_is_written_over_a_reading_connection_is_not_kept(database):
    with database.connect() as connection:
        clients.insert(connection, new_client())

    with database.connect() as connection:
        assert clients.listed(connection) == []


def test_a_row_that_points_nowhere_is_refused(database):
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(
            sa.insert(metadata.tables["feedback"]).values(
                {name: getattr(new_feedback(), name) for name in new_feedback().__slots__}
            )
        )


def test_an_error_of_the_driver_tells_no_values(database):
    row = {"name": "n", "secret_hash": "hunter2", "scopes": "", "limits": {}, "created_at": NOON, "secret_at": NOON}
    with pytest.raises(IntegrityError) as caught, database.begin() as connection:
        connection.execute(sa.insert(metadata.tables["clients"]), [row, row])

    assert "hunter2" not in str(caught.value)


def test_a_database_without_tables_says_what_to_run(empty_url, tmp_path):
    (tmp_path / "kept").mkdir(exist_ok=True)
    database = Database(empty_url)
    with pytest.raises(StoreDownError, match="adloom database upgrade") as caught, database.connect() as connection:
        clients.listed(connection)
    database.dispose()

    assert "SELECT" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://user:hunter2@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+asyncpg://u:hunter2@h/d",
    ],
)
def test_an_address_of_no_use_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="database") as caught:
        Database(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("given", "pragma"), [("", 1), ("?synchronous=NORMAL", 1), ("?synchronous=full", 2)])
def test_sqlite_forces_commits_to_disk_as_the_address_says(given, pragma, tmp_path):
    database = Database(f"sqlite:///{tmp_path}/adloom.db{given}")
    with database.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    database.dispose()

    assert found == ["wal", pragma, 1]


def test_sqlite_refuses_another_value_of_synchronous(tmp_path):
    with pytest.raises(ValueError, match="NORMAL or FULL"):
        Database(f"sqlite:///{tmp_path}/adloom.db?synchronous=OFF")


def test_a_server_that_is_not_there_is_known_in_seconds_and_not_named():
    database = Database(f"postgresql+psycopg://adloom:hunter2@127.0.0.1:{free_port()}/adloom")
    started = datetime.now(UTC)
    with pytest.raises(StoreDownError, match="cannot be reached") as caught:
        database.ping()
    database.dispose()

    assert datetime.now(UTC) - started < timedelta(seconds=4)
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "adloom.db").write_bytes(b"not a database, and long enough to be read as one" * 100)
    database = Database(f"sqlite:///{tmp_path}/adloom.db")
    with pytest.raises(StoreDownError, match="no database"):
        database.ping()
    database.dispose()


def test_a_folder_that_cannot_be_made_is_said_without_its_path(tmp_path):
    (tmp_path / "file").touch()
    database = Database(f"sqlite:///{tmp_path}/file/adloom.db")
    with pytest.raises(StoreDownError) as caught:
        database.upgrade()

    assert str(tmp_path) not in str(caught.value)


def test_insert_new_leaves_what_is_there(database):
    table = metadata.tables["clients"]
    row = {"name": "n", "scopes": "", "limits": {}, "created_at": NOON, "secret_at": NOON}
    with database.begin() as connection:
        counts = [
            connection.execute(insert_new(connection, table).values(secret_hash=secret, **row)).rowcount
            for secret in ("first", "second")
        ]
        kept = clients.find(connection, "n").secret_hash

    assert counts == [1, 0]
    assert kept == "first"
