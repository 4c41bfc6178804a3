"""The decision to retrain: its rules as a function of facts, and the step on both databases."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from model.store import creatives, drift_reports, feedback, retrains
from model.store.drift_reports import DriftReport
from model.store.retrains import NewRetrain
from model.store.tables import Database
from pipelines.retraining import Facts, RetrainRules, Verdicts, decide, hurts_by_feedback
from pipelines.retraining_facts import gather, judge_promoted, settle
from pipelines.step import EXIT_REFUSED
from pipelines.steps import decide_retrain
from tests.model.store.rows import new_creative, new_feedback
from tests.real_parts import postgres_server

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = RetrainRules()
NONE = Verdicts(0, 0)


@pytest.fixture(scope="module")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path, monkeypatch):
    """Empty, and the one that the step finds."""
    url = f"sqlite:///{tmp_path}/adloom.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    monkeypatch.setenv("ADLOOM_DATABASE_URL", url)
    made = Database(url)
    made.upgrade()
    yield made
    made.dispose()


def report(hours_ago=0.0, verdict="drift", *, hurts=True, bundle="old", **given):
    end = NOW - hours_ago * HOUR
    columns = {
        "measured": [{"name": "language", "verdict": verdict}],
        "validity": {"reference": 0.95, "window": 0.8 if hurts else 0.95, "error": 0.004},
        "bundles": {bundle: 900},
        "skipped": 0,
    }
    values = {
        "id": f"dr_{end:%m%d%H%M}", "task": "ad_writer", "mode": "online", "window_start": end - HOUR,
        "window_end": end, "rows": 900, "reference": "r" * 64, "verdict": verdict, "why": "", "share": 0.1,
        "hurts": hurts, "columns": columns, "report_key": "", "created_at": end,
    }  # fmt: skip
    return DriftReport(**values | given)


def facts(*windows, **given):
    values = {
        "now": NOW, "windows": windows, "feedback_usable": 0, "feedback_now": NONE, "feedback_before": NONE,
        "open": None, "spent": 0, "ended": None, "useless": 0,
    }  # fmt: skip
    return Facts(**values | given)


def keep(database, *reports):
    with database.begin() as connection:
        for each in reports:
            drift_reports.insert(connection, each)


def retrain(connection, state="promoted", at=NOW - 10 * DAY, *, trigger="drift", helped=None, bundle="new"):
    """One that ended then."""
    row = retrains.ask(connection, NewRetrain("ad_writer", trigger, {}, "test", at - HOUR))
    if state not in {"waiting", "running"}:
        retrains.finish(connection, row.id, state, at=at, bundle_digest=bundle)
    if helped is not None:
        retrains.judge_help(connection, row.id, helped, {})
    return retrains.find(connection, row.id)


def run(capsys, *arguments):
    status = decide_retrain.main(["--now", NOW.isoformat(), *arguments])
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def waiting(database):
    with database.connect() as connection:
        return retrains.find_open(connection, "ad_writer")


DRIFT, STEADY, FEW = report(), report(verdict="steady", hurts=False), report(verdict="too_few", hurts=False)
HARMLESS = report(hurts=False)


@pytest.mark.parametrize(
    ("windows", "word", "why"),
    [
        ((DRIFT, DRIFT, STEADY), "retrain", "2 of 3 windows drift"),
        ((STEADY, DRIFT, DRIFT), "retrain", "2 of 3 windows drift"),
        ((DRIFT, STEADY, STEADY), "no", "2 are needed"),
        ((DRIFT, FEW, FEW), "no", "2 are needed"),
        ((DRIFT, HARMLESS, HARMLESS), "no", "does not hurt"),
        ((HARMLESS, HARMLESS, HARMLESS), "no", "does not hurt"),
        ((STEADY, STEADY, STEADY), "no", "0 of 3 windows drift"),
        ((FEW, FEW, FEW), "no", "too few rows"),
        ((), "no", "no drift report of the last 26 hours"),
    ],
)
def test_drift_leads_to_a_retrain_where_two_of_three_windows_drift_and_hurt(windows, word, why):
    found = decide(facts(*windows), RULES)

    assert found.word == word
    assert why in found.why


@pytest.mark.parametrize(("bad", "word"), [(60, "retrain"), (25, "no")])
def test_drift_without_lower_validity_hurts_where_feedback_is_worse(bad, word):
    """Of a hundred: 20 were bad before."""
    given = {"feedback_now": Verdicts(100, bad), "feedback_before": Verdicts(400, 80)}

    assert decide(facts(HARMLESS, HARMLESS, **given), RULES).word == word


@pytest.mark.parametrize(
    ("now", "before", "hurts"),
    [
        (Verdicts(100, 31), Verdicts(400, 80), True),
        (Verdicts(100, 30), Verdicts(400, 80), False),  # not above the margin of 0.10
        (Verdicts(30, 10), Verdicts(30, 5), False),  # one in a hundred by chance
        (Verdicts(29, 29), Verdicts(400, 0), False),  # too few
        (Verdicts(400, 400), Verdicts(29, 0), False),
        (NONE, NONE, False),
    ],
)
def test_feedback_is_worse_beyond_margin_and_chance(now, before, hurts):
    assert hurts_by_feedback(now, before, RULES) is hurts


@pytest.mark.parametrize(("usable", "word"), [(49, "no"), (50, "retrain")])
def test_enough_feedback_is_a_reason_by_itself(usable, word):
    found = decide(facts(STEADY, feedback_usable=usable), RULES)

    assert found.word == word
    assert found.trigger == ("feedback" if word == "retrain" else None)


@pytest.mark.parametrize(("spent", "word"), [(3, "retrain"), (4, "no")])
def test_the_budget_ends_with_the_fourth_of_a_month(spent, word):
    assert decide(facts(DRIFT, DRIFT, spent=spent), RULES).word == word


@pytest.mark.parametrize(("spent", "force", "word"), [(3, False, "retrain"), (4, False, "no"), (4, True, "retrain")])
def test_a_person_passes_the_budget_only_with_force(spent, force, word):
    assert decide(facts(spent=spent), RULES, "new season", force=force).word == word


def test_after_two_that_did_not_help_a_person_is_asked_for_and_can_ask():
    once, twice = facts(DRIFT, DRIFT, useless=1), facts(DRIFT, DRIFT, useless=2)

    assert (decide(once, RULES).word, decide(twice, RULES).word) == ("retrain", "person")
    assert decide(twice, RULES, "I have looked").word == "retrain"


def test_a_drifting_service_gets_one_retrain_with_its_cause_and_a_second_run_finds_it(database, capsys):
    keep(database, report(0), report(1), report(2, "steady", hurts=False))
    first, again = run(capsys), run(capsys)
    row = waiting(database)

    assert (first[0], first[1]["decision"], first[1]["trigger"]) == (0, "retrain", "drift")
    assert again[1]["retrain"] == first[1]["retrain"] == row.id
    assert row.cause["harm"] == ["validity"]
    assert row.cause["columns"] == ["language"]
    assert set(row.cause["reports"]) == {report(0).id, report(1).id}


@pytest.mark.parametrize(("hours", "word"), [(25.9, "retrain"), (26.1, "no")])
def test_old_windows_say_nothing(database, capsys, hours, word):
    keep(database, report(hours), report(hours - 1.5))

    assert run(capsys)[1]["decision"] == word


def test_windows_that_overlap_are_one_witness(database, capsys):
    keep(database, report(0), report(0.5), report(3, "steady", hurts=False))

    assert run(capsys)[1]["decision"] == "no"


def test_reports_of_snapshots_decide_nothing(database, capsys):
    keep(database, *(report(hours, mode="batch") for hours in (0, 1, 2)))

    assert "no drift report" in run(capsys)[1]["why"]


@pytest.mark.parametrize(("days", "word"), [(6.9, "no"), (7.1, "retrain")])
@pytest.mark.parametrize("state", ["promoted", "refused", "failed"])
def test_the_cooldown_lasts_seven_days_whatever_the_end(database, capsys, state, days, word):
    with database.begin() as connection:
        retrain(connection, state, NOW - days * DAY)
    keep(database, report(0), report(1))
    found = run(capsys)[1]

    assert found["decision"] == word
    assert ("cooldown" in found["why"]) is (word == "no")


def test_one_that_was_dismissed_costs_neither_cooldown_nor_budget(database, capsys):
    with database.begin() as connection:
        for hours in range(2, 8):
            retrain(connection, "dismissed", NOW - hours * HOUR, trigger="manual")
    keep(database, report(0), report(1))

    assert run(capsys)[1]["decision"] == "retrain"


def test_last_months_retrains_are_not_this_months_budget(database, capsys):
    with database.begin() as connection:
        for days in (9, 10, 11):
            retrain(connection, "refused", NOW - days * DAY)
        retrain(connection, "refused", datetime(2026, 2, 28, tzinfo=UTC))
    keep(database, report(0), report(1))
    with database.begin() as connection:
        spent = gather(connection, "ad_writer", RULES, NOW).spent

    assert spent == 3
    assert run(capsys)[1]["decision"] == "retrain"


def test_a_persons_request_passes_the_cooldown(database, capsys):
    with database.begin() as connection:
        retrain(connection, "failed", NOW - HOUR)
    status, found = run(capsys, "--ask", "new season")

    assert (status, found["decision"], found["trigger"]) == (0, "retrain", "manual")
    assert waiting(database).cause == {"reason": "new season", "force": False}


def test_a_person_who_may_not_is_refused_and_told_the_way_out(database, capsys):
    with database.begin() as connection:
        for days in (8, 9, 10, 11):
            retrain(connection, "refused", NOW - days * DAY)
    refused, forced = run(capsys, "--ask", "sale"), run(capsys, "--ask", "sale", "--force")

    assert (refused[0], refused[1]["decision"], refused[1]["retrain"]) == (EXIT_REFUSED, "no", None)
    assert "--force" in refused[1]["why"]
    assert (forced[0], forced[1]["decision"]) == (0, "retrain")


@pytest.mark.parametrize(("refusals", "state"), [(3, "waiting"), (4, "dismissed")])
def test_a_request_over_http_beyond_the_budget_is_dismissed_with_the_reason(database, capsys, refusals, state):
    with database.begin() as connection:
        for days in range(refusals):
            retrain(connection, "refused", NOW - (8 + days) * DAY)
        asked = retrains.ask(connection, NewRetrain("ad_writer", "manual", {"reason": "x"}, "shop", NOW))
    found = run(capsys)[1]
    with database.connect() as connection:
        row = retrains.find(connection, asked.id)

    assert row.state == state
    assert found["retrain"] == (asked.id if state == "waiting" else None)
    assert ("budget" in row.why) is (state == "dismissed")


def test_while_one_runs_there_is_no_other(database, capsys):
    with database.begin() as connection:
        row = retrain(connection, "running", NOW)
        retrains.start(connection, row.id, NOW)
    keep(database, report(0), report(1))
    found = run(capsys)[1]

    assert (found["decision"], found["retrain"]) == ("no", None)
    assert f"{row.id} is running" in found["why"]


def test_of_six_that_decide_at_once_one_makes_the_row_and_all_name_it(database):
    keep(database, report(0), report(1))
    barrier, named = threading.Barrier(6), []

    def decide_once(number):
        barrier.wait()
        with database.begin() as connection:
            named.append(settle(connection, "ad_writer", RULES, NOW + timedelta(seconds=number))[1])

    threads = [threading.Thread(target=decide_once, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.connect() as connection:
        rows = retrains.since(connection, "ad_writer", NOW - DAY)

    assert len(rows) == 1
    assert named == [rows[0].id] * 6


@pytest.mark.parametrize("hurts", [True, False])
def test_a_retrain_helped_if_the_first_window_of_its_bundle_does_not_hurt(database, hurts):
    with database.begin() as connection:
        row = retrain(connection, at=NOW - 5 * HOUR)
    keep(
        database,
        report(3.5, bundle="old"),  # not released yet
        report(2.5, "too_few", hurts=False, bundle="new"),
        report(1.5, hurts=hurts, bundle="new"),
        report(0.5, hurts=not hurts, bundle="new"),
    )
    with database.begin() as connection:
        judged = judge_promoted(connection, "ad_writer", RULES, NOW)
        again = judge_promoted(connection, "ad_writer", RULES, NOW)
        found = retrains.find(connection, row.id)

    assert (judged, again) == ([(row.id, not hurts)], [])
    assert found.helped is not hurts
    assert found.after["report"] == report(1.5).id


def test_a_retrain_that_never_reached_traffic_is_not_judged(database, capsys):
    with database.begin() as connection:
        row = retrain(connection, at=NOW - 5 * HOUR)
    keep(database, report(1, bundle="old"))
    run(capsys)
    with database.connect() as connection:
        assert retrains.find(connection, row.id).helped is None


def test_two_useless_retrains_in_a_row_ask_for_a_person_until_one_asks(database, capsys):
    with database.begin() as connection:
        retrain(connection, at=NOW - 40 * DAY, helped=True)
        retrain(connection, at=NOW - 30 * DAY, helped=False)
        retrain(connection, at=NOW - 20 * DAY)
    keep(database, report(0, bundle="new"), report(1, bundle="new"))
    asked_for, by_person = run(capsys), run(capsys, "--ask", "looked at it: the supplier's texts were cut")

    assert (asked_for[1]["decision"], asked_for[1]["retrain"]) == ("person", None)
    assert (by_person[1]["decision"], by_person[1]["trigger"]) == ("retrain", "manual")


def test_what_was_seen_before_a_retrain_is_no_reason_for_the_next(database, capsys):
    with database.begin() as connection:
        retrain(connection, at=NOW - HOUR / 2)
    keep(database, report(0.75), report(2))

    assert "no drift report" in run(capsys, "--cooldown-days", "0")[1]["why"]


def test_usable_feedback_is_accepted_or_edited_waiting_and_not_held_out(database):
    kinds = [
        {"verdict": "accept"}, {"verdict": "edit"}, {"verdict": "reject"}, {"verdict": "accept", "holdout": True},
        {"verdict": "accept", "state": "used"}, {"verdict": "accept", "created_at": NOW - 20 * DAY},
    ]  # fmt: skip
    with database.begin() as connection:
        for number, kind in enumerate(kinds):
            creatives.insert(connection, [new_creative(f"cr_{number}")])
            values = {"id": f"fb_{number}", "creative_id": f"cr_{number}", "created_at": NOW - DAY}
            feedback.insert(connection, new_feedback(**values | kind))
        found = gather(connection, "ad_writer", RULES, NOW)

    assert found.feedback_usable == 3
    assert (found.feedback_now, found.feedback_before) == (Verdicts(5, 2), Verdicts(1, 0))


def test_rules_come_from_the_environment_and_flags_win(database, capsys, monkeypatch):
    keep(database, report(0), report(1, "steady", hurts=False))
    monkeypatch.setenv("ADLOOM_RETRAIN_WINDOWS_MIN", "1")
    strict, loose = run(capsys, "--windows-min", "2"), run(capsys)

    assert (strict[1]["decision"], loose[1]["decision"]) == ("no", "retrain")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "-1"], "budget: Input should be greater"),
        (["--windows-min", "4"], "windows-min is larger"),
        (["--force"], "--force belongs to --ask"),
    ],
)
def test_wrong_rules_are_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{tmp_path}/adloom.db")
    with pytest.raises(ValueError, match=message):
        decide_retrain.main(arguments)

    assert not (tmp_path / "adloom.db").exists()


def test_a_database_that_is_down_is_no_decision(tmp_path, monkeypatch):
    monkeypatch.setenv("ADLOOM_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:9/none")
    with pytest.raises(RuntimeError, match="cannot be used"):
        decide_retrain.main([])
