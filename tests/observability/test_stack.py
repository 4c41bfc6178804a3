"""The local stack: durations divided and nothing else, every part real, and nothing left behind."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
import yaml

from app.watch import speed
from app.watch.processes import StackError, free_ports, listens, open_local
from app.watch.receiver import Receiver
from app.watch.speed import DurationError
from app.watch.stack import JOBS, ROUTES, RULES, Stack
from app.watch.stub_service import Control, ControlledWriter, read_control
from tests.real_parts import wait_until
from tests.repo.tree import ROOT

HOUR_SECONDS = 3600


def post(address, body=None):
    request = urllib.request.Request(address, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("duration", "seconds"), [("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("1d", 86_400), ("0", 0)]
)
def test_a_duration_is_read_as_prometheus_reads_it(duration, seconds):
    assert speed.seconds(duration) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "-5m", "1.5h"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(DurationError):
        speed.seconds(text)


@pytest.mark.parametrize(
    ("expression", "faster"),
    [
        ("rate(x[5m]) > 0.05", "rate(x[15000ms]) > 0.05"),
        ("rate(x[1m])", "rate(x[4000ms])"),  # not below what samples once a second allow
        ("rate(x[2s])", "rate(x[2000ms])"),  # what was shorter before stays
        ("max_over_time(x[1h:5m])", "max_over_time(x[180000ms:15000ms])"),
        ("x offset 1h > 3600", "x offset 180000ms > 3600"),
        ('x{range="[5m]"} > 300', 'x{range="[5m]"} > 300'),
        ("time() - x > 36 * 3600", "time() - x > 36 * 3600"),
    ],
)
def test_ranges_and_offsets_shrink_and_thresholds_stay(expression, faster):
    assert speed.faster_expression(expression, 20) == faster


@pytest.mark.parametrize("path", sorted(ROOT.glob(RULES)), ids=lambda path: path.parts[-3])
def test_a_faster_rule_file_has_the_same_rules_with_the_same_labels(path):
    before = yaml.safe_load(path.read_text(encoding="utf-8"))
    after = yaml.safe_load(speed.faster_rules(path.read_text(encoding="utf-8"), 20))
    pairs = [
        (old, new)
        for group, faster in zip(before["groups"], after["groups"], strict=True)
        for old, new in zip(group["rules"], faster["rules"], strict=True)
    ]

    assert len(pairs) > 10
    for old, new in pairs:
        kept = {"alert", "record", "labels", "annotations"}
        assert {key: old[key] for key in kept & set(old)} == {key: new[key] for key in kept & set(new)}
        if "for" in old:
            assert speed.seconds(new["for"]) == pytest.approx(speed.seconds(old["for"]) / 20)


def test_routes_keep_their_receivers_and_lose_their_secrets():
    told = yaml.safe_load(speed.faster_routes((ROOT / ROUTES).read_text(encoding="utf-8"), 20, "http://here/hook"))
    before = yaml.safe_load((ROOT / ROUTES).read_text(encoding="utf-8"))

    assert [each["name"] for each in told["receivers"]] == [each["name"] for each in before["receivers"]]
    assert {len(each["webhook_configs"]) for each in told["receivers"]} == {1}
    assert told["inhibit_rules"] == before["inhibit_rules"]
    assert "credentials_file" not in json.dumps(told)


def test_the_receiver_keeps_what_came_and_refuses_what_there_is_not():
    def act(part, action, argument):
        if part != "lamp":
            raise ValueError(f"no {part}")
        return f"{part} {action} {argument}"

    receiver = Receiver(act)
    receiver.start()
    try:
        alert = {"status": "firing", "labels": {"alertname": "A"}, "annotations": {"summary": "S"}}
        post(f"{receiver.url}/hook/pager", {"alerts": [alert]})
        answer = post(f"{receiver.url}/parts/lamp/on/bright")
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(f"{receiver.url}/parts/table/on")
        with pytest.raises(urllib.error.HTTPError) as nonsense:
            post(f"{receiver.url}/hook/pager", ["no", "message"])
        with refused.value, nonsense.value:  # each holds its connection
            said = refused.value.read()
    finally:
        receiver.close()

    assert [(each.receiver, each.alert, each.status) for each in receiver.notifications] == [("pager", "A", "firing")]
    assert answer == "lamp on bright"
    assert (refused.value.code, said) == (400, b"no table\n")
    assert nonsense.value.code == 400


def test_a_stack_that_cannot_begin_says_so_and_ends(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError), Stack(tmp_path / "file/stack", root=ROOT):
        pass


def test_a_part_that_cannot_be_stopped_keeps_no_other_from_being_stopped(tmp_path):
    class Stubborn:
        def stop(self):
            raise OSError("it does not go")

    stopped = []
    stack = Stack(tmp_path, root=ROOT)
    stack.parts = {"service": SimpleNamespace(stop=lambda: stopped.append("service")), "prometheus": Stubborn()}
    with pytest.raises(OSError, match="it does not go"):
        stack.close()

    assert stopped == ["service"]


def test_free_ports_are_different_ones():
    ports = free_ports(50)

    assert len(set(ports)) == 50
    assert [port for port in ports if listens(port)] == []


def test_what_runs_here_is_not_asked_through_a_proxy(monkeypatch):
    receiver = Receiver(lambda *words: " ".join(words))
    receiver.start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_ports(1)[0]}")
    try:
        with open_local(urllib.request.Request(f"{receiver.url}/parts/lamp/on", b""), 10) as answer:
            said = answer.read()
    finally:
        receiver.close()

    assert said == b"lamp on "


def test_a_control_file_that_is_not_there_means_all_is_well(tmp_path):
    Control(validity=0.5, every=3).write(tmp_path / "control.json")

    assert read_control(tmp_path / "nothing.json") == Control()
    assert read_control(tmp_path / "control.json") == Control(validity=0.5, every=3)


@pytest.mark.parametrize(
    ("control", "is_alive"),
    [
        (Control(is_dead=True), False),
        (Control(is_dead=True, version="2"), True),
        (Control(is_dead=True, version="1"), False),
        (Control(is_dead=True, started_before_seconds=1.0), True),  # this process is younger
    ],
)
def test_a_fault_meets_the_version_and_the_process_it_is_meant_for(tmp_path, control, is_alive):
    control.write(tmp_path / "control.json")

    assert ControlledWriter(tmp_path / "control.json", "1").alive is is_alive


def test_a_folder_without_rules_is_said_to_be_the_wrong_one(tmp_path):
    with pytest.raises(StackError, match="run it from the root"), Stack(tmp_path / "stack", root=tmp_path):
        pass


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    for program in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {program}")
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, speed=60, root=ROOT) as running:
        yield running
    ports = [part.port for part in running.parts.values()]

    assert [port for port in ports if listens(port)] == []


@pytest.mark.slow
def test_every_part_is_scraped_and_every_rule_is_loaded(stack):
    loaded = json.load(urllib.request.urlopen(f"{stack.prometheus_url}/api/v1/rules", timeout=60))["data"]["groups"]
    names = {rule["name"] for group in loaded for rule in group["rules"] if rule["type"] == "alerting"}
    written = {
        rule["alert"]
        for path in ROOT.glob(RULES)
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }

    wait_until(lambda: {each["metric"]["job"] for each in stack.query("up == 1")} == set(JOBS), "scrapes of all parts")
    assert names == written


@pytest.mark.slow
def test_a_part_that_was_killed_comes_back_on_the_same_port(stack):
    before = stack.exporter_url
    stack.crash("exporter")
    is_gone = not listens(stack.parts["exporter"].port)
    post(f"{stack.parts_url}/exporter/start")

    assert is_gone
    assert urllib.request.urlopen(f"{before}/metrics", timeout=60).status == 200


@pytest.mark.slow
def test_the_writer_does_what_its_control_says_and_the_service_tells(stack):
    stack.control(Control(validity=0.5, finding="unsupported_number"))
    order = {"product": {"sku": "B", "title": "Blue ceramic bowl"}, "channels": ["instagram"], "candidates": 1}
    request = urllib.request.Request(
        f"{stack.service_url}/v1/creatives",
        json.dumps(order).encode(),
        {"Authorization": f"Bearer {stack.token()}", "Content-Type": "application/json"},
    )
    creative = json.load(urllib.request.urlopen(request, timeout=60))["creatives"][0]
    stack.control(Control())
    found = 'adloom_creative_findings_total{finding="unsupported_number"} > 0'
    wait_until(lambda: bool(stack.query(found)), "the finding to be scraped")

    assert creative["validity"] == 0.5
    assert creative["passport"]["registry_version"] == "1"


@pytest.mark.proof
def test_another_version_says_so(stack):
    stack.deploy("7")
    version = json.load(urllib.request.urlopen(f"{stack.service_url}/version", timeout=60))
    stack.deploy("1")

    assert version["registry_version"] == "7"
