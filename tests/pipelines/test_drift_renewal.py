"""The drift reference follows the bundle that writes: made anew once another has written long enough, not before."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from model.store import drift_reports, retrains, tables
from model.store.drift_reports import DriftReport
from model.store.retrains import NewRetrain
from pipelines.drift import reference as references
from pipelines.drift import renewal
from pipelines.drift.judgement import judge
from pipelines.drift.log import Stretch
from pipelines.drift.monitoring import SnapshotLines, measure
from pipelines.drift.reports import Window
from pipelines.drift.rules import DriftRules
from pipelines.drift.traffic import Traffic, product, records
from pipelines.settings import TASK
from pipelines.steps import monitor_drift
from tests.pipelines.drift_log import HOUR, ORDINARY_HOURS, ROWS, START, Plant, answer

OLD, NEW = "b" * 64, "c" * 64
RULES = replace(DriftRules(), draws=200, sizes=(200, 1250), shift_sizes=(200,))
"""Fewer than in service, so that a reference takes a second and not five."""
HOURS = 4
FIRST = 10
"""Of the hours in which another bundle writes."""
WINDOWS = 40
"""Ordinary ones, each of its own seed; one in a hundred may be taken for drift."""


def shifted(seed, flaw_share=0.12):
    """A new supplier for whom the new bundle writes as well as for the others."""
    return Traffic(seed=seed, shifted_share=0.4, shifted_flaw_share=flaw_share, flaw_share=flaw_share)


def log(plant, hour, traffic, bundle=NEW):
    made = records(traffic, START + hour * HOUR, START + (hour + 1) * HOUR, ROWS)
    plant.put(hour, b"\n".join(json.dumps({**record, "bundle_digest": bundle}).encode() for record in made) + b"\n")


def looked_at(plant, hour, bundles, reference="r" * 64):
    """A report of that hour, as `monitor_drift` leaves it."""
    start = START + hour * HOUR
    row = DriftReport(
        id=f"dr_{hour:031x}{reference[0]}", task=TASK, mode="online", window_start=start, window_end=start + HOUR,
        rows=sum(bundles.values()), reference=reference, verdict="drift", why="", share=0.5, hurts=False,
        columns={"bundles": bundles, "measured": [], "validity": None}, report_key="", created_at=start + HOUR,
    )  # fmt: skip
    with plant.database.begin() as connection:
        drift_reports.insert(connection, row)


def serve(plant, bundle=NEW, flaw_share=0.12, hours=HOURS):
    """So many hours of another traffic, all looked at."""
    for hour in range(FIRST, FIRST + hours):
        log(plant, hour, shifted(hour, flaw_share), bundle)
        looked_at(plant, hour, {bundle: ROWS})


def make_reference(plant, rules):
    """Of the ordinary hours."""
    stretch = Stretch(plant.objects, START, START + ORDINARY_HOURS * HOUR)
    references.keep(plant.objects, references.from_log(stretch, rules))


def renew(plant):
    return renewal.renew(plant.database, plant.objects, TASK, HOURS)


def verdict(plant, reference, hour):
    window = Window("online", START + hour * HOUR, START + (hour + 1) * HOUR)
    return judge(reference, measure(plant.objects, window, reference)[0].table()).verdict


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Four ordinary hours by the old bundle, and the reference of them."""
    plant = Plant(tmp_path_factory.mktemp("calibrated"))
    plant.database.upgrade()
    for hour in range(ORDINARY_HOURS):
        plant.log(hour, Traffic(seed=hour))
    make_reference(plant, RULES)
    plant.database.dispose()
    return plant.folder


