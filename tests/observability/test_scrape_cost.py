"""What a scrape costs: the page says what was measured, and the command judges it."""

from __future__ import annotations

import json

import pytest

from app.watch import scrape_cost
from app.watch.verdicts import PAGE
from tests.repo.tree import ROOT

FOUND = json.loads((ROOT / scrape_cost.FILE).read_text(encoding="utf-8"))


def test_the_page_has_the_figures_that_were_measured():
    page = (ROOT / PAGE).read_text(encoding="utf-8")

    assert scrape_cost.with_table(page, FOUND) == page


def test_what_was_measured_is_as_little_as_was_promised():
    assert scrape_cost.is_cheap(FOUND)
    assert all(FOUND[part][form]["series"] >= scrape_cost.SERIES for part in scrape_cost.PARTS for form in FOUND[part])


@pytest.mark.parametrize("part", scrape_cost.PARTS)
@pytest.mark.parametrize("form", scrape_cost.ACCEPTS)
@pytest.mark.parametrize(
    ("field", "enough", "too_much"), [("median_seconds", 0.0499, 0.05), ("core_share", 0.0099, 0.01)]
)
def test_each_of_them_has_to_be_cheap_in_either_format(part, form, field, enough, too_much):
    def with_value(value):
        return {**FOUND, part: {**FOUND[part], form: {**FOUND[part][form], field: value}}}

    assert scrape_cost.is_cheap(with_value(enough))
    assert not scrape_cost.is_cheap(with_value(too_much))


def test_a_page_without_a_place_for_the_table_is_said():
    with pytest.raises(ValueError, match="has no place for the table"):
        scrape_cost.with_table("# Alerts\n", FOUND)


@pytest.mark.slow
def test_it_measures_both_formats_of_both_against_the_library(monkeypatch):
    monkeypatch.setattr(scrape_cost, "SERIES", 300)
    monkeypatch.setattr(scrape_cost, "SCRAPES", 3)
    found = scrape_cost.measure()

    for part in scrape_cost.PARTS:
        assert set(found[part]) == set(scrape_cost.ACCEPTS)
        assert all(one["series"] >= 300 and one["ratio"] > 0 for one in found[part].values())
    assert found["service"]["openmetrics"]["bytes"] != found["service"]["text"]["bytes"]
