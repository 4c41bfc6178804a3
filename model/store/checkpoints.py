"""
Moves SQLite's write-ahead log into its file beside the commits, and not inside one of them.

Knows no table; of a database only that it can be told to.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from model.store.tables import StoreError

CHANGES_BETWEEN = 200
"""About 1,000 pages of creatives, which is where SQLite itself would begin."""
JOIN_SECONDS_MAX = 10.0

log = logging.getLogger("adloom.checkpoints")


class HasLog(Protocol):
    """`model.store.tables.Database`, as far as its log goes."""

    def checkpoint(self) -> None:
        """Raises StoreError."""
        ...


class Checkpoints:
    """
    One after every CHANGES_BETWEEN changes, by a thread that starts with the first.

    A checkpoint forces two files to disk, which takes 10 to 20 ms; inside a commit, as SQLite has it by default, all
    who wait for that commit wait for it too.
    """

    def __init__(self, database: HasLog) -> None:
        self._database = database
        self._changes = 0
        self._due = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def count(self, changes: int) -> None:
        """So many more are committed. For one thread; waits for nothing."""
        self._changes += changes
        if self._changes < CHANGES_BETWEEN:
            return
        self._changes = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="adloom-checkpoints", daemon=True)
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Finish the one in progress. What is left in the log is read from there, whoever comes next."""
        self._is_closed = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS_MAX)

    def _work(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._is_closed:
                return
            try:
                self._database.checkpoint()
            except StoreError as error:  # the log grows until SQLite does it inside a commit, and that one will tell
                log.warning("no checkpoint: %s", error)
