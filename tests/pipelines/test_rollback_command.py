"""`adloom rollback --env`: one transaction over Git, registry and service, and what becomes of it where it is cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

from model.ledger import LedgerError
from pipelines import environment_rollback, rollback_command
from pipelines.deployment import WANTED_FILE, model_file
from pipelines.git_commit import DeployError
from pipelines.reversals import TITLE_START
from tests.pipelines.gitops_place import git, hook, image, merge, protect, text_of, titles
from tests.pipelines.rollback_place import RollbackPlace, answering_service, three_deploys
from tests.real_parts import free_port, wait_until
from tests.repo.tree import ROOT

pytestmark = [
    pytest.mark.slow,  # MLflow alone takes seconds to import
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'"),
]

REVERSED = [
    ("reversal", "intent", 3, 2),
    ("rollback", "intent", 3, 2),
    ("rollback", "done", 3, 2),
    ("reversal", "done", 3, 2),
]
BACK = f"{TITLE_START} to model 2 in dev"


class KilledError(BaseException):
    """As a kill does: nothing that catches errors catches it."""


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return three_deploys(tmp_path_factory.mktemp("three"))


@pytest.fixture
def place(three, tmp_path, monkeypatch):
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "ADLOOM_GITOPS_TOKEN_FILE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment_rollback, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(environment_rollback, "GIT_POLL_SECONDS", 0.05)
    for name in ("registry", "gitops.git"):
        shutil.copytree(three / name, tmp_path / name)
    with answering_service() as (address, version):
        made = RollbackPlace(tmp_path, address, version)
        made.serve(3)
        yield made


def back(place, *more):
    return rollback_command.main(place.arguments(*more))


def follow(place, number=2):
    """A stand-in for Argo CD: after a push that names the model, the service is of that model."""
    real = environment_rollback._in_git

    def in_git(*arguments):
        commit = real(*arguments)
        place.serve(number)
        return commit

    return in_git


@pytest.fixture
def synced(place, monkeypatch):
    monkeypatch.setattr(environment_rollback, "_in_git", follow(place))
    return place


def assert_all_say_two(place):
    assert (place.git, place.wanted, place.champion) == (2, "2", 2)
    assert place.lines == REVERSED
    assert titles(place.bare).count(BACK) == 1


@pytest.mark.proof
def test_git_wanted_model_registry_and_service_go_back_together(synced, capsys):
    assert back(synced) == 0
    told = capsys.readouterr()

    assert_all_say_two(synced)
    assert f"IMAGE={image(2)}" in text_of(synced.bare, model_file("dev"))
    assert told.err.splitlines()[-1] == "dev is back at model 2, after model 3"
    assert [line.split()[:3] for line in told.out.splitlines()] == [
        ["Git", "model", "2,"], ["registry", "model", "2"], ["ledger", "model", "2"], ["service", "model", "2,"],
    ]  # fmt: skip


def test_the_commit_says_what_it_reverts_and_changes_what_goes_back(synced):
    reverted = git(synced.bare, "log", "-1", "--format=%H", "--", model_file("dev"))
    back(synced)
    body = git(synced.bare, "log", "-1", "--format=%B", "main")

    assert f"This reverts commit {reverted}." in body
    assert "odd ads" in body
    assert git(synced.bare, "diff", "--name-only", "main~1", "main").split() == [model_file("dev"), WANTED_FILE]


def test_a_second_rollback_goes_further_back_and_never_forth(place, monkeypatch):
    monkeypatch.setattr(environment_rollback, "_in_git", follow(place))
    back(place)
    monkeypatch.setattr(environment_rollback, "_in_git", follow(place, 1))

    assert back(place) == 0
    assert (place.git, place.champion) == (1, 1)
    assert back(place) == 1
    assert (place.git, place.champion) == (1, 1)


def test_a_deploy_after_a_rollback_goes_back_to_what_ran_before_it(synced):
    back(synced)
    synced.promote(3)
    synced.release(3)

    assert back(synced) == 0
    assert synced.git == 2


def test_any_model_that_ran_there_can_be_named_and_no_other(place, monkeypatch, capsys):
    monkeypatch.setattr(environment_rollback, "_in_git", follow(place, 1))

    assert back(place, "--to", "7") == 1
    assert "dev never ran model 7; it ran 1, 2, 3" in capsys.readouterr().err
    assert back(place, "--to", "3") == 1
    assert "runs model 3 already" in capsys.readouterr().err
    assert back(place, "--to", "1") == 0
    assert (place.git, place.champion) == (1, 1)


def test_a_bad_image_of_the_same_model_goes_back_and_the_champion_stays(place, monkeypatch):
    place.release(4, model=3)
    monkeypatch.setattr(environment_rollback, "_in_git", follow(place, 3))

    assert back(place) == 0
    assert f"IMAGE={image(3)}" in text_of(place.bare, model_file("dev"))
    assert (place.git, place.champion, place.wanted) == (3, 3, "3")
    assert place.lines == [("reversal", "intent", 3, 3), ("reversal", "done", 3, 3)]


def test_a_model_that_was_never_champion_is_refused_before_anything_moves(place, capsys):
    place.release(9)
    place.release(8)

    assert back(place) == 1
    assert "`adloom promote 9`" in capsys.readouterr().err
    assert (place.git, place.champion, place.lines) == (8, 3, [])


def test_an_environment_that_ran_nothing_or_one_thing_has_nothing_to_go_back_to(place, capsys):
    arguments = ["--env", "prod", *place.arguments()[2:]]

    assert rollback_command.main(arguments) == 1
    assert "nothing was ever deployed to prod" in capsys.readouterr().err
    place.release(3, "prod")
    assert rollback_command.main(arguments) == 1
    assert "prod never ran anything before" in capsys.readouterr().err


@pytest.mark.parametrize("seam", ["_in_git", "_in_registry", "_await_served", "_closed"])
def test_killed_before_any_part_the_same_command_completes_it(synced, monkeypatch, seam):
    real, killed = getattr(environment_rollback, seam), []

    def once(*arguments):
        if not killed:
            killed.append(True)
            raise KilledError
        return real(*arguments)

    monkeypatch.setattr(environment_rollback, seam, once)
    with pytest.raises(KilledError):
        back(synced)
    assert back(synced) == 0
    assert_all_say_two(synced)


@pytest.mark.parametrize("after", ["commit", "rollback"])
def test_killed_after_a_part_it_is_not_done_twice(synced, monkeypatch, after):
    real, killed = getattr(environment_rollback, after), []

    def once(*arguments, **rest):
        done = real(*arguments, **rest)
        if not killed:
            killed.append(True)
            raise KilledError
        return done

    monkeypatch.setattr(environment_rollback, after, once)
    with pytest.raises(KilledError):
        back(synced)
    assert back(synced) == 0
    assert_all_say_two(synced)


@pytest.mark.proof
@pytest.mark.parametrize("moment", ["push", "wait"])
def test_a_process_that_is_killed_is_gone_on_with(place, moment):
    """SIGKILL in the middle of the push, and while the service still serves the old model."""
    started = place.bare / "pushes"
    if moment == "push":
        hook(place.bare, "sleep 600")
    command = [sys.executable, "-m", "pipelines.rollback_command", *place.arguments()]
    script = "import sys; from pipelines import rollback_command; sys.exit(rollback_command.main())"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command[3:]], cwd=ROOT, env=dict(os.environ), start_new_session=True
    )
    try:
        wait_until(lambda: started.exists() if moment == "push" else len(place.lines) == 3, "its moment", 180)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (place.bare / "hooks/pre-receive").unlink(missing_ok=True)
    place.serve(2)

    assert back(place) == 0
    assert_all_say_two(place)


def test_a_service_that_does_not_follow_is_said_and_waited_for_again(place, capsys):
    assert back(place, "--wait-seconds", "0.1") == 1
    said = capsys.readouterr().err
    place.serve(2)

    assert "Git and registry say model 2, and the service says model 3" in said
    assert "run the same command again to finish" in said
    assert back(place) == 0
    assert_all_say_two(place)


def test_one_answer_of_the_canary_is_not_enough(place, monkeypatch):
    """The address answers in turns until Argo CD is done."""
    answers = iter([2, 3, 2, 2, 3, 2, 2, 2])
    asked = []

    def says(_url):
        place.serve(next(answers))
        asked.append(place.version["registry_version"])
        return real(place.service)

    real = rollback_command.service_says
    monkeypatch.setattr(rollback_command, "service_says", says)

    assert back(place) == 0
    assert len(asked) == 8


def test_without_waiting_nobody_asks_the_service(place):
    assert back(place, "--no-wait") == 0
    assert_all_say_two(place)


def test_a_registry_that_is_down_does_not_hold_git_back(synced, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert back(synced) == 1
    said = capsys.readouterr().err
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    assert "Git is rolled back already; run the same command again" in said
    assert (synced.git, synced.champion) == (2, 3)
    assert back(synced) == 0
    assert (synced.git, synced.champion) == (2, 2)


def test_a_deploy_in_between_is_not_undone(place, monkeypatch, capsys):
    """The race of a rollback and a bot: whoever rolls back has not looked at what the bot brought."""
    real = environment_rollback.commit

    def overtaken(*arguments):
        place.release(4, model=3)
        return real(*arguments)

    monkeypatch.setattr(environment_rollback, "commit", overtaken)
    assert back(place) == 1

    assert "somebody deployed model 3 to dev meanwhile; nothing of theirs was undone" in capsys.readouterr().err
    assert f"IMAGE={image(4)}" in text_of(place.bare, model_file("dev"))
    assert [line[:2] for line in place.lines] == [("reversal", "intent"), ("reversal", "undone")]


def test_a_deploy_elsewhere_in_between_is_built_upon(synced, monkeypatch):
    real = environment_rollback.commit

    def meanwhile(*arguments):
        synced.release(3, "prod")
        return real(*arguments)

    monkeypatch.setattr(environment_rollback, "commit", meanwhile)

    assert back(synced) == 0
    assert titles(synced.bare)[-2:] == ["adloom-api: run 0.1.3 with model 3 in prod", BACK]


def test_a_deploy_that_was_on_its_way_lands_after_the_rollback(synced):
    """The deploy looked at Git before the rollback, and is made again on top of it."""
    back(synced)
    synced.release(4, model=2)

    assert titles(synced.bare)[-2:] == [BACK, "adloom-api: run 0.1.4 with model 2 in dev"]


def test_an_attempt_that_never_reached_git_is_given_up_where_somebody_deployed_since(synced, monkeypatch, capsys):
    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(environment_rollback, "_in_git", killed)
        with pytest.raises(KilledError):
            back(synced)
    synced.release(4, model=3)

    assert back(synced) == 1
    assert "nothing of theirs was undone" in capsys.readouterr().err
    assert [line[:2] for line in synced.lines] == [("reversal", "intent"), ("reversal", "undone")]


def test_an_unfinished_rollback_to_something_else_comes_first(synced, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(environment_rollback, "_in_registry", lambda *_: (_ for _ in ()).throw(KilledError()))
        with pytest.raises(KilledError):
            back(synced)

    assert back(synced, "--to", "1") == 1
    assert "run this again without --to first" in capsys.readouterr().err


def test_a_protected_branch_waits_for_its_pull_request(place, tmp_path, capsys):
    protect(place.bare)
    assert back(place, "--wait-seconds", "0.1") == 1
    branch = git(place.bare, "branch", "--format=%(refname:short)", "--list", "rollback/*")
    said = capsys.readouterr().err
    assert f"a pull request from {branch} is not merged yet" in said
    assert (place.git, place.champion) == (3, 3)
    merge(place.bare, branch, tmp_path)
    place.serve(2)

    assert back(place) == 0
    assert (place.git, place.champion, place.lines) == (2, 2, REVERSED)


@pytest.mark.parametrize("arguments", [["--env", "dev", "--why", "x"], ["--env", "qa", "--why", "x"]])
def test_wrong_arguments_end_with_2(arguments, monkeypatch, capsys):
    monkeypatch.delenv("ADLOOM_SERVICE_URL", raising=False)
    with pytest.raises(SystemExit) as stop:
        rollback_command.main(arguments)

    assert stop.value.code == 2
    assert "--no-wait" in capsys.readouterr().err


def test_without_an_environment_only_alias_and_ledger_move(place):
    assert rollback_command.main(["--why", "odd ads", "--who", "Ada", "--registry", str(place.registry)]) == 0

    assert (place.champion, place.git) == (2, 3)
    assert place.lines == [("rollback", "intent", 3, 2), ("rollback", "done", 3, 2)]


def test_a_refused_push_and_a_ledger_changed_by_hand_move_nothing(place):
    hook(place.bare, "echo 'no bots' >&2; exit 1")
    with pytest.raises(DeployError, match="no bots"):
        back(place)
    assert (place.git, place.champion) == (3, 3)
    ledger = place.registry / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b"better", b"worser", 1))

    with pytest.raises(LedgerError):
        back(place)
