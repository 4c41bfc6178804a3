"""Figures of the data and of health: computed from what is shown, and drawn without scripts."""

from __future__ import annotations

import math
import random
from xml.etree import ElementTree as ET

import pytest

from app.ui import charts, drift_figures, health_figures
from app.ui.data_figures import figures_of, price_of, stability
from app.ui.sample import sample_upload

HOSTILE = {
    "sku": "X",
    "title": "<script>window.hacked=1</script>",
    "description": '"><img src=x onerror=alert(1)>',
    "category": "</svg><script>alert(1)</script>",
    "brand": "",
    "price": "",
}


def test_the_sample_gives_six_figures_with_two_sentences_each():
    figures = figures_of(sample_upload().rows, ())

    assert len(figures) == 6
    assert all(figure.shows.endswith(".") and figure.means.endswith(".") for figure in figures)


@pytest.mark.parametrize("rows", [[HOSTILE], [HOSTILE] * 3, [{**HOSTILE, "title": "a", "category": ""}] * 2])
def test_hostile_and_tiny_catalogues_are_drawn_as_valid_xml_without_elements_of_their_own(rows):
    for figure in figures_of(rows, ()):
        names = {element.tag for element in ET.fromstring(str(figure.drawing)).iter()}

        assert names <= {"svg", "text", "rect", "line", "path", "polygon", "polyline"}


def test_no_rows_give_no_figures():
    assert figures_of([], ()) == []


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("24.90 EUR", 24.9),
        ("24,90 EUR", 24.9),
        ("1.299,00 €", 1299.0),
        ("$1,299.00", 1299.0),
        ("1'299", 1299.0),
        ("1,299", 1299.0),
        ("12", 12.0),
        ("free", None),
        ("", None),
    ],
)
def test_prices_are_read_whatever_their_separators(text, price):
    assert price_of({"price": text}) == price


def test_two_samples_of_one_population_differ_by_what_chance_gives():
    draw = random.Random(7)
    pairs = [
        stability([draw.randint(0, 999) for _ in range(80)], [draw.randint(0, 999) for _ in range(80)])
        for _ in range(200)
    ]

    # The index is asymptotically chi-squared; at 80 rows its mean lies somewhat above the asymptote.
    assert math.isclose(sum(index for index, _ in pairs) / 200, pairs[0][1], rel_tol=0.35)


def test_a_catalogue_of_other_lengths_stands_out_from_chance():
    index, chance = stability(list(range(500, 600)), list(range(100)))

    assert index - chance > 0.25


def test_a_quantile_lies_within_the_bucket_that_holds_it():
    buckets = {0.1: 0.0, 0.5: 50.0, 1.0: 100.0, math.inf: 100.0}

    assert health_figures.quantile(buckets, 0.25) == pytest.approx(0.3)
    assert health_figures.quantile(buckets, 0.5) == pytest.approx(0.5)
    assert health_figures.quantile(buckets, 0.95) == pytest.approx(0.95)
    assert health_figures.quantile({0.1: 0.0, math.inf: 4.0}, 0.5) == pytest.approx(0.1)
    assert health_figures.quantile({}, 0.5) is None


def test_growing_windows_give_single_days():
    windows = [
        {"creatives": {"count": count, "mean_validity": mean}} for count, mean in [(0, None), (10, 0.9), (30, 0.8)]
    ]
    days = health_figures.by_day(windows)

    assert [(day.count, day.mean_validity and round(day.mean_validity, 3)) for day in days] == [
        (0, None),
        (10, 0.9),
        (20, 0.75),
    ]
    assert "20 ads" in str(charts.days(days))


def test_metrics_that_cannot_be_read_are_unknown_and_no_error():
    figures = health_figures.of_service("this { is no metric")

    assert figures.uptime_seconds is None
    assert figures.requests == 0


