"""Faults of the watchers themselves: the exporter's database gone, Prometheus restarted; no false page, no silence."""

from __future__ import annotations

import shutil
import time

import pytest

from app.drill.scene import Scene
from app.watch.alert_rules import alerts
from app.watch.stack import Stack
from tests.app.exporter_stores import Stores
from tests.observability.alerting import is_soon, ours, prometheus
from tests.repo.tree import ROOT

RULES = ROOT / "gitops/apps/adloom-exporter/monitoring/rules.yaml"
SERVICE_DOWN = 'ALERTS{alertname="AdloomServiceDown",alertstate="firing"}'
PAGES = {alert.name for alert in alerts(ROOT) if alert.severity == "critical"}
SPEED = 120.0
MISSED = "min_over_time(up[15s]) == 0"
"""A scrape has failed: a machine that is busy keeps a target for seconds, and these rules may tell of it."""


def fired_since(server, at_seconds):
    """Whatever did at any moment, before a restart too, unless a target had missed a scrape by then."""
    now_seconds = time.time()
    window_ms = max(1, round(1000 * (now_seconds - at_seconds)))
    alarms = f'ALERTS{{alertstate="firing"}} unless on () ({MISSED})'
    firing = f"max_over_time(({alarms})[{window_ms}ms:250ms] @ {now_seconds:.3f})"
    found = server.query(f"count by (alertname) ({firing})")
    return {each["metric"]["alertname"] for each in found}


def scraped_again(at_seconds):
    """Ten scrapes since then."""
    return f"count_over_time(up[5m]) - count_over_time(up[5m] @ {at_seconds:.3f}) >= 10"


@pytest.mark.proof
def test_a_database_that_goes_and_a_prometheus_that_restarts_are_told_and_page_nobody(tmp_path, monkeypatch):
    stores = Stores(tmp_path)
    stores.database.upgrade()
    for name, value in stores.environment.items():
        monkeypatch.setenv(name, value)
    arguments = ("--interval-seconds", "0.5", "--ledger", str(stores.ledger_path))
    with (
        ours("app.exporter", *arguments) as exporter,
        prometheus({"adloom-exporter": exporter.port}, RULES, speed=SPEED) as server,
    ):
        # An empty store: the stale alerts fire, and nothing pages.
        is_soon(lambda: {"AdloomIngestStale", "AdloomDriftReportStale"} <= server.firing(), "the stale alerts")
        is_soon(lambda: not server.query(MISSED), "scrapes that all succeed")
        begun_seconds = time.time()
        is_soon(lambda: "AdloomIngestStale" in fired_since(server, begun_seconds), "it to be on record")
        empty = fired_since(server, begun_seconds)
        stores.file.rename(tmp_path / "away.db")
        is_soon(lambda: "AdloomExporterSourceStale" in server.firing(), "the lost source to be told")
        is_soon(lambda: "AdloomIngestStale" not in server.firing(), "what is unknown to be told no longer")
        server.stop()
        server.start()
        again = scraped_again(time.time())
        is_soon(lambda: server.is_ready() and bool(server.query(again)), "ten scrapes after the restart")
        # By now the exporter's absence, had it been thought absent, would have fired: 5 minutes are 2.5 seconds here.
        is_soon(lambda: "AdloomExporterSourceStale" in server.firing(), "the lost source to be told again")
        told = {"AdloomIngestStale", "AdloomExporterSourceStale"}
        is_soon(lambda: told <= fired_since(server, begun_seconds), "both to be on record")
        ever = fired_since(server, begun_seconds)
    stores.database.dispose()

    assert empty & {"AdloomExporterSourceStale", "AdloomExporterDown"} == set()
    assert ever & PAGES == set()
    assert "AdloomExporterDown" not in ever


@pytest.mark.proof
def test_a_prometheus_that_is_killed_and_comes_back_tells_of_nothing_while_all_is_well(tmp_path):
    for program in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {program}")
    with Stack(tmp_path, speed=60, root=ROOT, is_embedded=True) as stack, Scene(stack) as scene:
        scene.start_traffic(per_second=10)
        is_soon(lambda: bool(stack.query("adloom:http_requests:rate5m > 1")), "traffic to be recorded")
        is_soon(lambda: not stack.query(MISSED), "scrapes that all succeed")
        begun_seconds = time.time()
        stack.crash("prometheus")
        stack.start("prometheus")
        again = scraped_again(time.time())
        is_soon(lambda: bool(stack.query(again)), "ten scrapes after the restart")
        ever = fired_since(stack, begun_seconds)
        stack.crash("service")
        is_soon(lambda: bool(stack.query(SERVICE_DOWN)), "an alert to fire all the same")

    assert ever == set()
