"""The incident's timeline: everything that changed is in it, in order, and what could not be read is named."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app import incident_command, incident_sources
from app.incident_command import collect, moment, report
from app.incident_sources import Event, SourceError, Span
from model.ledger import Entry, Ledger
from model.store import drift_reports, ingests, pipeline_runs, retrains
from model.store.drift_reports import DriftReport
from model.store.ingests import Ingest
from model.store.retrains import NewRetrain
from model.store.tables import Database
from tests.repo.tree import ROOT

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
SPAN = Span(NOON, NOON + timedelta(hours=2))
MODEL_ENV = "gitops/apps/adloom-api/overlays/prod/model.env"


def at(minutes):
    return NOON + timedelta(minutes=minutes)


def git(folder, *words, when=None):
    stamp = f"{when or NOON:%Y-%m-%dT%H:%M:%S+00:00}"
    moment_of = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
    names = {
        "GIT_AUTHOR_NAME": "bot",
        "GIT_AUTHOR_EMAIL": "b@example.com",
        "GIT_COMMITTER_NAME": "bot",
        "GIT_COMMITTER_EMAIL": "b@example.com",
    }
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder), **names, **moment_of}
    subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A commit before the span, one in it, and a deploy."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q")
    for minutes, path, subject in (
        (-30, "a", "too early"),
        (10, "b", "app: change | a thing"),
        (20, MODEL_ENV, "release v7"),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(subject, encoding="utf-8")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", subject, when=at(minutes))
    return folder


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One row of each kind in the span, and one before it."""
    opened = Database(f"sqlite:///{tmp_path_factory.mktemp('incident')}/adloom.db")
    opened.upgrade()
    with opened.begin() as connection:
        for minutes in (-40, 40):
            connection_rows(connection, minutes)
    yield opened
    opened.dispose()


def connection_rows(connection, minutes):
    drift_reports.insert(connection, DriftReport(
        f"dr_{minutes}", "ad_writer", "online", at(minutes - 60), at(minutes), 900, "r", "drift", "", 0.25, True, {},
        "", at(minutes),
    ))  # fmt: skip
    pipeline_runs.record(connection, "monitor_drift", f"run{minutes}", "judge", "failed", at(minutes))
    ingests.note(connection, Ingest(
        f"in_{minutes}", "sample", "shop", "kept", "d", 12, 11, 1, 0, "", "", at(minutes), at(minutes)
    ))  # fmt: skip
    row = retrains.ask(connection, NewRetrain("ad_writer", "drift", {}, "hook", at(minutes)))
    retrains.start(connection, row.id, at(minutes + 5))
    retrains.finish(connection, row.id, "refused", at=at(minutes + 15), why="no better")


@pytest.fixture
def answering():
    """Something that answers any path with what the test puts there."""
    content = {"body": b"{}"}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            content["who"] = self.headers["Authorization"]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content["body"])))
            self.end_headers()
            self.wfile.write(content["body"])

        def log_message(self, *_):
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", content
    server.shutdown()
    thread.join()
    server.server_close()


def test_deploys_are_told_from_other_commits(repository):
    events = sorted(incident_sources.commits(repository, SPAN))

    assert [(event.at, event.kind) for event in events] == [(at(10), "commit"), (at(20), "deploy")]
    assert re.fullmatch(r"[0-9a-f]{7,} prod: release v7 \(bot\)", events[1].text)


def test_a_folder_without_a_repository_is_said_to_have_none(tmp_path):
    with pytest.raises(SourceError, match="no Git repository"):
        incident_sources.commits(tmp_path, SPAN)


def test_promotions_and_refusals_come_from_the_ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(Entry("promote", "done", "a", "bot", "better", 6, 7))
    ledger.append(Entry("refused", "done", "b", "bot", "worse", 7, 8))
    ledger.append(Entry("promote", "intent", "c", "bot", "not yet", 7, 9))
    now = datetime.now(UTC)

    events = incident_sources.promotions(
        tmp_path / "ledger.jsonl", Span(now - timedelta(hours=1), now + timedelta(hours=1))
    )

    assert [event.text for event in events] == [
        "promote from 6 to 7 by bot: better",
        "refused from 7 to 8 by bot: worse",
    ]
    assert incident_sources.promotions(tmp_path / "ledger.jsonl", SPAN) == []


def test_every_store_says_what_happened_in_the_span_and_nothing_before(database):
    found = {
        name: [(event.at, event.text) for event in sorted(read(database, SPAN))]
        for name, read in (
            ("drift", incident_sources.drift_reports), ("runs", incident_sources.pipeline_runs),
            ("ingests", incident_sources.ingests), ("retrains", incident_sources.retrains),
        )
    }  # fmt: skip

    assert found["drift"] == [(at(40), "window to 12:40: drift, share 0.25 of 900 rows, and it hurts")]
    assert found["runs"] == [(at(40), "monitor_drift failed in judge (run40)")]
    assert found["ingests"] == [(at(40), "sample: kept, 11 of 12 rows")]
    assert [(when, text.split(")")[1].strip()) for when, text in found["retrains"]] == [
        (at(40), "asked for"), (at(45), "began"), (at(55), "refused: no better"),
    ]  # fmt: skip