def report(number, far, *, hurts=False, mode="online"):
    """One window whose only feature is `far` away, where 0.2 passes."""
    feature = {"name": "title_chars", "method": "wasserstein", "distance": far, "threshold": 0.2}
    return {
        "id": f"dr_{number:032x}",
        "mode": mode,
        "window_start": f"2026-01-15T{number:02}:00:00Z",
        "window_end": f"2026-01-15T{number + 1:02}:00:00Z",
        "rows": 900,
        "verdict": "drift" if far and far >= 0.2 else "steady",
        "why": "",
        "share": 0.0,
        "hurts": hurts,
        "validity": {"current": 0.9, "reference": None, "margin": None},
        "features": [{**feature, "drifted": bool(far and far >= 0.2)}],
        "has_page": number % 2 == 0,
        "created_at": f"2026-01-15T{number + 1:02}:10:00Z",
    }


def test_windows_are_told_oldest_first_and_what_drifted_is_counted():
    shown = drift_figures.drift_of([report(3, 0.3), report(2, 0.1), report(1, None)])

    assert "“title chars” drifted in 1 of 2 windows" in shown.sentences
    assert "ads are as valid as before" in shown.sentences
    assert [one.verdict for one in shown.listed] == ["Drift, ads hold", "Steady", "Steady"]
    assert shown.framed.id == report(2, 0.1)["id"]
    names = {element.tag for element in ET.fromstring(str(shown.drawing)).iter()}
    assert names <= {"svg", "text", "rect", "path", "title"}


def test_the_report_that_is_asked_for_is_framed_and_an_unknown_one_is_not():
    reports = [report(4, 0.1), report(2, 0.1)]

    assert drift_figures.drift_of(reports, report(2, 0.1)["id"]).framed.id == report(2, 0.1)["id"]
    assert drift_figures.drift_of(reports, "../../etc").framed.id == report(4, 0.1)["id"]
    assert drift_figures.drift_of([report(1, 0.1)]).framed is None


def test_worse_ads_are_said_before_everything_else():
    assert "a retrain is due" in drift_figures.drift_of([report(2, 0.3, hurts=True), report(1, 0.1)]).sentences
    assert "no reason for a retrain" in drift_figures.drift_of([report(2, 0.1), report(1, 0.3)]).sentences


def test_no_reports_and_reports_without_rows_are_no_error():
    assert drift_figures.drift_of([]).listed == ()
    assert drift_figures.feature_over_time([]) is None
    assert drift_figures.feature_over_time([report(2, None), report(1, 0.1)]) is None
    assert "too few rows" in str(drift_figures.drift_of([report(1, None)]).drawing)


def test_a_feature_over_time_is_told_by_what_counts_as_drift():
    figure = drift_figures.feature_over_time([report(2, 0.3), report(1, 0.1)])

    assert "from 50% to 150% of what counts as drift" in figure.shows
    assert "past that in 1 of 2 windows" in figure.means


@pytest.mark.parametrize(
    ("silent", "agree", "says"),
    [
        ((), True, "Git, registry and service agree"),
        (("Git",), True, "Registry and service agree, and nothing is known of Git"),
        (("service",), True, "Git and registry agree, and nothing is known of service"),
        (("Git", "registry"), None, "Too little is known to compare"),
        ((), False, "They do not agree"),
        (("Git",), False, "They do not agree"),
    ],
)
def test_only_those_that_say_something_are_said_to_agree(silent, agree, says):
    sides = [
        {"name": name, "version": "" if name in silent else "7", "image": "", "trouble": ""}
        for name in ("Git", "registry", "service")
    ]

    assert health_figures.agreement({"sides": sides, "agree": agree}) == says


def test_an_image_alone_is_something_that_is_said():
    sides = [{"name": name, "version": "", "image": "sha256:00", "trouble": ""} for name in ("Git", "service")]

    assert health_figures.agreement({"sides": sides, "agree": True}) == "Git and service agree"
