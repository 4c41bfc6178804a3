"""
Which request wrote a creative, and which creatives a request wrote: looked up in the generation log.

Knows no database. The log is read by the hour, so whoever asks says about when.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from model.store.objects import ObjectStore

HOURS_BACK_MAX = 48
"""A merchant who reports a request does so within a day or two."""
_HOUR = timedelta(hours=1)


def requests_of(objects: ObjectStore, creative_id: str, kept_at: datetime) -> list[str]:
    """
    Ids of the requests that were answered with it around `kept_at`, the earliest first.

    Empty where the log has not been written yet, or a batch wrote it. Raises StoreError.
    """
    found: dict[str, None] = {}
    for hour in (kept_at, kept_at + _HOUR):  # it is logged a moment after it is kept
        for record in _records(objects, hour, creative_id):
            if record.get("creative_id") == creative_id and record.get("request_id"):
                found[str(record["request_id"])] = None
    return list(found)


def creatives_of(objects: ObjectStore, request_id: str, *, hours_back: int = HOURS_BACK_MAX) -> list[str]:
    """Ids of the creatives of one request, the earliest first, as far back as so many hours. Raises StoreError."""
    now = datetime.now(UTC)
    for back in range(hours_back):
        if found := _written_in(objects, now - back * _HOUR, request_id):
            return [*_written_in(objects, now - (back + 1) * _HOUR, request_id), *found]  # it may span two
    return []


def _written_in(objects: ObjectStore, hour: datetime, request_id: str) -> list[str]:
    records = _records(objects, hour, request_id)
    return [str(record["creative_id"]) for record in records if record.get("request_id") == request_id]


def _records(objects: ObjectStore, hour: datetime, word: str) -> Iterator[dict[str, Any]]:
    """Of the lines of one hour that hold the word."""
    wanted = word.encode()
    for key in objects.list(f"generations/{hour.astimezone(UTC):date=%Y-%m-%d/hour=%H}/"):
        for line in objects.open_lines(key):
            if wanted in line:  # reading every line as JSON would take a hundred times as long
                yield json.loads(line)
