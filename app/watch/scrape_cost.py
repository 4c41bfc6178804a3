"""
What a scrape costs the service and the exporter at ten thousand active series.

Measures in this process: the text that Prometheus gets, made as for a scrape, without a network.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from app.exporter import Exporter, Watched
from app.exporter_sources import PIPELINE_FAILURES, Reading
from app.metrics import Metrics

FILE = Path("architecture/measured/scrape.json")
SERIES = 10_000
SCRAPES = 30
INTERVAL_SECONDS = 30.0
"""As the ServiceMonitors have it."""
SECONDS_MAX, CORE_SHARE_MAX = 0.05, 0.01
"""Of the median scrape, and of one core at that interval."""


def measure() -> dict[str, Any]:
    """Takes some seconds."""
    return {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_average": round(os.getloadavg()[0], 1),
        "scrapes": SCRAPES,
        "interval_seconds": INTERVAL_SECONDS,
        "service": _cost(_service()),
        "exporter": _cost(_exporter()),
    }


def is_cheap(found: dict[str, Any]) -> bool:
    """Whether both stay below what was promised."""
    return all(
        found[name]["median_seconds"] < SECONDS_MAX and found[name]["core_share"] < CORE_SHARE_MAX
        for name in ("service", "exporter")
    )


def _service() -> Callable[[], bytes]:
    """A histogram of 14 bounds has 17 series for each route and status."""
    metrics, number = Metrics(), 0
    while _series(metrics.exposition()[0]) < SERIES:
        for _ in range(25):
            metrics.request("GET", f"/v1/route-{number % 40}", 200 + number // 40, 0.1)
            number += 1
    return lambda: metrics.exposition()[0]


def _exporter() -> Callable[[], bytes]:
    readings = [Reading(PIPELINE_FAILURES, number, (f"dag-{number}",)) for number in range(SERIES)]
    watched = Watched("pipelines", lambda: readings, 3600.0)
    watched.read_once()
    registry = CollectorRegistry()
    registry.register(Exporter([watched]))
    return lambda: generate_latest(registry)


def _cost(scrape: Callable[[], bytes]) -> dict[str, Any]:
    seconds, text, began_cpu_seconds = [], b"", time.process_time()
    for _ in range(SCRAPES):
        began_seconds = time.perf_counter()
        text = scrape()
        seconds.append(time.perf_counter() - began_seconds)
    cpu_seconds = (time.process_time() - began_cpu_seconds) / SCRAPES
    return {
        "series": _series(text),
        "bytes": len(text),
        "median_seconds": round(statistics.median(seconds), 4),
        "best_seconds": round(min(seconds), 4),
        "worst_seconds": round(max(seconds), 4),
        "cpu_seconds": round(cpu_seconds, 4),
        "core_share": round(cpu_seconds / INTERVAL_SECONDS, 5),
    }


def _series(text: bytes) -> int:
    return sum(not line.startswith(b"#") for line in text.splitlines())
