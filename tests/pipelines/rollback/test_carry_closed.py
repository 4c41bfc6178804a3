"""A pull request that is closed and not merged: the rollback is refused, and the next one begins afresh."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from model.ledger import LEDGER, Ledger
from pipelines import environment_rollback, rollback_command
from pipelines.step import EXIT_REFUSED
from pipelines.steps import carry_rollback
from pipelines.steps.carry_rollback import Hold
from tests.pipelines.fake_forge import running_forge
from tests.pipelines.gitops_place import merge, protect
from tests.pipelines.rollback.carrying import NONE, REVERSED, ask, carried, kill, once, row_of

pytestmark = [
    pytest.mark.slow,  # MLflow alone takes seconds to import
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own dependencies warn of their deprecations
]

BRIEFLY = ("--wait-seconds", "0.1")
CLOSED = "pull request 1 was closed and not merged (https://forge.example/pull/1)"
UNDONE = [("reversal", "intent"), ("reversal", "undone")]


@pytest.fixture
def forge(synced, monkeypatch):
    """Main takes no push, and pull requests can be opened."""
    protect(synced.bare)
    with running_forge() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def states(place):
    return [line[:2] for line in place.lines]


def begun_by_hand(place):
    assert rollback_command.main(place.arguments(*BRIEFLY)) == 1


def waits(step, wish):
    assert step(carry_rollback.main, *BRIEFLY)[1] == {"outcome": "running", "rollback": wish, "from": None, "to": None}


def completed(place, forge, step, tmp_path):
    """The newest is merged, and the next carrier completes it; returns the model that is back."""
    merge(place.bare, forge.pulls[-1]["head"], tmp_path)
    forge.close(len(forge.pulls), merged_at="2026-01-15T09:30:00Z")
    place.serve(place.git)
    answer = step(carry_rollback.main)[1]
    assert (answer["outcome"], answer["to"]) == ("done", place.git)
    return place.champion


def test_what_a_reviewer_closes_is_refused_and_stands_in_the_ledger_as_undone(synced, forge, step):
    wish = ask()
    waits(step, wish)
    forge.close(1)
    status, answer = step(carry_rollback.main, *BRIEFLY)
    row, last = row_of(wish), Ledger(synced.registry / LEDGER).entries()[-1]

    assert (status, answer["outcome"], row.state) == (EXIT_REFUSED, "refused", "refused")
    assert row.why.startswith(CLOSED)
    assert (last.state, last.note) == ("undone", row.why)
    assert (states(synced), synced.git, synced.champion, len(forge.pulls)) == (UNDONE, 3, 3, 1)
    assert step(carry_rollback.main) == NONE


def test_one_that_is_closed_while_a_carrier_waits_ends_it_at_once(synced, forge, step, monkeypatch):
    real = environment_rollback._is_in_git

    def closing(*arguments):
        if forge.pulls:
            forge.close(1)
        return real(*arguments)

    monkeypatch.setattr(environment_rollback, "_is_in_git", closing)
    wish = ask()

    assert step(carry_rollback.main, "--wait-seconds", "600")[0] == EXIT_REFUSED
    assert row_of(wish).why.startswith(CLOSED)


@pytest.mark.parametrize(("seam", "where"), [("_closed", environment_rollback), ("finish", Hold)])
def test_killed_before_the_ledger_or_the_row_says_so_the_next_carrier_ends_it_alike(
    synced, forge, step, monkeypatch, seam, where
):
    wish = ask()
    waits(step, wish)
    forge.close(1)
    once(monkeypatch, where, seam)
    kill(wish)
    left = states(synced)
    answer = carried(step, wish)

    assert left == (UNDONE if where is Hold else UNDONE[:1])
    assert (answer[0], row_of(wish).state, states(synced)) == (EXIT_REFUSED, "refused", UNDONE)
    assert row_of(wish).why.startswith(CLOSED)
    assert len(forge.pulls) == 1


@pytest.mark.parametrize(("target", "model"), [("", 2), ("2", 2), ("1", 1)])
def test_the_next_rollback_has_a_pull_request_of_its_own(synced, forge, step, tmp_path, target, model):
    waits(step, ask())
    forge.close(1)
    step(carry_rollback.main)
    waits(step, ask(target, "odd ads, still"))

    assert len({one["head"] for one in forge.pulls}) == len(forge.pulls) == 2
    assert completed(synced, forge, step, tmp_path) == model


@pytest.mark.parametrize(("target", "model"), [("2", 2), ("1", 1)])
def test_what_was_closed_before_somebody_else_asked_is_no_answer_to_them(synced, forge, step, tmp_path, target, model):
    begun_by_hand(synced)
    forge.close(1)
    wish = ask(target)
    waits(step, wish)

    assert row_of(wish).why == "waiting for https://forge.example/pull/2 to be merged"
    assert states(synced) == [*UNDONE, ("reversal", "intent")]
    assert completed(synced, forge, step, tmp_path) == model


def test_what_was_closed_after_it_was_gone_on_with_is_refused(synced, forge, step):
    begun_by_hand(synced)
    wish = ask()
    waits(step, wish)
    forge.close(1)

    assert step(carry_rollback.main)[0] == EXIT_REFUSED
    assert (states(synced), len(forge.pulls)) == (UNDONE, 1)


def test_what_came_into_git_another_way_is_done_although_the_pull_request_was_closed(synced, forge, step, tmp_path):
    wish = ask()
    waits(step, wish)
    merge(synced.bare, forge.pulls[0]["head"], tmp_path)
    forge.close(1)
    synced.serve(2)

    assert step(carry_rollback.main)[1]["outcome"] == row_of(wish).state == "done"
    assert (synced.champion, synced.lines) == (2, REVERSED)


def test_a_git_server_that_does_not_answer_has_closed_nothing(synced, forge, step):
    wish = ask()
    waits(step, wish)
    forge.close(1)
    forge.refuse = (503, "")
    (synced.bare / "hooks/pre-receive").unlink()

    assert step(carry_rollback.main)[1]["outcome"] == row_of(wish).state == "done"


@pytest.mark.parametrize(
    ("to", "status"), [((), "refused"), (("--to", "2"), "refused"), (("--to", "1"), "is not merged")]
)
def test_by_hand_the_same_is_refused_with_what_to_do_and_another_begins(synced, forge, capsys, to, status):
    begun_by_hand(synced)
    forge.close(1)
    capsys.readouterr()

    assert rollback_command.main(synced.arguments(*BRIEFLY, *to)) == 1
    said = capsys.readouterr().err
    assert status in said
    assert CLOSED in said
    assert "ask again: that opens a new one" in said
    assert rollback_command.main(synced.arguments(*BRIEFLY, *to)) == 1
    assert "https://forge.example/pull/2 is not merged yet" in capsys.readouterr().err
    assert states(synced) == [*UNDONE, ("reversal", "intent")]
