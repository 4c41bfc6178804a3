"""Drills: six of them from fault to quiet on real parts, what a failing one says, and how their times are kept."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from app.drill import command, record
from app.drill.exercise import DrillError, Outcome, drill, run_block
from app.drill.faults import FAULTS
from app.drill.record import Stamp
from app.drill.runbook import Block, Runbook, read_runbooks
from app.drill.scene import Scene
from app.drill.traffic import Traffic
from app.watch.stack import Stack
from app.watch.stub_service import Control
from tests.observability.test_watch import below
from tests.real_parts import wait_until
from tests.repo.tree import ROOT

REPEATED = (
    "AdloomServiceDown", "AdloomBundleLoadFailed", "AdloomDatabaseDown", "AdloomDriftHurts", "AdloomExporterDown",
    "AdloomLoadShedding",
)  # fmt: skip
"""About two minutes together: a process, a store, what is asked, and what is only written down."""
STAMP = Stamp("2026-01-15", "c0ffee0")


@pytest.fixture(scope="module")
def watchers():
    for program in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {program}")


@pytest.fixture(scope="module")
def runbooks():
    return read_runbooks(ROOT / "runbooks")


def book(alert="AdloomA", severity="info", **changes):
    facts = {
        "alert": alert, "severity": severity, "fault": "it breaks", "fires_within": "5m", "is_local": True, "why": "",
        "stand_in": "", "meaning": "It is broken.", "blocks": (),
    }  # fmt: skip
    return Runbook(**(facts | changes))


def outcome(alert="AdloomA", detect_seconds=1.25):
    return Outcome(alert, "it breaks", 60.0, detect_seconds, 2.0, 3)


@pytest.mark.proof
@pytest.mark.parametrize("alert", REPEATED)
def test_the_alert_arrives_and_its_runbook_ends_it(alert, watchers, runbooks, tmp_path):
    fault = FAULTS[alert]
    if fault.needs and (shutil.which("initdb") is None or shutil.which("redis-server") is None):
        pytest.skip("needs PostgreSQL and Redis: apt-get install postgresql redis-server")
    said = []

    measured = drill(fault, runbooks[alert], tmp_path, root=ROOT, speed=None, say=said.append)

    assert measured.alert == alert
    assert measured.detect_seconds > 0
    assert measured.repair_seconds > 0
    assert measured.commands == len(runbooks[alert].commands("Diagnosis") + runbooks[alert].commands("Mitigation"))
    assert len(said) == 3


@pytest.mark.proof
def test_a_runbook_that_mends_nothing_fails_its_drill(watchers, tmp_path, monkeypatch):
    monkeypatch.setattr("app.drill.exercise.CLEAR_SECONDS_MAX", 20.0)
    idle = book("AdloomExporterDown", "warning", blocks=(Block("Mitigation", "local", "true\n"),))

    with pytest.raises(DrillError, match=r"waited \d+ s for AdloomExporterDown to clear"):
        drill(FAULTS["AdloomExporterDown"], idle, tmp_path, root=ROOT, speed=None, say=lambda _text: None)


@pytest.mark.proof
def test_a_drill_that_is_interrupted_twice_still_stops_what_it_started(watchers):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as somebody else
        log = Path(folder) / "log"
        with log.open("wb") as said:
            running = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "drill", "AdloomExporterDown", "--keep"],
                cwd=ROOT, stdout=said, stderr=said, env={**os.environ, "TMPDIR": folder},
            )  # fmt: skip
            try:
                wait_until(lambda: b"Ctrl-C stops" in log.read_bytes() or running.poll() is not None, "the fault", 180)
                started = below(folder)
                running.send_signal(signal.SIGHUP)
                time.sleep(0.2)  # the second comes while the first is obeyed
                running.send_signal(signal.SIGINT)
                status = running.wait(180)
            finally:
                running.kill()
        left = [*below(folder), *(path.name for path in Path(folder).glob("*dloom*"))]

    assert len(started) >= 4
    assert status == 130
    assert left == []


@pytest.mark.proof
def test_traffic_counts_its_answers_and_judges_what_it_gets(tmp_path):
    with Stack(tmp_path, speed=60, root=ROOT, is_embedded=True) as stack, Scene(stack) as scene:
        stack.control(Control(validity=0.5))
        scene.start_traffic(per_second=20, judges=True)
        rejected = 'adloom_feedback_total{verdict="reject"} > 3'
        wait_until(lambda: bool(stack.query(rejected)), "four rejected ads")
        counted = scene.traffic.statuses
        scene.stop_traffic()
        forged = Traffic(stack.service_url, "none", is_forged=True)
        forged.start()
        wait_until(lambda: forged.statuses[401] > 2, "three refusals")
        forged.stop()

    assert set(counted) == {200}
    assert set(forged.statuses) <= {0, 401}


def test_a_block_stops_at_its_first_failure_and_says_the_last_line(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(DrillError, match=r"a command of the runbook failed \(3\): two"):
        run_block("echo one\necho two\n(exit 3)\necho three\n", {}, tmp_path, log, "A, Diagnosis")

    assert "three" not in log.read_text(encoding="utf-8").split("-- printed:")[1]


def test_a_block_that_does_not_end_fails_its_drill_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("app.drill.exercise.COMMAND_SECONDS_MAX", 0.5)
    left = tmp_path / "left"
    with pytest.raises(DrillError, match=r"took longer than 0\.5 s"):
        run_block(f"(sleep 2; touch {left}) &\nsleep 60\n", {}, tmp_path, tmp_path / "log", "A, Diagnosis")
    with pytest.raises(DrillError, match="took longer"):
        run_block(f"(sleep 2; touch {left}) &\n", {}, tmp_path, tmp_path / "log", "A, Diagnosis")
    time.sleep(2.5)

    assert not left.exists()


def test_a_drill_that_breaks_ends_no_other_and_what_was_measured_is_kept(tmp_path, monkeypatch, capsys):
    def drilled(fault, runbook, folder, **_):
        (folder / "logs").mkdir()
        if runbook.alert == "AdloomExporterDown":
            raise OSError(errno.ECONNREFUSED, "Connection refused")
        return outcome(runbook.alert)

    shutil.copytree(ROOT / "runbooks", tmp_path / "runbooks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "drill", drilled)
    monkeypatch.setattr(command, "_stop_in_order", lambda: None)
    status = command.main(["AdloomServiceDown", "AdloomExporterDown", "AdloomDriftFound"])
    rows = record.kept_rows(tmp_path / "runbooks" / record.TABLE)
    said = capsys.readouterr()

    assert status == 1
    assert [name for name, row in rows.items() if "| it breaks |" in row] == ["AdloomDriftFound", "AdloomServiceDown"]
    assert "2 of 3 drills went" in said.out
    assert "adloom: error: AdloomExporterDown: Connection refused" in said.err


def test_a_measurement_on_top_of_a_commit_says_so(tmp_path):
    def git(*words):
        who = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
        subprocess.run(["git", *who, "-C", tmp_path, *words], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/a.py").touch()
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    clean = command._commit(tmp_path)
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks/drills.md").touch()
    measured = command._commit(tmp_path)
    (tmp_path / "app/b.py").touch()

    assert re.fullmatch("[0-9a-f]{7,12}", clean)
    assert measured == clean
    assert command._commit(tmp_path) == f"{clean}+"


def test_a_block_sees_what_the_drill_gives_it_and_no_settings_of_its_caller(tmp_path, monkeypatch):
    monkeypatch.setenv("ADLOOM_DATABASE_URL", "sqlite:///mine.db")

    printed = run_block(
        'echo "$SERVICE ${ADLOOM_DATABASE_URL:-none}"; type -P adloom',
        {"SERVICE": "here"},
        tmp_path,
        tmp_path / "l",
        "A",
    )

    assert printed.splitlines()[0] == "here none"
    assert printed.splitlines()[1].endswith("/adloom")


def test_a_new_measurement_replaces_its_row_and_leaves_the_others(tmp_path):
    books = {name: book(name) for name in ("AdloomA", "AdloomB")}
    record.write_table(tmp_path, books, [outcome("AdloomA"), outcome("AdloomB")], STAMP)
    record.write_table(tmp_path, books, [outcome("AdloomB", 9.0)], Stamp("2026-01-16", "beef000"))
    rows = record.kept_rows(tmp_path / record.TABLE)

    assert rows == {
        "AdloomA": "| [AdloomA](AdloomA.md) | it breaks | 60 | 1.2 | 2.0 | 5m | 2026-01-15 | c0ffee0 |",
        "AdloomB": "| [AdloomB](AdloomB.md) | it breaks | 60 | 9.0 | 2.0 | 5m | 2026-01-16 | beef000 |",
    }


def test_an_alert_that_is_no_more_leaves_the_table(tmp_path):
    record.write_table(tmp_path, {"AdloomA": book()}, [outcome()], STAMP)
    record.write_table(tmp_path, {"AdloomB": book("AdloomB")}, [], STAMP)

    assert record.kept_rows(tmp_path / record.TABLE) == {}


def test_what_is_not_drilled_says_why_and_what_stands_in():
    away = book(is_local=False, why="It needs a cluster.", stand_in="A promtool test.")

    assert "| [AdloomA](AdloomA.md) | It needs a cluster. | A promtool test. |" in record.table_text(
        {"AdloomA": away}, {}
    )


def test_the_index_has_every_alert_below_its_severity():
    books = {name: book(name, severity) for name, severity in (("AdloomA", "info"), ("AdloomB", "critical"))}
    text = record.index_text(books)

    assert text.index("## Critical") < text.index("AdloomB") < text.index("## Info") < text.index("AdloomA")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["AdloomNothing"], "there is no alert AdloomNothing"),
        (["AdloomCanaryAborted"], "has no local drill: It needs a cluster"),
        (["--keep"], "name one alert"),
        (["AdloomServiceDown", "AdloomExporterDown", "--keep"], "name one alert"),
    ],
)
def test_what_cannot_be_drilled_is_said(asked, said, monkeypatch):
    monkeypatch.chdir(ROOT)

    with pytest.raises(ValueError, match=said):
        command.main(asked)


def test_outside_the_repository_the_command_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match="run it from the root of the repository"):
        command.main(["--list"])


@pytest.mark.parametrize("speed", ["0.5", "2001", "fast"])
def test_a_speed_out_of_range_is_refused(speed, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)

    with pytest.raises(SystemExit) as stopped:
        command.main(["--speed", speed])

    assert stopped.value.code == 2
    assert "adloom: error: argument --speed: a speed is 1 to 2000" in capsys.readouterr().err


def test_the_list_names_every_alert_and_its_fault(monkeypatch, capsys, runbooks):
    monkeypatch.chdir(ROOT)

    status = command.main(["--list"])
    lines = capsys.readouterr().out.splitlines()

    assert status == 0
    assert [line.split()[0] for line in lines] == sorted(runbooks)
    assert "the service is killed" in next(line for line in lines if line.startswith("AdloomServiceDown"))
