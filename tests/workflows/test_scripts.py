"""The workflows' scripts, run as they are; what would reach the world is a stand-in that notes how it was called."""

from __future__ import annotations

import json
import sys

import pytest

from pipelines.deployment import model_file
from tests.pipelines.fake_forge import running_forge
from tests.pipelines.gitops_place import git, image, repository, titles
from tests.repo.tree import ROOT
from tests.workflows.stand_ins import answering

DIGEST = "sha256:" + "a" * 64
PINNED = f"docker.io/adloom/adloom-api:0.1.0-model-7@{DIGEST}"
ADLOOM = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m app.cli "$@"'
"""The real command, whatever is installed."""


@pytest.mark.parametrize(
    ("path", "rooms"),
    [
        ("gitops/apps/adloom-api/base/rollout.yaml", {"gitops"}),
        ("gitops/apps/adloom-api/monitoring/rules.yaml", {"gitops", "infra"}),
        ("infra/modules/x/main.tf", {"infra"}),
        (".github/bin/deploy-dev", {"workflows"}),
        ("app/settings.py", {"gitops"}),
        ("model/writer.py", set()),
    ],
)
def test_a_change_says_which_rooms_it_touches(programs, tmp_path, path, rooms):
    folder = tmp_path / "checkout"
    git(tmp_path, "init", "--quiet", folder)
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "begin")
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text("x")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "change")
    done = programs.run("changed-rooms", "HEAD~1", "HEAD", folder=folder)

    assert done.returncode == 0
    told = dict(line.split("=") for line in done.stdout.splitlines())
    assert {room for room, value in told.items() if value == "true"} == rooms
    assert set(told) == {"gitops", "infra", "workflows"}


def test_without_a_commit_to_compare_with_every_room_counts(programs):
    done = programs.run("changed-rooms", "0" * 40, "HEAD")

    assert done.stdout.count("=true") == 3
    assert "every room counts as changed" in done.stderr


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ({"test": "success", "infra": "skipped"}, 0),
        ({"test": "success", "infra": "failure"}, 1),
        ({"test": "success", "infra": "cancelled"}, 1),
        ({"test": "skipped"}, 1),
        ({"infra": "success"}, 1),
        ({}, 1),
    ],
)
def test_the_required_check_passes_on_success_and_on_nothing_less(programs, results, status):
    needs = json.dumps({name: {"result": result} for name, result in results.items()})
    done = programs.run("require-success", "test", NEEDS=needs)

    assert done.returncode == status, done.stderr


def test_an_image_is_signed_and_verified_by_its_digest(programs, tmp_path):
    programs.put("cosign")
    (tmp_path / "sbom.json").write_text("{}")
    done = programs.run("sign-image", PINNED, tmp_path / "sbom.json", GITHUB_REPOSITORY="adloom/adloom")

    assert done.returncode == 0, done.stderr
    assert [call.split()[1] for call in programs.calls] == ["sign", "attest", "verify"]
    assert all(call.endswith(PINNED) for call in programs.calls)


@pytest.mark.parametrize(("name", "content"), [(PINNED.partition("@")[0], "{}"), (PINNED, "")])
def test_a_tag_or_an_empty_bill_of_materials_is_not_signed(programs, tmp_path, name, content):
    programs.put("cosign")
    (tmp_path / "sbom.json").write_text(content)

    assert programs.run("sign-image", name, tmp_path / "sbom.json", GITHUB_REPOSITORY="a/b").returncode == 2
    assert programs.calls == []


def test_a_signature_that_does_not_verify_fails_the_release(programs, tmp_path):
    programs.put("cosign", '[ "$1" != verify ]')
    (tmp_path / "sbom.json").write_text("{}")

    assert programs.run("sign-image", PINNED, tmp_path / "sbom.json", GITHUB_REPOSITORY="a/b").returncode == 1


@pytest.mark.parametrize("ecr", ["", "111122223333.dkr.ecr.eu-central-1.amazonaws.com"])
def test_signing_in_gives_secrets_to_standard_input_alone(programs, ecr):
    programs.put("docker", "cat > /dev/null")
    programs.put("aws", "echo t0ken")
    done = programs.run("log-in", DOCKERHUB_USER="bot", DOCKERHUB_TOKEN="s3cret", ECR_REGISTRY=ecr)

    assert done.returncode == 0
    assert "s3cret" not in "".join(programs.calls) + done.stdout + done.stderr
    assert any("--region eu-central-1" in call for call in programs.calls) is bool(ecr)


