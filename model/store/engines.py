"""
How this project opens a database: SQLite or PostgreSQL, their waits, and what is set on each connection.

Knows no table.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError

CONNECT_SECONDS = 3
"""A database that does not answer is down; libpq takes whole seconds from 2."""
WAIT_SECONDS = 5
"""Longest wait for a lock or a pooled connection: a request has better things to do, and 503 is an answer."""
STATEMENT_SECONDS = 30
"""No statement of ours takes a tenth of that; one that does holds locks that others wait for."""
LOG_PAGES = 1_000
"""SQLite's own choice, 4 MB."""
POOL_SIZE = 8
"""Connections of one process: the writer, some readers, the batch threads. As many again under load."""


def open_engine(url: str, log_pages_max: int) -> Engine:
    """
    Connects to nothing yet. `log_pages_max`: when SQLite makes a checkpoint inside a commit.

    Raises ValueError where `url` names no database that we can use; the message does not repeat it.
    """
    try:
        address = make_url(url)
    except ArgumentError:
        raise ValueError("the database address must be sqlite:///FILE or postgresql+psycopg://...") from None
    common: dict[str, Any] = {"hide_parameters": True, "pool_size": POOL_SIZE, "max_overflow": POOL_SIZE}
    common["pool_timeout"] = WAIT_SECONDS
    if address.drivername == "postgresql+psycopg":
        waits = f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={WAIT_SECONDS}s"
        waits += f" {address.query.get('options', '')}"  # what the address says comes last and so counts
        there = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": WAIT_SECONDS * 1000, "options": waits}
        return sa.create_engine(address, pool_pre_ping=True, connect_args=there, **common)
    if address.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ValueError("the database address must be sqlite:///FILE or postgresql+psycopg://...")
    if address.database in (None, "", ":memory:"):
        raise ValueError("a database in memory cannot be shared by threads: name a file, sqlite:///FILE")
    synchronous = str(address.query.get("synchronous", "NORMAL")).upper()
    if synchronous not in ("NORMAL", "FULL"):
        raise ValueError("synchronous in the database address must be NORMAL or FULL")
    address = address.difference_update_query(["synchronous"])
    engine = sa.create_engine(address, connect_args={"timeout": WAIT_SECONDS}, **common)
    event.listen(engine, "connect", partial(_prepare_sqlite, synchronous, log_pages_max))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(synchronous: str, log_pages_max: int, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # or the driver begins transactions behind our back, and too late
    log = f"wal_autocheckpoint = {log_pages_max}"
    for pragma in ("journal_mode = WAL", f"synchronous = {synchronous}", "foreign_keys = ON", log):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock first: one that reads and then writes could otherwise be refused without a wait."""
    kind = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {kind}")
