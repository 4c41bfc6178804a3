"""
What a scrape costs the service and the exporter at ten thousand active series, beside what prometheus_client takes.

Measures in this process: what Prometheus gets, made and compressed as for a scrape, without a network.
"""

from __future__ import annotations

import gc
import gzip
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import choose_encoder

from app.exporter import Exporter, Watched
from app.exporter_server import WsgiApp, metrics_app
from app.exporter_sources import PIPELINE_FAILURES, Reading
from app.metrics import Metrics
from app.watch.verdicts import PAGE

FILE = Path("architecture/measured/scrape.json")
BEGIN, END = "<!-- generated: adloom alerts cost --write -->", "<!-- end -->"
SERIES = 10_000
SCRAPES = 30
INTERVAL_SECONDS = 30.0
"""As the ServiceMonitors have it."""
SECONDS_MAX, CORE_SHARE_MAX = 0.05, 0.01
"""Of the median scrape's time on the processor, and of one core at that interval."""
ACCEPTS = {
    "openmetrics": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "text": "text/plain;version=0.0.4",
}
"""By format; the first is what Prometheus asks for, the second what a person gets."""
PARTS = ("service", "exporter")
GZIPPED = b"\x1f\x8b"

Scrape = Callable[[], bytes]


def measure() -> dict[str, Any]:
    """Takes half a minute."""
    found: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_average": round(os.getloadavg()[0], 1),
        "scrapes": SCRAPES,
        "interval_seconds": INTERVAL_SECONDS,
    }
    for part, scrapes in (("service", _service()), ("exporter", _exporter())):
        gc.collect()
        gc.freeze()  # as service and exporter do when they have started
        try:
            found[part] = {form: _cost(*both) for form, both in scrapes.items()}
        finally:
            gc.unfreeze()
    return found


def is_cheap(found: Mapping[str, Any]) -> bool:
    """Whether both stay below what was promised, in either format."""
    return all(
        found[part][form]["median_seconds"] < SECONDS_MAX and found[part][form]["core_share"] < CORE_SHARE_MAX
        for part in PARTS
        for form in ACCEPTS
    )


def table(found: Mapping[str, Any]) -> str:
    """In Markdown: ours and the library's, side by side."""
    lines = [
        "| scraped | format | series | bytes | median | by prometheus_client | ratio | share of a core |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in PARTS:
        for form in ACCEPTS:
            one = found[part][form]
            lines.append(
                f"| {part} | {form} | {one['series']:,} | {one['bytes']:,} | {one['median_seconds'] * 1000:.1f} ms "
                f"| {one['library_median_seconds'] * 1000:.1f} ms | {one['ratio']:.2f} "
                f"| {100 * one['core_share']:.3f} % |"
            )
    return "\n".join(lines)


def with_table(page: str, found: Mapping[str, Any]) -> str:
    """The page with what was measured in it. Raises ValueError where the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for the table: put the lines {BEGIN} and {END} into it")
    return f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{after}"


def _service() -> dict[str, tuple[Scrape, Scrape]]:
    """By format: ours, and the library's. A histogram of 14 bounds has 17 series for each route and status."""
    metrics, number = Metrics(), 0
    while _series(metrics.exposition()[0]) < SERIES:
        for _ in range(25):
            metrics.request("GET", f"/v1/route-{number % 40}", 200 + number // 40, 0.1)
            number += 1
    return {
        form: (partial(_text, metrics, accept), partial(choose_encoder(accept)[0], metrics.registry))
        for form, accept in ACCEPTS.items()
    }


def _text(metrics: Metrics, accept: str) -> bytes:
    return metrics.exposition(accept)[0]


def _exporter() -> dict[str, tuple[Scrape, Scrape]]:
    readings = [Reading(PIPELINE_FAILURES, number, (f"dag-{number}",)) for number in range(SERIES)]
    watched = Watched("pipelines", lambda: readings, 3600.0)
    watched.read_once()
    registry = CollectorRegistry()
    registry.register(Exporter([watched]))
    ours, library = metrics_app(registry), make_wsgi_app(registry)
    return {form: (partial(_asked, ours, accept), partial(_asked, library, accept)) for form, accept in ACCEPTS.items()}


def _asked(app: WsgiApp, accept: str) -> bytes:
    """As Prometheus asks, and people who use curl do not: compressed."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": "", "HTTP_ACCEPT": accept}
    return b"".join(app(environ | {"HTTP_ACCEPT_ENCODING": "gzip"}, lambda *_: None))


def _cost(ours: Scrape, library: Scrape) -> dict[str, Any]:
    """Scrapes of both take turns: whatever else the machine does, it does to both."""
    text = ours()
    taken = [(_taken(ours), _taken(library)) for _ in range(SCRAPES)]
    processor = [one.processor_seconds for one, _ in taken]
    by_library = [other.processor_seconds for _, other in taken]
    return {
        "series": _series(text),
        "bytes": len(text),
        "median_seconds": round(statistics.median(processor), 4),
        "best_seconds": round(min(processor), 4),
        "worst_seconds": round(max(processor), 4),
        "clock_median_seconds": round(statistics.median(one.clock_seconds for one, _ in taken), 4),
        "core_share": round(statistics.mean(processor) / INTERVAL_SECONDS, 5),
        "library_median_seconds": round(statistics.median(by_library), 4),
        "ratio": round(statistics.median(processor) / statistics.median(by_library), 3),
    }


@dataclass(frozen=True, slots=True)
class Taken:
    """What one scrape took."""

    processor_seconds: float
    """Of this thread: on a machine with nothing else to do the same as the clock's."""
    clock_seconds: float


def _taken(scrape: Scrape) -> Taken:
    began_clock, began_processor = time.perf_counter(), time.thread_time()
    scrape()
    return Taken(time.thread_time() - began_processor, time.perf_counter() - began_clock)


def _series(text: bytes) -> int:
    plain = gzip.decompress(text) if text.startswith(GZIPPED) else text
    return sum(not line.startswith(b"#") for line in plain.splitlines())
