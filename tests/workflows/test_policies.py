"""What every workflow keeps to: pinned actions, no standing rights, no text of others in a shell, no half deploys."""

from __future__ import annotations

import os
import re

import pytest
import yaml

from pipelines.deployment import ENVIRONMENTS, WANTED_FILE, model_file
from pipelines.reversals import TITLE_START
from tests.repo.tree import ROOT
from tests.workflows.test_lint import WORKFLOWS

RUN_LINES_MAX = 3
TIMEOUT_MINUTES_MAX = 90
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
TABLES = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS}
JOBS = [(name, job, table["jobs"][job]) for name, table in TABLES.items() for job in table["jobs"]]
STEPS = [(name, job, step) for name, job, table in JOBS for step in table["steps"]] + [
    (path.parent.name, "composite", step)
    for path in ACTIONS
    for step in yaml.safe_load(path.read_text(encoding="utf-8"))["runs"]["steps"]
]
DEPLOYING = ("images.yml", "promote.yml", "release.yml", "rollback.yml", "terraform.yml")
WANTED = {
    "ci.yml",
    "e2e.yml",
    "images.yml",
    "promote.yml",
    "release.yml",
    "retrain.yml",
    "rollback.yml",
    "terraform.yml",
}


def triggers(name):
    """YAML 1.1 reads the key `on` as true."""
    return TABLES[name].get("on", TABLES[name].get(True))


def test_every_workflow_that_the_delivery_needs_is_there():
    assert set(TABLES) == WANTED


def test_no_block_of_shell_is_longer_than_three_lines():
    blocks = [(name, job, step["run"]) for name, job, step in STEPS if "run" in step]

    assert [each for each in blocks if len(each[2].strip().splitlines()) > RUN_LINES_MAX] == []
    assert len(blocks) > 20


def test_no_expression_stands_inside_a_shell():
    assert [step["run"] for _, _, step in STEPS if "${{" in step.get("run", "")] == []


def test_every_script_that_a_step_runs_can_be_executed():
    named = {found for _, _, step in STEPS for found in re.findall(r"[\w./]+/bin/[\w-]+", step.get("run", ""))}
    ours = {each for each in named if not each.startswith((".venv", "/"))}

    assert [each for each in sorted(ours) if not os.access(ROOT / each, os.X_OK)] == []
    assert {".github/bin/deploy-dev", "app/bin/build-image"} <= ours


def test_every_script_of_the_workflows_is_used_and_tried():
    tried = "".join(path.read_text() for path in (ROOT / "tests/workflows").glob("test_*.py"))
    used = "".join(path.read_text() for path in [*WORKFLOWS, *ACTIONS, *(ROOT / ".github/bin").iterdir()])
    names = [path.name for path in (ROOT / ".github/bin").iterdir()]

    assert [name for name in names if f'"{name}"' not in tried and f"/{name}" not in tried] == []
    assert [name for name in names if f"/{name}" not in used] == []


def test_every_action_is_pinned_by_commit_and_says_its_version():
    lines = [line for path in [*WORKFLOWS, *ACTIONS] for line in path.read_text().splitlines()]
    uses = [line.partition("uses: ")[2] for line in lines if "uses: " in line and "uses: ./" not in line]

    assert [each for each in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []
    pins = {each.partition("@")[0]: set() for each in uses}
    for each in uses:
        pins[each.partition("@")[0]].add(each)
    assert [sorted(each) for each in pins.values() if len(each) > 1] == []


@pytest.mark.parametrize("name", TABLES)
def test_a_workflow_has_no_right_and_says_who_waits_for_whom(name):
    table = TABLES[name]

    assert table["permissions"] == {}
    assert set(table["concurrency"]) == {"group", "cancel-in-progress"}


@pytest.mark.parametrize(("name", "job", "table"), JOBS, ids=lambda each: each if isinstance(each, str) else "")
def test_a_job_ends_in_time_and_holds_only_rights_it_needs(name, job, table):
    assert 0 < table["timeout-minutes"] <= TIMEOUT_MINUTES_MAX
    rights = table["permissions"]
    allowed = {"attestations", "contents", "id-token", "issues", "pull-requests"}
    assert set(rights) <= allowed
    assert rights["contents"] == "read"


def test_no_checkout_leaves_a_token_behind():
    checkouts = [step for _, _, step in STEPS if step.get("uses", "").startswith("actions/checkout@")]

    assert len(checkouts) >= len(JOBS)
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}


@pytest.mark.parametrize("name", DEPLOYING)
def test_what_deploys_is_never_cut_off_by_the_next(name):
    assert TABLES[name]["concurrency"]["cancel-in-progress"] is False


def test_no_standing_key_of_a_cloud_is_named():
    texts = "".join(path.read_text() for path in [*WORKFLOWS, *ACTIONS])

    assert not re.search(r"AWS_(?:ACCESS_KEY|SECRET)|COSIGN_(?:KEY|PRIVATE|PASSWORD)|KUBECONFIG", texts)
    assert "id-token: write" in texts


def test_a_deploy_starts_no_release_and_a_wanted_model_does():
    paths = triggers("release.yml")["push"]["paths"]
    patterns = [re.compile(re.escape(each).replace(r"\*\*", ".*")) for each in paths]

    assert any(each.fullmatch(WANTED_FILE) for each in patterns)
    for environment in ENVIRONMENTS:
        assert not any(each.fullmatch(model_file(environment)) for each in patterns)


def test_a_rollback_is_not_undone_by_the_next_release():
    condition = TABLES["release.yml"]["jobs"]["image"]["if"]

    assert f"!startsWith(github.event.head_commit.message, '{TITLE_START}')" in condition


def test_the_required_check_needs_every_other_job():
    jobs = TABLES["ci.yml"]["jobs"]

    assert set(jobs["required"]["needs"]) == set(jobs) - {"required"}
    assert jobs["required"]["if"] == "always()"


def test_environments_that_people_choose_are_those_that_there_are():
    chosen = {name: triggers(name)["workflow_dispatch"]["inputs"]["environment"]["options"] for name in TABLES
              if (triggers(name).get("workflow_dispatch") or {}).get("inputs")}  # fmt: skip

    assert chosen == {
        "promote.yml": list(ENVIRONMENTS[1:]),
        "retrain.yml": list(ENVIRONMENTS),
        "rollback.yml": list(ENVIRONMENTS),
    }


def test_owners_are_teams_and_every_path_they_own_is_there():
    lines = [
        line.split() for line in (ROOT / ".github/CODEOWNERS").read_text().splitlines() if line[:1] not in ("#", "")
    ]

    assert [owner for _, *owners in lines for owner in owners if not re.fullmatch(r"@adloom/[a-z-]+", owner)] == []
    assert [path for path, *_ in lines if path != "*" and not (ROOT / path.strip("/")).exists()] == []
