"""The alerts as a whole: complete, tied to their tests, and right in promtool's eyes."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from app.metrics import HTTP_SECONDS
from app.watch.alert_rules import SEVERITIES, alerts, recordings, rule_files
from app.watch.promql import selectors
from app.watch.promtool import run_tests
from pipelines.retraining import RetrainRules
from tests.repo.tree import ROOT

ALERTS = alerts(ROOT)
BY_NAME = {alert.name: alert for alert in ALERTS}
FILES = rule_files(ROOT)
PLACES = sorted((ROOT / "gitops/apps").glob("*/monitoring/tests/*.yaml"))


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs promtool: install the Debian package prometheus")
    return found


def cases(name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load((ROOT / BY_NAME[name].tests).read_text(encoding="utf-8"))["tests"]
    return found


def fires(case: dict[str, object]) -> bool:
    return any(asked.get("exp_alerts") for asked in case.get("alert_rule_test", []))  # type: ignore[attr-defined]


def test_prometheus_takes_the_rules(promtool):
    done = subprocess.run(
        [promtool, "check", "rules", *(str(ROOT / file) for file in FILES)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_unique_and_begin_with_the_app():
    names = [alert.name for alert in ALERTS] + [rule.name for rule in recordings(ROOT)]

    assert len(names) == len(set(names))
    assert [alert.name for alert in ALERTS if not re.fullmatch(r"Adloom([A-Z][a-z]+)+", alert.name)] == []


@pytest.mark.parametrize("name", BY_NAME)
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_to_look(name):
    alert = BY_NAME[name]
    summary, description = alert.annotations["summary"], alert.annotations["description"]

    assert alert.severity in SEVERITIES
    assert alert.labels["service"] == alert.file.parent.parent.name
    assert re.fullmatch(r"[A-Z][^{}]*\.", summary), "static, with a capital and a full stop"
    assert len(summary) <= 100
    assert description.endswith(".")
    assert description != summary
    assert alert.annotations["runbook_url"] == f"https://github.com/adloom/adloom/blob/main/runbooks/{name}.md"
    assert re.fullmatch(r"https://grafana\.adloom\.example/d/adloom-\w+", alert.annotations["dashboard_url"])


def test_every_alert_has_a_test_of_its_name_and_no_test_is_left_over():
    assert [place.relative_to(ROOT) for place in PLACES] == sorted(alert.tests for alert in ALERTS)


@pytest.mark.parametrize("name", BY_NAME)
def test_each_is_tried_in_both_directions_just_before_it_fires_and_after_it_has_ended(name):
    found = cases(name)
    quiet_before = [case for case in found if fires(case) and not case["alert_rule_test"][0].get("exp_alerts")]  # type: ignore[index]
    recovers = [case for case in found if fires(case) and not case["alert_rule_test"][-1].get("exp_alerts")]  # type: ignore[index]

    assert [case for case in found if not fires(case)]
    assert quiet_before
    assert recovers


@pytest.mark.parametrize("name", BY_NAME)
def test_a_test_looks_at_its_own_alert_alone_and_says_what_it_is_about(name):
    for case in cases(name):
        asked = [each["alertname"] for each in case.get("alert_rule_test", [])]  # type: ignore[attr-defined]
        asked += re.findall(r'alertname="(\w+)"', str(case.get("promql_expr_test", "")))

        assert case["name"]
        assert set(asked) == {name}


@pytest.mark.slow
def test_every_test_of_every_alert_passes(promtool):
    outcome = run_tests(PLACES)

    assert outcome.passed, outcome.output


def test_the_objective_of_latency_is_a_bound_of_the_histogram():
    bounds = {
        matcher.value
        for rule in recordings(ROOT)
        for selector in selectors(rule.expression)
        for matcher in selector.matchers
        if matcher.label == "le"
    }

    assert bounds == {"5.0"}
    assert 5 in HTTP_SECONDS.buckets


def test_the_budget_that_counts_as_spent_is_the_one_that_decides():
    budget = RetrainRules.model_fields["budget"].default

    assert BY_NAME["AdloomRetrainBudgetSpent"].expression.endswith(f">= {budget}")


def test_as_many_useless_retrains_as_ask_for_a_person_are_told_of():
    most = RetrainRules.model_fields["useless_max"].default

    assert BY_NAME["AdloomRetrainsUseless"].expression.endswith(f">= {most}")


def test_every_pipeline_with_a_schedule_of_its_own_is_watched():
    scheduled = {
        path.stem
        for path in (ROOT / "pipelines/dags").glob("*.py")
        if re.search(r"schedule=(DAILY|HOURLY)", path.read_text(encoding="utf-8"))
    }
    watched = {
        word
        for selector in selectors(BY_NAME["AdloomPipelineStale"].expression)
        for matcher in selector.matchers
        if matcher.label == "dag"
        for word in matcher.value.split("|")
    }

    assert scheduled
    assert watched == scheduled
