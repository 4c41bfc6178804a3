"""
Make clients of the API, list them, give them new secrets, and revoke them.

Writes to the database that $ADLOOM_DATABASE_URL names, the one `adloom serve` reads. A secret is shown once and kept
nowhere: the database has its hash.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from app.cli import EXIT_FAILED, EXIT_USAGE, CommandParser
from app.client_secrets import NAME_PATTERN, hash_secret, new_secret
from app.identity import SCOPES
from app.limits import check_limit
from app.settings import Settings
from model.store import clients
from model.store.clients import Client
from model.store.tables import Database, StoreError

EXAMPLE = """\
example:
  adloom client create shop --scope creatives:write --scope creatives:read --limit writeCreatives=60/minute
  adloom client list
  adloom client rotate shop
  adloom client revoke shop

create and rotate print two lines, client_id=... and client_secret=...: keep the secret, it is not shown again.
Exchange it for a token with POST /v1/token.
"""
OPERATION_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: no such client, name taken, or no database; 2: wrong arguments."""
    arguments = _parser().parse_args(argv)
    try:
        database = Database(Settings().database_url)
    except (ValidationError, ValueError) as error:
        return _fail(f"ADLOOM_DATABASE_URL: {_reason(error)}", EXIT_USAGE)
    try:
        if database.is_sqlite:
            database.upgrade()  # the embedded default needs no step of its own; a shared one is migrated by a job
        return _run(arguments, database)
    except StoreError as error:
        return _fail(f"{error}.", EXIT_FAILED)
    finally:
        database.dispose()


def create_client(database: Database, name: str, scopes: Iterable[str], limits: Mapping[str, str] | None = None) -> str:
    """The new client's secret. Raises ClientExistsError, StoreDownError."""
    secret = new_secret()
    now = datetime.now(UTC)
    row = Client(
        name=name,
        secret_hash=hash_secret(secret),
        scopes=frozenset(scopes),
        limits=dict(limits or {}),
        created_at=now,
        secret_at=now,
    )
    with database.begin() as connection:
        clients.insert(connection, row)
    return secret


def rotate_client(database: Database, name: str) -> str | None:
    """
    A new secret, from which on older tokens are refused; None where there is no such client, or it is revoked.

    Raises StoreDownError.
    """
    secret = new_secret()
    hashed = hash_secret(secret)  # before the transaction: SQLite has one writer, and this takes a while
    with database.begin() as connection:
        is_rotated = clients.rotate(connection, name, hashed, datetime.now(UTC))
    return secret if is_rotated else None


def _run(arguments: argparse.Namespace, database: Database) -> int:
    if arguments.action == "list":
        with database.connect() as connection:
            _show(clients.listed(connection))
        return 0
    name: str = arguments.name
    if arguments.action == "create":
        return _tell(name, create_client(database, name, arguments.scope, dict(arguments.limit)))
    if arguments.action == "rotate":
        return _tell(name, rotate_client(database, name))
    with database.begin() as connection:
        is_revoked = clients.revoke(connection, name, datetime.now(UTC))
    if not is_revoked:
        return _unknown(name)
    print(f"{name} is revoked: its tokens are refused within ADLOOM_CLIENT_CACHE_SECONDS.")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom client",
        description="Make clients of the API, list them, give them new secrets, and revoke them.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a client and print its secret, once")
    create.add_argument("name", type=_name, metavar="NAME", help="1 to 64 letters, digits, dots, dashes, underscores")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=list(SCOPES),
        help="what it may do; repeat for more: " + ", ".join(SCOPES),
        metavar="SCOPE",
    )
    create.add_argument(
        "--limit",
        action="append",
        default=[],
        type=_limit,
        metavar="OPERATION=LIMIT",
        help="its own limit for one operation of the API, like writeCreatives=60/minute; repeat for more",
    )
    actions.add_parser("list", help="show every client, revoked ones too")
    for action, words in (("rotate", "give it a new secret; tokens of the old one end"), ("revoke", "end it for good")):
        actions.add_parser(action, help=words).add_argument("name", type=_name, metavar="NAME")
    return parser


def _name(text: str) -> str:
    if not NAME_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError("a name is 1 to 64 letters, digits, dots, dashes and underscores")
    return text


def _limit(text: str) -> tuple[str, str]:
    operation, _, limit = text.partition("=")
    try:
        check_limit(limit)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not OPERATION_PATTERN.fullmatch(operation):
        raise argparse.ArgumentTypeError("write OPERATION=LIMIT; /docs names every operation")
    return operation, limit


def _tell(name: str, secret: str | None) -> int:
    if secret is None:
        return _unknown(name)
    print(f"client_id={name}\nclient_secret={secret}")
    return 0


def _show(rows: Sequence[Client]) -> None:
    """One line each, for people."""
    if not rows:
        print("No client yet: make one with `adloom client create NAME --scope creatives:write`.")
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        state = f"revoked {row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else f"since {row.created_at:%Y-%m-%d}"
        limits = "".join(f" {operation}={limit}" for operation, limit in sorted(row.limits.items()))
        print(f"{row.name:<{width}}  {state:<24}  {' '.join(sorted(row.scopes))}{limits}")


def _unknown(name: str) -> int:
    return _fail(f"there is no client {name!r}, or it is revoked: see `adloom client list`.", EXIT_FAILED)


def _reason(error: Exception) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)


def _fail(message: str, status: int) -> int:
    print(f"adloom: error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