def wanting(model):
    return {"pyproject.toml": 'version = "0.1.0"\n', "gitops/models/ad_writer.env": f"MODEL_VERSION={model}\n"}


def test_a_tag_names_version_commit_and_model(programs, tmp_path):
    bare = repository(
        tmp_path, {"pyproject.toml": 'version = "0.1.0"\n', "gitops/models/ad_writer.env": "MODEL_VERSION=7\n"}
    )
    git(tmp_path, "clone", "--quiet", bare, tmp_path / "work")
    done = programs.run("name-image", folder=tmp_path / "work")
    commit = git(tmp_path / "work", "rev-parse", "--short=12", "HEAD")

    assert done.stdout.splitlines() == [f"tag=0.1.0-{commit}-model-7", "model=7"]


def test_an_image_without_a_model_names_version_and_commit(programs, tmp_path):
    bare = repository(tmp_path, wanting(0))
    git(tmp_path, "clone", "--quiet", bare, tmp_path / "work")
    commit = git(tmp_path / "work", "rev-parse", "--short=12", "HEAD")

    assert programs.run("name-image", "without-model", folder=tmp_path / "work").stdout == f"tag=0.1.0-{commit}\n"


def test_nothing_is_built_while_no_model_is_wanted(programs, tmp_path):
    bare = repository(
        tmp_path, {"pyproject.toml": 'version = "0.1.0"\n', "gitops/models/ad_writer.env": "MODEL_VERSION=0\n"}
    )
    git(tmp_path, "clone", "--quiet", bare, tmp_path / "work")
    done = programs.run("name-image", folder=tmp_path / "work")

    assert (done.returncode, done.stdout) == (1, "")
    assert "promote one" in done.stderr


@pytest.mark.parametrize(("there", "status"), [(DIGEST, 0), ("sha256:" + "b" * 64, 1)])
def test_a_copy_has_the_same_digest_or_fails(programs, there, status):
    programs.put("docker", f'case "$*" in *inspect*) echo {there};; esac')
    done = programs.run("copy-image", PINNED, ECR_REGISTRY="ecr.example")

    assert done.returncode == status
    assert programs.calls[0].endswith(f"--tag ecr.example/adloom/adloom-api:0.1.0-model-7 {PINNED}")


def test_without_ecr_nothing_is_copied(programs):
    programs.put("docker")

    assert programs.run("copy-image", PINNED, ECR_REGISTRY="").returncode == 0
    assert programs.calls == []


def test_the_release_deploys_what_was_built(programs, tmp_path):
    programs.put("adloom", ADLOOM)
    bare = repository(tmp_path)
    done = programs.run("deploy-dev", PINNED, 7, ADLOOM_GITOPS_URL=str(bare), GITHUB_RUN_ID="1")

    assert done.returncode == 0, done.stderr
    assert titles(bare)[-1] == "adloom-api: run 0.1.0-model-7 with model 7 in dev"
    assert git(bare, "show", f"main:{model_file('dev')}").endswith(f"IMAGE=0.1.0-model-7@{DIGEST}\nMODEL_VERSION=7")
    assert programs.run("deploy-dev", PINNED.partition("@")[0], 7, ADLOOM_GITOPS_URL=str(bare)).returncode == 2


