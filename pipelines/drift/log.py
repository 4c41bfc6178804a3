"""
A stretch of the generation log, line by line, whatever its last lines look like.

Knows no statistics. A line that cannot be read is counted and passed over: a file may be written at this moment.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np

from model.store.objects import ObjectStore
from pipelines.drift.ad_record import BadRecordError, Record, moment_of, record_of

LOG_PREFIX = "generations"
HOUR = timedelta(hours=1)
HOURS_MAX = 24 * 92
"""A quarter: who asks for more has mistyped a year."""
_TIME_CHARS = len("2026-01-15T12:00:00.000")
_UTC = "+00:00"


class Stretch:
    """Records made from `start` until before `end`; may be read more than once, `skipped` counts the latest time."""

    def __init__(self, objects: ObjectStore, start: datetime, end: datetime) -> None:
        """Raises ValueError for a stretch of no time, or of more than `HOURS_MAX`."""
        if not start < end:
            raise ValueError("the window has to end after it begins")
        if end - start > HOURS_MAX * HOUR:
            raise ValueError(f"the window is longer than {HOURS_MAX // 24} days: name a shorter one")
        self.start, self.end = start.astimezone(UTC), end.astimezone(UTC)
        self._objects = objects
        self._first, self._until = _as_logged(self.start), _as_logged(self.end)
        self.skipped = 0
        """Lines that are no record."""

    def until(self, middle: datetime) -> Stretch:
        """The part before."""
        return Stretch(self._objects, self.start, middle)

    def after(self, middle: datetime) -> Stretch:
        """The rest."""
        return Stretch(self._objects, middle, self.end)

    def records(self) -> Iterator[Record]:
        """In the order of files and lines."""
        self.skipped = 0
        for line in self._lines():
            try:
                record = record_of(line)
                if self._first <= _moment(record.time) < self._until:
                    yield record
            except BadRecordError:
                self.skipped += 1

    def middle(self) -> datetime | None:
        """When half of the records had been made; None where there are none."""
        found = array("d")
        for line in self._lines():
            with suppress(ValueError):  # BadRecordError is one
                moment = _moment(moment_of(line))
                if self._first <= moment < self._until:
                    found.append(datetime.fromisoformat(moment + _UTC).timestamp())
        return datetime.fromtimestamp(float(np.median(np.frombuffer(found))), UTC) if found else None

    def _lines(self) -> Iterator[bytes]:
        for key in self._keys():
            yield from (line for line in self._objects.open_lines(key) if line)

    def _keys(self) -> Iterator[str]:
        """A record may lie in the file of the hour after it was made: it was written a moment later."""
        hour = self.start.replace(minute=0, second=0, microsecond=0)
        while hour < self.end + HOUR:
            keys = self._objects.list(f"{LOG_PREFIX}/date={hour:%Y-%m-%d}/hour={hour:%H}/")
            yield from (key for key in keys if key.endswith(".jsonl"))
            hour += HOUR


def _as_logged(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")[:_TIME_CHARS]


def _moment(time: str) -> str:
    """In UTC, so that it compares as text. Nearly all are as the service writes them."""
    if len(time) == _TIME_CHARS + len(_UTC) and time.endswith(_UTC):
        return time[:_TIME_CHARS]
    try:
        moment = datetime.fromisoformat(time)
    except ValueError as error:
        raise BadRecordError("a record's time is none") from error
    if moment.tzinfo is None:
        raise BadRecordError("a record's time has no offset from UTC")
    return _as_logged(moment.astimezone(UTC))
