"""The histogram of many series counts and is published as prometheus_client's own."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.histogram import LabelledHistogram

NAME, HELP, LABELS, BOUNDS = "took_seconds", "Took.", ("route", "status"), (0.1, 0.5, 1, 2.5, 1e6)


def ours() -> tuple[LabelledHistogram, CollectorRegistry]:
    registry = CollectorRegistry()
    made = LabelledHistogram(NAME, HELP, LABELS, BOUNDS)
    registry.register(made)
    return made, registry


def lines(registry: CollectorRegistry) -> list[str]:
    return generate_latest(registry).decode().splitlines()


SECONDS = st.floats(0, 1e7) | st.sampled_from([*BOUNDS, 0.0])
EVENTS = st.lists(st.tuples(st.sampled_from(["/a", "/b"]), st.sampled_from(["200", "500"]), SECONDS), max_size=30)


@given(events=EVENTS)
@settings(max_examples=100, deadline=None)
def test_it_says_what_the_librarys_histogram_says(events):
    made, registry = ours()
    theirs = CollectorRegistry()
    library = Histogram(NAME, HELP, LABELS, buckets=BOUNDS, registry=theirs)
    for route, status, seconds in events:
        made.observe((route, status), seconds)
        library.labels(route, status).observe(seconds)
    without_created = [line for line in lines(theirs) if "_created" not in line]

    assert lines(registry) == without_created


def test_a_value_at_a_bound_is_below_it_and_one_above_is_not():
    made, registry = ours()
    made.observe(("/a", "200"), 0.5)
    made.observe(("/a", "200"), 0.5000001)
    found = lines(registry)

    assert 'took_seconds_bucket{le="0.5",route="/a",status="200"} 1.0' in found
    assert 'took_seconds_bucket{le="1.0",route="/a",status="200"} 2.0' in found


def test_an_expected_series_begins_at_zero_and_keeps_what_it_has():
    made, registry = ours()
    made.expect(("/a", "200"))
    before = lines(registry)
    made.observe(("/a", "200"), 0.2)
    made.expect(("/a", "200"))

    assert 'took_seconds_count{route="/a",status="200"} 0.0' in before
    assert 'took_seconds_count{route="/a",status="200"} 1.0' in lines(registry)


def test_a_label_too_few_is_refused():
    made, _ = ours()

    with pytest.raises(ValueError, match="zip"):
        made.observe(("/a",), 1.0)


def test_no_event_is_lost_between_threads():
    made, registry = ours()

    def count() -> None:
        for number in range(2000):
            made.observe(("/a", str(number % 7)), 0.2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    total = sum(float(line.split()[-1]) for line in lines(registry) if line.startswith("took_seconds_count"))

    assert total == 8000
