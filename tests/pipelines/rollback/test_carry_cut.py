"""`adloom carry-rollback` cut off anywhere, or twice at once: done once, and nothing else undone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

import pytest
import sqlalchemy as sa

from model.store import rollbacks, tables
from pipelines import environment_rollback
from pipelines.deployment import model_file
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED
from pipelines.steps import carry_rollback
from pipelines.steps.carry_rollback import Hold, LostError
from tests.pipelines.gitops_place import image, text_of, titles
from tests.pipelines.rollback.carrying import (
    REVERSED,
    KilledError,
    ask,
    carried,
    kill,
    once,
    row_of,
    whys,
)
from tests.real_parts import wait_until
from tests.repo.tree import ROOT

pytestmark = [
    pytest.mark.proof,  # MLflow alone takes seconds to import
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own dependencies warn of their deprecations
]

CARRY = "import sys; from pipelines.steps import carry_rollback; sys.exit(carry_rollback.main())"


@pytest.mark.parametrize("seam", ["_in_git", "_in_registry", "_await_served", "_closed"])
def test_killed_before_any_part_the_next_carrier_completes_it(synced, step, monkeypatch, seam):
    wish = ask()
    once(monkeypatch, environment_rollback, seam)
    kill(wish)

    assert carried(step, wish)[1]["outcome"] == "done"
    assert (synced.git, synced.wanted, synced.champion, synced.lines) == (2, "2", 2, REVERSED)


@pytest.mark.parametrize("mode", ["alias_only", "synced"])
def test_killed_between_the_last_part_and_the_record_it_is_not_done_twice(request, step, monkeypatch, mode):
    place = request.getfixturevalue(mode)
    wish = ask()
    once(monkeypatch, Hold, "finish")
    kill(wish)

    assert carried(step, wish) == (0, {"outcome": "done", "rollback": wish, "from": 3, "to": 2})
    assert place.champion == 2
    assert place.lines == (REVERSED if mode == "synced" else REVERSED[1:3])
    assert row_of(wish).state == "done"


@pytest.mark.parametrize("seam", ["point", "keep_ledger_head"])
def test_killed_around_the_move_of_the_alias_it_moves_once(alias_only, step, monkeypatch, seam):
    from model.registry import Registry

    wish = ask()
    once(monkeypatch, Registry, seam)
    kill(wish)
    answer = carried(step, wish)

    assert (answer[1]["outcome"], answer[1]["to"], alias_only.champion) == ("done", 2, 2)
    assert [line[:2] for line in alias_only.lines].count(("rollback", "done")) == 1


def test_a_process_that_is_killed_while_the_service_follows_is_gone_on_with(place, step):
    wish = ask()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", CARRY], env=environment, start_new_session=True)
    try:
        wait_until(lambda: len(place.lines) == 3, "the alias to move", seconds_max=180)
        shown = row_of(wish)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    place.serve(2)
    with PipelineSettings().open_database().begin() as connection:
        held = rollbacks.claim(
            connection, TASK, "early", now=datetime.now(UTC), until=datetime.now(UTC), environment=""
        )
        late = datetime.now(UTC) + timedelta(seconds=31)
        rollbacks.claim(connection, TASK, "late", now=late, until=late, environment="dev")
        rollbacks.leave(connection, wish, "late", "")

    assert held is None
    assert (shown.state, shown.source, shown.target, shown.environment) == ("running", "3", "2", "dev")
    assert step(carry_rollback.main)[1] == {"outcome": "done", "rollback": wish, "from": 3, "to": 2}
    assert (place.git, place.champion, place.lines) == (2, 2, REVERSED)


def test_of_two_carriers_that_start_at_once_one_carries(alias_only, postgres, monkeypatch):
    monkeypatch.setenv("ADLOOM_DATABASE_URL", postgres.new_database())
    PipelineSettings().open_database().upgrade()
    wish = ask()
    command, environment = [sys.executable, "-c", CARRY], {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert sorted('"outcome": "none"' in text for text in said) == [False, True]
    assert (alias_only.champion, len(alias_only.lines), row_of(wish).state) == (2, 2, "done")


def test_a_later_deploy_is_not_undone_by_who_goes_on(synced, step, monkeypatch):
    wish = ask()
    once(monkeypatch, environment_rollback, "_await_served")
    kill(wish)
    synced.release(4, model=3)
    answer = carried(step, wish)

    assert (answer[1]["outcome"], row_of(wish).why) == ("done", "it reached Git, and a later deploy followed")
    assert f"IMAGE={image(4)}" in text_of(synced.bare, model_file("dev"))
    assert len([title for title in titles(synced.bare) if "roll back" in title]) == 1


def test_a_deploy_that_came_first_refuses_it_also_where_the_carrier_is_lost_then(synced, step, monkeypatch):
    wish = ask()
    with monkeypatch.context() as patch:
        once(patch, environment_rollback, "_in_git")
        kill(wish)
    synced.release(4, model=3)
    once(monkeypatch, Hold, "finish")
    wait_until(_is_killed_again, "the lease to lapse")
    answer = carried(step, wish)

    assert (answer[0], row_of(wish).state) == (EXIT_REFUSED, "refused")
    assert "overtaken in Git" in row_of(wish).why
    assert f"IMAGE={image(4)}" in text_of(synced.bare, model_file("dev"))
    assert [line[:2] for line in synced.lines] == [("reversal", "intent"), ("reversal", "undone")]


def _is_killed_again():
    try:
        return carry_rollback.main([]) != 0
    except KilledError:
        return True


def begun_by_hand(place, monkeypatch):
    """A person's `adloom rollback`, cut off before Git."""
    from pipelines import rollback_command

    with monkeypatch.context() as patch:
        once(patch, environment_rollback, "_in_git")
        with pytest.raises(KilledError):
            rollback_command.main(place.arguments())


