"""What a row of the load table says of what Locust met."""

from __future__ import annotations

import csv
import json

import pytest

from app.load.report import LITTLE_TOLERANCE, Row, limit, percentile, read_rows, table, with_tables, write
from tests.repo.tree import ROOT


def met(**changed):
    """A second of 100 requests at 1 to 100 ms by users who wait 0.1 s."""
    return {
        "seconds": 1.0,
        "latencies_ms": [float(each) for each in range(100, 0, -1)],
        "outcomes": {"ok": 90, "shed": 8, "failed": 2},
        "failures": {"creative: 500": 2, "batch: 502": 1},  # one more, of what was in flight at the end
        "slowest_ms": 700.0,
        "waited_seconds": 10.0,
        "generator_cpu_share": 0.3,
        **changed,
    }


def row(users=15, cpus_used=0.5, lost=0, **changed):
    return Row.of(
        engine="stub", containers=2, users=users, cpus=0.4, cpus_used=cpus_used, lost=lost, met=met(**changed)
    )


def test_a_row_counts_what_was_shed_apart_from_what_failed():
    found = row(lost=3)

    assert (found.requests_per_second, found.shed_share, found.failed, found.lost) == (100, 0.08, 3, 3)
    assert found.success_share == pytest.approx(90 / 92)
    assert (found.median_ms, found.p95_ms, found.p99_ms, found.slowest_ms) == (51, 96, 100, 700)
    assert found.container_cpu_share == pytest.approx(0.5 / 0.8)


def test_users_are_rate_times_response_and_wait_or_the_row_is_unsound():
    held = (5.05 + 10.0) / 1.0
    most = held / (1 - LITTLE_TOLERANCE)

    assert row().little_users == pytest.approx(held)
    assert row(users=15).is_sound
    assert row(users=int(most)).is_sound
    assert not row(users=int(most) + 1).is_sound
    assert "does not add up" in table([row(users=40)], "stub")


@pytest.mark.parametrize(
    ("container", "generator", "shed", "words"),
    [
        (0.89, 0.89, 0.0, "the users"),
        (0.90, 0.89, 0.0, "the containers' CPU"),
        (0.90, 0.89, 0.1, "the containers' CPU, and the queue sheds"),
        (0.50, 0.50, 0.1, "the queue"),
        (0.99, 0.90, 0.1, "the load generator"),
    ],
)
def test_what_limits_a_row_is_whoever_has_no_more_to_give(container, generator, shed, words):
    assert limit(container, generator, shed).startswith(words)


def test_a_row_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="no request was answered"):
        row(latencies_ms=[])


def test_percentiles_of_one_value_are_that_value():
    assert [percentile([7.0], share) for share in (0.5, 0.95, 0.99)] == [7.0, 7.0, 7.0]


def test_the_page_has_the_figures_that_were_measured():
    page = (ROOT / "architecture/load.md").read_text(encoding="utf-8")
    rows = read_rows(ROOT / "architecture/measured/load.json")

    assert {each.engine for each in rows} == {"real", "stub"}
    assert {each.containers for each in rows} == {1, 2, 4}
    assert page == with_tables(page, rows), "run `make load`, and copy its figures"


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="has no <!-- adloom load: stub -->"):
        with_tables("# a page", [row()])


def test_the_report_is_written_as_figures_as_a_table_and_as_a_picture(tmp_path):
    write([row(), row(users=30)], {"machine": "test"}, tmp_path)
    figures = json.loads((tmp_path / "load.json").read_text())
    with (tmp_path / "load.csv").open() as file:
        lines = list(csv.DictReader(file))

    assert [each["users"] for each in figures["rows"]] == [15, 30]
    assert [(line["users"], line["requests_per_second"]) for line in lines] == [("15", "100"), ("30", "100")]
    assert (tmp_path / "load.svg").read_text().startswith("<?xml")
