"""`adloom watch`: what it starts is there, what it started is gone afterwards, and what it cannot do it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest
import yaml

from app.cli import main as adloom
from app.watch import grafana_server
from app.watch.dashboards import FOLDER
from tests.real_parts import wait_until
from tests.repo.tree import ROOT

START_SECONDS_MAX, STOP_SECONDS_MAX = 300.0, 180.0
"""Six programs on a machine that may be busy."""


def below(folder):
    """Processes that have the folder in their command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told and int(process.name) != os.getpid():
            found.append(process.name)
    return found


def end(watch):
    """In order, whatever happened before: by force it would leave its parts behind."""
    watch.send_signal(signal.SIGINT)
    try:
        watch.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        watch.kill()


@pytest.mark.proof
def test_ctrl_c_stops_everything_that_was_started(tmp_path):
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc, to see what was left behind")
    for each in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(each) is None:
            pytest.skip(f"needs {each}: install the Debian package")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL, whose files are temporary, runs as somebody else
        _starts_and_stops(tmp_path, Path(folder))


def _starts_and_stops(tmp_path, temporary):
    out = tmp_path / "watch"
    command = [sys.executable, "-m", "app.cli", "watch", "--stub", "--rate", "20", "--out", str(out)]
    log = tmp_path / "log"
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with (
        log.open("wb") as said,
        subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, env=environment) as watch,
    ):
        try:
            wait_until(
                lambda: " requests: " in log.read_text() or watch.poll() is not None, "traffic", START_SECONDS_MAX
            )
            told = log.read_text(encoding="utf-8")
            prometheus = re.search(r"Prometheus +(http://\S+)", told)
            assert prometheus is not None, told
            with urllib.request.urlopen(f"{prometheus[1]}/api/v1/label/job/values", timeout=60) as answer:
                jobs = answer.read().decode()
            running = below(out)
            watch.send_signal(signal.SIGINT)
            status = watch.wait(STOP_SECONDS_MAX)
        finally:
            end(watch)

    assert "adloom-api" in jobs
    assert len(running) >= 4
    assert status == 0
    assert below(out) == []
    assert below(temporary) == []
    assert list(temporary.glob("adloom-*")) == []


def test_a_folder_with_somebodys_files_is_left_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")

    assert adloom(["watch", "--stub", "--out", str(tmp_path)]) == 1
    assert "not empty and not from `adloom watch`" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_without_a_model_it_says_how_to_build_one(tmp_path, capsys):
    assert adloom(["watch", "--bundle", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "build one with `make bundle`, or use --stub" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seconds", "0"), ("--rate", "0"), ("--rate", "1001"), ("--rate", "nan"), ("--seconds", "soon")],
)
def test_a_time_or_a_rate_that_makes_no_sense_is_refused(option, value, capsys):
    assert adloom(["watch", "--stub", option, value]) == 2
    assert f"argument {option}: write" in capsys.readouterr().err


def test_grafana_is_given_our_dashboards_and_this_prometheus(tmp_path):
    grafana_server.provision(tmp_path, "http://127.0.0.1:9090", ROOT)
    sources = yaml.safe_load((tmp_path / "provisioning/datasources/adloom.yaml").read_text(encoding="utf-8"))
    providers = yaml.safe_load((tmp_path / "provisioning/dashboards/adloom.yaml").read_text(encoding="utf-8"))

    assert sources["datasources"][0]["url"] == "http://127.0.0.1:9090"
    assert Path(providers["providers"][0]["options"]["path"]) == ROOT / FOLDER


def test_a_grafana_without_its_home_is_none(tmp_path, monkeypatch):
    program = tmp_path / "bin/grafana"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    home = tmp_path / "home"
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(grafana_server, "HOMES", (home,))
    without = grafana_server.installed()
    (home / "conf").mkdir(parents=True)
    (home / "conf/defaults.ini").touch()

    assert without is None
    assert grafana_server.installed() == (str(program), home)
    assert grafana_server.grafana(tmp_path, str(program), home).command[:2] == [str(program), "server"]