@pytest.mark.parametrize("target", ["", "2"])
def test_what_a_person_began_is_gone_on_with_and_not_done_twice(synced, step, monkeypatch, target):
    begun_by_hand(synced, monkeypatch)
    wish = ask(target)
    once(monkeypatch, Hold, "finish")
    kill(wish)
    answer = carried(step, wish)

    assert answer[1] == {"outcome": "done", "rollback": wish, "from": 3, "to": 2}
    assert (synced.git, synced.champion, synced.lines) == (2, 2, REVERSED)
    assert whys(synced) == {("Ada", "odd ads")}


def test_what_a_person_began_comes_before_another_version(synced, step, monkeypatch):
    begun_by_hand(synced, monkeypatch)
    wish = ask("1")
    status, _ = step(carry_rollback.main)

    assert status == EXIT_REFUSED
    assert row_of(wish).why.startswith("a rollback to model 2 that Ada began is not finished")
    assert synced.git == 3


def test_a_carrier_that_was_not_heard_of_stops_where_another_goes_on(alias_only, monkeypatch):
    monkeypatch.setattr(carry_rollback, "BEAT_SECONDS", 60)
    database, now = PipelineSettings().open_database(), datetime.now(UTC)
    wish = ask()
    with database.begin() as connection:
        rollbacks.claim(connection, TASK, "slow", now=now, until=now, environment="")
        rollbacks.claim(connection, TASK, "next", now=now + timedelta(seconds=1), until=now, environment="")
    with Hold(database, wish, "slow") as hold:
        with pytest.raises(LostError):
            hold.note(why="late")
        with pytest.raises(LostError):
            hold.finish("done", carry_rollback.Ending("done", "late"))
    assert row_of(wish).why == ""


def test_the_lease_is_renewed_while_a_carrier_works(alias_only):
    database, now = PipelineSettings().open_database(), datetime.now(UTC)
    wish = ask()
    with database.begin() as connection:
        rollbacks.claim(connection, TASK, "slow", now=now, until=now, environment="")

    def lease_until():
        with database.connect() as connection:
            return connection.execute(sa.select(tables.rollbacks.c.lease_until)).scalar_one()

    with Hold(database, wish, "slow"):
        wait_until(lambda: lease_until() > now + carry_rollback.LEASE, "a beat")
    over = lease_until()

    assert over <= datetime.now(UTC) + carry_rollback.LEASE
