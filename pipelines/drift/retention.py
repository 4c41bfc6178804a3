"""
Let the objects of old reports go: their rows, which hold every figure, stay.

Evidently's page has 4 MB of script beside its figures, and one is made every hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from model.store import drift_reports
from model.store.objects import ObjectStore
from model.store.tables import Database

KEPT_DAYS = 90
"""A quarter: as far back as a question about a model usually goes. Some 9 GB of hourly pages."""
NEWEST_KEPT = 100
"""Of each task and mode, however old: where nobody has looked for long, the last reports are all there is."""
AT_ONCE_MAX = 500
"""Of one run; the next goes on. Five months' worth would otherwise hold up the first run of this version."""


def expire(database: Database, objects: ObjectStore, now: datetime) -> int:
    """
    Remove page and JSON of every report that is past; how many reports.

    The row forgets its objects last, so that a run that was killed is finished by the next. Raises StoreError.
    """
    with database.connect() as connection:
        past = drift_reports.past(connection, now - timedelta(days=KEPT_DAYS), NEWEST_KEPT, AT_ONCE_MAX)
    for row in past:
        objects.remove(f"{row.report_key.removesuffix('.json')}.html")
        objects.remove(row.report_key)
        with database.begin() as connection:
            drift_reports.forget_objects(connection, row.id)
    return len(past)
