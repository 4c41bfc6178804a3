"""`adloom serve` as a process: starts, refuses to start with a reason, and stops without dropping a request."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.serve import main
from tests.app.service_client import order
from tests.app.service_process import START_SECONDS_MAX, bearer_in, serving

SERVE_SLOWLY = """
import sys
import app.main, app.serve
from tests.app.service_client import ServiceWriter
app.main.open_writer = lambda *_, **__: ServiceWriter(seconds=1.0)
sys.exit(app.serve.main(sys.argv[1:]))
"""
"""The real command around a writer that takes a second, so that there is a request to interrupt."""


def post_until_served(address: str, body: dict[str, Any], token: dict[str, str], statuses: list[int]) -> None:
    """Send one request again for as long as the queue is full; what it came to is appended to `statuses`."""
    status = 503
    while status == 503:
        answer = httpx.post(f"{address}/v1/creatives", json=body, headers=token, timeout=START_SECONDS_MAX)
        status = answer.status_code
    statuses.append(status)


def stop_under_a_request(
    process: subprocess.Popen[str],
    address: str,
    body: dict[str, Any],
    token: dict[str, str],
    number: signal.Signals = signal.SIGTERM,
) -> tuple[list[int], int]:
    """
    Signal the process while it writes `body`: (status of that answer, status of the process).

    Needs ADLOOM_QUEUE_DEPTH_MAX=0 and ADLOOM_WRITERS=1: another request's refusal then tells that writing has begun.
    """
    answers: list[int] = []
    thread = threading.Thread(target=post_until_served, args=(address, body, token, answers))
    thread.start()
    other, url = order(candidates=1), f"{address}/v1/creatives"
    while httpx.post(url, json=other, headers=token, timeout=START_SECONDS_MAX).status_code != 503:
        pass
    process.send_signal(number)
    thread.join(START_SECONDS_MAX)
    return answers, process.wait(START_SECONDS_MAX)


def reachable(address: str) -> bool:
    """Whether anything accepts a connection there."""
    try:
        httpx.get(address)
    except httpx.ConnectError:
        return False
    return True


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_progress_finish_and_exits_0(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVE_SLOWLY]
    with serving(command, tmp_path / "log", ADLOOM_QUEUE_DEPTH_MAX="0", ADLOOM_WRITERS="1") as (process, address):
        answers, status = stop_under_a_request(process, address, order(), bearer_in(tmp_path), number)
        still_there = reachable(address)

    assert answers == [200]
    assert status == 0
    assert not still_there


@pytest.mark.e2e
def test_the_real_bundle_is_served_and_stops_without_dropping_a_request(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.serve", "--bundle", str(bundle)]
    environment = {"ADLOOM_QUEUE_DEPTH_MAX": "0", "ADLOOM_WRITERS": "1", "ADLOOM_GIT_COMMIT": "0123abc"}
    with serving(command, tmp_path / "log", **environment) as (process, address):
        token = bearer_in(tmp_path)
        body = order(candidates=2)
        written = httpx.post(f"{address}/v1/creatives", json=body, headers=token, timeout=START_SECONDS_MAX)
        creative = written.json()["creatives"][0]
        picture = httpx.get(address + creative["images"][0]["png"], headers=token, timeout=START_SECONDS_MAX)
        version = httpx.get(f"{address}/version", timeout=START_SECONDS_MAX).json()
        answers, status = stop_under_a_request(process, address, order(candidates=4), token)

    assert written.status_code == 200
    assert creative["headline"]
    for fact in ("bundle_digest", "git_commit", "validity_version"):
        assert creative["passport"][fact] == version[fact] != ""
    assert picture.content.startswith(b"\x89PNG")
    assert answers == [200]
    assert status == 0


@pytest.mark.e2e
def test_standard_error_is_json_lines_with_one_for_each_request(tmp_path: Path) -> None:
    with serving([sys.executable, "-c", SERVE_SLOWLY], tmp_path / "log") as (process, address):
        httpx.get(f"{address}/healthz", timeout=START_SECONDS_MAX, headers={"X-Request-ID": "probe-1"})
        process.terminate()
        process.wait(START_SECONDS_MAX)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    requests = [line for line in lines if line["logger"] == "adloom.request"]

    assert [(line["request_id"], line["status"]) for line in requests] == [("probe-1", 200)]
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_a_port_in_use_is_named_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        status = main(["--port", str(port)])

    assert status == 1
    assert f"port {port} on 127.0.0.1 is in use" in capsys.readouterr().err


def test_a_missing_bundle_is_named_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--port", "0", "--bundle", str(tmp_path / "none")])
    said = capsys.readouterr().err

    assert status == 1
    assert str(tmp_path / "none") in said
    assert "make bundle" in said


def test_a_host_that_is_not_ours_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--port", "0", "--host", "192.0.2.1"])  # an address reserved for documentation

    assert status == 1
    assert "cannot listen on 192.0.2.1" in capsys.readouterr().err


def test_a_wrong_setting_is_named_by_its_variable_and_not_by_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADLOOM_QUEUE_DEPTH_MAX", "hunter2")
    status = main(["--port", "0"])
    said = capsys.readouterr().err

    assert status == 2
    assert "ADLOOM_QUEUE_DEPTH_MAX" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("arguments", [["--port", "65536"], ["--port", "http"], ["--nope"]])
def test_wrong_arguments_are_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)

    assert stop.value.code == 2


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])

    assert stop.value.code == 0
    assert "adloom serve --port 8000" in capsys.readouterr().out


def test_flags_win_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADLOOM_BUNDLE", str(tmp_path / "from-environment"))
    main(["--port", "0", "--bundle", str(tmp_path / "from-flag")])
    flagged = capsys.readouterr().err
    main(["--port", "0"])
    unflagged = capsys.readouterr().err

    assert "from-flag" in flagged
    assert "from-environment" in unflagged