def test_a_promotion_is_a_pull_request_with_verdict_card_and_rendered_diff(programs, tmp_path):
    bare = repository(tmp_path, {**shipped(), "gitops/bin/render-diff": "#!/bin/sh\necho \"-old $3\"\necho '+new'\n"})
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    work = checkout(bare, tmp_path)
    programs.put("adloom", ADLOOM)
    programs.put("gh", 'cp "$5" "$TEXT"')
    text = tmp_path / "text"
    tags = [{"key": "gate", "value": "passed"}, {"key": "gate_reasons", "value": "Better on grounding."}]
    replies = {
        "/api/2.0/mlflow/model-versions/get": (200, {"model_version": {"run_id": "r1", "tags": tags}}),
        "/get-artifact": (200, b"# Card of model 7"),
    }
    with running_forge() as forge, answering(replies) as (registry, _):
        done = programs.run(
            "propose-promotion", "staging", folder=work,
            ADLOOM_GITOPS_URL=str(bare), MLFLOW_TRACKING_URI=registry, TEXT=str(text), **forge.environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [one["title"] for one in forge.pulls] == ["Deploy 0.1.1 to staging"]
    said = text.read_text()

    assert titles(bare)[-1] == "adloom-api: run 0.1.1 with model 7 in dev"  # main itself is as it was
    assert "Gate: **passed**. Better on grounding." in said
    assert "# Card of model 7" in said
    assert "-old staging\n+new" in said
    assert programs.calls[-1].startswith("gh pr edit https://forge.example/pull/1 --body-file")


def shipped():
    text = (ROOT / model_file("dev")).read_text()
    files = {model_file(each): (ROOT / model_file(each)).read_text() for each in ("staging", "prod")}
    zeros = "0.1.0@sha256:" + "0" * 64
    return files | {model_file("dev"): text.replace(zeros, image(1)).replace("MODEL_VERSION=0", "MODEL_VERSION=7")}


def checkout(bare, folder):
    work = folder / "work"
    git(folder, "clone", "--quiet", bare, work)
    (work / "gitops/bin/render-diff").chmod(0o755)
    git(work, "commit", "--quiet", "--allow-empty", "-m", "adloom-api: run 0.1.1 with model 7 in dev")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    return work


def test_a_promotion_of_what_runs_already_opens_nothing(programs, tmp_path):
    files = shipped()
    files[model_file("staging")] = files[model_file("dev")].replace("dev", "staging")
    bare = repository(tmp_path, {**files, "gitops/bin/render-diff": "#!/bin/sh\n"})
    work = checkout(bare, tmp_path)
    programs.put("adloom", ADLOOM)
    programs.put("gh")
    done = programs.run("propose-promotion", "staging", folder=work, ADLOOM_GITOPS_URL=str(bare))

    assert done.returncode == 0, done.stderr
    assert "runs" in done.stdout
    assert not [call for call in programs.calls if call.startswith("gh ")]


PINS = {
    "pipelines": [
        "gitops/apps/mlflow/overlays/dev/kustomization.yaml",
        "gitops/platform/overlays/dev/airflow/image.env",
    ],
    "ui": ["gitops/apps/adloom-ui/overlays/dev/kustomization.yaml"],
}


@pytest.mark.parametrize("what", PINS)
def test_an_image_without_a_model_is_proposed_by_its_digest(programs, tmp_path, what):
    """On this repository's own files, so that another form of them is noticed."""
    bare = repository(tmp_path, {path: (ROOT / path).read_text() for path in PINS[what]})
    git(tmp_path, "clone", "--quiet", bare, tmp_path / "work")
    programs.put("gh")
    pinned = f"docker.io/adloom/adloom-{what}:0.1.0-abc@{DIGEST}"
    done = programs.run("propose-pin", what, pinned, "dev", folder=tmp_path / "work")
    branch = f"deploy/{what}-dev-0.1.0-abc"

    assert done.returncode == 0, done.stderr
    assert git(bare, "diff", "--name-only", "main", branch).splitlines() == PINS[what]
    assert set(git(bare, "diff", "--numstat", "main", branch).split()) == {"1", *PINS[what]}
    assert [call.split()[:3] for call in programs.calls] == [["gh", "auth", "setup-git"], ["gh", "pr", "create"]]
    assert titles(bare) == ["begin"]
    assert programs.run("propose-pin", what, "x:latest", "dev", folder=tmp_path / "work").returncode == 2


def test_a_promotion_to_dev_is_refused(programs):
    assert programs.run("propose-promotion", "dev").returncode == 2


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ({}, "The registry could not be asked (404)"),
        ({"/api/2.0/mlflow/model-versions/get": (200, {"model_version": {"run_id": "r1"}})}, "never asked about"),
    ],
)
def test_what_is_not_known_of_a_model_is_said_and_not_left_out(programs, replies, words):
    with answering(replies) as (registry, _):
        done = programs.run("model-facts", 7, MLFLOW_TRACKING_URI=registry)

    assert done.returncode == 0
    assert words in done.stdout
