"""`adloom claim-retrain` and `adloom settle-retrain`: one runner at a time, and no retrain stays open for good."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from model.store import retrains
from model.store.retrains import NewRetrain
from model.store.tables import Database
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED
from pipelines.steps import build_dataset, claim_retrain, settle_retrain
from pipelines.steps.claim_retrain import ABANDONED_AFTER
from tests.pipelines.taught import NOON, curated
from tests.pipelines.versions import champion, registered, registry_here

NONE = (EXIT_REFUSED, {"outcome": "none", "retrain": None})
CLAIMERS = 6


def ask(database, trigger="manual", at=NOON):
    new = NewRetrain(TASK, trigger, {"reason": "new season"}, "shop", at)
    with database.begin() as connection:
        return retrains.ask(connection, new).id


def found(database, retrain_id):
    with database.connect() as connection:
        return retrains.find(connection, retrain_id)


def end(database, retrain_id, state, **facts):
    with database.begin() as connection:
        assert retrains.finish(connection, retrain_id, state, at=NOON, **facts)


def test_where_nothing_waits_the_answer_is_no(stores, step):
    assert step(claim_retrain.main, "--by", "run-1") == NONE


def test_what_waits_is_taken_up_and_says_who_runs_it(stores, step):
    database, _ = stores
    waiting = ask(database, "drift")
    answer = step(claim_retrain.main, "--by", "run-1")
    row = found(database, waiting)

    assert answer == (0, {"outcome": "claimed", "retrain": waiting, "trigger": "drift"})
    assert (row.state, row.run_id) == ("running", "by:run-1")
    assert row.started_at is not None


def test_the_same_caller_gets_its_own_again_and_another_gets_none(stores, step):
    database, _ = stores
    waiting = ask(database)
    first = step(claim_retrain.main, "--by", "run-1")
    row = found(database, waiting)
    again = step(claim_retrain.main, "--by", "run-1")
    other = step(claim_retrain.main, "--by", "run-2")

    assert again == first
    assert other == NONE
    assert found(database, waiting) == row


def test_one_of_many_claimers_at_once_gets_it(stores):
    database, _ = stores
    waiting = ask(database)
    gate, rows = threading.Barrier(CLAIMERS), {}

    def claim(name):
        mine = Database(PipelineSettings().database_url)
        gate.wait(60)
        try:
            rows[name] = claim_retrain._claimed(mine, name)
        finally:
            mine.dispose()

    threads = [threading.Thread(target=claim, args=(f"run-{place}",)) for place in range(CLAIMERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    winners = [name for name, row in rows.items() if claim_retrain._is_ours(row, name)]

    assert len(rows) == CLAIMERS
    assert {row.id for row in rows.values()} == {waiting}
    assert len(winners) == 1
    assert found(database, waiting).run_id == f"by:{winners[0]}"


@pytest.mark.parametrize(("seconds", "is_ended"), [(-60, False), (60, True)])
def test_a_runner_that_was_lost_is_given_up_after_a_day_and_not_before(stores, step, seconds, is_ended):
    database, _ = stores
    lost = ask(database)
    with database.begin() as connection:
        at = datetime.now(UTC) - ABANDONED_AFTER - timedelta(seconds=seconds)
        retrains.start(connection, lost, at, run_id="by:run-1")
    answer = step(claim_retrain.main, "--by", "run-2")
    row = found(database, lost)

    assert answer == NONE
    assert row.state == ("failed" if is_ended else "running")
    assert row.why == ("nothing was heard of its runner for 24 hours" if is_ended else "")
    assert bool(ask_again(database)) == is_ended


def ask_again(database):
    try:
        return ask(database, at=NOON + timedelta(days=9))
    except retrains.RetrainOpenError:
        return ""


def test_the_runner_itself_may_take_longer_than_a_day(stores, step):
    database, _ = stores
    slow = ask(database)
    with database.begin() as connection:
        retrains.start(connection, slow, datetime.now(UTC) - 2 * ABANDONED_AFTER, run_id="by:run-1")

    assert step(claim_retrain.main, "--by", "run-1")[1]["retrain"] == slow
    assert found(database, slow).state == "running"


def test_a_retrain_whose_run_broke_is_settled_and_the_next_can_be_asked_for(stores, step):
    database, _ = stores
    broken = ask(database)
    step(claim_retrain.main, "--by", "run-1")
    answer = step(settle_retrain.main, "--retrain", broken, "--why", "the node was lost")
    row = found(database, broken)
    following = ask(database, at=NOON + timedelta(days=1))

    assert answer == (0, {"retrain": broken, "state": "failed"})
    assert (row.state, row.why, row.run_id) == ("failed", "the node was lost", "by:run-1")
    assert step(claim_retrain.main, "--by", "run-1")[1]["retrain"] == following


@pytest.mark.parametrize("state", ["promoted", "refused", "failed", "dismissed"])
def test_settling_what_has_ended_changes_nothing(stores, step, state):
    database, _ = stores
    ended = ask(database)
    end(database, ended, state, why="as it was", version="7")
    before = found(database, ended)

    assert step(settle_retrain.main, "--retrain", ended) == (0, {"retrain": ended, "state": state})
    assert found(database, ended) == before


def test_there_is_no_settling_a_retrain_that_there_is_not(workplace):
    with pytest.raises(ValueError, match="there is no retrain rt_0"):
        settle_retrain.main(["--retrain", "rt_0"])


@pytest.fixture
def trained(workplace, step):
    """A champion that learnt from a file of curated pairs; the file, the registry and the stores."""
    settings = PipelineSettings()
    pairs = workplace / "pairs.jsonl"
    pairs.write_text("".join(f"{line}\n" for line in curated(4)), encoding="utf-8")
    digest = step(build_dataset.main, "--pairs", pairs)[1]["dataset"]
    registry, objects = registry_here(), settings.open_objects()
    champion(registry, objects, "first", digest)
    return pairs, registry, settings.open_database(), objects


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own dependencies warn of their deprecations
def test_new_curated_pairs_are_a_reason_of_their_own_until_they_were_judged(trained, step):
    pairs, _, database, _ = trained
    same = step(claim_retrain.main, "--by", "run-1", "--pairs", pairs)
    with pairs.open("a", encoding="utf-8") as file:
        file.write(f"{curated(5)[4]}\n")
    status, claimed = step(claim_retrain.main, "--by", "run-2", "--pairs", pairs)
    row = found(database, claimed["retrain"])
    again = step(claim_retrain.main, "--by", "run-2", "--pairs", pairs)
    other = step(claim_retrain.main, "--by", "run-3", "--pairs", pairs)
    end(database, row.id, "failed")
    after_failure = step(claim_retrain.main, "--by", "run-4", "--pairs", pairs)
    end(database, after_failure[1]["retrain"], "refused")
    after_refusal = step(claim_retrain.main, "--by", "run-5", "--pairs", pairs)

    assert same == NONE
    assert (status, claimed["outcome"], claimed["trigger"]) == (0, "claimed", "schedule")
    assert (row.state, row.asked_by, sorted(row.cause)) == (
        "running", "claim-retrain", ["curated_before", "curated_now"]
    )  # fmt: skip
    assert again == (0, claimed)
    assert other == NONE
    assert after_failure[0] == 0
    assert after_failure[1]["retrain"] != row.id
    assert after_refusal == NONE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own dependencies warn of their deprecations
def test_new_curated_pairs_wait_where_the_budget_of_the_month_is_spent(trained, step, monkeypatch):
    pairs, _, _, _ = trained
    with pairs.open("a", encoding="utf-8") as file:
        file.write(f"{curated(6)[5]}\n")
    monkeypatch.setenv("ADLOOM_RETRAIN_BUDGET", "0")
    spent = step(claim_retrain.main, "--by", "run-1", "--pairs", pairs)
    monkeypatch.setenv("ADLOOM_RETRAIN_BUDGET", "1")
    status, _ = step(claim_retrain.main, "--by", "run-1", "--pairs", pairs)

    assert spent == NONE
    assert status == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_a_champion_that_learnt_from_no_dataset_of_ours_gives_no_reason(trained, step):
    pairs, registry, _, objects = trained
    pairs.write_text(f"{curated(1)[0]}\n", encoding="utf-8")
    champion(registry, objects, "by-hand")
    registered(registry, objects, "candidate")

    assert step(claim_retrain.main, "--by", "run-1", "--pairs", pairs) == NONE
