"""
What an error of a database driver means: that the store is down, that a transaction met another, or that we are wrong.

Knows the codes of SQLite and PostgreSQL, and nothing of tables. No sentence here holds SQL, values or addresses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

SCHEMA = "its tables are missing or old: run `adloom database upgrade`"

SQLITE_REASONS: Mapping[int, str] = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: "another process keeps it locked",
        sqlite3.SQLITE_LOCKED: "another connection keeps it locked",
        sqlite3.SQLITE_READONLY: "it is read-only",
        sqlite3.SQLITE_IOERR: "its disk gives errors or is full",
        sqlite3.SQLITE_CORRUPT: "its file is damaged: restore it from a copy",
        sqlite3.SQLITE_FULL: "its disk is full: free some space",
        sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
        sqlite3.SQLITE_PERM: "its file may not be used by this user",
        sqlite3.SQLITE_NOTADB: "its file is no database",
        sqlite3.SQLITE_NOMEM: "memory ran out",
    }
)
"""By primary result code, https://www.sqlite.org/rescode.html."""

POSTGRES_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "08": "the connection is gone",
        "25006": "it is read-only",
        "42P01": SCHEMA,
        "42703": SCHEMA,
        "53100": "its disk is full: free some space",
        "53": "it has no connection or memory left",
        "55P03": "another connection keeps a row locked",
        "57014": "it took too long",
        "57": "it is stopping or starting",
        "58": "its disk gives errors",
        "XX": "it reports damage or a fault of its own",
    }
)
"""By SQLSTATE or its class, https://www.postgresql.org/docs/current/errcodes-appendix.html; the longer one counts."""

TRANSIENT_STATES = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same transaction may well succeed when it is run again."""


def down_reason(error: DBAPIError) -> str | None:
    """Why the database cannot be used, for a sentence "The database cannot be used: ..."; None where it can."""
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        return _sqlite_reason(origin)
    state = getattr(origin, "sqlstate", None)
    if state is None:
        return _connection_reason(origin) if isinstance(error, OperationalError | InterfaceError) else None
    return next((POSTGRES_REASONS[part] for part in (state, state[:2]) if part in POSTGRES_REASONS), None)


def is_transient(error: DBAPIError) -> bool:
    """Whether two transactions stood in each other's way and one was sent back."""
    return getattr(error.orig, "sqlstate", None) in TRANSIENT_STATES


def _connection_reason(origin: BaseException | None) -> str:
    """Before there is a connection psycopg gives no SQLSTATE, only the server's words, which name host and user."""
    if "FATAL" in str(origin):
        return "it refuses the connection, and its own log says why"
    return "it cannot be reached"


def _sqlite_reason(origin: sqlite3.Error) -> str | None:
    code = getattr(origin, "sqlite_errorcode", None)
    if code is None:
        return None
    if code == sqlite3.SQLITE_ERROR and str(origin).startswith(("no such table", "no such column")):
        return SCHEMA
    return SQLITE_REASONS.get(code & 0xFF)  # the low byte of an extended code is its primary code
