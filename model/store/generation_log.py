"""
Every generation as one JSON line in the object store, in files by day and hour.

Knows nothing of what a record says. Whoever writes is never kept waiting: a thread puts the rows away.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from model.store.objects import ObjectStore
from model.store.tables import StoreError

JOIN_SECONDS_MAX = 30.0
"""How long `close` waits for the last file; a store that is down is known to be so before that."""

log = logging.getLogger("adloom.generation_log")

Row = tuple[datetime, float, Mapping[str, Any]]
"""When it came, by the calendar and by a clock in seconds that nobody sets, and what it says."""


class GenerationLog:
    """
    Rows on their way to `generations/date=YYYY-MM-DD/hour=HH/<host>-<start>-<number>.jsonl`, dates and hours in UTC.

    A file is written once `rows_max` rows wait or the oldest has waited `flush_seconds`, so a crash takes no more
    than that. While the store is down at most `rows_held_max` rows are held; then the oldest are dropped.
    """

    def __init__(
        self,
        objects: ObjectStore,
        *,
        rows_max: int,
        flush_seconds: float,
        rows_held_max: int,
        host: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._objects = objects
        self._rows_max = rows_max
        self._flush_seconds = flush_seconds
        self._rows_held_max = max(rows_held_max, rows_max)
        self._now = now
        # Two processes of one host may start in the same microsecond; they do not have the same number.
        self._name = f"{re.sub(r'[^A-Za-z0-9_-]', '-', host)[:80] or 'host'}-{now():%Y%m%dT%H%M%S%f}-{os.getpid()}"
        self._rows: deque[Row] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._in_hand = 0
        """Rows of the file that is being written."""
        self._files = 0
        self._dropped = 0
        self._trouble = ""

    @property
    def held(self) -> int:
        """Rows that are not in the object store yet."""
        return len(self._rows) + self._in_hand

    @property
    def dropped(self) -> int:
        """Rows that never got there."""
        return self._dropped

    def trouble(self) -> str:
        """Why the latest file could not be written; empty where it could."""
        return self._trouble

    def append(self, record: Mapping[str, Any]) -> None:
        """Take a row; it must not be changed afterwards. Never blocks on the store and never raises."""
        with self._changed:
            if self._is_closed:
                self._dropped += 1
                return
            self._rows.append((self._now(), time.monotonic(), record))
            while self.held > self._rows_held_max and self._rows:
                self._rows.popleft()
                self._dropped += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="adloom-generation-log", daemon=True)
                self._thread.start()
            if len(self._rows) in {1, self._rows_max}:  # the clock of the first row starts; a file is full
                self._changed.notify()

    def close(self) -> None:
        """Write what is held, once: what a store that is down does not take is dropped, and counted."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS_MAX)

    def _work(self) -> None:
        while self._wait_for_file():
            if self._write_one():
                continue
            with self._changed:
                if self._is_closed:
                    self._dropped += len(self._rows)
                    self._rows.clear()
                else:
                    self._changed.wait(self._flush_seconds)  # then the store is tried again

    def _wait_for_file(self) -> bool:
        """Until a file is due; False where the log is closed and everything is written."""
        with self._changed:
            while True:
                if self._is_closed or len(self._rows) >= self._rows_max:
                    return bool(self._rows)
                if not self._rows:
                    self._changed.wait()
                    continue
                left_seconds = self._rows[0][1] + self._flush_seconds - time.monotonic()
                if left_seconds <= 0:
                    return True
                self._changed.wait(left_seconds)

    def _write_one(self) -> bool:
        """
        One file with the oldest rows of one hour; False where the store did not take it.

        A try that failed is repeated under the same name: one that arrived in spite of its error is written over and
        not doubled.
        """
        hour, rows = self._take_hour()
        lines, unreadable = _lines(rows)
        try:
            if lines:
                self._objects.put(f"generations/{hour}/{self._name}-{self._files:06d}.jsonl", lines)
        except StoreError as error:
            self._give_back(rows)
            if not self._trouble:
                log.warning("generations are held in memory: %s", error)
            self._trouble = str(error)
            return False
        if self._trouble:
            log.warning("generations are written again; %d were dropped so far", self._dropped)
        with self._changed:
            self._trouble = ""
            self._files += bool(lines)
            self._dropped += unreadable
            self._in_hand = 0
        return True

    def _take_hour(self) -> tuple[str, list[Row]]:
        with self._changed:
            hour = _hour(self._rows[0])
            waiting = itertools.islice(self._rows, self._rows_max)
            rows = list(itertools.takewhile(lambda row: _hour(row) == hour, waiting))
            for _ in rows:
                self._rows.popleft()
            self._in_hand = len(rows)
            return hour, rows

    def _give_back(self, rows: Sequence[Row]) -> None:
        with self._changed:
            self._rows.extendleft(reversed(rows))
            self._in_hand = 0


def _hour(row: Row) -> str:
    return f"{row[0]:date=%Y-%m-%d/hour=%H}"


def _lines(rows: Sequence[Row]) -> tuple[bytes, int]:
    """JSON Lines, and how many rows are not JSON; one such row must not hold up the others."""
    lines: list[str] = []
    for _, _, record in rows:
        try:
            lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        except (TypeError, ValueError, RecursionError) as error:
            log.warning("a generation is not JSON and is dropped: %s", type(error).__name__)
    return "".join(lines).encode(errors="backslashreplace"), len(rows) - len(lines)
