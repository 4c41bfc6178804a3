"""`adloom database`: says what is there, changes only what it is asked to."""

from __future__ import annotations

import pytest

from app.settings import Settings
from model.store import database_command, migrations
from model.store.tables import StoreDownError
from tests.real_parts import free_port


@pytest.fixture
def address(empty_url, monkeypatch):
    monkeypatch.setenv(database_command.URL_VARIABLE, empty_url)
    return empty_url


def test_upgrade_brings_a_database_to_what_this_version_needs(address, capsys):
    first, said = database_command.main(["upgrade"]), capsys.readouterr().out
    second = database_command.main(["upgrade"])
    status = database_command.main(["status"])

    assert (first, second, status) == (0, 0, 0)
    assert said == f"the database is at revision {migrations.head()}, which this version needs\n"


def test_status_of_a_database_without_tables_is_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(database_command.URL_VARIABLE, f"sqlite:///{tmp_path}/adloom.db")
    status = database_command.main(["status"])

    assert status == 1
    assert capsys.readouterr().out == f"the database is at revision none; this version needs {migrations.head()}\n"


def test_a_database_that_is_not_there_is_said_without_its_address(monkeypatch):
    url = f"postgresql+psycopg://adloom:hunter2@127.0.0.1:{free_port()}/adloom"
    monkeypatch.setenv(database_command.URL_VARIABLE, url)

    with pytest.raises(StoreDownError, match=r"cannot be reached$"):
        database_command.main(["status"])


def test_the_default_is_the_services_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    database_command.main(["upgrade"])

    assert Settings().database_url == database_command.URL_DEFAULT
    assert (tmp_path / ".adloom/service/adloom.db").is_file()
