"""
The tables of the service, and the database that holds them: SQLite in one file, or PostgreSQL.

Knows no entity's rules (see the module named after each table) and no HTTP.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from model.store import migrations, model_tables
from model.store.column_types import JSON, UtcTime
from model.store.driver_errors import down_reason, is_transient
from model.store.engines import LOG_PAGES, open_engine


class StoreError(RuntimeError):
    """A store did not do what it was asked; the message is fit for a log and names no secret, SQL or address."""


class StoreDownError(StoreError):
    """The database is not there, locked, full or read-only; the same call may succeed later."""


class StoreConflictError(StoreError):
    """Two transactions stood in each other's way and this one was rolled back: run it again."""


metadata = model_tables.metadata
"""Every table of the service, those of models among them."""

clients = Table(
    "clients",
    metadata,
    Column("name", sa.Text, primary_key=True),
    Column("secret_hash", sa.Text, nullable=False),
    Column("scopes", sa.Text, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("secret_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)

# The id is a content address: two clients that ask for the same get the same id, and a row each.
creatives = Table(
    "creatives",
    metadata,
    Column("client", sa.Text, primary_key=True),
    Column("id", sa.Text, primary_key=True),
    Column("sku", sa.Text, nullable=False),
    Column("channel", sa.Text, nullable=False),
    Column("validity", sa.Float, nullable=False),
    Column("bundle_digest", sa.Text, nullable=False),
    Column("product_digest", sa.Text, nullable=False),
    Column("document", JSON, nullable=False),
    Column("product", JSON, nullable=False),
    Column("batch_id", sa.Text),
    Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "id"),  # `adloom trace` knows no client
    sa.Index(None, "client", "created_at"),  # GET /v1/stats
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("client", sa.Text, nullable=False),
    Column("creative_id", sa.Text, nullable=False),
    Column("verdict", sa.Text, nullable=False),
    Column("edited", JSON),
    Column("reason", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("why", sa.Text, nullable=False),
    Column("holdout", sa.Boolean(create_constraint=False), nullable=False),
    Column("dataset_digest", sa.Text, nullable=False),
    Column("run_id", sa.Text, nullable=False),
    Column("served_version", sa.Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    sa.ForeignKeyConstraint(["client", "creative_id"], ["creatives.client", "creatives.id"]),
    sa.Index(None, "client", "created_at"),
    sa.Index(None, "state", "created_at"),
    sa.Index(None, "creative_id"),
    # One verdict of a client on a creative waits at a time, whatever two replicas do at once.
    sa.Index(
        "uq_feedback_waiting",
        "client",
        "creative_id",
        unique=True,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    ),
)

batches = Table(
    "batches",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("client", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("products", sa.Integer, nullable=False),
    Column("written", sa.Integer, nullable=False),
    Column("rejected", sa.Integer, nullable=False),
    Column("source", sa.Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("lease_owner", sa.Text),
    Column("lease_until", UtcTime),
    Column("started_at", UtcTime),
    sa.Index(None, "state", "created_at"),
    sa.Index(None, "client", "created_at"),
)

batch_items = Table(
    "batch_items",
    metadata,
    Column("batch_id", sa.Text, sa.ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("place", sa.Integer, primary_key=True, autoincrement=False),
    Column("product", JSON, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("creatives", JSON, nullable=False),
    Column("error", sa.Text, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Index(None, "batch_id", "state", "place"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", sa.Text, primary_key=True),
    Column("client", sa.Text, primary_key=True),
    Column("rows", sa.Integer, nullable=False),
    Column("rejected", sa.Integer, nullable=False),
    Column("object_key", sa.Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "created_at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("client", sa.Text, primary_key=True),
    Column("key", sa.Text, primary_key=True),
    Column("operation", sa.Text, nullable=False),
    Column("body_digest", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("status", sa.Integer, nullable=False),
    Column("answer", sa.Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "created_at"),
)

# One line an attempt: what a source gave, and what became of it.
ingests = Table(
    "ingests",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("source", sa.Text, nullable=False),
    Column("client", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("digest", sa.Text, nullable=False),
    Column("rows", sa.Integer, nullable=False),
    Column("accepted", sa.Integer, nullable=False),
    Column("rejected", sa.Integer, nullable=False),
    Column("merged", sa.Integer, nullable=False),
    Column("why", sa.Text, nullable=False),
    Column("quality_key", sa.Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=False),
    sa.Index(None, "source", "ended_at"),
)

source_cursors = Table(
    "source_cursors",
    metadata,
    Column("source", sa.Text, primary_key=True),
    Column("cursor", JSON, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

drift_reports = Table(
    "drift_reports",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("task", sa.Text, nullable=False),
    Column("mode", sa.Text, nullable=False),
    Column("window_start", UtcTime, nullable=False),
    Column("window_end", UtcTime, nullable=False),
    Column("rows", sa.Integer, nullable=False),
    Column("reference", sa.Text, nullable=False),
    Column("verdict", sa.Text, nullable=False),
    Column("why", sa.Text, nullable=False),
    Column("share", sa.Float, nullable=False),
    Column("hurts", sa.Boolean(create_constraint=False), nullable=False),
    Column("columns", JSON, nullable=False),
    Column("report_key", sa.Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "task", "mode", "window_end"),
)

_IS_OPEN = sa.text("state IN ('waiting', 'running')")
retrains = Table(
    "retrains",
    metadata,
    Column("id", sa.Text, primary_key=True),
    Column("task", sa.Text, nullable=False),
    Column("trigger", sa.Text, nullable=False),
    Column("cause", JSON, nullable=False),
    Column("asked_by", sa.Text, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("why", sa.Text, nullable=False),
    Column("dataset_digest", sa.Text, nullable=False),
    Column("run_id", sa.Text, nullable=False),
    Column("bundle_digest", sa.Text, nullable=False),
    Column("version", sa.Text, nullable=False),
    Column("before", JSON),
    Column("after", JSON),
    Column("helped", sa.Boolean(create_constraint=False)),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    sa.Index(None, "task", "created_at"),
    # One retrain of a task at a time, whoever asks.
    sa.Index("uq_retrains_open", "task", unique=True, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN),
)

rollbacks = Table(
    "rollbacks",
    metadata,
    *(
        Column(name, sa.Text, primary_key=name == "id", nullable=False)
        for name in ("id", "task", "asked_by", "reason", "state", "environment", "source", "target", "why")
    ),
    Column("attempt", sa.Text, nullable=False),
    Column("carrier", sa.Text, nullable=False),
    Column("lease_until", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    sa.Index(None, "task", "created_at"),
    # One rollback of a task at a time, whoever asks.
    sa.Index("uq_rollbacks_open", "task", unique=True, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN),
)

# How runs of DAGs ended. A run as a whole has no task.
pipeline_runs = Table(
    "pipeline_runs",
    metadata,
    Column("dag", sa.Text, primary_key=True),
    Column("run", sa.Text, primary_key=True),
    Column("task", sa.Text, primary_key=True),
    Column("state", sa.Text, primary_key=True),
    Column("at", UtcTime, nullable=False),
)


class Database:
    """
    Connections to one database; opens none before it is used. Threads may share it.

    On SQLite (WAL, synchronous NORMAL) a committed row survives a kill of the process. A power cut may take what
    was committed since the last checkpoint, some 1,000 pages of 4 kB, and damages nothing; add
    `?synchronous=FULL` to the address to lose nothing then either, at one forced write a commit. PostgreSQL loses
    nothing in both cases, as it is set up by default.
    """

    def __init__(self, url: str, *, log_pages_max: int = LOG_PAGES) -> None:
        """
        Raises ValueError where `url` names no database that we can use; the message does not repeat it.

        `log_pages_max`: when SQLite makes a checkpoint inside a commit; more where `checkpoint` is called beside them.
        """
        self.engine = open_engine(url, log_pages_max)

    @property
    def is_sqlite(self) -> bool:
        """One writer at a time, and only on this machine."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end, rolled back where something is raised."""
        with translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for reading one consistent state; what is written over it is rolled back."""
        with translated(), self.engine.connect() as connection:
            yield connection.execution_options(sqlite_begin="DEFERRED")

    def ping(self) -> None:
        """Raises StoreDownError where the database does not answer."""
        with self.connect() as connection:
            connection.execute(sa.select(1))

    def checkpoint(self) -> None:
        """
        Move what SQLite's log holds into its file, while others read and write; PostgreSQL does so by itself.

        Raises StoreDownError. Never waits: what somebody is in the way of is left for the next time.
        """
        if not self.is_sqlite:
            return
        with translated(), self.engine.connect() as connection:
            # By the driver: SQLAlchemy would begin a transaction, and a checkpoint takes place in none.
            driver: Any = connection.connection.driver_connection
            try:
                driver.execute("PRAGMA wal_checkpoint(PASSIVE)").close()
            except sqlite3.Error as error:
                raise DBAPIError.instance("PRAGMA wal_checkpoint", None, error, sqlite3.Error) from error

    def upgrade(self) -> None:
        """
        Bring the tables to what this code needs; nothing where they are.

        Replicas that start at once wait for each other. Raises StoreDownError, or MigrationError where a newer
        version of the code has been here.
        """
        if self.is_sqlite and self.engine.url.database:
            _make_folder(Path(self.engine.url.database).parent)
        with self.begin() as connection:
            migrations.upgrade(connection, metadata)

    def schema(self) -> tuple[str, str]:
        """Revision that the database has, empty before the first, and the one that this code needs."""
        with self.connect() as connection:
            return migrations.current(connection), migrations.head()

    def dispose(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()


def insert_new(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that leaves alone what is there already; `rowcount` of its result says whether that was so."""
    return _insert_new(connection.dialect.name, table)


@cache
def _insert_new(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Made once: making it, and having SQLAlchemy look at it, costs as much as a row."""
    build = postgresql.insert if dialect == "postgresql" else sqlite.insert
    # SQLAlchemy forgets an INSERT's rowcount otherwise, and then it is -1 on PostgreSQL.
    return build(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the driver that are not our mistake leave as StoreDownError or StoreConflictError."""
    try:
        yield
    except DBAPIError as error:
        if is_transient(error):
            raise StoreConflictError("another transaction was in the way; try again") from error
        if reason := down_reason(error):
            raise StoreDownError(f"the database cannot be used: {reason}") from error
        raise
    except PoolTimeoutError as error:
        raise StoreDownError("the database cannot be used: every connection is taken") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreDownError(f"the database cannot be used: {error.strerror or 'its folder cannot be made'}") from error
