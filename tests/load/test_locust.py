"""The merchants of the load test against the real service around a stub writer: what they meet is what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.client_command import create_client
from app.identity import SCOPES
from app.load.command import LOCUSTFILE, main
from app.load.report import Row
from app.watch.processes import Part, answers, free_port
from app.watch.stub_service import Control
from model.store.tables import Database

pytestmark = pytest.mark.proof

RUN_SECONDS_MAX = 240
UNTIL = """
import gevent
from locust import events
from locustfile import met

def watch(runner):
    while not ({condition}):
        gevent.sleep(0.1)
    runner.quit()

@events.test_start.add_listener
def begin(environment, **_):
    gevent.spawn(watch, environment.runner)
"""
"""A second locustfile, which ends the run as soon as that is so."""


@pytest.fixture
def service(tmp_path):
    """Starts a service with the given settings; yields its address."""
    started = []

    def start(control=None, **settings):
        port, url = free_port(), f"sqlite:///{tmp_path / 'adloom.db'}"
        database = Database(url)
        database.upgrade()
        secrets = [(f"user-{number}", create_client(database, f"user-{number}", SCOPES)) for number in range(4)]
        database.dispose()
        clients = [{"client_id": name, "client_secret": secret} for name, secret in secrets]
        (tmp_path / "clients.json").write_text(json.dumps(clients))
        (control or Control()).write(tmp_path / "control.json")
        environment = os.environ | {
            "ADLOOM_DATABASE_URL": url,
            "ADLOOM_OBJECTS_URL": str(tmp_path / "objects"),
            "ADLOOM_ISSUER_KEY": str(tmp_path / "issuer.pem"),
            "ADLOOM_LIMIT_DEFAULT": "1000000/minute",
            **settings,
        }
        command = [sys.executable, "-m", "app.watch.stub_service", "--control", str(tmp_path / "control.json")]
        command += ["--port", str(port)]
        part = Part("service", command, port, tmp_path / "log", lambda: answers(port, "/readyz"), environment)
        started.append(part)
        part.start()
        return f"http://127.0.0.1:{port}"

    yield start
    for each in started:
        each.stop()


def locust(folder, address, until, users=4):
    (folder / "until.py").write_text(UNTIL.format(condition=until))
    environment = os.environ | {
        "ADLOOM_LOAD_CLIENTS": str(folder / "clients.json"),
        "ADLOOM_LOAD_REPORT": str(folder / "report.json"),
        "ADLOOM_LOAD_WAIT_SECONDS": "0.05",
        "ADLOOM_LOAD_WARM_SECONDS": "1",
    }
    command = [sys.executable, "-m", "locust", "-f", f"{LOCUSTFILE},{folder / 'until.py'}", "--headless"]
    command += ["--host", address, "--only-summary"]
    command += ["--users", str(users), "--spawn-rate", str(users), "--run-time", f"{RUN_SECONDS_MAX}s"]
    limit = 2 * RUN_SECONDS_MAX
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit, check=False)
    assert (folder / "report.json").is_file(), done.stderr[-2000:]
    return json.loads((folder / "report.json").read_text())


def test_every_kind_of_request_is_answered_and_nothing_acknowledged_is_missing(tmp_path, service):
    kinds = {"creatives, one channel", "creatives, three channels", "creative", "feedback"}
    met = locust(tmp_path, service(), until=f"met.by_name.keys() >= {kinds}")
    found = Row.of(engine="stub", containers=1, users=4, cpus=1, cpus_used=0.5, lost=0, met=met)

    assert met["failures"] == {}
    assert set(met["by_name"]) >= kinds
    assert met["acknowledged"]
    assert sum(count for count, _ in met["by_name"].values()) == len(met["latencies_ms"]) == met["outcomes"]["ok"]
    assert sum(total for _, total in met["by_name"].values()) == pytest.approx(sum(met["latencies_ms"]))
    assert max(met["latencies_ms"]) <= found.slowest_ms
    assert found.success_share == 1
    assert found.shed_share == 0


def test_what_a_full_queue_refuses_is_shed_and_not_failed(tmp_path, service):
    slow = Control(latency_seconds=0.5)
    address = service(slow, ADLOOM_WRITERS="1", ADLOOM_QUEUE_DEPTH_MAX="0", ADLOOM_BATCH_WRITERS="0")
    met = locust(tmp_path, address, until="met.outcomes['shed'] and met.outcomes['ok']")

    assert met["outcomes"]["shed"] > 0
    assert met["outcomes"]["ok"] > 0
    assert met["outcomes"]["failed"] == 0


def test_an_image_that_is_not_there_is_named(monkeypatch, tmp_path):
    (tmp_path / "docker").write_text("#!/bin/sh\n[ $1 = version ] && exit 0\necho 'No such image' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(RuntimeError, match="there is no image nobody/made-it: build it"):
        main(["--image", "nobody/made-it"])


def test_the_locustfile_is_where_the_command_looks_for_it():
    assert (Path(__file__).resolve().parents[2] / LOCUSTFILE).is_file()
