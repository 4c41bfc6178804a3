"""
A histogram of very many series, counted and published as prometheus_client's own, and read at a scrape in a fifth of
the time.

Knows no metric by name.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

INFINITE = "+Inf"


class LabelledHistogram(Collector):
    """Thread-safe. What a series is called is put together once, when it is first seen, and not at every scrape."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """`bounds` rise, and lack the last, which is infinite."""
        self._name, self._documentation = name, documentation
        self._labels = tuple(labels)
        self._bounds = tuple(float(bound) for bound in bounds)
        self._les = (*map(floatToGoString, self._bounds), INFINITE)
        self._series: dict[tuple[str, ...], _Series] = {}
        self._lock = threading.Lock()

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """One event, in the order in which the labels are declared. Below a bound is also what is as large."""
        with self._lock:
            series = self._series.get(labels) or self._added(labels)
            series.counts[bisect_left(self._bounds, value)] += 1
            series.total += value

    def expect(self, labels: tuple[str, ...]) -> None:
        """Publish that series from now on, at zero until it has its first event."""
        with self._lock:
            if labels not in self._series:
                self._added(labels)

    def describe(self) -> Iterator[Metric]:
        """Names alone, so that the registry finds a duplicate without a scrape."""
        yield Metric(self._name, self._documentation, "histogram")

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at every scrape."""
        with self._lock:
            read = [(series, tuple(series.counts), series.total) for series in self._series.values()]
        family = Metric(self._name, self._documentation, "histogram")
        bucket, count, sum_ = f"{self._name}_bucket", f"{self._name}_count", f"{self._name}_sum"
        for series, counts, total in read:
            below = tuple(accumulate(counts))
            family.samples += [
                *(Sample(bucket, labels, value) for labels, value in zip(series.bucket_labels, below, strict=True)),
                Sample(count, series.labels, below[-1]),
                Sample(sum_, series.labels, total),
            ]
        yield family

    def _added(self, labels: tuple[str, ...]) -> _Series:
        """Raises ValueError for another number of labels than was declared."""
        named = dict(zip(self._labels, labels, strict=True))
        series = _Series(named, tuple({**named, "le": le} for le in self._les))
        self._series[labels] = series
        return series


class _Series:
    """What fell into each bucket, not summed up, and the sum of all values."""

    __slots__ = ("bucket_labels", "counts", "labels", "total")

    def __init__(self, labels: dict[str, str], bucket_labels: tuple[dict[str, str], ...]) -> None:
        self.labels, self.bucket_labels = labels, bucket_labels
        self.counts = [0] * len(bucket_labels)
        self.total = 0.0
