"""`adloom carry-rollback`: what was asked for is done, refused or waited for, and the row says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import get_args

import pytest
import sqlalchemy as sa

from model.store import model_tables, rollbacks
from pipelines.deployment import ENVIRONMENTS
from pipelines.environment_rollback import UnfinishedError
from pipelines.git_commit import DeployError
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED
from pipelines.steps import carry_rollback
from pipelines.steps.carry_rollback import GIVEN_UP_AFTER, GivenUpError, Hold, NotSetUpError
from tests.pipelines.fake_forge import running_forge
from tests.pipelines.gitops_place import git, hook, merge, protect
from tests.pipelines.rollback.carrying import NONE, REVERSED, ask, row_of, whys
from tests.real_parts import free_port

pytestmark = [
    pytest.mark.slow,  # MLflow alone takes seconds to import
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own dependencies warn of their deprecations
]


def published():
    """What the service's history shows of the alias going back."""
    lines = model_tables.promotions
    query = sa.select(lines.c.state, lines.c.source, lines.c.target).where(lines.c.action == "rollback")
    with PipelineSettings().open_database().connect() as connection:
        return [tuple(line) for line in connection.execute(query.order_by(lines.c.line))]


def test_the_environments_that_can_be_set_are_those_that_can_be_deployed_to():
    known = get_args(PipelineSettings.model_fields["environment"].annotation)

    assert known == ("", *ENVIRONMENTS)


def test_where_nothing_waits_there_is_nothing_to_do(alias_only, step):
    assert step(carry_rollback.main) == NONE
    assert alias_only.champion == 3


def test_git_registry_service_and_ledger_go_back_and_the_row_says_so(synced, step):
    wish = ask(reason="odd\n ads")
    answer = step(carry_rollback.main)
    row = row_of(wish)

    assert answer == (0, {"outcome": "done", "rollback": wish, "from": 3, "to": 2})
    assert (synced.git, synced.wanted, synced.champion, synced.lines) == (2, "2", 2, REVERSED)
    assert whys(synced) == {("shop", f"odd ads ({wish})")}
    assert f"odd ads ({wish})" in git(synced.bare, "log", "-1", "--format=%B", "main")
    assert (row.state, row.source, row.target, row.environment) == ("done", "3", "2", "dev")
    assert row.why == "Git, registry and service say model 2"
    assert row.created_at <= row.started_at <= row.ended_at
    assert published() == [("intent", "3", "2"), ("done", "3", "2")]
    assert step(carry_rollback.main) == NONE


def test_without_an_environment_alias_and_ledger_go_back_alone(alias_only, step):
    wish = ask()
    answer = step(carry_rollback.main)
    row = row_of(wish)

    assert answer == (0, {"outcome": "done", "rollback": wish, "from": 3, "to": 2})
    assert (alias_only.champion, alias_only.git) == (2, 3)
    assert alias_only.lines == [("rollback", "intent", 3, 2), ("rollback", "done", 3, 2)]
    assert (row.state, row.source, row.target, row.environment) == ("done", "3", "2", "")
    assert row.why == "model 2 is champion; no environment is set up here, so nothing was deployed"


def test_a_second_wish_goes_further_back_and_a_third_has_nowhere_to_go(alias_only, step):
    ask()
    step(carry_rollback.main)
    ask("1")
    second = step(carry_rollback.main)
    wish = ask()
    status, answer = step(carry_rollback.main)

    assert second[1]["to"] == alias_only.champion == 1
    assert (status, answer["outcome"]) == (EXIT_REFUSED, "refused")
    assert row_of(wish).why == "nothing to roll back to: version 1 is the first champion"


@pytest.mark.parametrize("mode", ["alias_only", "place"])
@pytest.mark.parametrize(("target", "why"), [("9", "never"), ("3", "already")])
def test_what_cannot_come_back_is_refused_with_the_reason_and_nothing_moves(request, step, mode, target, why):
    place = request.getfixturevalue(mode)
    wish = ask(target)
    status, answer = step(carry_rollback.main)
    row = row_of(wish)

    assert (status, answer["outcome"], row.state) == (EXIT_REFUSED, "refused", "refused")
    assert why in row.why
    assert (place.git, place.champion) == (3, 3)
    assert ask("2") != wish


def test_where_nothing_was_ever_registered_it_is_refused(workplace, step):
    wish = ask()
    status, _ = step(carry_rollback.main)

    assert status == EXIT_REFUSED
    assert row_of(wish).why == "there is nothing to go back to: no model was ever registered"


