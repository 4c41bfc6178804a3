"""
The demo as a user runs it, with the built model, the real service and a real browser: `pytest -m e2e tests/e2e`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from app.demo import REQUEST
from app.run_folder import RunFolder
from model.prompt import VOICES
from tests.e2e.command import ROOT, adloom, environment
from tests.e2e.test_gallery_browser import chromium, decode_pictures, open_page

pytestmark = pytest.mark.e2e

DEMO_SECONDS_MAX = 600


def command(bundle, *options):
    return adloom("demo", "--bundle", bundle, *options)


@pytest.fixture(scope="module")
def demo(bundle, tmp_path_factory):
    """One run of the demo without a terminal: the finished process and the folder it left."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        command(bundle),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS_MAX,
        check=False,
    )
    return done, RunFolder(folder / "out/demo")


def test_the_demo_writes_twelve_creatives_and_says_how_long_each_step_took(demo):
    done, folder = demo

    assert done.returncode == 0, done.stderr
    assert len(folder.records()) >= 12
    shown = {(record["channel"], record["passport"]["voice"]) for record in folder.records()}
    assert len({channel for channel, _ in shown}) == 6
    assert {voice for _, voice in shown} == set(VOICES)
    assert len(shown) == 12
    for record in folder.records():
        assert record["product"]["title"] in done.stdout
    assert re.search(r"^Wrote and drew 12 creatives \.\.\. \d+\.\d s$", done.stdout, re.MULTILINE)
    assert f"Gallery: {Path('out/demo/index.html')}" in done.stdout


def test_the_demo_asks_the_service_as_its_curl_line_would(demo):
    done, _ = demo
    answer = json.loads(done.stdout[done.stdout.index("\n{") : done.stdout.rindex("\n}") + 2])

    assert "curl -sS http://127.0.0.1:" in done.stdout
    [creative] = answer["creatives"]
    assert creative["channel"] == "instagram"
    assert creative["headline"]
    assert creative["passport"]["voice"] == REQUEST["voice"] != VOICES[0]
    assert "Stop the service and the page ... " in done.stdout


def test_the_page_for_people_is_named_with_what_it_takes_to_sign_in(demo):
    done, _ = demo

    assert re.search(r"^Start the page on http://127\.0\.0\.1:\d+ \.\.\. \d+\.\d s$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^Page: http://127\.0\.0\.1:\d+  \(open it in a browser; client id demo, client secret ads_\S+\)$",
        done.stdout,
        re.MULTILINE,
    )


def test_no_service_is_left_behind(demo):
    done, _ = demo
    named = [done.stdout.split(f"{name} http://127.0.0.1:")[1] for name in ("curl -sS", "Page:")]
    ports = [int(re.match(r"\d+", each)[0]) for each in named]

    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_gallery_opens_in_a_browser_with_every_picture(demo):
    _, folder = demo
    with chromium() as browser, open_page(browser, folder.gallery, width=1440) as (page, complaints):
        widths = decode_pictures(page)
        shown = page.inner_text("#count")
        target = ROOT / "out/test/gallery.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(target), full_page=True)

    assert len(widths) == 12
    assert min(widths) > 0
    assert shown == "Showing all 12"
    assert complaints == []
    assert target.stat().st_size > 10_000


def test_ctrl_c_stops_a_demo_on_a_terminal_and_its_service(bundle, tmp_path):
    terminal, far_end = os.openpty()
    process = subprocess.Popen(
        command(bundle, "--products", 1),
        cwd=tmp_path,
        env=environment(),
        stdin=far_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(far_end)
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C stops them" in line:
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=180)
    os.close(terminal)
    port = int(said.split("curl -sS http://127.0.0.1:")[1].split("/")[0])

    assert process.returncode == 0, rest
    assert "Stop the service" in rest
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_ends_in_an_error_with_the_services_own_words(bundle, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(bundle, "--products", 1, "--port", port),
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEMO_SECONDS_MAX,
            check=False,
        )

    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "adloom: error: the service stopped with status 1" in done.stderr