def test_what_a_new_bundle_is_asked_for_and_writes_becomes_normal_and_what_was_normal_drifts(plant):
    before = references.current(plant.objects)
    serve(plant)
    found = renew(plant)
    old, new = references.load(plant.objects, before), references.load(plant.objects, found.digest)
    log(plant, 30, shifted(seed=30))
    plant.log(31, Traffic(seed=31))

    assert references.current(plant.objects) == found.digest != before
    assert (new.source["bundle"], new.source["before"], new.rules) == (NEW, before, old.rules)
    assert [verdict(plant, each, 30) for each in (old, new)] == ["drift", "steady"]
    assert [verdict(plant, each, 31) for each in (old, new)] == ["steady", "drift"]


@pytest.mark.proof
def test_a_renewed_reference_gives_false_alarms_as_rarely_as_one_that_a_person_made(plant):
    make_reference(plant, replace(RULES, draws=DriftRules().draws))  # a rate of one in a hundred needs them all
    serve(plant)
    new = references.load(plant.objects, renew(plant).digest)
    verdicts = []
    for number in range(WINDOWS):
        log(plant, 40, shifted(seed=1000 + number))
        verdicts.append(verdict(plant, new, 40))

    assert set(verdicts) <= {"steady", "drift"}
    assert verdicts.count("drift") <= 2  # three of forty would come once in 130 times where one in a hundred is meant
    assert max(max(alarms) for alarms in new.calibration.window_alarms.values()) <= new.rules.window_alpha
    assert new.calibration.alarms_a_month(0) < 1


def test_the_bundle_that_a_reference_was_made_of_never_renews_it_so_drift_does_not_become_normal(plant):
    before = references.current(plant.objects)
    serve(plant, OLD)

    assert "writes still" in renew(plant).why
    assert references.current(plant.objects) == before


def test_once_renewed_it_stays(plant):
    serve(plant)
    first = renew(plant)
    again = renew(plant)

    assert (bool(first.digest), again.digest) == (True, "")
    assert "writes still" in again.why


@pytest.mark.parametrize(
    ("windows", "is_renewed"),
    [
        ([{NEW: 900}] * 4, True),
        ([{NEW: 890, OLD: 10}] * 4, True),
        ([{NEW: 900}, {NEW: 450, OLD: 450}, {NEW: 900}, {NEW: 900}], False),
        ([{OLD: 10, NEW: 20}, {NEW: 900}, {NEW: 900}, {NEW: 900}], True),
        ([{OLD: 30}, {NEW: 900}, {NEW: 900}, {NEW: 900}], False),
        ([{}, {NEW: 900}, {NEW: 900}, {NEW: 900}], True),
        ([None, {NEW: 900}, {NEW: 900}, {NEW: 900}], False),
        ([{}, {}, {}, {}], False),
    ],
    ids=["all", "nearly-all", "canary", "release", "other-before", "quiet-hour", "not-looked-at", "silence"],
)
def test_it_takes_all_of_the_time_and_nearly_all_of_the_traffic(plant, windows, is_renewed):
    for hour, bundles in enumerate(windows, start=FIRST):
        log(plant, hour, shifted(seed=hour))
        if bundles is not None:
            looked_at(plant, hour, bundles)

    assert bool(renew(plant).digest) is is_renewed


def test_a_window_that_was_compared_twice_counts_once(plant):
    for hour in (FIRST + 2, FIRST + 3):
        log(plant, hour, shifted(seed=hour))
        looked_at(plant, hour, {NEW: ROWS})
        looked_at(plant, hour, {NEW: ROWS}, reference="s" * 64)

    assert "2:00:00 were looked at" in renew(plant).why


@pytest.mark.parametrize(("helped", "is_renewed"), [(None, False), (False, False), (True, True)])
def test_a_retrain_has_to_have_helped_before_what_it_made_is_normal(plant, helped, is_renewed):
    serve(plant)
    with plant.database.begin() as connection:
        row = retrains.ask(connection, NewRetrain(TASK, "drift", {}, "test", START))
        retrains.finish(connection, row.id, "promoted", at=START + timedelta(hours=FIRST), bundle_digest=NEW)
        if helped is not None:
            retrains.judge_help(connection, row.id, helped, {})
    found = renew(plant)

    assert bool(found.digest) is is_renewed
    assert is_renewed or row.id in found.why