def test_an_alert_that_fired_twice_began_and_ended_twice(answering):
    address, content = answering
    firing = [at(minutes).timestamp() for minutes in (30, 30.25, 30.5, 60, 60.25)]
    labels = {"__name__": "ALERTS", "alertname": "AdloomDriftHurts", "severity": "warning", "alertstate": "firing"}
    result = [{"metric": labels, "values": [[when, "1"] for when in firing]}]
    content["body"] = json.dumps({"data": {"result": result}}).encode()

    events = incident_sources.alerts(address, SPAN)

    assert [(event.at, event.text) for event in events] == [
        (at(30), "AdloomDriftHurts (warning) fires"),
        (at(30.75), "AdloomDriftHurts (warning) has ended"),
        (at(60), "AdloomDriftHurts (warning) fires"),
        (at(60.5), "AdloomDriftHurts (warning) has ended"),
    ]


def test_an_alert_that_still_fires_at_the_end_has_not_ended(answering):
    address, content = answering
    result = [{"metric": {"alertname": "A", "severity": "info"}, "values": [[SPAN.until.timestamp(), "1"]]}]
    content["body"] = json.dumps({"data": {"result": result}}).encode()

    assert [event.text for event in incident_sources.alerts(address, SPAN)] == ["A (info) fires"]


def test_an_alert_that_fired_before_the_span_began_is_not_said_to_have_begun_with_it(answering):
    address, content = answering
    values = [[SPAN.since.timestamp() + seconds, "1"] for seconds in (0, 15)]
    result = [{"metric": {"alertname": "A", "severity": "info"}, "values": values}]
    content["body"] = json.dumps({"data": {"result": result}}).encode()
    events = incident_sources.alerts(address, SPAN)

    assert [event.text for event in events] == ["A (info) fires already", "A (info) has ended"]


def test_a_prometheus_behind_a_password_is_asked_with_it_and_the_report_does_not_show_it(answering):
    address, content = answering
    secured = address.replace("://", "://reader:p%40ss@")
    content["body"] = b'{"data": {"result": []}}'
    events, unread = collect({"Prometheus": lambda: incident_sources.alerts(secured, SPAN)})
    gone = collect({"Prometheus": lambda: incident_sources.alerts("http://reader:p%40ss@", SPAN)})[1]

    assert (events, unread) == ([], {})
    assert content["who"] == f"Basic {base64.b64encode(b'reader:p@ss').decode()}"
    assert "ss" not in gone["Prometheus"].replace("address", "")


def test_alertmanager_says_what_is_open(answering):
    address, content = answering
    open_ones = [
        {"startsAt": at(5).isoformat(), "labels": {"alertname": "A"}, "status": {"state": "active"}},
        {"startsAt": at(-5).isoformat(), "labels": {"alertname": "B"}, "status": {"state": "active"}},
    ]
    content["body"] = json.dumps(open_ones).encode()

    events = incident_sources.open_alerts(address, SPAN)

    assert [(event.at, event.text) for event in events] == [(at(5), "A began and is active still, says Alertmanager")]


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 3}', b"[1]", b"{}"])
def test_an_answer_that_is_none_is_named_and_does_not_end_the_report(answering, body):
    address, content = answering
    content["body"] = body

    events, unread = collect({"Prometheus": lambda: incident_sources.alerts(address, SPAN)})

    assert events == []
    assert list(unread) == ["Prometheus"]
    assert address not in unread["Prometheus"]


def test_the_report_is_in_order_counts_and_names_what_is_missing():
    def broken():
        raise SourceError("it does not answer")

    events, unread = collect(
        {"a": lambda: [Event(at(9), "alert", "late"), Event(at(1), "deploy", "x|y\nz")], "b": broken}
    )
    text = report(SPAN, events, unread)

    assert "12:00 to 2026-01-15 14:00 UTC: 1 alert, 1 deploy." in text
    assert text.index("| 01-15 12:01:00 | deploy | x\\|y z |") < text.index("| 01-15 12:09:00 | alert | late |")
    assert text.endswith("- b: it does not answer\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-01-15T12:00", NOON), ("2026-01-15T13:00+01:00", NOON), ("2026-01-15", NOON.replace(hour=0))],
)
def test_times_are_utc_unless_they_say_otherwise(text, expected):
    assert moment(text) == expected


def test_a_time_may_be_said_as_how_long_ago():
    assert timedelta(minutes=89) < datetime.now(UTC) - moment("90m") < timedelta(minutes=91)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "yesterday"], ["--since", "1h", "--until", "2h"], ["--since", "40d"], [], ["--since", "99999999d"],
        ["--since", "0001-01-01T00:00+14:00"], ["--since", "²h"],
    ],
)  # fmt: skip
def test_times_that_make_no_span_are_refused_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as stopped:
        incident_command.main(arguments)
    said = capsys.readouterr().err

    assert stopped.value.code == 2
    assert said.startswith("adloom: error: ")
    assert said.count("\n") == 1
    assert "invalid moment" not in said


def test_the_write_up_is_the_template_with_the_timeline_and_is_never_written_over(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    target = tmp_path / "out" / "incident.md"
    arguments = [
        "--since",
        "2026-01-15T12:00",
        "--until",
        "2026-01-15T14:00",
        "--repository",
        str(repository),
        "--write",
        str(target),
    ]

    status = incident_command.main(arguments)
    text = target.read_text(encoding="utf-8")

    assert status == 0
    assert "## What we change" in text
    assert "prod: release v7" in text
    assert "<!-- timeline -->" not in text
    assert "- drift reports: there is no database there" in text
    assert "- Prometheus: no address: give --prometheus" in text
    with pytest.raises(ValueError, match="somebody may have written in it"):
        incident_command.main(arguments)
    assert target.read_text(encoding="utf-8") == text
    assert not (tmp_path / "none.db").exists()
