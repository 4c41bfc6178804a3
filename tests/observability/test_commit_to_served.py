"""The delivery board's time from a commit to its being served, as Prometheus works it out."""

from __future__ import annotations

import shutil

import pytest
import yaml

from app.watch.boards.delivery import FROM_COMMIT_TO_SERVED
from app.watch.panels import filled
from app.watch.promtool import run_tests

COMMITTED = 1000
STARTS = "process_start_time_seconds"


def pod(name: str, commit: str, started: str, committed: str = f"{COMMITTED}x20", address: str = "10.0.0.1:8000"):
    """Series of one replica."""
    target = f'job="adloom-api",instance="{address}",namespace="adloom",pod="{name}"'
    return {
        f"{STARTS}{{{target}}}": started,
        f'adloom_commit_timestamp_seconds{{{target},commit="{commit}"}}': committed,
    }


@pytest.fixture
def check(tmp_path):
    """Compares what the panel's query gives after 20 minutes: seconds, by commit."""
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool: install the Debian package prometheus")

    def look(series, expected):
        case = {
            "expr": filled(FROM_COMMIT_TO_SERVED, rate_seconds=240, range_seconds=600),
            "eval_time": "20m",
            "exp_samples": [{"labels": f'{{commit="{commit}"}}', "value": value} for commit, value in expected.items()],
        }
        told = [{"series": name, "values": values} for name, values in series.items()]
        content = {"tests": [{"interval": "1m", "input_series": told, "promql_expr_test": [case]}]}
        path = tmp_path / "test.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        outcome = run_tests([path])

        assert outcome.passed, outcome.output

    return look


def test_the_replica_that_was_started_first_counts(check):
    check(pod("a", "new", "1090x20") | pod("b", "new", "1060x20", address="10.0.0.2:8000"), {"new": 60})


def test_a_restart_does_not_make_it_later(check):
    check(pod("a", "new", "1060x9 5000x10"), {"new": 60})


def test_replicas_that_replace_the_first_do_not_either(check):
    first = pod("a", "new", "1060x4 _x15", f"{COMMITTED}x4 _x15")
    check(first | pod("b", "new", "_x9 4000x10", address="10.0.0.2:8000"), {"new": 60})


def test_each_commit_has_its_own_even_where_an_address_is_used_again(check):
    old = pod("a", "old", "500x9 _x10", "100x9 _x10")
    check(old | pod("b", "new", "_x9 1030x10", f"_x9 {COMMITTED}x10"), {"old": 400, "new": 30})


@pytest.mark.parametrize(("started", "expected"), [(COMMITTED, {"new": 0}), (COMMITTED - 1, {})])
def test_a_start_before_the_commit_is_a_wrong_clock_and_not_shown(check, started, expected):
    check(pod("a", "new", f"{started}x20"), expected)


def test_a_service_that_does_not_know_its_commit_shows_nothing(check):
    check({f'{STARTS}{{job="adloom-api",instance="10.0.0.1:8000"}}': "1060x20"}, {})
