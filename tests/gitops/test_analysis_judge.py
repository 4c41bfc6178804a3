"""The canary's analysis, judged on recorded series in a real Prometheus; `-s` prints how many mutants were found."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gitops.analysis_judge import (
    ERROR,
    FAILED,
    INCONCLUSIVE,
    PAGE,
    SUCCESSFUL,
    ConditionError,
    Metric,
    Prometheus,
    Verdict,
    holds,
    judge,
    live_template,
    measure,
    page_with,
    table,
    uses,
    verdicts,
)
from tests.gitops.recorded_series import SCENARIOS, recorded

NAN = math.nan
EXPECTED = {
    SUCCESSFUL: {"healthy", "better than stable", "more light findings"},
    FAILED: {
        "5 % errors", "all errors", "all errors from the third minute", "slow", "validity drops, 200 OK",
        "invented facts", "errors and slowness behind 401s", "all errors on both",
        "slow, invalid and inventing on both",
    },
    INCONCLUSIVE: {
        "2 % errors", "a little slow", "validity drops a little", "a few more invented facts", "no traffic",
        "no traffic to the canary", "three requests", "three requests to the canary",
        "three requests to the stable release", "NaN", "quality metrics missing", "request metrics missing",
        "canary not scraped", "stable release not scraped",
    },
    ERROR: {"Prometheus away"},
}  # fmt: skip


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[Prometheus]:
    with recorded(tmp_path_factory.mktemp("prometheus")) as address, Prometheus(address) as running:
        yield running


def metric(name: str = "m", **changes: Any) -> Metric:
    settings = {
        "query": name, "count": 3, "failure_limit": 0, "inconclusive_limit": 0, "consecutive_error_limit": 4,
        "success": "len(result) == 1 && result[0] <= 1", "failure": "len(result) == 1 && result[0] > 2",
    }  # fmt: skip
    return Metric(name, **{**settings, **changes})


def answering(**by_query: list[tuple[float, ...] | None]) -> Callable[[str, int], tuple[float, ...] | None]:
    """Each query's answers in turn, the last one for ever."""
    left = {query: list(answers) for query, answers in by_query.items()}
    return lambda query, _time: left[query].pop(0) if len(left[query]) > 1 else left[query][0]


@pytest.mark.parametrize(
    ("condition", "result", "expected"),
    [
        ("len(result) == 1 && result[0] <= 0.01", (0.01,), True),
        ("len(result) == 1 && result[0] <= 0.01", (0.011,), False),
        ("len(result) == 1 && result[0] <= 0.01", (), False),
        ("len(result) == 1 && result[0] <= 0.01", (NAN,), False),
        ("len(result) == 1 && result[0] > 0.03", (NAN,), False),
        ("len(result) == 0 || result[0] >= 2", (), True),
        ("false", (1.0,), False),
        ("true", (), True),
    ],
)
def test_a_condition_holds_as_in_argo_rollouts(condition, result, expected):
    assert holds(condition, result) is expected


@pytest.mark.parametrize("condition", ["result[0] <= 1", "result < 1", "1", "len(other) == 1", "result[0] <="])
def test_a_condition_that_stumbles_over_an_empty_result_or_is_none_of_ours_is_an_error(condition):
    with pytest.raises(ConditionError):
        holds(condition, ())


def test_without_a_guard_no_data_is_an_error_and_without_a_failure_condition_it_is_a_failure():
    guarded, bare = metric(), metric(success="result[0] <= 1", failure="result[0] > 2")

    assert measure(guarded, ()) == INCONCLUSIVE
    assert measure(bare, ()) == ERROR
    assert measure(metric(failure=""), ()) == FAILED
    assert measure(metric(success=""), ()) == SUCCESSFUL
    assert measure(guarded, None) == ERROR


def test_two_failures_of_two_are_successful_with_a_limit_of_two_and_failed_with_none():
    fails = answering(m=[(9.0,)])

    assert judge([metric(count=2, failure_limit=2)], fails).phase == SUCCESSFUL
    assert judge([metric(count=2, failure_limit=1)], fails).phase == FAILED
    assert judge([metric(count=2)], fails).phase == FAILED


