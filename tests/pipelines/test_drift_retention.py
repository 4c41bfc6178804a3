"""Old reports lose their page and their JSON, and keep every figure; the newest of each kind keep all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from model.store import drift_reports
from model.store.drift_reports import DriftReport
from model.store.objects import ObjectStore, ObjectStoreDownError
from model.store.tables import Database
from pipelines.drift import retention
from pipelines.drift.reports import REPORTS
from pipelines.drift.retention import KEPT_DAYS, expire
from pipelines.steps import monitor_drift

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'adloom.db'}")
    opened.upgrade()
    yield opened
    opened.dispose()


@pytest.fixture
def objects(tmp_path):
    return ObjectStore(str(tmp_path / "objects"))


def keep(database, objects, number, age, mode="online", verdict="steady"):
    report_id, at = f"dr_{number:032x}", NOW - age
    row = DriftReport(
        id=report_id, task="ad_writer", mode=mode, window_start=at, window_end=at, rows=900, reference="r" * 64,
        verdict=verdict, why="as usual", share=0.25, hurts=False, columns={"measured": [{"verdict": verdict}]},
        report_key=f"{REPORTS}/{report_id}.json", created_at=at,
    )  # fmt: skip
    objects.put(row.report_key, b"{}")
    if row.page_key:
        objects.put(row.page_key, b"<html>")
    with database.begin() as connection:
        drift_reports.insert(connection, row)
    return row


def kept(objects):
    """Numbers of the reports that have an object still."""
    return sorted({int(key.rpartition("_")[2].partition(".")[0], 16) for key in objects.list(f"{REPORTS}/")})


def row_of(database, row):
    with database.connect() as connection:
        return drift_reports.find(connection, row.id)


@pytest.fixture(autouse=True)
def _few_are_newest(monkeypatch):
    monkeypatch.setattr(retention, "NEWEST_KEPT", 2)


@pytest.mark.parametrize(("age", "count"), [(KEPT_DAYS * DAY, 0), (KEPT_DAYS * DAY + SECOND, 1)])
def test_a_report_expires_after_its_days_and_not_before(database, objects, age, count):
    old = keep(database, objects, 1, age)
    for number in (2, 3):
        keep(database, objects, number, DAY)

    assert expire(database, objects, NOW) == count
    assert kept(objects) == [1, 2, 3][count:]
    assert bool(row_of(database, old).page_key) is not bool(count)


def test_the_newest_of_each_mode_stay_however_old_they_are(database, objects):
    for number in range(1, 5):
        keep(database, objects, number, (400 - number) * DAY, "online")
        keep(database, objects, number + 10, (300 - number) * DAY, "batch")

    assert expire(database, objects, NOW) == 4
    assert kept(objects) == [3, 4, 13, 14]


def test_a_row_stays_with_all_that_was_said_and_forgets_its_objects(database, objects):
    old = keep(database, objects, 1, 100 * DAY, verdict="drift")
    for number in (2, 3):
        keep(database, objects, number, DAY)
    expire(database, objects, NOW)
    row = row_of(database, old)

    assert (row.verdict, row.why, row.share, row.columns) == ("drift", "as usual", 0.25, old.columns)
    assert (row.report_key, row.page_key) == ("", "")
    assert expire(database, objects, NOW) == 0


def test_a_run_that_was_killed_between_object_and_row_is_finished_by_the_next(database, objects, monkeypatch):
    old = keep(database, objects, 1, 100 * DAY)
    for number in (2, 3):
        keep(database, objects, number, DAY)
    with monkeypatch.context() as patch:
        patch.setattr(drift_reports, "forget_objects", interrupted)
        with pytest.raises(KeyboardInterrupt):
            expire(database, objects, NOW)
    between = kept(objects), row_of(database, old).report_key

    assert between == ([2, 3], old.report_key)
    assert (expire(database, objects, NOW), row_of(database, old).report_key) == (1, "")


def interrupted(*_):
    raise KeyboardInterrupt


def test_one_run_takes_so_many_and_the_next_goes_on_with_the_oldest_first(database, objects, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE_MAX", 3)
    for number in range(1, 8):
        keep(database, objects, number, (200 - number) * DAY)

    assert [expire(database, objects, NOW), kept(objects)] == [3, [4, 5, 6, 7]]
    assert [expire(database, objects, NOW), kept(objects)] == [2, [6, 7]]


def test_a_store_that_lets_nothing_be_removed_spoils_no_verdict(database, objects, monkeypatch, capsys):
    keep(database, objects, 1, 4000 * DAY)
    for number in (2, 3):
        keep(database, objects, number, DAY)

    def refuse(self, key):
        raise ObjectStoreDownError("the object store cannot be used: it refuses our credentials")

    monkeypatch.setattr(ObjectStore, "remove", refuse)

    assert monitor_drift._expire(database, objects) == 0
    assert "old reports stay: the object store cannot be used: it refuses our credentials" in capsys.readouterr().err
    assert kept(objects) == [1, 2, 3]
