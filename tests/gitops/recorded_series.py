"""
What Prometheus would hold of two releases side by side: healthy ones, and every way in which one may not be.

Knows the names of app/metrics.py and nothing of any query. `recorded(folder)` gives the address of a real Prometheus
that holds them all, told apart by the hash of the pods, as in a cluster.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import metrics
from tests.real_parts import free_port, wait_until

START_SECONDS = 1_750_003_200
"""Some full hour; all of it lies in one block."""
RUN_SECONDS = START_SECONDS + 15 * 60
"""When the analysis begins: the window of its queries has filled by then."""
MINUTES = 60
STEP_SECONDS = 30
"""Between two scrapes."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release's behaviour. All of it is steady, but for what begins at `from_minute` of the analysis."""

    per_minute: float = 120.0
    """Requests for creatives that are no client's fault."""
    error_share: float = 0.0
    seconds: float = 1.2
    """What the slowest tenth takes; the others take half."""
    validity: float = 0.95
    invented: float = 0.05
    """Facts that the product does not state, per creative."""
    style: float = 0.1
    """Light findings per creative."""
    refused_per_minute: float = 0.0
    """Answers of 401, in a millisecond."""
    from_minute: float = 0.0
    """Errors begin here; until then there are none."""
    only: float = float("inf")
    """Requests come to an end after this many, counted from the start of the analysis' window."""
    lacks: tuple[str, ...] = ()
    """Beginnings of names of metrics that are not there."""
    is_nan: bool = False
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """Two releases, and what somebody would say of them."""

    name: str
    canary: Release = field(default_factory=Release)
    stable: Release = field(default_factory=Release)
    is_answered: bool = True
    """False: Prometheus itself is away."""


HEALTHY = Release()
SILENT = replace(HEALTHY, per_minute=0.0)
THREE = replace(HEALTHY, only=3.0)
FLOOD = 2_000.0
SCENARIOS = (
    Scenario("healthy"),
    Scenario("better than stable", replace(HEALTHY, seconds=0.8, validity=0.98, invented=0.0)),
    Scenario("more light findings", replace(HEALTHY, style=0.6)),
    Scenario("5 % errors", replace(HEALTHY, error_share=0.05)),
    Scenario("2 % errors", replace(HEALTHY, error_share=0.02)),
    Scenario("all errors", replace(HEALTHY, error_share=1.0)),
    Scenario("all errors from the third minute", replace(HEALTHY, error_share=1.0, from_minute=2.0)),
    Scenario("slow", replace(HEALTHY, seconds=4.0)),
    Scenario("a little slow", replace(HEALTHY, seconds=1.9)),
    Scenario("validity drops, 200 OK", replace(HEALTHY, validity=0.7)),
    Scenario("validity drops a little", replace(HEALTHY, validity=0.915)),
    Scenario("invented facts", replace(HEALTHY, invented=0.5)),
    Scenario("a few more invented facts", replace(HEALTHY, invented=0.15)),
    Scenario(
        "errors and slowness behind 401s", replace(HEALTHY, error_share=0.05, seconds=4.0, refused_per_minute=FLOOD)
    ),
    Scenario("no traffic", SILENT, SILENT),
    Scenario("no traffic to the canary", SILENT),
    Scenario("three requests", THREE, THREE),
    Scenario("three requests to the canary", THREE),
    Scenario("three requests to the stable release", stable=THREE),
    Scenario("NaN", replace(HEALTHY, is_nan=True)),
    Scenario(
        "quality metrics missing",
        replace(HEALTHY, lacks=("adloom_creative_",)),
        replace(HEALTHY, lacks=("adloom_creative_",)),
    ),
    Scenario("request metrics missing", replace(HEALTHY, lacks=("adloom_http_",))),
    Scenario("canary not scraped", replace(HEALTHY, is_absent=True)),
    Scenario("stable release not scraped", stable=replace(HEALTHY, is_absent=True)),
    Scenario("all errors on both", replace(HEALTHY, error_share=1.0), replace(HEALTHY, error_share=1.0)),
    Scenario(
        "slow, invalid and inventing on both",
        replace(HEALTHY, seconds=9.0, validity=0.5, invented=0.6),
        replace(HEALTHY, seconds=9.0, validity=0.5, invented=0.6),
    ),
    Scenario("Prometheus away", is_answered=False),
)


