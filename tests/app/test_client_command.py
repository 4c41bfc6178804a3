"""`adloom client`: makes clients, shows a secret once, and says what went wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from app.client_command import main
from model.store import clients
from model.store.clients import Client
from model.store.tables import Database


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that does not exist yet, in the environment of the command."""
    url = f"sqlite:///{tmp_path}/service/adloom.db"
    monkeypatch.setenv("ADLOOM_DATABASE_URL", url)
    return url


def rows(url: str) -> dict[str, Client]:
    database = Database(url)
    with database.connect() as connection:
        found = {row.name: row for row in clients.listed(connection)}
    database.dispose()
    return found


def fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


CREATE = ("create", "shop", "--scope", "creatives:write")


def test_create_prints_the_secret_once_and_keeps_its_hash(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([*CREATE, "--scope", "creatives:read", "--limit", "writeCreatives=60/minute"])
    printed = fields(capsys.readouterr().out)
    main(["list"])
    listed = capsys.readouterr().out
    row = rows(url)["shop"]

    assert status == 0
    assert printed["client_id"] == "shop"
    assert PasswordHasher().verify(row.secret_hash, printed["client_secret"])
    assert (row.scopes, row.limits) == ({"creatives:write", "creatives:read"}, {"writeCreatives": "60/minute"})
    assert "shop" in listed
    assert "creatives:read creatives:write writeCreatives=60/minute" in listed
    assert printed["client_secret"] not in listed
    assert row.secret_hash not in listed


def test_a_name_is_given_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE])
    before = rows(url)["shop"]
    capsys.readouterr()
    status = main([*CREATE])
    printed = capsys.readouterr()

    assert (status, printed.out) == (1, "")
    assert printed.err == "adloom: error: there is a client 'shop' already; choose another name.\n"
    assert rows(url)["shop"] == before


def test_rotate_changes_the_secret_and_when_it_is_from(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE])
    first = fields(capsys.readouterr().out)["client_secret"]
    before = rows(url)["shop"]
    status = main(["rotate", "shop"])
    second = fields(capsys.readouterr().out)["client_secret"]
    after = rows(url)["shop"]

    assert status == 0
    assert first != second
    assert PasswordHasher().verify(after.secret_hash, second)
    assert after.secret_at > before.secret_at
    assert (after.scopes, after.created_at) == (before.scopes, before.created_at)


def test_revoke_ends_a_client_for_good(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE])
    statuses = [main(["revoke", "shop"]), main(["revoke", "shop"]), main(["rotate", "shop"]), main([*CREATE])]
    capsys.readouterr()
    main(["list"])

    assert statuses == [0, 1, 1, 1]
    assert rows(url)["shop"].revoked_at is not None
    assert "revoked" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_a_client_that_is_not_there_is_said_to_be_so(url: str, action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([action, "nobody"]) == 1
    assert capsys.readouterr().err == (
        "adloom: error: there is no client 'nobody', or it is revoked: see `adloom client list`.\n"
    )
    assert rows(url) == {}


def test_an_empty_list_says_how_to_make_the_first(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "adloom client create" in capsys.readouterr().out
    assert rows(url) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["create"],
        ["create", "shop"],
        ["create", "shop", "--scope", "everything"],
        ["create", "", "--scope", "creatives:write"],
        ["create", "a/b", "--scope", "creatives:write"],
        ["create", "-x", "--scope", "creatives:write"],
        ["create", "a\nb", "--scope", "creatives:write"],
        ["create", "n" * 65, "--scope", "creatives:write"],
        [*CREATE, "--limit", "60/minute"],
        [*CREATE, "--limit", "writeCreatives=0/minute"],
        [*CREATE, "--limit", "write creatives=1/minute"],
        ["revoke"],
        ["rotate", "../shop"],
        ["delete", "shop"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_one_line_and_change_nothing(
    url: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err

    assert stop.value.code == 2
    assert error.startswith("adloom: error: ")
    assert error.count("\n") == 1
    assert not Path(url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    ("address", "status"),
    [("mysql://user:hunter2@h/x", 2), ("nonsense", 2), ("sqlite:////proc/none/adloom.db", 1),
     ("postgresql+psycopg://user:hunter2@127.0.0.1:1/x", 1)],
)  # fmt: skip
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(
    address: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADLOOM_DATABASE_URL", address)

    assert main(["list"]) == status
    error = capsys.readouterr().err
    assert error.startswith("adloom: error: ")
    assert error.count("\n") == 1
    assert "hunter2" not in error


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    assert "adloom client create shop --scope creatives:write" in capsys.readouterr().out