def test_errors_are_tried_again_and_do_not_count_until_one_too_many_in_a_row():
    away = [None] * 4

    assert judge([metric(count=1)], answering(m=[*away, (0.0,)])) == Verdict(SUCCESSFUL, {"m": SUCCESSFUL})
    assert judge([metric(count=1)], answering(m=[*away, None, (0.0,)])) == Verdict(ERROR, {"m": ERROR})


def test_one_metric_ends_the_others_and_the_worst_of_them_is_the_verdict():
    slow = metric("slow", count=30)
    ended = judge([slow, metric("bad")], answering(slow=[(0.0,)], bad=[(9.0,)]))
    both = judge([metric("silent"), metric("bad")], answering(silent=[()], bad=[(9.0,)]))

    assert ended == Verdict(FAILED, {"slow": SUCCESSFUL, "bad": FAILED})
    assert both == Verdict(FAILED, {"silent": INCONCLUSIVE, "bad": FAILED})


@pytest.mark.slow
def test_every_series_gets_the_verdict_that_it_deserves(prometheus):
    given = verdicts(prometheus, live_template(), uses()["step"])

    assert {name: verdict.phase for name, verdict in given.items()} == {
        name: phase for phase, names in EXPECTED.items() for name in names
    }
    assert len(given) == len(SCENARIOS)


@pytest.mark.proof
def test_the_watch_in_the_background_stops_what_the_step_would_and_lets_no_failure_pass(prometheus):
    given = verdicts(prometheus, live_template(), uses()["watch"])

    assert {name for name, verdict in given.items() if verdict.phase == FAILED} == EXPECTED[FAILED]
    assert {name for name, verdict in given.items() if verdict.phase == INCONCLUSIVE} == EXPECTED[INCONCLUSIVE]