def pod_hash(scenario: Scenario, side: str) -> str:
    """What Argo Rollouts would label the pods of one side with."""
    return f"{SCENARIOS.index(scenario)}-{side}"


@contextmanager
def recorded(folder: Path) -> Iterator[str]:
    """The address of a Prometheus with every scenario. Skips where Prometheus is not installed."""
    for program in ("promtool", "prometheus"):
        if shutil.which(program) is None:
            pytest.skip("needs Prometheus: install the Debian package prometheus")
    written, data, settings = folder / "series.txt", folder / "data", folder / "prometheus.yml"
    written.write_text("\n".join([*_lines(), "# EOF\n"]), encoding="utf-8")
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(written), str(data)]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
    settings.write_text("{}\n", encoding="utf-8")
    port = free_port()
    command = ["prometheus", f"--config.file={settings}", f"--storage.tsdb.path={data}", "--log.level=error"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: _is_ready(address) or server.poll() is not None, "Prometheus to answer")
            assert server.poll() is None
            yield address
        finally:
            server.kill()


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/-/ready", timeout=10.0).is_success
    except httpx.TransportError:
        return False


def _lines() -> Iterator[str]:
    times = range(START_SECONDS, START_SECONDS + MINUTES * 60 + 1, STEP_SECONDS)
    for scenario in SCENARIOS:
        for side, release in (("canary", scenario.canary), ("stable", scenario.stable)):
            if release.is_absent or not scenario.is_answered:
                continue
            common = {"job": "adloom-api", "rollouts_pod_template_hash": pod_hash(scenario, side)}
            for time in times:
                yield from _scrape(release, common, time)


def _scrape(release: Release, common: Mapping[str, str], time: int) -> Iterator[str]:
    for name, labels, value in _samples(release, time):
        if not name.startswith(release.lacks or ("no such metric",)):
            said = ",".join(f'{key}="{text}"' for key, text in {**common, **labels}.items())
            yield f"{name}{{{said}}} {'NaN' if release.is_nan else round(value, 6)} {time}"


def _samples(release: Release, time: int) -> Iterator[tuple[str, dict[str, str], float]]:
    """Counters of one release at one moment, as a scrape would find them."""
    asked = _asked(release, time)
    failed = release.error_share * (asked - _asked(release, RUN_SECONDS + round(60 * release.from_minute)))
    failed = max(0.0, failed) if release.from_minute else release.error_share * asked
    refused = release.refused_per_minute * (time - START_SECONDS) / 60
    written = asked - failed
    for status, count, seconds in (("200", written, release.seconds), ("500", failed, 0.02), ("401", refused, 0.001)):
        if count or status == "200":  # prometheus_client makes a child at its first event
            yield from _histogram(metrics.HTTP_SECONDS.name, status, count, seconds)
    channel = {"channel": "instagram"}
    yield f"{metrics.VALIDITY.name}_sum", channel, written * release.validity
    yield f"{metrics.VALIDITY.name}_count", channel, written
    yield metrics.FINDINGS_FOUND.name, {"finding": "unsupported_number"}, written * release.invented
    yield metrics.FINDINGS_FOUND.name, {"finding": "stock_phrase"}, written * release.style


def _asked(release: Release, time: int) -> float:
    """Requests up to now; a release that gets only a few gets them right before the analysis begins."""
    if release.only < float("inf"):
        return release.only if time >= RUN_SECONDS - 60 else 0.0
    return release.per_minute * (time - START_SECONDS) / 60


def _histogram(name: str, status: str, count: float, seconds: float) -> Iterable[tuple[str, dict[str, str], float]]:
    """One request in ten takes `seconds`, the others half of that."""
    labels: dict[str, Any] = {"route": "/v1/creatives", "method": "POST", "status": status}
    for bound in (*metrics.HTTP_SECONDS.buckets, float("inf")):
        share = 1.0 if bound >= seconds else 0.9 if bound >= seconds / 2 else 0.0
        yield f"{name}_bucket", {**labels, "le": "+Inf" if bound == float("inf") else str(float(bound))}, count * share
    yield f"{name}_count", labels, count
    yield f"{name}_sum", labels, count * seconds * 0.55
