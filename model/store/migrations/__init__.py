"""
Alembic, without its ini file: which revision a database has, and the way to the one that this code needs.

Knows no table; versions/ holds one file for each change of them, by hand.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError

from model.store.migrations.versions import REVISIONS

LOCK_NUMBER = 4_102_019_531
"""Any number, the same for all replicas: PostgreSQL's advisory lock that the first to migrate holds."""


class MigrationError(RuntimeError):
    """The database is newer than this code, or its revision is none of ours."""


def head() -> str:
    """The revision that this code needs."""
    newest: str = REVISIONS[-1].revision
    return newest


def current(connection: sa.Connection) -> str:
    """The revision that the database has; empty before the first."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def upgrade(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """
    Run what is missing in the transaction that `connection` is in: all of it is committed, or nothing.

    Raises MigrationError.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every start at level INFO
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text("SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock(:number)"),
            {"number": LOCK_NUMBER},
        )
    scripts = ScriptDirectory(str(Path(__file__).parent))

    def steps(revision: Any, _context: MigrationContext) -> list[Any]:
        found: list[Any] = scripts._upgrade_revs("head", revision)  # noqa: SLF001 -- as alembic.command.upgrade does
        return found

    try:
        with EnvironmentContext(Config(), scripts, fn=steps) as environment:
            environment.configure(connection=connection, target_metadata=metadata)
            environment.run_migrations()
    except (CommandError, ResolutionError) as error:
        raise MigrationError(
            "the database was made by a newer version of Adloom: start that version, or restore an older copy"
        ) from error