def test_worse_ads_do_not_become_normal_by_themselves(plant):
    before = references.current(plant.objects)
    serve(plant, flaw_share=0.4)
    found = renew(plant)

    assert (found.digest, references.current(plant.objects)) == ("", before)
    assert "was normal before" in found.why


def test_ads_that_the_reports_know_to_be_worse_are_not_read_again_every_hour(plant, monkeypatch):
    serve(plant, flaw_share=0.4)
    monkeypatch.setattr(references, "from_log", lambda *_: pytest.fail("the log was read"))
    with plant.database.begin() as connection:
        for row in drift_reports.since(connection, TASK, "online", START + FIRST * HOUR):
            columns = row.columns | {"validity": {"window": 0.5, "reference": 0.9}}
            change = sa.update(tables.drift_reports).where(tables.drift_reports.c.id == row.id)
            connection.execute(change.values(columns=columns))

    assert "validity is 0.500" in renew(plant).why


def test_many_small_falls_of_validity_are_one_large_one(plant):
    """12 %, 18 % and 24 % of the ads are flawed: no step falls by the margin of 0.03, and both together do."""
    serve(plant, flaw_share=0.18)
    first = renew(plant)
    for hour in range(FIRST, FIRST + HOURS):
        log(plant, hour + HOURS, shifted(hour + HOURS, 0.24), "d" * 64)
        looked_at(plant, hour + HOURS, {"d" * 64: ROWS})
    second = renew(plant)
    best = references.load(plant.objects, first.digest).source["best_validity"]

    assert (bool(first.digest), second.digest) == (True, "")
    assert float(best) > references.load(plant.objects, first.digest).validity_mean + 0.01
    assert f"{float(best):.3f} was normal before" in second.why


def test_a_reference_of_a_catalogue_is_not_renewed_from_traffic(plant):
    plant.keep_snapshot("5" * 64, map(product, range(400)))
    catalogue = references.from_products("5" * 64, SnapshotLines(plant.objects, "5" * 64), RULES)
    references.keep(plant.objects, catalogue)
    serve(plant)

    assert "only a reference of traffic" in renew(plant).why


def test_too_little_traffic_is_not_yet_and_too_much_is_a_persons(plant, monkeypatch):
    for hour in range(FIRST, FIRST + HOURS):
        looked_at(plant, hour, {NEW: ROWS})
    little = renew(plant)
    monkeypatch.setattr(renewal, "ROWS_MAX", HOURS * ROWS - 1)

    assert little.why.startswith("not yet: the generation log has no record")
    assert "too much traffic" in renew(plant).why


@pytest.mark.proof
def test_the_step_renews_after_its_verdict_and_the_next_window_is_held_against_the_new_reference(plant, capsys):
    before = references.current(plant.objects)
    told = []
    for hour in (FIRST, FIRST + 1, FIRST + 2):
        log(plant, hour, shifted(seed=hour))
        times = [(START + at * HOUR).isoformat() for at in (hour, hour + 1)]
        assert monitor_drift.main(["--since", times[0], "--until", times[1], "--renew-hours", "2"]) == 0
        told.append(answer(capsys))

    assert [each["verdict"] for each in told] == ["drift", "drift", "steady"]
    assert [bool(each["renewed"]) for each in told] == [False, True, False]
    assert [each["reference"] for each in told] == [before, before, told[1]["renewed"]]


def test_another_reference_that_was_asked_for_renews_nothing(plant, capsys):
    serve(plant, hours=2)
    times = [(START + at * HOUR).isoformat() for at in (FIRST + 1, FIRST + 2)]
    named = references.current(plant.objects)
    monitor_drift.main(["--since", times[0], "--until", times[1], "--renew-hours", "2", "--reference", named])

    assert answer(capsys)["renewed"] == ""
    assert references.current(plant.objects) == named
