"""Faults of the watchers themselves: the exporter's database gone, Prometheus restarted; no false page, no silence."""

from __future__ import annotations

import pytest

from app.watch.alert_rules import alerts
from tests.app.exporter_stores import Stores
from tests.observability.alerting import is_soon, ours, prometheus
from tests.repo.tree import ROOT

RULES = ROOT / "gitops/apps/adloom-exporter/monitoring/rules.yaml"
PAGES = {alert.name for alert in alerts(ROOT) if alert.severity == "critical"}
SPEED = 120.0


@pytest.mark.slow
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
        empty = server.firing()
        stores.file.rename(tmp_path / "away.db")
        is_soon(lambda: "AdloomExporterSourceStale" in server.firing(), "the lost source to be told")
        is_soon(lambda: "AdloomIngestStale" not in server.firing(), "what is unknown to be told no longer")
        gone = server.firing()
        server.stop()
        server.start()
        is_soon(lambda: server.is_ready() and server.query("up == 1"), "Prometheus to scrape again")
        restarted = server.firing()
    stores.database.dispose()

    assert "AdloomExporterSourceStale" not in empty
    assert (empty | gone | restarted) & PAGES == set()
    assert "AdloomExporterDown" not in restarted
