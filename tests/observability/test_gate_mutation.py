"""Every alert on healthy, broken, slow, idle, silent and absurd series; and whether a changed rule is noticed."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from app.watch import alerts_command, verdicts
from app.watch.alert_rules import alerts
from app.watch.mutants import Mutant, survives
from app.watch.verdicts import Verdicts, wrong
from app.watch.worlds import FAULTS, WORLDS
from tests.repo.tree import ROOT

ALERTS = alerts(ROOT)


@pytest.fixture(autouse=True)
def needs_promtool():
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool: install the Debian package prometheus")


@pytest.mark.proof
def test_the_table_in_the_architecture_is_what_promtool_says(capsys):
    status = alerts_command.main(["--root", str(ROOT), "verdicts"])

    assert status == 0, capsys.readouterr().err


def test_every_alert_has_a_fault_that_it_is_there_to_find():
    assert {alert.name for alert in ALERTS} == set(FAULTS)


def calm() -> Verdicts:
    """As it ought to be, as far as `wrong` asks."""
    stale = frozenset({"AdloomIngestStale", "AdloomDriftReportStale", "AdloomPipelineStale"})
    nothing: dict[str, frozenset[str]] = dict.fromkeys(WORLDS, frozenset())
    nothing |= {
        "no target": frozenset({"AdloomServiceDown", "AdloomExporterDown"}),
        "no metric": frozenset({"AdloomBundleLoadFailed"}),
        "empty stores": stale,
        "clock an hour ahead": stale,
    }
    return Verdicts(ALERTS, nothing, frozenset(alert.name for alert in ALERTS))


def test_a_table_as_it_ought_to_be_is_not_wrong():
    assert wrong(calm()) == []


@pytest.mark.parametrize(
    ("world", "firing", "said"),
    [
        ("no traffic", {"AdloomValidityLow"}, "AdloomValidityLow fires where all is no traffic"),
        ("healthy", {"AdloomDriftFound"}, "AdloomDriftFound fires where all is healthy"),
        ("no target", {"AdloomExporterDown"}, "AdloomServiceDown does not fire where there is no target"),
        ("NaN", {"AdloomDatabaseDown"}, "AdloomDatabaseDown pages where there is NaN"),
    ],
)
def test_a_false_page_and_a_silence_are_both_told(world, firing, said):
    changed = calm()

    assert said in wrong(replace(changed, by_world={**changed.by_world, world: frozenset(firing)}))


def test_an_alert_that_misses_its_own_fault_is_told():
    assert "AdloomServiceDown fires on nothing" in wrong(replace(calm(), on_fault=frozenset()))


@pytest.mark.parametrize("content", ["", verdicts.BEGIN, f"{verdicts.END}"])
def test_a_page_without_a_place_for_the_table_is_an_error(content):
    with pytest.raises(ValueError, match="no place for the table"):
        verdicts.with_table(content, "| |")


@pytest.mark.slow
def test_a_rule_as_it_is_passes_its_tests_and_one_that_is_turned_round_does_not():
    alert = next(each for each in ALERTS if each.name == "AdloomDriftHurts")
    same = Mutant(alert, "nothing", alert.expression, alert.for_duration)
    turned = Mutant(alert, "turned", alert.expression.replace("== 1", "== 0"), alert.for_duration)

    assert survives(same, ROOT)
    assert not survives(turned, ROOT)


@pytest.mark.proof
def test_the_tests_notice_nearly_every_change_of_a_rule(capsys):
    status = alerts_command.main(["--root", str(ROOT), "mutants"])
    said = capsys.readouterr().out

    assert "kill score" in said
    assert status == 0, said


def test_an_unknown_alert_is_an_error_that_says_where_names_are():
    with pytest.raises(ValueError, match="`adloom alerts list` names them"):
        alerts_command.main(["--root", str(ROOT), "mutants", "AdloomNope"])


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        alerts_command.main(["--help"])

    assert "adloom alerts verdicts --write" in capsys.readouterr().out
