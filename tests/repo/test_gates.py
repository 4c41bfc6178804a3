"""Hook, CI and a person at the keyboard run the same commands, and set-up happens once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
import yaml

from tests.repo.tree import ROOT, make_targets, tracked


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def make(folder, *arguments):
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path):
    """A folder with what the Makefile's set-up reads, and an environment that looks installed."""
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "infra").mkdir()
    shutil.copyfile(ROOT / "infra/infra.mk", tmp_path / "infra/infra.mk")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("bin/pip", ".stamp-app,train,ui"):
        (tmp_path / ".venv" / name).touch()
    return tmp_path


def test_the_hook_runs_make_lint_and_nothing_else():
    hooks = [hook for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]

    assert [hook["entry"] for hook in hooks] == ["make lint"]


def test_the_workflow_runs_make_lint_test_and_the_loop_and_the_proofs():
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    commands = [step["run"] for step in jobs["test"]["steps"] if "run" in step]

    assert [re.match(r"make [a-z ]+[a-z]", command)[0] for command in commands] == ["make lint test"]
    assert jobs["prove"]["strategy"]["matrix"] == {"target": ["loop", "proof"]}


def test_the_gate_runs_make_test_then_the_loop_and_the_proofs_and_make_test_runs_lint():
    first, second, last = read(".ci/run").splitlines()[-3:]

    assert first.startswith("make test ")
    assert second.startswith("make loop ")
    assert last.startswith("exec make proof ")
    assert "set -euo pipefail" in read(".ci/run")
    assert "lint" in make_targets()["test"]


@pytest.mark.parametrize(
    "path", [path for path in tracked(".yml") if path.parts[0] == ".github" and path.name != "dependabot.yml"], ids=str
)
def test_every_action_is_pinned_by_commit_and_says_its_version(path):
    uses = [line for line in re.findall(r"uses: (.+)", read(path)) if not line.startswith("./.github/actions/")]

    assert uses
    assert [line for line in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_help_names_every_target_that_is_not_a_file(checkout):
    lists = re.findall(r"^\.PHONY: (.+)$", read("Makefile") + read("infra/infra.mk"), flags=re.MULTILINE)
    phony = [target for each in lists for target in each.split("#")[0].split()]
    shown = make(checkout).stdout

    assert phony == list(make_targets())
    assert [target for target in phony if f"make {target} " not in shown] == []


def test_a_second_run_installs_nothing(checkout):
    planned = make(checkout, "--dry-run", "bundle")

    assert planned.returncode == 0
    assert "pip install" not in planned.stdout
    assert "adloom bundle build" in planned.stdout


def test_a_changed_pin_installs_again(checkout):
    stamp = checkout / ".venv/.stamp-app,train,ui"
    os.utime(stamp, (0, 0))

    assert "pip install" in make(checkout, "--dry-run", "bundle").stdout


def test_a_python_other_than_three_eleven_is_refused_with_what_to_do(checkout):
    shutil.rmtree(checkout / ".venv")
    (checkout / "python").write_text("#!/bin/sh\nexit 1\n")
    (checkout / "python").chmod(0o755)

    refused = make(checkout, "bundle", "PYTHON=./python")

    assert refused.returncode != 0
    assert "needs Python 3.11" in refused.stderr
    assert "make PYTHON=" in refused.stderr
    assert not (checkout / ".venv").exists()
