"""
Every metric that the service publishes, declared once; what no request produces is the exporter's (exporter.py).

Knows no routes. One process a pod: two processes behind one port would each tell half of the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.connection import CLIENT_CLOSED_REQUEST
from app.exposition import OPENMETRICS, Exposition
from app.histogram import LabelledHistogram
from app.studio import Commission, DeadlineError, StudioBusyError, StudioDownError
from model.channel import channels
from model.creative import Creative
from model.validity import FINDINGS

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
OTHER_METHOD = "other"
"""A client may send any word as a method; a label must not grow with what clients think of."""
UNKNOWN_ROUTE = "unmatched"
"""Every address that is no route of ours."""

TOO_MANY_REQUESTS = 429

OUTCOMES = ("written", "refused", "late", "unavailable", "failed")
VERDICTS = ("accept", "edit", "reject")
STORE_PARTS = ("database", "objects")
"""Requests go on without the store of their limits: whether it is there is a gauge of its own."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its full name, what it says, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, without the last one, which is infinite."""


HTTP_SECONDS = Declared(
    "adloom_http_request_duration_seconds",
    "From a request's arrival to the end of its answer; route is the template, never the path.",
    ("route", "method", "status"),
    # One ad takes 1 to 2 s on two cores, a full queue the deadline of 60 s: most bounds stand there. A look-up takes a
    # few ms, and 10 ms is its promise, so two stand that low. Each bound costs a line for every route and status.
    (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 60),
)
CREATIVES = Declared(
    "adloom_creatives_total",
    "Creatives by what became of them: written and kept, refused by a full queue, late, unavailable because the "
    "writer is down, or failed.",
    ("channel", "outcome"),
)
VALIDITY = Declared(
    "adloom_creative_validity_ratio",
    "Validity of the creatives that were written.",
    ("channel",),
    # Where the score can stand: below 0.1 with a critical finding, 0.5 with one invented fact and 0.25 with two,
    # 0.9 and more with light findings, 1 without any.
    (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
)
FINDINGS_FOUND = Declared(
    "adloom_creative_findings_total", "Findings in the creatives that were written.", ("finding",)
)
TOKENS = Declared("adloom_generated_tokens_total", "Tokens that the model has written.")
FIRST_TOKEN_SECONDS = Declared(
    "adloom_time_to_first_token_seconds", "From the engine's taking a request to its first token."
)
QUEUE_DEPTH = Declared(
    "adloom_engine_queue_depth", "Requests that wait to be written, at the engine's door or behind it."
)
QUEUE_CAPACITY = Declared(
    "adloom_engine_queue_capacity", "Requests that may wait at the engine's door; those beyond it are refused."
)
WRITER_UP = Declared("adloom_writer_up", "1 where the next request can be written, 0 where only a new process helps.")
LIMITS_STORE_UP = Declared(
    "adloom_limits_store_up", "1 where replicas share their counts of requests or need not, 0 where Redis is away."
)
BATCH_SIZE = Declared("adloom_engine_batch_size", "Rows that shared a step of the network.")
WAIT_SECONDS = Declared(
    "adloom_engine_wait_seconds", "From the engine's taking a request to the first of its prompt being read."
)
MODEL_INFO = Declared(
    "adloom_model_info", "What is running: version in the registry, digest of the bundle, commit of the code.",
    ("version", "bundle", "commit"),
)  # fmt: skip
COMMIT_TIME = Declared(
    "adloom_commit_timestamp_seconds", "When the code that is running was committed, Unix time.", ("commit",)
)
FEEDBACK = Declared("adloom_feedback_total", "Verdicts of merchants that were taken.", ("verdict",))
STORE_ERRORS = Declared("adloom_store_errors_total", "Calls to a store that failed, by the part that did.", ("part",))
LOG_HELD = Declared("adloom_generation_log_held_rows", "Generations that wait to be written to the object store.")
LOG_DROPPED = Declared(
    "adloom_generation_log_dropped_total", "Generations that were lost because the object store was away too long."
)
RATE_LIMITED = Declared("adloom_rate_limited_total", "Requests refused because their client sent too many.", ("route",))

DECLARED = (
    HTTP_SECONDS, CREATIVES, VALIDITY, FINDINGS_FOUND, TOKENS, FIRST_TOKEN_SECONDS, QUEUE_DEPTH, BATCH_SIZE,
    WAIT_SECONDS, MODEL_INFO, FEEDBACK, STORE_ERRORS, LOG_HELD, LOG_DROPPED, RATE_LIMITED, QUEUE_CAPACITY, WRITER_UP,
    LIMITS_STORE_UP, COMMIT_TIME,
)  # fmt: skip
"""All of the service's own; standard ones of the process (process_*) stand beside them."""


class Tally(Protocol):
    """How often a value fell into each bucket."""

    @property
    def bounds(self) -> Sequence[float]:
        """Upper bounds, rising."""
        ...

    @property
    def counts(self) -> Sequence[int]:
        """By bucket and not summed up, one more than there are bounds: the last holds what is above them."""
        ...

    @property
    def total(self) -> float:
        """Sum of all values."""
        ...


class EngineCounts(Protocol):
    """What the engine has counted since it was loaded; read at every scrape."""

    @property
    def tokens(self) -> int: ...

    @property
    def step_rows(self) -> Tally: ...

    @property
    def wait_seconds(self) -> Tally: ...

    @property
    def first_token_seconds(self) -> Tally: ...


class HeldRows(Protocol):
    """`model.store.generation_log.GenerationLog`, as far as it is counted."""

    @property
    def held(self) -> int: ...

    @property
    def dropped(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where numbers come from that are read at a scrape. One that gives None has nothing to publish."""

    queue_depth: Callable[[], int | None] = lambda: None
    queue_capacity: Callable[[], int | None] = lambda: None
    is_writer_up: Callable[[], bool | None] = lambda: None
    is_limits_store_up: Callable[[], bool | None] = lambda: None
    engine: Callable[[], EngineCounts | None] = lambda: None
    generation_log: Callable[[], HeldRows | None] = lambda: None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The labels of `adloom_model_info`; empty where the process was not told."""

    version: str = ""
    bundle: str = ""
    commit: str = ""
    commit_seconds: int = 0
    """When that commit was made, Unix time; 0 where nobody knows."""


class Metrics:
    """Counts what happens, and writes it all down for a scrape. Thread-safe; one for each app, with its registry."""

    def __init__(self, model: ModelFacts = ModelFacts(), sources: Sources = Sources()) -> None:
        # The start of every series is that of the process, which process_start_time_seconds says once.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped
        self.registry = CollectorRegistry()
        self._http_seconds = LabelledHistogram(
            HTTP_SECONDS.name, HTTP_SECONDS.help, HTTP_SECONDS.labels, HTTP_SECONDS.buckets
        )
        self.registry.register(self._http_seconds)
        self._creatives = self._counter(CREATIVES)
        self._validity = self._histogram(VALIDITY)
        self._findings = self._counter(FINDINGS_FOUND)
        self._feedback = self._counter(FEEDBACK)
        self._store_errors = self._counter(STORE_ERRORS)
        self._rate_limited = self._counter(RATE_LIMITED)
        info = Info(MODEL_INFO.name.removesuffix("_info"), MODEL_INFO.help, registry=self.registry)
        info.info({"version": model.version, "bundle": model.bundle, "commit": model.commit})
        if model.commit_seconds:
            made = Gauge(COMMIT_TIME.name, COMMIT_TIME.help, COMMIT_TIME.labels, registry=self.registry)
            made.labels(model.commit).set(model.commit_seconds)
        self.registry.register(_AtScrape(sources))
        ProcessCollector(registry=self.registry)
        self._exposition = Exposition(self.registry)
        self._begin_at_zero()

    def expect(self, answers: Iterable[tuple[str, str, int]], limited: Iterable[str]) -> None:
        """Publish from now on, at zero, answers by method, route and status, and refusals by route."""
        for method, route, status in answers:
            self._http_seconds.expect((route, method, str(status)))
        for route in limited:
            self._rate_limited.labels(route)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered, or left by its client (status 0). `route` is empty where none matched."""
        labels = (
            route or UNKNOWN_ROUTE,
            method if method in METHODS else OTHER_METHOD,
            str(status or CLIENT_CLOSED_REQUEST),
        )
        self._http_seconds.observe(labels, seconds)
        if status == TOO_MANY_REQUESTS:
            self._rate_limited.labels(labels[0]).inc()

    def written(self, creative: Creative) -> None:
        """A creative has been written and kept."""
        self._creatives.labels(creative.channel, "written").inc()
        self._validity.labels(creative.channel).observe(creative.validity)
        for finding in creative.findings:
            self._findings.labels(finding.kind).inc()

    def failed(self, commission: Commission, error: Exception) -> None:
        """A commission came to nothing: one creative less for each of its channels."""
        for spec in commission.specs:
            self._creatives.labels(spec.name, _outcome(error)).inc()

    def feedback(self, verdict: str) -> None:
        """A verdict was taken: one of VERDICTS."""
        self._feedback.labels(verdict).inc()

    def store_error(self, part: str) -> None:
        """A store failed: one of STORE_PARTS."""
        self._store_errors.labels(part).inc()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """What a scrape gets, and its media type, by the scraper's Accept header. Takes some ms: not for a loop."""
        return self._exposition.answer(OPENMETRICS if OPENMETRICS in accept else "")

    def _counter(self, declared: Declared) -> Counter:
        return Counter(declared.name, declared.help, declared.labels, registry=self.registry)

    def _histogram(self, declared: Declared) -> Histogram:
        return Histogram(
            declared.name, declared.help, declared.labels, buckets=declared.buckets, registry=self.registry
        )

    def _begin_at_zero(self) -> None:
        """A rate needs two values: a series that begins with its first event would hide that one."""
        for channel in channels():
            self._validity.labels(channel)
            for outcome in OUTCOMES:
                self._creatives.labels(channel, outcome)
        for counter, values in (
            (self._findings, tuple(FINDINGS)),
            (self._feedback, VERDICTS),
            (self._store_errors, STORE_PARTS),
        ):
            for value in values:
                counter.labels(value)


def _outcome(error: Exception) -> str:
    if isinstance(error, StudioBusyError):
        return "refused"
    if isinstance(error, DeadlineError):
        return "late"
    return "unavailable" if isinstance(error, StudioDownError) else "failed"


class _AtScrape(Collector):
    """The metrics that are read where they stand when a scrape comes."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterator[Metric]:
        """Names alone, so that the registry finds a duplicate without a scrape."""
        yield from (Metric(each.name, each.help, "untyped") for each in _READ_AT_SCRAPE)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at every scrape."""
        for declared, read in (
            (QUEUE_DEPTH, self._sources.queue_depth),
            (QUEUE_CAPACITY, self._sources.queue_capacity),
            (WRITER_UP, self._sources.is_writer_up),
            (LIMITS_STORE_UP, self._sources.is_limits_store_up),
        ):
            if (value := read()) is not None:
                yield GaugeMetricFamily(declared.name, declared.help, value)
        log = self._sources.generation_log()
        if engine := self._sources.engine():
            yield CounterMetricFamily(TOKENS.name, TOKENS.help, engine.tokens)
            yield _histogram(BATCH_SIZE, engine.step_rows)
            yield _histogram(WAIT_SECONDS, engine.wait_seconds)
            yield _histogram(FIRST_TOKEN_SECONDS, engine.first_token_seconds)
        if log is not None:
            yield GaugeMetricFamily(LOG_HELD.name, LOG_HELD.help, log.held)
            yield CounterMetricFamily(LOG_DROPPED.name, LOG_DROPPED.help, log.dropped)


_READ_AT_SCRAPE = (
    TOKENS, BATCH_SIZE, WAIT_SECONDS, FIRST_TOKEN_SECONDS, QUEUE_DEPTH, QUEUE_CAPACITY, WRITER_UP, LIMITS_STORE_UP,
    LOG_HELD, LOG_DROPPED,
)  # fmt: skip


def _histogram(declared: Declared, tally: Tally) -> HistogramMetricFamily:
    """Prometheus wants each bucket to hold those below it, too."""
    total, counts = tally.total, tuple(tally.counts)
    bounds = [*(str(float(bound)) for bound in tally.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(counts), strict=True))
    return HistogramMetricFamily(declared.name, declared.help, buckets=buckets, sum_value=total)
