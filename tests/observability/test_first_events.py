"""No counter that anybody judges by is born with its first event: a rate would not see that one."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta

import anyio
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.exporter import Exporter, Watched
from app.exporter_sources import all_sources
from app.main import JUDGED
from app.metrics import FEEDBACK, HTTP_SECONDS
from app.watch.promtool import run_tests
from model.store import pipeline_runs
from tests.app.exporter_stores import UPLOADED, Stores
from tests.app.service_client import DyingWriter, bearer, order, parts_of, service

Series = dict[str, float]
HOUR = timedelta(hours=1)
MINUTES_BEFORE, MINUTES = 5, 15
"""One sample a minute; the first event comes between two."""


def named(name: str, labels: dict[str, str]) -> str:
    pairs = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}"


def counters(text: str) -> Series:
    """Of ours, every counter and part of a histogram, as Prometheus names the series."""
    return {
        named(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        if family.type in ("counter", "histogram") and family.name.startswith("adloom_")
        for sample in family.samples
    }


async def service_before_and_after() -> tuple[Series, Series]:
    """Of a service that has just started, and after one of everything."""
    async with service(limits={"listChannels": "1/minute"}) as client:
        before = counters((await client.get("/metrics")).text)
        creative = (await client.post("/v1/creatives", json=order())).json()["creatives"][0]["id"]
        await client.post(f"/v1/creatives/{creative}/feedback", json={"verdict": "reject", "reason": "Dull."})
        for path in ("/v1/channels", "/v1/channels", "/readyz", "/nowhere"):
            await client.get(path)
        await client.post("/v1/creatives", json=order(), headers={"Authorization": "Bearer wrong"})
        await client.post("/v1/creatives", json=order(), headers=bearer(parts_of(client), scopes=()))
        parts_of(client).metrics.store_error("database")
        after = counters((await client.get("/metrics")).text)
    return before, after


async def dying_before_and_after() -> tuple[Series, Series]:
    """Of a service whose writer ends under its first request."""
    writer = DyingWriter()
    writer.gate.set()
    async with service(writer) as client:
        before = counters((await client.get("/metrics")).text)
        await client.post("/v1/creatives", json=order())
        with anyio.fail_after(60):  # the thread ends a moment after the answer
            while (await client.get("/readyz")).status_code == 200:
                await anyio.sleep(0.01)
        after = counters((await client.get("/metrics")).text)
    return before, after


def exporter_before_and_after(folder) -> tuple[Series, Series]:
    """Of an exporter of empty stores, and after the first runs and retrains."""
    stores = Stores(folder)
    stores.database.upgrade()
    watched = [Watched(name, read, 30.0) for name, read in all_sources(stores.database, stores.ledger_path, "").items()]
    registry = CollectorRegistry()
    registry.register(Exporter(watched))
    scrapes = []
    for _ in range(2):
        for each in watched:
            each.read_once()
        scrapes.append(counters(generate_latest(registry).decode()))
        stores.retrain("drift", "failed", UPLOADED)
        with stores.database.begin() as connection:
            pipeline_runs.record(connection, "monitor_drift", "first", "", "failed", UPLOADED)
            pipeline_runs.record(connection, "monitor_drift", "second", "", "late", UPLOADED + HOUR)
    stores.database.dispose()
    return scrapes[0], scrapes[1]


@pytest.fixture(scope="module")
def scrapes(tmp_path_factory) -> tuple[tuple[Series, Series], ...]:
    return (
        asyncio.run(service_before_and_after()),
        asyncio.run(dying_before_and_after()),
        exporter_before_and_after(tmp_path_factory.mktemp("stores")),
    )


def test_only_answers_that_nobody_judges_by_are_born_with_their_first(scrapes):
    born = {name for before, after in scrapes for name in set(after) - set(before)}
    judged = [f'method="{method}",route="{route}",status="{status}"' for method, route, status in JUDGED]

    assert born
    assert {name for name in born if not name.startswith(HTTP_SECONDS.name)} == set()
    assert [name for name in born for labels in judged if labels in name] == []


EVENTS = (
    'adloom_creatives_total{outcome="written"}',
    'adloom_creatives_total{outcome="unavailable"}',
    "adloom_creative_validity_ratio_count",
    'adloom_feedback_total{verdict="reject"}',
    'adloom_store_errors_total{part="database"}',
    'adloom_rate_limited_total{route="/v1/channels"}',
    'adloom_http_request_duration_seconds_count{route="/v1/creatives",status="200"}',
    'adloom_http_request_duration_seconds_bucket{route="/v1/creatives",status="200",le="5.0"}',
    'adloom_http_request_duration_seconds_count{route="/v1/creatives",status="401"}',
    'adloom_http_request_duration_seconds_count{route="/v1/creatives",status="503"}',
    'adloom_http_request_duration_seconds_count{route="/readyz",status="503"}',
    'adloom_retrains_total{outcome="failed",trigger="drift"}',
    'adloom_pipeline_failures_total{dag="monitor_drift"}',
    'adloom_pipeline_late_total{dag="monitor_drift"}',
)


def asked(series: dict[str, str], expected: bool) -> dict:
    """A test for promtool: whether the increase of each event sees it."""
    cases = [
        {
            "expr": f"count(sum(increase({event}[{MINUTES}m])) > 0) or vector(0)",
            "eval_time": f"{MINUTES}m",
            "exp_samples": [{"labels": "{}", "value": int(expected)}],
        }
        for event in EVENTS
    ]
    told = [{"series": name, "values": values} for name, values in series.items()]
    return {"tests": [{"interval": "1m", "input_series": told, "promql_expr_test": cases}]}


@pytest.mark.parametrize("knows_zero", [True, False])
def test_prometheus_sees_the_first_event_where_its_series_was_there_before(scrapes, knows_zero, tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool: install the Debian package prometheus")
    series = {}
    for before, after in scrapes:
        for name, value in after.items():
            if value and (name not in series):
                first = f"{before[name]:g}" if knows_zero and name in before else "_"
                series[name] = " ".join([first] * MINUTES_BEFORE + [f"{value:g}"] * (MINUTES - MINUTES_BEFORE + 1))
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(asked(series, expected=knows_zero)), encoding="utf-8")
    outcome = run_tests([path])

    assert FEEDBACK.name in path.read_text(encoding="utf-8")
    assert outcome.passed, outcome.output