@pytest.mark.slow
def test_the_page_shows_the_table_as_it_comes_out(prometheus):
    page = PAGE.read_text(encoding="utf-8")

    assert page == page_with(page, table(prometheus)), "run python -m tests.gitops.analysis_judge --write"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one metric, or to the arguments of one use."""

    name: str
    change: Callable[[dict[str, Any], dict[str, dict[str, str]]], None]


def _mutants() -> list[Mutant]:
    made: list[Mutant] = []
    for place, each in enumerate(live_template()["spec"]["metrics"]):
        made += _of_conditions(place, each) + _of_query(place, each)
    for use, args in uses().items():
        made.append(_argument(use, "inconclusive-limit", "100000"))
        made.append(_argument(use, "measurements", "1") if use == "step" else _argument(use, "measurements", "2"))
        assert {"inconclusive-limit", "measurements"} <= set(args)
    made.append(_argument("step", "requests-min", "1"))
    return made


def _argument(use: str, name: str, value: str) -> Mutant:
    return Mutant(f"{use}: {name} {value}", lambda _template, args: args[use].update({name: value}))


def _of_conditions(place: int, metric: dict[str, Any]) -> list[Mutant]:
    name, success, failure = metric["name"], metric["successCondition"], metric["failureCondition"]
    made = [
        _field(place, f"{name}: no success condition", successCondition=""),
        _field(place, f"{name}: no guard in success", successCondition=success.replace("len(result) == 1 && ", "")),
        _field(place, f"{name}: success flipped", successCondition=_flipped(success)),
        _field(place, f"{name}: success always", successCondition="true"),
        _field(place, f"{name}: never inconclusive", inconclusiveLimit=100_000),
        _field(place, f"{name}: errors for ever", consecutiveErrorLimit=100_000),
        _field(place, f"{name}: no failure condition", failureCondition=""),
    ]
    if failure != "false":
        made += [
            _field(place, f"{name}: no guard in failure", failureCondition=failure.replace("len(result) == 1 && ", "")),
            _field(place, f"{name}: failure flipped", failureCondition=_flipped(failure)),
            _field(place, f"{name}: failure never", failureCondition="false"),
            _field(place, f"{name}: failure threshold of success", failureCondition=failure.rsplit(" ", 1)[0] + " "
                   + success.rsplit(" ", 1)[1]),
            _field(place, f"{name}: success threshold of failure", successCondition=success.rsplit(" ", 1)[0] + " "
                   + failure.rsplit(" ", 1)[1]),
            _field(place, f"{name}: failures tolerated", failureLimit=100_000),
        ]  # fmt: skip
    return made


def _flipped(condition: str) -> str:
    changes = {"<=": ">", ">=": "<", "> ": "<= "}
    sign = next(sign for sign in changes if sign in condition)
    return condition.replace(sign, changes[sign])


def _of_query(place: int, metric: dict[str, Any]) -> list[Mutant]:
    """Every guard of a query dropped by itself, and the two sides mixed up."""
    name, query = metric["name"], metric["provider"]["prometheus"]["query"]
    changes = {
        "both sides the stable one": query.replace("canary-hash", "stable-hash"),
        "4xx count": query.replace(',status!~"4.."', ""),
        "refusals count": query.replace(',status=~"2.."', ""),
        "every finding counts": query.replace(',finding=~"unsupported_.*|contradicts_product"', ""),
        "credit without end": query.replace("0.02)", "1e9)").replace("5)\n", "1e9)\n").replace("0.8)", "-1e9)")
        .replace("0.2)", "1e9)"),
    }  # fmt: skip
    for number, part in enumerate(_all(query, " >= {{args.requests-min}}")):
        changes[f"no least number {number + 1}"] = part
    for number, part in enumerate(_cut(query, "or on() (0 *", "\n")):
        changes[f"no zero for no errors {number + 1}"] = part
    return [_query(place, f"{name}: {what}", changed) for what, changed in changes.items() if changed != query]


def _all(text: str, part: str) -> Iterator[str]:
    """The text without one of the places of `part`, each in turn."""
    pieces = text.split(part)
    for place in range(1, len(pieces)):
        yield part.join(pieces[:place]) + part.join(pieces[place:])


def _cut(text: str, begin: str, end: str) -> Iterator[str]:
    start = text.find(begin)
    while start >= 0:
        yield text[:start] + text[text.index(end, start) :]
        start = text.find(begin, start + 1)


def _field(place: int, name: str, **changes: Any) -> Mutant:
    return Mutant(name, lambda template, _args: template["spec"]["metrics"][place].update(changes))


def _query(place: int, name: str, query: str) -> Mutant:
    def change(template: dict[str, Any], _args: object) -> None:
        template["spec"]["metrics"][place]["provider"]["prometheus"]["query"] = query

    return Mutant(name, change)


@pytest.mark.proof
def test_no_threshold_and_no_guard_can_be_changed_without_another_verdict(prometheus):
    template, args = live_template(), uses()
    whole = {use: verdicts(prometheus, template, args[use]) for use in args}
    mutants, survivors = _mutants(), []
    for mutant in mutants:
        changed, given = copy.deepcopy(template), copy.deepcopy(args)
        mutant.change(changed, given)
        if all(verdicts(prometheus, changed, given[use]) == whole[use] for use in args):
            survivors.append(mutant.name)
    sys.stdout.write(f"\n{len(mutants) - len(survivors)} of {len(mutants)} mutants change a verdict\n")
    unchanged = {use: verdicts(prometheus, copy.deepcopy(template), args[use]) for use in args}

    assert survivors == []
    assert unchanged == whole, "the same template twice gives two verdicts: whatever was found above means nothing"


def test_the_recorded_series_lie_in_a_folder_of_their_own(tmp_path: Path):
    with recorded(tmp_path) as address, Prometheus(address) as prometheus:
        assert prometheus.ask("vector(1)", 1_750_003_200) == (1.0,)
        with pytest.raises(ConditionError, match="refuses"):
            prometheus.ask("sum(", 1_750_003_200)
    assert {path.name for path in tmp_path.iterdir()} >= {"series.txt", "data", "prometheus.yml"}
