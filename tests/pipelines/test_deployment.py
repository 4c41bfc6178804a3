"""Release commits on real Git repositories: many at once, refused, not there; and what one leaves of a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines import deployment
from pipelines.deployment import DeployError, deploy, deployed, model_file, read_values, with_values

PUSHERS = 8
FILE = """# Which model this environment runs; `adloom release` writes it.
MODEL_VERSION=1

  # The digest of its bundle
BUNDLE_DIGEST=aa
OTHER=kept = as it is"""
DEPLOY = """
import json, sys
from pipelines.deployment import deploy
url, environment, version = sys.argv[1:]
there, is_new = deploy(url, environment, {"MODEL_VERSION": version}, title=f"run {version} in {environment}", body="b")
print(json.dumps([there.commit, is_new]))
"""


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    done = subprocess.run(
        ["git", *identity, "-C", folder, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture
def empty(tmp_path):
    """A bare repository without a commit."""
    folder = tmp_path / "gitops.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", folder)
    return folder


@pytest.fixture
def bare(empty, tmp_path):
    """One with a file for dev."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", empty, clone)
    path = clone / model_file("dev")
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "begin")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    return empty


def titles(bare):
    """Oldest first."""
    return git(bare, "log", "--reverse", "--format=%s", "main").splitlines()


def hook(bare, text):
    path = bare / "hooks/pre-receive"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho push >> '{bare}/pushes'\n{text}\n")
    path.chmod(0o755)


def release(url, environment="dev", title="run 2 in dev", **values):
    given = values or {"MODEL_VERSION": "2", "BUNDLE_DIGEST": "bb"}
    return deploy(str(url), environment, given, title=title, body="Because.")


def test_a_release_changes_its_values_and_no_other_line(bare):
    there, is_new = release(bare, MODEL_VERSION="2", NEW="1")
    text = git(bare, "show", f"main:{model_file('dev')}")

    assert is_new
    assert text == FILE.replace("MODEL_VERSION=1", "MODEL_VERSION=2") + "\nNEW=1"
    assert there.values == {"MODEL_VERSION": "2", "BUNDLE_DIGEST": "aa", "OTHER": "kept = as it is", "NEW": "1"}
    assert there == deployed(str(bare), "dev")


def test_the_commit_reads_as_a_deployment_log_and_names_no_person(bare):
    there, _ = release(bare)
    told = git(bare, "log", "-1", "--format=%H%n%an <%ae>%n%cn <%ce>%n%B", "main").splitlines()
    name = "Adloom release <release@adloom.invalid>"

    assert told == [there.commit, name, name, "run 2 in dev", "", "Because."]
    assert git(bare, "diff", "--name-only", "main~1", "main") == model_file("dev")


def test_the_same_values_twice_make_no_second_commit(bare):
    first, _ = release(bare)
    git(bare, "gc", "--quiet")
    second, is_new = release(bare, title="again")

    assert (second, is_new) == (first, False)
    assert titles(bare) == ["begin", "run 2 in dev"]


def test_the_commit_of_an_environment_is_the_last_that_changed_its_file(bare):
    first, _ = release(bare)
    other, _ = release(bare, "prod", MODEL_VERSION="1")

    assert deployed(str(bare), "dev").commit == first.commit != other.commit
    assert deployed(str(bare), "prod").commit == other.commit


def test_a_repository_without_a_commit_takes_its_first(empty):
    before = deployed(str(empty), "dev")
    there, is_new = release(empty)

    assert (before.values, before.commit) == ({}, "")
    assert is_new
    assert deployed(str(empty), "dev") == there


def test_an_environment_that_nothing_was_released_to_has_no_values(bare):
    assert deployed(str(bare), "prod") == deployment.Deployed({}, "")


@pytest.mark.slow
@pytest.mark.parametrize("environments", [["dev"], ["dev", "staging", "prod"]], ids=["one file", "three files"])
def test_eight_that_release_at_once_all_arrive_one_after_the_other(bare, environments):
    asked = [(environments[place % len(environments)], str(100 + place)) for place in range(PUSHERS)]
    path = os.pathsep.join(sys.path)

    def push(environment, version):
        command = [sys.executable, "-c", DEPLOY, bare, environment, version]
        return subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=300
        )

    with ThreadPoolExecutor(PUSHERS) as threads:
        done = list(threads.map(push, *zip(*asked, strict=True)))
    told = [each.stderr for each in done if each.returncode]
    commits = [json.loads(each.stdout)[0] for each in done if not each.returncode]
    log = titles(bare)

    assert told == []
    assert log[0] == "begin"
    assert sorted(log[1:]) == sorted(f"run {version} in {environment}" for environment, version in asked)
    assert sorted(commits) == sorted(git(bare, "log", "--format=%H", "main").splitlines()[:-1])
    assert git(bare, "log", "--merges", "--format=%H", "main") == ""
    for environment in environments:
        last = next(title for title in reversed(log) if title.endswith(f"in {environment}"))
        assert last == f"run {deployed(str(bare), environment).values['MODEL_VERSION']} in {environment}"


