"""From a log of shifted traffic to a retrain that waits, through the real exporter, rule, routes and hook."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from app.watch import routing
from model.store import retrains
from model.store.tables import Database
from pipelines.drift.traffic import Traffic, records
from pipelines.steps import monitor_drift
from tests.observability.alerting import TOKEN, alertmanager, is_soon, local, ours, prometheus, receiver
from tests.pipelines.drift_log import HOUR, Plant
from tests.repo.tree import ROOT

RULES = ROOT / "gitops/apps/adloom-exporter/monitoring/rules.yaml"
HURTS = {"alertname": "AdloomDriftHurts", "severity": "warning", "service": "adloom-exporter"}
ROWS = 600

pytestmark = pytest.mark.proof


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """A log of six hours up to now: four ordinary ones, which become the reference, and two of shifted traffic."""
    made = Plant(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.database.upgrade()
    yield made
    made.database.dispose()


def log_and_report(plant, shifted: float) -> None:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 6 * HOUR
    for hour in range(6):
        at = start + hour * HOUR
        made = records(Traffic(hour, shifted_share=shifted if hour > 3 else 0.0), at, at + HOUR, ROWS)
        lines = "\n".join(json.dumps(record) for record in made)
        plant.objects.put(f"generations/date={at:%Y-%m-%d}/hour={at:%H}/a.jsonl", lines.encode())
    times = [(start + hour * HOUR).isoformat() for hour in (0, 4, 5, 6)]
    monitor_drift.main(["reference", "--since", times[0], "--until", times[1], "--draws", "200"])
    for since, until in ((times[1], times[2]), (times[2], times[3])):
        assert monitor_drift.main(["--since", since, "--until", until]) == 0


def waiting(database: Database) -> list[str]:
    with database.connect() as connection:
        rows = retrains.since(connection, "ad_writer", datetime.now(UTC) - timedelta(days=1))
    return [row.trigger for row in rows if row.state == "waiting"]


def routes() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((ROOT / routing.FOLDER / "alertmanager.yaml").read_text(encoding="utf-8"))
    return found


def token_file(folder) -> str:
    file = folder / "token"
    file.write_text(TOKEN)
    return str(file)


def test_shifted_traffic_in_the_log_leaves_a_retrain_waiting(plant, tmp_path):
    log_and_report(plant, shifted=0.6)
    exporter = ("--interval-seconds", "0.5", "--ledger", str(tmp_path / "ledger.jsonl"))
    with (
        receiver() as told,
        ours("app.exporter", *exporter) as exporting,
        ours("pipelines.alert_hook", "--token-file", token_file(tmp_path)) as hook,
        alertmanager(local(routes(), told, f"http://127.0.0.1:{hook.port}/v1/alerts")) as manager,
        prometheus({"adloom-exporter": exporting.port}, RULES, told=manager) as server,
    ):
        is_soon(lambda: {"AdloomDriftFound", "AdloomDriftHurts"} <= server.firing(), "both alerts")
        is_soon(lambda: waiting(plant.database), "a retrain to wait")

    assert waiting(plant.database) == ["drift"]


def test_ordinary_traffic_does_not(plant, tmp_path):
    log_and_report(plant, shifted=0.0)
    exporter = ("--interval-seconds", "0.5", "--ledger", str(tmp_path / "ledger.jsonl"))
    with (
        receiver() as told,
        ours("app.exporter", *exporter) as exporting,
        ours("pipelines.alert_hook", "--token-file", token_file(tmp_path)) as hook,
        alertmanager(local(routes(), told, f"http://127.0.0.1:{hook.port}/v1/alerts")) as manager,
        prometheus({"adloom-exporter": exporting.port}, RULES, told=manager) as server,
    ):
        # The first of these has waited longer than drift would have to: sixty times as fast, 30 minutes against 5.
        is_soon(lambda: "AdloomPipelineStale" in server.firing(), "an alert that is due later")
        firing = server.firing()

    assert "AdloomDriftHurts" not in firing
    assert waiting(plant.database) == []


def cut_route(config):
    config["route"]["routes"] = [each for each in config["route"]["routes"] if each["receiver"] != "retrain-hook"]


@pytest.mark.parametrize("cut", ["nothing", "route", "token", "alert"])
def test_each_link_from_alert_to_retrain_is_needed(plant, tmp_path, cut):
    log_and_report(plant, shifted=0.6)
    config = routes()
    if cut == "route":
        cut_route(config)
    token = "another-token-altogether" if cut == "token" else TOKEN
    alert = {**HURTS, "alertname": "AdloomDriftReportStale"} if cut == "alert" else HURTS
    with (
        receiver() as told,
        ours("pipelines.alert_hook", "--token-file", token_file(tmp_path)) as hook,
        alertmanager(local(config, told, f"http://127.0.0.1:{hook.port}/v1/alerts", token)) as manager,
    ):
        manager.send(alert)
        is_soon(lambda: alert["alertname"] in told.alerts("tickets"), "the ticket")
        if cut == "nothing":
            is_soon(lambda: waiting(plant.database), "a retrain to wait")
        if cut == "token":
            is_soon(lambda: manager.failed_notifications() > 0, "a refused call")

    assert waiting(plant.database) == (["drift"] if cut == "nothing" else [])
