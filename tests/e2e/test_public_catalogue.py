"""
`adloom generate` on a public catalogue of 2,465 products with the built model, stopped by Ctrl-C and gone on with.

Needs the bundle and the public catalogues: `pytest -m e2e tests/e2e/test_public_catalogue.py`.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from app.cli import EXIT_INTERRUPTED
from app.run_folder import RunFolder
from model.channel import channel
from model.creative import Copy
from model.validity import STRUCTURAL
from tests.e2e.command import adloom, environment

pytestmark = pytest.mark.proof

CHANNEL = "instagram"
"""It has a field of every kind: headline, body, call to action and hashtags."""
ROWS = 2_465
SAMPLE = 40
RUN_SECONDS_MAX = 600
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class TwoRuns:
    """One run that was interrupted, what it left behind, and the one that went on from there."""

    interrupted: subprocess.CompletedProcess[str]
    left: bytes
    summary_left: dict[str, Any]
    resumed: subprocess.CompletedProcess[str]
    folder: RunFolder

    def summary(self) -> dict[str, Any]:
        return json.loads(self.folder.summary.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def catalogue(shared_data):
    path = shared_data / "catalogue/retail-demo-store/products.yaml"
    if not path.is_file():
        pytest.skip(f"no public catalogue at {path}")
    return path


@pytest.fixture(scope="module")
def runs(bundle, catalogue, tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("public") / "out")
    options = ["--channel", CHANNEL, "--sample", SAMPLE, "--candidates", 2, "--no-png", "--bundle", bundle]
    command = adloom("generate", catalogue, *options, "--out", folder.path)
    interrupted = run_until_first_line(command, folder)
    left, summary_left = folder.creatives.read_bytes(), json.loads(folder.summary.read_text(encoding="utf-8"))
    resumed = subprocess.run(
        [*command, "--resume"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    return TwoRuns(interrupted, left, summary_left, resumed, folder)


def run_until_first_line(command, folder):
    """Run the command, and press Ctrl-C once a creative stands in the folder."""
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder.creatives.exists() and folder.creatives.stat().st_size):
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
        if process.returncode is not None:
            pytest.fail(f"it ended by itself: {process.stderr.read()}")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=RUN_SECONDS_MAX)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.proof
def test_ctrl_c_ends_the_run_with_its_status_and_whole_lines(runs):
    lines = runs.left.splitlines(keepends=True)

    assert runs.interrupted.returncode == EXIT_INTERRUPTED
    assert runs.interrupted.stderr.endswith("adloom: interrupted\n")
    assert "Traceback" not in runs.interrupted.stderr
    assert f"{len(lines)} of {SAMPLE} creatives are whole" in runs.interrupted.stderr
    assert 1 <= len(lines) < SAMPLE
    assert all(json.loads(line)["channel"] == CHANNEL and line.endswith(b"\n") for line in lines)
    assert (runs.summary_left["written"], runs.summary_left["complete"]) == (len(lines), False)


def test_the_run_that_goes_on_keeps_what_was_written_and_writes_the_rest(runs):
    done = len(runs.left.splitlines())

    assert runs.resumed.returncode == 0, runs.resumed.stderr
    assert runs.folder.creatives.read_bytes().startswith(runs.left)
    assert f"{done} of {SAMPLE} creatives are there already" in runs.resumed.stdout
    assert len({record["sku"] for record in runs.folder.records()}) == len(runs.folder.records()) == SAMPLE
    assert (runs.summary()["written"], runs.summary()["complete"]) == (SAMPLE - done, True)


def test_every_row_of_the_catalogue_is_accounted_for(runs, catalogue):
    counted = len(re.findall(r"^- ", catalogue.read_text(encoding="utf-8"), re.MULTILINE))
    rows = runs.summary()["rows"]

    assert rows["read"] == counted == ROWS
    assert rows["products"] + rows["rejected"] + rows["merged"] == ROWS
    assert len(runs.folder.rejected.read_bytes().splitlines()) == rows["rejected"]
    assert f"{ROWS:,} read" in runs.resumed.stdout


def test_every_creative_of_the_sample_is_whole(runs):
    broken = [
        (record["sku"], finding["kind"], finding["detail"])
        for record in runs.folder.records()
        for finding in record["findings"]
        if finding["kind"] in STRUCTURAL
    ]

    assert broken == []
    assert runs.summary()["structure_share"] == 1.0


def test_every_creative_of_the_sample_keeps_the_limits_of_its_channel(runs):
    """Counted here once more: a rule that forgot to look would find nothing either."""
    for record in runs.folder.records():
        words = Copy(
            tuple(record["headlines"]),
            tuple(record["descriptions"]),
            record["call_to_action"],
            tuple(record["hashtags"]),
        )
        for field in channel(CHANNEL).fields:
            texts = words.texts(field.name)

            assert field.count_min <= len(texts) <= field.count_max, (record["sku"], field.name)
            assert all(0 < len(text) <= field.chars_max for text in texts), (record["sku"], field.name)
