"""The scripts that operate what runs: retrain, rollback, manifests and the throw-away cluster; see test_scripts.py."""

from __future__ import annotations

import json
import os

from tests.repo.tree import ROOT
from tests.workflows.stand_ins import answering


def test_a_retrain_is_asked_for_once_whatever_is_run_again(programs):
    replies = {"/v1/token": (200, {"access_token": "t"}), "/v1/retrains": (202, {"id": "rt_1", "state": "requested"})}
    given = {"ADLOOM_CLIENT_ID": "bot", "ADLOOM_CLIENT_SECRET": "s3cret"}
    with answering(replies) as (service, asked):
        done = programs.run("ask-retrain", service, "odd ads", "run-1", **given)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == "rt_1"
    assert asked[1][1]["Idempotency-Key"] == "run-1"
    assert json.loads(asked[1][2]) == {"reason": "odd ads"}
    assert "s3cret" not in done.stdout + done.stderr


def test_a_service_that_refuses_is_quoted_and_the_job_fails(programs):
    replies = {"/v1/token": (401, {"error": "invalid_client", "detail": "The client or its secret is wrong."})}
    given = {"ADLOOM_CLIENT_ID": "bot", "ADLOOM_CLIENT_SECRET": "s3cret"}
    with answering(replies) as (service, _):
        done = programs.run("ask-retrain", service, "odd ads", "run-1", **given)

    assert done.returncode == 1
    assert "401: The client or its secret is wrong." in done.stderr
    assert programs.run("ask-retrain", "http://example.com", "x", "y").returncode == 2


def test_a_rollback_says_who_asked_and_looks_at_the_truth_afterwards(programs):
    programs.put("adloom")
    done = programs.run("roll-back", "prod", "odd ads", "6", GITHUB_ACTOR="ada")

    assert done.returncode == 0
    assert programs.calls == ["adloom rollback --env prod --why odd ads --who ada --to 6", "adloom truth --env prod"]


def test_without_a_model_a_rollback_goes_to_the_deploy_before_and_its_failure_is_the_job_s(programs):
    programs.put("adloom", '[ "$1" != rollback ]')
    done = programs.run("roll-back", "prod", "odd ads", "", GITHUB_ACTOR="ada")

    assert done.returncode == 1
    assert programs.calls == ["adloom rollback --env prod --why odd ads --who ada"]


def test_a_machine_without_the_ledger_cannot_roll_back(programs, tmp_path):
    assert programs.run("require-ledger", ADLOOM_REGISTRY=str(tmp_path)).returncode == 1
    assert "run adloom rollback where the ledger is" in programs.run("require-ledger").stderr
    (tmp_path / "ledger.jsonl").touch()
    assert programs.run("require-ledger", ADLOOM_REGISTRY=str(tmp_path)).returncode == 0


def test_manifests_are_checked_by_the_tests_after_the_programs_are_there(programs, tmp_path):
    for name in ("promtool", "prometheus", "kubectl", "make"):
        programs.put(name)
    work = tmp_path / "checkout"
    (work / ".venv/bin").mkdir(parents=True)
    (work / ".venv/bin/pytest").write_text(f"#!/bin/sh\necho \"pytest $*\" >> '{programs.log}'\n")
    (work / ".venv/bin/pytest").chmod(0o755)
    done = programs.run("check-manifests", folder=work)

    assert done.returncode == 0, done.stderr
    assert programs.calls[-1].startswith("pytest tests/gitops")


def test_a_cluster_reconciles_one_commit_and_puts_back_what_was_changed_by_hand(programs):
    programs.put("kind")
    programs.put(
        "kubectl",
        'case "$*" in *sync.status*) echo Synced;; *sync.revision*) echo abc;; *sessionAffinity}*) echo None;; '
        "*'apply --filename -'*) cat >> \"$LOG\";; esac",
    )
    environment = {"LOG": str(programs.log), "POLL_SECONDS": "0", "WAIT_SECONDS": "1"}
    steps = [("up",), ("sync", "https://git.example/a/b", "abc"), ("check", "abc"), ("explain",), ("down",)]
    done = [programs.run("e2e-cluster", *step, **environment) for step in steps]
    calls = "\n".join(programs.calls)

    assert [each.returncode for each in done] == [0] * len(steps), [each.stderr for each in done]
    assert 'source: {repoURL: "https://git.example/a/b", targetRevision: "abc"' in calls
    assert calls.index("kind create") < calls.index("apply --server-side") < calls.index("repoURL")


def test_a_commit_that_is_never_in_sync_fails_in_time(programs):
    programs.put("kubectl", "echo OutOfSync")
    done = programs.run("e2e-cluster", "check", "abc", POLL_SECONDS="0.05", WAIT_SECONDS="1")

    assert done.returncode == 1
    assert "abc is not in sync after 1 s" in done.stderr
    assert programs.run("e2e-cluster").returncode == 2


def test_every_python_script_compiles_without_adloom():
    scripts = [path for path in (ROOT / ".github/bin").iterdir() if "python3" in path.read_text().splitlines()[0]]

    assert len(scripts) == 3
    for path in scripts:
        compile(path.read_text(), str(path), "exec")
        assert "import adloom" not in path.read_text()
        assert os.access(path, os.X_OK)
