"""Who is told of what: the routing tree in a real Alertmanager, and the files that are made of it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from app.watch import routing
from app.watch.alert_rules import alerts
from tests.observability.alerting import alertmanager, is_soon, local, receiver
from tests.repo.tree import ROOT

CONFIG = ROOT / routing.FOLDER / "alertmanager.yaml"
ALERTS = alerts(ROOT)
TOLD = {"critical": "pager", "warning": "tickets", "info": "nobody"}


def amtool(*arguments: str) -> str:
    program = shutil.which("amtool")
    if program is None:
        pytest.skip("needs amtool: install the Debian package prometheus-alertmanager")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def labels(name: str, **others: str) -> dict[str, str]:
    alert = next(each for each in ALERTS if each.name == name)
    return {"alertname": name, **alert.labels, **others}


def config() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return found


def test_the_files_are_what_the_tree_makes_of_them():
    for path, content in routing.rendered(ROOT).items():
        assert (ROOT / path).read_text(encoding="utf-8") == content, "run `adloom alerts routes --write`"


@pytest.mark.parametrize("name", ["alertmanager.yaml", "alertmanager-hook.yaml"])
def test_alertmanager_takes_the_files(name):
    assert "SUCCESS" in amtool("check-config", str(ROOT / routing.FOLDER / name))


def test_every_alert_reaches_the_receiver_of_its_severity():
    for alert in ALERTS:
        pairs = [f"{key}={value}" for key, value in labels(alert.name).items()]
        found = amtool("config", "routes", "test", f"--config.file={CONFIG}", *pairs).split()
        hook = ["retrain-hook"] if alert.name == "AdloomDriftHurts" else []

        assert found[0].split(",") == [*hook, TOLD[alert.severity]], alert.name


def test_an_alert_that_no_route_knows_becomes_a_ticket():
    found = amtool("config", "routes", "test", f"--config.file={CONFIG}", "alertname=Unheard", "severity=odd")

    assert found.split() == ["tickets"]


def test_a_receiver_that_nobody_fills_in_is_an_error(tmp_path):
    (tmp_path / routing.FOLDER).mkdir(parents=True)
    (tmp_path / routing.ROUTES).write_text("route: {receiver: pigeon}\ninhibit_rules: []\n")

    with pytest.raises(ValueError, match="pigeon"):
        routing.rendered(tmp_path)


def test_no_secret_stands_in_the_files():
    for each in config()["receivers"]:
        for kind, places in each.items():
            for place in places if kind.endswith("_configs") else []:
                assert not {"routing_key", "service_key", "api_url"} & set(place)
                assert "credentials" not in str(place).replace("credentials_file", "")


def test_every_inhibition_names_alerts_that_there_are():
    known = {alert.name for alert in ALERTS}
    text = (ROOT / routing.ROUTES).read_text(encoding="utf-8")
    named = set(re.findall(r"\bAdloom[A-Z]\w+", text))

    assert named
    assert named - known == set()


@pytest.mark.slow
def test_a_dead_service_pages_once_and_other_faults_of_its_own_once_each():
    with receiver() as told, alertmanager(local(config(), told)) as manager:
        manager.send(
            labels("AdloomServiceDown"),
            labels("AdloomAvailabilityBurnFast"),
            labels("AdloomLatencyBurnFast"),
            labels("AdloomBundleLoadFailed", instance="api-0:8000"),
            labels("AdloomDatabaseDown"),
            labels("AdloomQueueSaturated"),
            labels("AdloomExporterSourceStale", source="service"),
            labels("AdloomExporterSourceStale", source="drift"),
            labels("AdloomTruthDiverged"),
        )
        is_soon(lambda: told.alerts("pager") >= {"AdloomServiceDown", "AdloomTruthDiverged"}, "the pages")
        manager.send(labels("AdloomIngestStale"))  # a group that comes after all others have gone out
        is_soon(lambda: "AdloomIngestStale" in told.alerts("tickets"), "a later ticket")

    assert told.alerts("pager") == {"AdloomServiceDown", "AdloomTruthDiverged"}
    assert told.alerts("tickets") == {"AdloomIngestStale"}


@pytest.mark.slow
def test_alerts_of_one_name_come_as_one_message_and_information_reaches_nobody():
    with receiver() as told, alertmanager(local(config(), told)) as manager:
        manager.send(
            labels("AdloomPipelineFailed", dag="ingest_catalogue"),
            labels("AdloomPipelineFailed", dag="monitor_drift"),
            labels("AdloomPipelineLate", dag="monitor_drift"),
            labels("AdloomPipelineLate", dag="train_writer"),
            labels("AdloomDriftFound"),
        )
        is_soon(lambda: "AdloomPipelineLate" in told.alerts("tickets"), "a ticket on the late pipeline")
        is_soon(lambda: "AdloomPipelineFailed" in told.alerts("tickets"), "a ticket on the failed pipelines")
        is_soon(lambda: "AdloomDriftFound" in told.alerts("nobody"), "what nobody is told")
    first = {each["groupLabels"]["alertname"]: each for each in reversed(told.came["tickets"])}
    dags = {name: sorted(alert["labels"]["dag"] for alert in each["alerts"]) for name, each in first.items()}

    assert dags == {
        "AdloomPipelineFailed": ["ingest_catalogue", "monitor_drift"],
        "AdloomPipelineLate": ["train_writer"],
    }
    assert "pager" not in told.came


@pytest.mark.slow
def test_without_the_inhibition_the_same_service_would_page_three_times():
    tree = config() | {"inhibit_rules": []}
    with receiver() as told, alertmanager(local(tree, told)) as manager:
        manager.send(labels("AdloomServiceDown"), labels("AdloomDatabaseDown"), labels("AdloomAvailabilityBurnFast"))
        is_soon(lambda: len(told.alerts("pager")) == 3, "three pages")

    assert told.alerts("pager") == {"AdloomServiceDown", "AdloomDatabaseDown", "AdloomAvailabilityBurnFast"}
