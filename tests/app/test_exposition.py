"""What a scrape gets is, byte for byte, what prometheus_client would have written."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client import Enum as StateSet
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import METRIC_TYPES, Metric
from prometheus_client.samples import Exemplar, Sample, Timestamp

from app.exporter import Exporter, Watched
from app.exporter_sources import BATCHES, PRODUCTS, Reading
from app.exposition import Exposition
from app.metrics import Metrics, ModelFacts
from tests.app.test_metrics import FULL, creative

SUFFIXES = ("", "_total", "_bucket", "_count", "_sum", "_info", "_created", "_gsum", "_gcount", ":5m", ".odd")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(['a"b', "a\\b", "a\nb"])
VALUES = st.floats() | st.integers(-(10**9), 10**9) | st.booleans() | st.sampled_from([0.1, -0.0, 999_999.5, 1e6, 1e21])
ACCEPTS = (
    "text/plain",
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",  # Prometheus 2
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4",  # Prometheus 3
    "application/openmetrics-text;version=2.0.0;escaping=underscores",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "application/openmetrics-text;version=1.0.0;escaping=values",
    "text/plain;version=1.0.0;escaping=dots",
)
TIMES = st.none() | st.just(1.5) | st.just(Timestamp(1, 500))


class Families:
    """A registry that gives what it was given."""

    def __init__(self, families=()) -> None:
        self.families = list(families)

    def collect(self):
        return self.families


def by_library(registry, accept=""):
    """What prometheus_client's own server answers."""
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


@st.composite
def family(draw, name):
    kind = draw(st.sampled_from([*METRIC_TYPES, "untyped"]))
    made = Metric(name, draw(TEXTS), kind, draw(st.sampled_from(["", "", "seconds"])))
    for number in range(draw(st.integers(0, 4))):
        suffix = draw(st.sampled_from(SUFFIXES))
        labels = draw(st.dictionaries(st.sampled_from(["le", "route", "b_2", "odd-one"]), TEXTS, max_size=3))
        takes_exemplar = (kind, suffix) in (("counter", "_total"), ("histogram", "_bucket"))
        exemplar = Exemplar({"trace": "1"}, 2.0, 1.5) if takes_exemplar and draw(st.booleans()) else None
        time = draw(TIMES) if number == 3 else None
        made.samples.append(Sample(made.name + suffix, labels, draw(VALUES), time, exemplar))
    return made


SCRAPES = st.lists(
    st.tuples(family("adloom_one"), family("adloom_two"), family("adloom:three")), min_size=2, max_size=4
)


@pytest.mark.slow
@given(scrapes=SCRAPES, accepts=st.lists(st.sampled_from(ACCEPTS), min_size=4, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_families_are_written_as_the_library_writes_them_scrape_after_scrape(scrapes, accepts):
    registry = Families()
    exposition = Exposition(registry)
    for families, accept in zip(scrapes, accepts, strict=False):
        registry.families = families

        assert exposition.answer() == by_library(registry)
        assert exposition.answer(accept) == by_library(registry, accept)


def every_kind() -> CollectorRegistry:
    registry = CollectorRegistry()
    counter = Counter("jobs", 'Jobs\\ done, "all".\n', ["kind"], registry=registry)
    counter.labels('a"\\\n').inc(2_000_000)
    Gauge("depth", "Depth.", registry=registry).set(float("-inf"))
    Histogram("took_seconds", "Took.", ["route"], registry=registry).labels("/v1/{id}").observe(0.3)
    Summary("size_bytes", "Size.", registry=registry).observe(10)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    StateSet("light", "Light.", states=["red", "green"], registry=registry).state("green")
    return registry


def test_every_kind_of_metric_of_the_library_is_written_as_it_writes_it():
    registry = every_kind()
    exposition = Exposition(registry)

    assert b'jobs_total{kind="a\\"\\\\\\n"} 2e+06\n' in exposition.answer()[0]
    assert [exposition.answer(accept) for accept in ACCEPTS] == [by_library(registry, accept) for accept in ACCEPTS]


def test_the_services_own_registry_is_written_as_the_library_writes_it():
    metrics = Metrics(ModelFacts("7", "ab" * 32, "0123abc", 1_790_000_000), FULL)
    seen = Families()
    exposition = Exposition(seen)
    for status in (200, 200, 429, 503):
        metrics.request("POST", "/v1/creatives", status, 0.1 * status)
        metrics.written(creative(0.5, "echo"))
        seen.families = list(metrics.registry.collect())  # once: the process costs more at each look

        assert [exposition.answer(accept) for accept in ACCEPTS] == [by_library(seen, accept) for accept in ACCEPTS]


def test_the_exporters_own_registry_is_written_as_the_library_writes_it():
    states = [Reading(BATCHES, number, (state,)) for number, state in enumerate(("queued", "running"))]
    watched = Watched("catalogue", lambda: [Reading(PRODUCTS, 1e6), *states], 3600.0)
    watched.read_once()
    registry = CollectorRegistry()
    registry.register(Exporter([watched]))
    exposition = Exposition(registry)

    assert b"adloom_catalogue_products 1e+06\n" in exposition.answer()[0]
    assert [exposition.answer(accept) for accept in ACCEPTS] == [by_library(registry, accept) for accept in ACCEPTS]


def test_it_remembers_the_series_of_the_last_scrape_and_no_others():
    registry = Families()
    exposition = Exposition(registry)
    kept = []
    for number in range(50):
        made = Metric(f"adloom_{number}", "Changes.", "gauge")
        made.samples = [Sample(made.name, {"sku": f"{number}-{each}"}, 1.0) for each in range(3)]
        registry.families = [made]
        exposition.answer()[0]
        kept.append(exposition.series_kept)

    assert set(kept) == {3}


@pytest.mark.parametrize("time", [1.5, Timestamp(1, 500)])
@pytest.mark.parametrize("accept", ACCEPTS)
def test_a_sample_with_a_time_of_its_own_keeps_it_in_every_scrape(time, accept):
    made = Metric("adloom_one", "One.", "gauge")
    registry = Families([made])
    exposition = Exposition(registry)
    for each in (None, time):
        made.samples = [Sample("adloom_one", {"route": "/"}, 1.0, each)]

        assert exposition.answer(accept) == by_library(registry, accept)


def test_labels_that_change_in_place_are_seen():
    labels = {"commit": "old"}
    made = Metric("adloom_one", "One.", "gauge")
    made.samples = [Sample("adloom_one", labels, 1.0)]
    exposition = Exposition(Families([made]))
    before = exposition.answer()[0]
    labels["commit"] = "new"

    assert b'{commit="old"}' in before
    assert b'{commit="new"}' in exposition.answer()[0]


def test_scrapes_at_once_in_either_format_do_not_disturb_each_other():
    registry = every_kind()
    exposition = Exposition(registry)
    wanted = {by_library(registry, accept) for accept in ACCEPTS[:2]}
    found = set()

    def scrape(accept):
        found.update(exposition.answer(accept) for _ in range(50))

    threads = [threading.Thread(target=scrape, args=(accept,)) for accept in ACCEPTS[:2] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert found == wanted


@pytest.mark.parametrize("accept", ["", "application/json", "application/openmetrics-text;version=x"])
def test_who_asks_for_nothing_that_there_is_gets_plain_text(accept):
    text, media_type = Exposition(every_kind()).answer(accept)

    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert not text.endswith(b"# EOF\n")
