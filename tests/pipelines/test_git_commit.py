"""Commits on real Git repositories: many at once, refused, protected, not there; and what one leaves of a file."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines import git_commit
from pipelines.deployment import with_values
from pipelines.git_commit import BRANCHES_MAX, DeployError, Draft, commit
from tests.pipelines.gitops_place import BEGIN, empty_repository, git, hook, protect, repository, text_of, titles

PATH = "some/place.env"
FILE = "# Kept\nVERSION=1\nOTHER=kept = as it is"


@pytest.fixture
def bare(tmp_path):
    return repository(tmp_path, {PATH: FILE})


def release(url, version="2", title="", path=PATH, branch="deploy/x"):
    def draft(clone):
        text = with_values(clone.read(path), {"VERSION": version})
        return Draft({path: text}, title or f"run {version}", "Because.", branch)

    return commit(str(url), draft)


def test_the_commit_reads_as_a_log_and_names_no_person(bare):
    landed = release(bare)
    told = git(bare, "log", "-1", "--format=%H%n%an <%ae>%n%cn <%ce>%n%B", "main").splitlines()
    name = "Adloom release <release@adloom.invalid>"

    assert told == [landed.commit, name, name, "run 2", "", "Because."]
    assert git(bare, "diff", "--name-only", "main~1", "main") == PATH
    assert text_of(bare, PATH) == FILE.replace("VERSION=1", "VERSION=2")


def test_the_same_text_twice_makes_no_second_commit(bare):
    first = release(bare)
    second = release(bare, title="again")

    assert (first.is_new, second.is_new) == (True, False)
    assert first.commit == second.commit
    assert titles(bare) == [BEGIN, "run 2"]


def test_a_repository_without_a_commit_takes_its_first(tmp_path):
    bare = empty_repository(tmp_path)
    landed = release(bare)

    assert landed.is_new
    assert text_of(bare, PATH) == "VERSION=2"


def test_where_somebody_pushes_meanwhile_the_change_is_made_again_on_top_of_theirs(bare, monkeypatch):
    real, theirs = git_commit._pushed, []

    def pushed(clone):
        if not theirs:
            theirs.append(True)
            release(bare, "7", "theirs", "other.env")
        return real(clone)

    monkeypatch.setattr(git_commit, "_pushed", pushed)
    release(bare, title="ours")

    assert titles(bare) == [BEGIN, "theirs", "ours"]


def test_where_somebody_committed_the_same_meanwhile_there_is_nothing_left_to_do(bare, monkeypatch):
    real, theirs = git_commit._pushed, []

    def pushed(clone):
        if not theirs:
            theirs.append(True)
            release(bare, title="theirs")
        return real(clone)

    monkeypatch.setattr(git_commit, "_pushed", pushed)
    landed = release(bare, title="ours")

    assert titles(bare) == [BEGIN, "theirs"]
    assert not landed.is_new


def test_who_is_always_overtaken_gives_up_after_ten_and_says_so(bare, monkeypatch):
    monkeypatch.setattr(git_commit, "_pushed", lambda _clone: "! [rejected] HEAD -> main (fetch first)")
    monkeypatch.setattr(git_commit, "PAUSE_SECONDS_MAX", 0.0)

    with pytest.raises(DeployError, match=r"10 pushes were overtaken by others \(! \[rejected\].*try again"):
        release(bare)
    assert titles(bare) == [BEGIN]


@pytest.mark.parametrize("said", ["no bots on a Friday", "please fetch first, cannot lock ref", "GH001: too large"])
def test_a_push_that_the_repository_refuses_is_an_error_with_its_words_and_not_tried_again(bare, said):
    hook(bare, f"echo '{said}' >&2; exit 1")

    with pytest.raises(DeployError, match=rf"git push failed: .*{said}.*pre-receive hook declined"):
        release(bare)
    assert (bare / "pushes").read_text() == "push\n"
    assert titles(bare) == [BEGIN]


def test_a_protected_branch_is_left_alone_and_the_commit_waits_on_one_of_its_own(bare):
    protect(bare)
    landed = release(bare)

    assert (landed.branch, landed.base, landed.is_new) == ("deploy/x", "main", True)
    assert titles(bare) == [BEGIN]
    assert titles(bare, "deploy/x") == [BEGIN, "run 2"]


def test_the_same_again_finds_the_branch_and_something_else_takes_another(bare):
    protect(bare)
    first, again, other = release(bare), release(bare), release(bare, "3")

    assert (again.branch, again.commit, again.is_new) == (first.branch, first.commit, False)
    assert (other.branch, other.is_new) == ("deploy/x-2", True)
    assert titles(bare, "deploy/x-2") == [BEGIN, "run 3"]


def test_a_branch_that_was_merged_is_not_taken_for_one_that_waits(bare):
    protect(bare)
    release(bare)
    git(bare, "update-ref", "refs/heads/main", "refs/heads/deploy/x")
    (bare / "hooks/pre-receive").unlink()
    release(bare, "1", "back")
    protect(bare)
    again = release(bare)

    assert (again.branch, again.is_new) == ("deploy/x-2", True)


def test_too_many_branches_want_a_person(bare, monkeypatch):
    monkeypatch.setattr(git_commit, "BRANCHES_MAX", 2)
    protect(bare)
    for version in ("2", "3"):
        release(bare, version)

    assert BRANCHES_MAX > 2
    with pytest.raises(DeployError, match="delete those that are done with"):
        release(bare, "4")


def test_a_repository_that_is_not_there_is_an_error_without_the_password_in_its_address(tmp_path):
    with pytest.raises(DeployError, match=r"git clone failed: .*does not exist"):
        release(tmp_path / "none.git")
    with pytest.raises(DeployError, match="git clone failed: ") as caught:
        release("https://bot:s3cret@127.0.0.1:1/gitops.git")
    assert "s3cret" not in str(caught.value)
    assert git_commit.failed("clone", "https://bot:s3cret@x/y.git: no").args[0].endswith("https://***@x/y.git: no")


def test_a_token_is_for_its_host_alone_and_stands_on_no_command_line():
    told = git_commit._header("https://git.example:8443/a/b.git", "s3cret")

    assert told["GIT_CONFIG_KEY_0"] == "http.https://git.example:8443/.extraHeader"
    assert "s3cret" not in str(told)  # as basic authentication has it
    assert git_commit._header("https://git.example/a/b.git", "") == {}
    assert git_commit._header("git@git.example:a/b.git", "s3cret") == {}


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

    assert titles(bare) == [BEGIN, "run 2"]


def test_git_that_hangs_is_ended_and_said(bare, monkeypatch):
    monkeypatch.setattr(git_commit, "GIT_SECONDS", 0.5)
    hook(bare, "exec sleep 5")

    with pytest.raises(DeployError, match=r"git push took longer than 0\.5 s"):
        release(bare)


def test_two_threads_on_one_repository_both_arrive(bare):
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: release(bare, path=f"{number}.env", title=f"of {number}"), range(2)))

    assert sorted(titles(bare)[1:]) == ["of 0", "of 1"]
    assert subprocess.run(["git", "-C", bare, "fsck"], capture_output=True, check=False).returncode == 0