def test_where_somebody_pushes_meanwhile_the_change_is_made_again_on_top_of_theirs(bare, monkeypatch):
    real, theirs = deployment._pushed, []

    def pushed(clone):
        if not theirs:
            theirs.append(True)
            release(bare, "prod", "theirs", MODEL_VERSION="7")
        return real(clone)

    monkeypatch.setattr(deployment, "_pushed", pushed)
    there, is_new = release(bare, title="ours")

    assert titles(bare) == ["begin", "theirs", "ours"]
    assert is_new
    assert there == deployed(str(bare), "dev")


def test_where_somebody_released_the_same_meanwhile_there_is_nothing_left_to_do(bare, monkeypatch):
    real, theirs = deployment._pushed, []

    def pushed(clone):
        if not theirs:
            theirs.append(True)
            release(bare, title="theirs")
        return real(clone)

    monkeypatch.setattr(deployment, "_pushed", pushed)
    there, is_new = release(bare, title="ours")

    assert titles(bare) == ["begin", "theirs"]
    assert (there, is_new) == (deployed(str(bare), "dev"), False)


def test_who_is_always_overtaken_gives_up_after_ten_and_says_so(bare, monkeypatch):
    monkeypatch.setattr(deployment, "_pushed", lambda _clone: "! [rejected] HEAD -> main (fetch first)")
    monkeypatch.setattr(deployment, "PAUSE_SECONDS_MAX", 0.0)

    with pytest.raises(DeployError, match=r"10 pushes were overtaken by others \(! \[rejected\].*try again"):
        release(bare)
    assert titles(bare) == ["begin"]


@pytest.mark.parametrize("said", ["no bots on a Friday", "please fetch first, cannot lock ref"])
def test_a_push_that_the_repository_refuses_is_an_error_with_its_words_and_not_tried_again(bare, said):
    hook(bare, f"echo '{said}' >&2; exit 1")

    with pytest.raises(DeployError, match=rf"git push failed: .*{said}.*pre-receive hook declined"):
        release(bare)
    assert (bare / "pushes").read_text() == "push\n"
    assert titles(bare) == ["begin"]


def test_a_repository_that_is_not_there_is_an_error_without_the_password_in_its_address(tmp_path):
    with pytest.raises(DeployError, match=r"git clone failed: .*does not exist"):
        release(tmp_path / "none.git")
    with pytest.raises(DeployError, match="git clone failed: ") as caught:
        release("https://bot:s3cret@127.0.0.1:1/gitops.git")
    assert "s3cret" not in str(caught.value)
    assert deployment._failed("clone", "https://bot:s3cret@x/y.git: no").args[0].endswith("https://***@x/y.git: no")


def test_a_machine_without_git_is_told_so(bare, monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(DeployError, match="git is not installed"):
        release(bare)


def test_variables_that_a_hook_sets_do_not_lead_to_another_repository(bare, tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet", tmp_path / "ours")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "ours/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "ours/.git/index"))
    release(bare)
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")

    assert titles(bare) == ["begin", "run 2 in dev"]


@pytest.mark.parametrize("values", [{"A": "1\nB=2"}, {"A": "\0"}, {"a b": "1"}, {"": "1"}])
def test_what_is_no_line_of_its_own_is_not_written(values):
    with pytest.raises(DeployError, match="cannot be written as one line NAME=value"):
        with_values("", values)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=2\n"),
        ("A=1", "A=2"),
        ("B=1", "B=1\nA=2\n"),
        ("#A=1\nA=1\nAA=1\n", "#A=1\nA=2\nAA=1\n"),
        ("A = 1\n", "A=2\n"),
    ],
)
def test_a_value_replaces_its_own_line_or_comes_last(before, after):
    assert with_values(before, {"A": "2"}) == after
    assert read_values(after)["A"] == "2"


def test_a_backslash_in_a_value_stays_one():
    assert with_values("A=1\n", {"A": r"\1\n"}) == "A=\\1\\n\n"
