"""Rows of drift reports: listed by window, past after their time but for the newest, and kept without their objects."""

from __future__ import annotations

from datetime import timedelta

import pytest

from model.store import drift_reports
from model.store.drift_reports import DriftReport
from tests.model.store.rows import NOON

HOUR = timedelta(hours=1)


def report(number, mode="online", task="ad_writer", **given):
    end = NOON + number * HOUR
    values = {
        "id": f"dr_{task}_{mode}_{number}", "task": task, "mode": mode, "window_start": end - HOUR, "window_end": end,
        "rows": 900, "reference": "r" * 64, "verdict": "steady", "why": "", "share": 0.0, "hurts": False,
        "columns": {"measured": [{"verdict": "steady"}]}, "report_key": f"drift/reports/{number}.json",
        "created_at": end,
    }  # fmt: skip
    return DriftReport(**{**values, **given})


def keep(database, *reports):
    with database.begin() as connection:
        for each in reports:
            assert drift_reports.insert(connection, each)


def numbers(reports):
    return [int(each.id.rpartition("_")[2]) for each in reports]


def test_the_latest_window_comes_first_of_every_task_and_of_one_mode_if_it_is_named(database):
    keep(database, report(2), report(1), report(3, "batch"), report(4, task="other"))
    with database.connect() as connection:
        found = {mode: numbers(drift_reports.recent(connection, mode, 10)) for mode in (None, "online", "batch")}
        two = numbers(drift_reports.recent(connection, None, 2))

    assert found == {None: [4, 3, 2, 1], "online": [4, 2, 1], "batch": [3]}
    assert two == [4, 3]


def test_past_are_those_before_a_time_the_oldest_first_but_for_the_newest_of_each_task_and_mode(database):
    keep(database, *(report(number) for number in range(6)))
    keep(database, *(report(number, "batch") for number in (0, 1)), report(0, task="other"))
    with database.connect() as connection:
        found = [
            numbers(drift_reports.past(connection, NOON + hours * HOUR, kept, 10))
            for hours, kept in ((3, 2), (3, 4), (9, 2), (0, 2))
        ]
        one = numbers(drift_reports.past(connection, NOON + 3 * HOUR, 2, 1))

    assert found == [[0, 1, 2], [0, 1], [0, 1, 2, 3], []]
    assert one == [0]


def test_a_report_whose_objects_are_gone_is_past_no_more_and_takes_no_place_among_the_newest(database):
    keep(database, *(report(number) for number in range(4)))
    with database.begin() as connection:
        drift_reports.forget_objects(connection, report(3).id)
        row = drift_reports.find(connection, report(3).id)
        found = numbers(drift_reports.past(connection, NOON + 9 * HOUR, 2, 10))

    assert (row.report_key, row.columns) == ("", report(3).columns)
    assert found == [0]


@pytest.mark.parametrize(
    ("columns", "key", "page_key"),
    [
        ({"page_bytes": 9}, "drift/reports/1.json", "drift/reports/1.html"),
        ({"page_bytes": 0, "measured": [{"verdict": "drift"}]}, "drift/reports/1.json", ""),
        ({"page_bytes": 9}, "", ""),
        ({"measured": [{"verdict": "too_few"}, {"verdict": "steady"}]}, "drift/reports/1.json", "drift/reports/1.html"),
        ({"measured": [{"verdict": "too_few"}]}, "drift/reports/1.json", ""),
        ({}, "drift/reports/1.json", ""),
    ],
)
def test_a_page_is_where_the_row_says_or_where_a_column_could_be_judged(columns, key, page_key):
    assert report(1, columns=columns, report_key=key).page_key == page_key
