"""A promotion, done: one file, two lines of it at most, and in the cluster nothing but image, model and their names."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess

import pytest
import yaml

from pipelines.deployment import read_values, with_values
from tests.gitops.rendering import APPS, GITOPS, render_text

RUNNING = {"IMAGE": "0.3.0@sha256:" + "a" * 64, "MODEL_VERSION": "6"}
PROMOTED = {"IMAGE": "0.3.1@sha256:" + "b" * 64, "MODEL_VERSION": "7"}
CHANGES = {
    ("Rollout adloom-api", "spec.template.metadata.labels.app.kubernetes.io/version"),
    ("Rollout adloom-api", "spec.template.metadata.labels.adloom.io/model-version"),
    ("Rollout adloom-api", "spec.template.spec.containers.0.image"),
    ("Rollout adloom-api", "spec.template.spec.containers.0.env.0.value"),
    ("Job adloom-migrations", "spec.template.metadata.labels.app.kubernetes.io/version"),
    ("Job adloom-migrations", "spec.template.spec.containers.0.image"),
    ("Deployment adloom-exporter", "spec.template.metadata.labels.app.kubernetes.io/version"),
    ("Deployment adloom-exporter", "spec.template.spec.containers.0.image"),
}
"""All that one promotion may touch."""


def leaves(value, path=""):
    """(path, value) of everything that is no mapping or list."""
    if isinstance(value, dict):
        return [leaf for name, each in value.items() for leaf in leaves(each, f"{path}.{name}")]
    if isinstance(value, list):
        return [leaf for index, each in enumerate(value) for leaf in leaves(each, f"{path}.{index}")]
    return [(path.removeprefix("."), value)]


def by_leaf(text):
    objects = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    return {
        (f"{each['kind']} {each['metadata']['name']}", path): value for each in objects for path, value in leaves(each)
    }


def put(gitops, environment, values):
    path = gitops / f"apps/adloom-api/overlays/{environment}/model.env"
    path.write_text(with_values(path.read_text(encoding="utf-8"), values), encoding="utf-8")


@pytest.fixture
def gitops(tmp_path):
    """A copy in which staging and prod run one version, and dev the next."""
    copy = tmp_path / "repository/gitops"
    shutil.copytree(GITOPS, copy)
    for environment, values in (("dev", PROMOTED), ("staging", RUNNING), ("prod", RUNNING)):
        put(copy, environment, values)
    return copy


def files(folder):
    return {path.relative_to(folder): path.read_text("utf-8") for path in folder.rglob("*.*") if path.is_file()}


def promote(gitops, source, target):
    said = (gitops / f"apps/adloom-api/overlays/{source}/model.env").read_text(encoding="utf-8")
    put(gitops, target, read_values(said))


def test_a_promotion_changes_one_file_and_two_lines_of_it(gitops):
    before = files(gitops)
    promote(gitops, "dev", "prod")

    after = files(gitops)
    changed = [path for path in after if after[path] != before[path]]
    assert [str(path) for path in changed] == ["apps/adloom-api/overlays/prod/model.env"]
    lines = list(difflib.ndiff(before[changed[0]].splitlines(), after[changed[0]].splitlines()))
    assert [line[2:] for line in lines if line.startswith("+ ")] == [f"{k}={v}" for k, v in PROMOTED.items()]


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_a_promotion_changes_image_and_model_and_nothing_else(gitops, environment):
    folder = gitops / f"apps/adloom-api/overlays/{environment}"
    before = by_leaf(render_text(folder))
    promote(gitops, "dev", environment)
    after = by_leaf(render_text(folder))

    assert {leaf for leaf in before.keys() | after.keys() if before.get(leaf) != after.get(leaf)} == CHANGES
    assert {str(after[leaf]) for leaf in CHANGES} == {
        "0.3.1",
        "7",
        f"docker.io/adloom/adloom-api:{PROMOTED['IMAGE']}",
        "sha256:" + "b" * 64,
    }


def test_going_back_restores_every_byte(gitops):
    folder = gitops / "apps/adloom-api/overlays/prod"
    before = render_text(folder)
    promote(gitops, "dev", "prod")
    promoted = render_text(folder)
    put(gitops, "prod", RUNNING)

    assert promoted != before
    assert render_text(folder) == before


def test_the_promoted_file_has_two_keys_in_every_environment():
    said = {path: read_values(path.read_text("utf-8")) for path in APPS.glob("adloom-api/overlays/*/model.env")}

    assert len(said) == 3
    assert {tuple(values) for values in said.values()} == {("IMAGE", "MODEL_VERSION")}


def git(repository, *arguments):
    identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity}
    subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True, env=environment)


def render_diff(repository, *arguments):
    command = [GITOPS / "bin/render-diff", *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


@pytest.fixture
def commits(gitops):
    """A repository with two commits: before the promotion to prod, tagged, and after it."""
    repository = gitops.parent
    git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=before")
    git(repository, "tag", "before")
    promote(gitops, "dev", "prod")
    git(repository, "commit", "--quiet", "--all", "--message=after")
    return repository


def test_the_rendered_difference_of_two_commits_shows_what_the_cluster_gets(commits):
    done = render_diff(commits, "before", "HEAD", "prod")

    lines = done.stdout.splitlines()
    added = [line for line in lines if line.startswith("+") and not line.startswith("+++")]
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in lines if line.startswith(("---", "+++"))] == [
        "--- 0/rendered/prod/adloom-api.yaml",
        "+++ 1/rendered/prod/adloom-api.yaml",
    ]
    assert len(added) == len(CHANGES)
    assert sum("0.3.1@sha256:bbbb" in line for line in added) == 3


def test_commits_that_come_to_the_same_show_no_difference(commits):
    done = render_diff(commits, "before", "HEAD", "staging")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "say two commits"),
        (("before", "nowhere"), 2, "there is no commit nowhere"),
        (("before", "HEAD", "production"), 1, "there is no environment production"),
    ],
)
def test_a_wrong_call_is_told_what_to_do(commits, arguments, code, words):
    done = render_diff(commits, *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_a_commit_that_does_not_render_is_named(commits, gitops):
    path = gitops / "apps/adloom-api/overlays/prod/kustomization.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("envs: [model.env]", "envs: [other.env]"))
    git(commits, "commit", "--quiet", "--all", "--message=broken")
    done = render_diff(commits, "before", "HEAD", "prod")

    assert done.returncode == 1
    assert "HEAD does not render" in done.stderr
    assert "other.env" in done.stderr
