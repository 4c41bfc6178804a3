"""`adloom deploy` as bots and people run it: eight at once, refused, protected; and its pull requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import cli
from pipelines import deploy_command
from pipelines.deployment import ENVIRONMENTS, deployed, model_file
from pipelines.pull_requests import PullRequestError, closed_pull_request, forge_of, open_pull_request, token_from
from tests.pipelines.fake_forge import TOKEN, running_forge
from tests.pipelines.gitops_place import BEGIN, git, hook, image, protect, repository, text_of, titles

PUSHERS = 8
COMMAND = "import sys; from pipelines import deploy_command; sys.exit(deploy_command.main())"


@pytest.fixture
def bare(tmp_path, monkeypatch):
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GITHUB_REPOSITORY", "GITHUB_API_URL", "ADLOOM_GITOPS_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    made = repository(tmp_path)
    monkeypatch.setenv("ADLOOM_GITOPS_URL", str(made))
    return made


@pytest.fixture
def forge(monkeypatch):
    with running_forge() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def run(capsys, *arguments):
    """Status, and the answer on the last line."""
    capsys.readouterr()
    status = deploy_command.main(list(arguments))
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_deploy_says_where_its_commit_is(bare, capsys):
    status, told = run(capsys, "dev", "--image", image(1), "--model", "7", "--why", "Fewer invented numbers.")

    assert status == 0
    assert told == {
        "outcome": "deployed", "environment": "dev", "image": image(1), "branch": "", "pull_request": "",
        "commit": git(bare, "rev-parse", "main"),
    }  # fmt: skip
    assert run(capsys, "dev", "--image", image(1), "--model", "7")[1]["outcome"] == "unchanged"


@pytest.mark.slow
@pytest.mark.parametrize("environments", [["dev"], list(ENVIRONMENTS)], ids=["one file", "three files"])
def test_eight_that_deploy_at_once_all_arrive_one_after_the_other(bare, environments):
    asked = [(environments[place % len(environments)], place + 1) for place in range(PUSHERS)]
    path = os.pathsep.join(sys.path)

    def push(environment, number):
        command = [sys.executable, "-c", COMMAND, environment, "--image", image(number), "--model", str(100 + number)]
        return subprocess.run(
            [*command, "--force-order", "eight at once"],
            env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    with ThreadPoolExecutor(PUSHERS) as threads:
        done = list(threads.map(push, *zip(*asked, strict=True)))
    commits = [json.loads(each.stdout)["commit"] for each in done if not each.returncode]
    log = titles(bare)

    assert [each.stderr for each in done if each.returncode] == []
    assert log[0] == BEGIN
    wanted = [
        f"adloom-api: run 0.1.{number} with model {100 + number} in {environment}" for environment, number in asked
    ]
    assert sorted(log[1:]) == sorted(wanted)
    assert sorted(commits) == sorted(git(bare, "log", "--format=%H", "main").splitlines()[:-1])
    assert git(bare, "log", "--merges", "--format=%H", "main") == ""
    for environment in environments:
        last = next(title for title in reversed(log) if title.endswith(f"in {environment}"))
        assert f"with model {deployed(str(bare), environment).values['MODEL_VERSION']} in" in last


def test_a_protected_branch_gets_a_pull_request_once(bare, forge, capsys):
    protect(bare)
    first = run(capsys, "dev", "--image", image(1), "--model", "7", "--why", "Better.")
    again = run(capsys, "dev", "--image", image(1), "--model", "7", "--why", "Better.")

    assert first[0] == again[0] == 0
    assert first[1] == again[1]
    assert first[1]["outcome"] == "waiting"
    assert first[1]["pull_request"] == "https://forge.example/pull/1"
    assert [(one["head"], one["base"], one["title"]) for one in forge.pulls] == [
        (first[1]["branch"], "main", "Deploy 0.1.1 to dev")
    ]
    assert titles(bare) == [BEGIN]
    assert f"IMAGE={image(1)}" in text_of(bare, model_file("dev"), first[1]["branch"])


def test_a_deploy_can_be_proposed_where_a_push_would_do(bare, forge, capsys):
    _, told = run(capsys, "dev", "--image", image(1), "--model", "7", "--pull-request")

    assert (told["outcome"], len(forge.pulls)) == ("waiting", 1)
    assert titles(bare) == [BEGIN]
    assert not (bare / "pushes").exists()


def test_without_a_token_the_branch_is_left_and_a_person_is_told_what_to_do(bare, capsys):
    protect(bare)
    status = deploy_command.main(["dev", "--image", image(1), "--model", "7"])
    told = capsys.readouterr()
    answer = json.loads(told.out.splitlines()[-1])

    assert status == 0
    assert answer["branch"] in told.err
    assert "open a pull request from it, or set GH_TOKEN" in told.err
    assert titles(bare, answer["branch"])[-1] == "adloom-api: run 0.1.1 with model 7 in dev"


def test_a_push_that_is_refused_for_another_reason_is_one_line(bare, capsys):
    hook(bare, "echo 'no bots on a Friday' >&2; exit 1")
    status = cli.guarded(lambda: deploy_command.main(["dev", "--image", image(1), "--model", "7"]))
    said = capsys.readouterr().err

    assert status == 1
    assert "no bots on a Friday" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("refuse", "words"),
    [
        ((403, "Resource not accessible by integration"), "lacks the right to write pull requests"),
        ((404, "Not Found"), "does not see this repository"),
        ((422, "Validation Failed"), "Validation Failed"),
        ((500, ""), "with 500: look at the branch and try again"),
    ],
)
def test_a_forge_that_refuses_leaves_the_branch_and_says_which_right_is_missing(bare, forge, refuse, words):
    protect(bare)
    forge.refuse = refuse

    with pytest.raises(PullRequestError, match=words) as caught:
        deploy_command.main(["dev", "--image", image(1), "--model", "7"])
    assert TOKEN not in str(caught.value)
    assert git(bare, "branch", "--list", "deploy/*") != ""


def test_the_token_follows_no_redirect(forge):
    with running_forge() as elsewhere:
        forge.redirect = f"{elsewhere.address}/stolen"
        with pytest.raises(PullRequestError, match="302"):
            open_pull_request(forge_of("", TOKEN), "b", "main", "t", "")

        assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("pulls", "number"),
    [
        ([], None),
        (["open"], None),
        (["closed"], 1),
        (["merged"], None),
        (["closed", "closed"], 2),
        (["closed", "open"], None),
        (["open", "closed"], None),
        (["closed", "merged"], None),
    ],
)
def test_a_branch_was_turned_down_where_all_of_its_pull_requests_were_closed_unmerged(forge, pulls, number):
    for place, state in enumerate(pulls, start=1):
        forge.answer("POST", "", f"Bearer {TOKEN}", {"head": "rollback/dev-1"})
        if state != "open":
            forge.close(place, "2026-01-15T09:30:00Z" if state == "merged" else None)
    forge.answer("POST", "", f"Bearer {TOKEN}", {"head": "rollback/dev-2"})
    found = closed_pull_request(forge_of("", TOKEN), "rollback/dev-1")

    assert (found and found.number) == number


def test_a_deploy_is_proposed_anew_after_its_pull_request_was_closed(bare, forge, capsys):
    protect(bare)
    run(capsys, "dev", "--image", image(1), "--model", "7")
    forge.close(1)

    assert run(capsys, "dev", "--image", image(1), "--model", "7")[1]["pull_request"] == "https://forge.example/pull/2"


def test_a_wrong_token_is_said_without_the_token(forge, monkeypatch):
    with pytest.raises(PullRequestError, match="wrong or has expired") as caught:
        open_pull_request(forge_of("", "wr0ng"), "b", "main", "t", "")
    assert "wr0ng" not in str(caught.value)


def test_a_forge_that_does_not_answer_is_said(monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b")

    with pytest.raises(PullRequestError, match="did not answer"):
        open_pull_request(forge_of("", TOKEN), "b", "main", "t", "")


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        ("https://github.com/adloom/adloom.git", "adloom/adloom"),
        ("https://x:y@github.com/adloom/adloom", "adloom/adloom"),
        ("git@github.com:adloom/adloom.git", "adloom/adloom"),
        ("ssh://git@github.com/adloom/adloom.git", "adloom/adloom"),
        ("/srv/git/adloom.git", None),
        ("file:///srv/git/adloom.git", None),
    ],
)
def test_the_owner_and_name_are_read_from_the_address(url, repository):
    found = forge_of(url, TOKEN, {})

    assert (found.repository if found else None) == repository
    assert forge_of(url, "", {}) is None


def test_a_token_comes_from_its_file_before_the_environment(tmp_path):
    (tmp_path / "token").write_text("from-file\n")

    assert token_from({"ADLOOM_GITOPS_TOKEN_FILE": str(tmp_path / "token"), "GH_TOKEN": "x"}) == "from-file"
    assert token_from({"GITHUB_TOKEN": "y"}) == "y"
    assert token_from({}) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dev", "--image", "0.1.0"], "no pinned image"),
        (["test", "--image", image(1)], "invalid choice"),
        (["dev", "--image", image(1), "--model", "0"], "no version"),
        (["dev", "--image", image(1), "--model", "x"], "no version"),
        (["dev"], "--image"),
    ],
)
def test_wrong_arguments_are_said_and_end_with_2(bare, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        deploy_command.main(arguments)

    assert stop.value.code == 2
    assert words in capsys.readouterr().err
    assert titles(bare) == [BEGIN]


def test_without_a_repository_it_says_which_variable_to_set(bare, monkeypatch):
    monkeypatch.delenv("ADLOOM_GITOPS_URL")

    with pytest.raises(ValueError, match="set ADLOOM_GITOPS_URL"):
        deploy_command.main(["dev", "--image", image(1), "--model", "7"])