def test_a_pull_request_leaves_it_running_with_its_address_until_the_merge(synced, step, monkeypatch, tmp_path):
    protect(synced.bare)
    wish = ask()
    with running_forge() as forge:
        for name, value in forge.environment.items():
            monkeypatch.setenv(name, value)
        first, second = (step(carry_rollback.main, "--wait-seconds", "0.1")[1]["outcome"] for _ in range(2))
        waiting = row_of(wish)
    merge(synced.bare, git(synced.bare, "branch", "--format=%(refname:short)", "--list", "rollback/*"), tmp_path)
    synced.serve(2)

    assert (first, second, len(forge.pulls)) == ("running", "running", 1)
    assert (waiting.state, waiting.target) == ("running", "2")
    assert waiting.why == "waiting for https://forge.example/pull/1 to be merged"
    assert step(carry_rollback.main)[1]["outcome"] == "done"
    assert (synced.git, synced.champion, synced.lines) == (2, 2, REVERSED)


def test_without_a_token_the_branch_is_named(place, step):
    protect(place.bare)
    wish = ask()
    step(carry_rollback.main, "--wait-seconds", "0.1")
    branch = git(place.bare, "branch", "--format=%(refname:short)", "--list", "rollback/*")

    assert row_of(wish).why == f"waiting for a pull request from {branch} to be merged"


def test_a_service_that_does_not_follow_is_told_and_looked_at_again(place, step):
    wish = ask()
    first = step(carry_rollback.main, "--wait-seconds", "0")
    told = row_of(wish).why
    place.serve(2)

    assert (first[0], first[1]["outcome"]) == (0, "running")
    assert told.startswith("Git and registry say model 2, and the service says model 3")
    assert "run the same command" not in told
    assert step(carry_rollback.main)[1]["outcome"] == "done"


def test_a_registry_that_is_down_is_told_without_its_address_and_gone_on_with(synced, step, monkeypatch):
    wish, port = ask(), free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    first = step(carry_rollback.main)
    told = row_of(wish)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    assert first[1]["outcome"] == told.state == "running"
    assert told.why.startswith("Git is rolled back already; the registry does not answer")
    assert str(port) not in told.why
    assert step(carry_rollback.main)[1]["outcome"] == "done"
    assert (synced.git, synced.champion) == (2, 2)


def test_a_repository_that_is_away_is_told_without_its_address_and_tried_again(synced, step, monkeypatch):
    wish = ask()
    monkeypatch.setenv("ADLOOM_GITOPS_URL", str(synced.folder / "no-such-secret.git"))
    for _ in range(2):
        with pytest.raises(DeployError):
            carry_rollback.main([])
    told = row_of(wish)
    monkeypatch.setenv("ADLOOM_GITOPS_URL", str(synced.bare))

    assert (told.state, "no-such-secret" in told.why) == ("running", False)
    assert told.why.startswith("the GitOps repository cannot be read, or takes no push")
    assert step(carry_rollback.main)[1]["outcome"] == "done"


def test_settings_that_do_not_say_what_goes_back_move_nothing_and_say_so(place, monkeypatch):
    wish = ask()
    monkeypatch.setenv("ADLOOM_ENVIRONMENT", "")
    with pytest.raises(NotSetUpError, match="ADLOOM_ENVIRONMENT and ADLOOM_GITOPS_URL"):
        carry_rollback.main([])

    assert (place.git, place.champion, place.lines) == (3, 3, [])
    assert "ADLOOM_ENVIRONMENT" in row_of(wish).why


@pytest.mark.parametrize(("seconds", "state"), [(-60, "running"), (60, "failed")])
def test_what_nobody_merges_is_given_up_after_a_day_and_not_before(place, step, seconds, state):
    protect(place.bare)
    begun = datetime.now(UTC) - GIVEN_UP_AFTER - timedelta(seconds=seconds)
    wish = ask()
    with PipelineSettings().open_database().begin() as connection:
        rollbacks.claim(connection, TASK, "first", now=begun, until=begun, environment="dev")
    if state == "failed":
        with pytest.raises(GivenUpError, match="given up after 24 hours: waiting for a pull request"):
            carry_rollback.main(["--wait-seconds", "0"])
    else:
        step(carry_rollback.main, "--wait-seconds", "0")

    assert row_of(wish).state == state
    assert ("24 hours" in row_of(wish).why) == (state == "failed")


def test_a_push_that_is_refused_says_so_and_is_tried_again(synced, step):
    hook(synced.bare, "echo 'no bots' >&2; exit 1")
    wish = ask()
    with pytest.raises(DeployError, match="no bots"):
        carry_rollback.main([])
    told = row_of(wish).why
    (synced.bare / "hooks/pre-receive").unlink()

    assert "no bots" not in told
    assert step(carry_rollback.main)[1]["outcome"] == "done"


def test_an_unfinished_that_names_no_pull_request_is_told_without_the_command():
    said = carry_rollback._what_is_left(UnfinishedError("x says y, then run the same command"), Hold(None, "", ""))

    assert said == "x says y"
