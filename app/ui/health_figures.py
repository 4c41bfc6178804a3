"""
Figures of the health page, from the service's metrics and from statistics over growing windows.

Reads the Prometheus text format as far as this page needs it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

DURATION = "adloom_http_request_duration_seconds"
STARTED = "process_start_time_seconds"
WRITING_ROUTE = "/v1/creatives"


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """Of the process that answered; behind several, of one of them. None where it does not say."""

    uptime_seconds: float | None
    requests: int
    failed: int
    median_seconds: float | None
    p95_seconds: float | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Day:
    """`ago` 0 is the last 24 hours."""

    ago: int
    count: int
    mean_validity: float | None


def of_service(text: str) -> ServiceFigures:
    """From the answer of /metrics; what is not there is None or 0."""
    samples = _samples(text)
    counts = [sample for sample in samples if sample.name == f"{DURATION}_count"]
    started = next((sample.value for sample in samples if sample.name == STARTED), None)
    buckets = _buckets(samples)
    return ServiceFigures(
        uptime_seconds=None if started is None else max(0.0, time.time() - started),
        requests=int(sum(sample.value for sample in counts)),
        failed=int(sum(sample.value for sample in counts if sample.labels.get("status", "").startswith("5"))),
        median_seconds=quantile(buckets, 0.5),
        p95_seconds=quantile(buckets, 0.95),
        waiting=int(sum(sample.value for sample in samples if sample.name == "adloom_engine_queue_depth")),
    )


def _samples(text: str) -> list[Sample]:
    try:
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError:
        return []


def _buckets(samples: Iterable[Sample]) -> dict[float, float]:
    """Cumulative counts by upper bound, of the requests that had an ad written."""
    summed: dict[float, float] = {}
    for sample in samples:
        if sample.name == f"{DURATION}_bucket" and sample.labels.get("route") == WRITING_ROUTE:
            bound = float(sample.labels["le"])
            summed[bound] = summed.get(bound, 0.0) + sample.value
    return dict(sorted(summed.items()))


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """As Prometheus' histogram_quantile estimates it; None without a request. Past the last bound, that bound."""
    total = buckets.get(math.inf, 0.0)
    if not total:
        return None
    below, count_below = 0.0, 0.0
    for bound, count in buckets.items():
        if count >= share * total:
            if math.isinf(bound) or count == count_below:
                return below
            return below + (bound - below) * (share * total - count_below) / (count - count_below)
        below, count_below = bound, count
    return below


def by_day(stats: Sequence[Mapping[str, Any]]) -> list[Day]:
    """Of statistics over 1, 2, 3 ... days each single day: what a window has more than the one before."""
    days, count_before, total_before = [], 0, 0.0
    for ago, window in enumerate(stats):
        made = window["creatives"]
        total = made["count"] * (made["mean_validity"] or 0.0)
        count = max(0, made["count"] - count_before)
        mean = min(1.0, max(0.0, (total - total_before) / count)) if count else None
        days.append(Day(ago, count, mean))
        count_before, total_before = made["count"], total
    return days


def agreement(deployment: Mapping[str, Any]) -> str:
    """Whether the places of `GET /v1/deployment` say the same, and which of them say nothing."""
    if deployment["agree"] is None:
        return "Too little is known to compare"
    if not deployment["agree"]:
        return "They do not agree"
    says = [side["name"] for side in deployment["sides"] if side["version"] or side["image"]]
    silent = [side["name"] for side in deployment["sides"] if side["name"] not in says]
    words = f"{_joined(says)} agree{f', and nothing is known of {_joined(silent)}' if silent else ''}"
    return words[0].upper() + words[1:]


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
