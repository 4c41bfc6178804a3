"""Rows of which a task has one open at a time, as retrains and rollbacks: of many who ask at once, one is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from model.store.tables import StoreConflictError, insert_new

OPEN = ("waiting", "running")
_ATTEMPTS = 5
"""The one that was open may end between two statements; that it happens five times in a row is not chance."""

Row = TypeVar("Row")


def ask(
    connection: Connection,
    table: Table,
    values: Mapping[str, Any],
    find: Callable[[Connection, str], Row | None],
    find_open: Callable[[Connection, str], Row | None],
) -> tuple[Row, bool]:
    """
    The row of `values`, waiting, and True; or the open one of the same task that stands in its way, and False.

    Asked again it finds its own. Raises StoreConflictError where others come and go all the time.
    """
    for _ in range(_ATTEMPTS):
        connection.execute(insert_new(connection, table).values(**values, state="waiting"))
        if (row := find(connection, values["id"])) is not None:
            return row, True
        if (row := find_open(connection, values["task"])) is not None:
            return row, False
    raise StoreConflictError(f"other {table.name} came and went meanwhile; try again")
