"""
What Argo Rollouts would say of a canary: the very queries and conditions of the AnalysisTemplate, on recorded series.

Knows the counting of Argo Rollouts' analysis (https://argo-rollouts.readthedocs.io/en/stable/features/analysis/) and
the part of its condition language that we use. `python -m tests.gitops.analysis_judge --write` renews the table.
"""

from __future__ import annotations

import argparse
import ast
import operator
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.gitops.recorded_series import RUN_SECONDS, SCENARIOS, Scenario, pod_hash, recorded

ROOT = Path(__file__).resolve().parents[2]
CANARY = ROOT / "gitops/apps/adloom-api/components/canary"
PAGE = ROOT / "architecture/canary.md"
BEGIN, END = "<!-- generated: python -m tests.gitops.analysis_judge --write -->", "<!-- end -->"

SUCCESSFUL, RUNNING, INCONCLUSIVE, ERROR, FAILED = "Successful", "Running", "Inconclusive", "Error", "Failed"
WORSE = (SUCCESSFUL, RUNNING, INCONCLUSIVE, ERROR, FAILED)
"""Of several metrics the one furthest to the right is the run's."""
CONSECUTIVE_ERROR_LIMIT = 4
"""Where a metric does not say."""
MEASUREMENTS_MAX = 40
"""After this many minutes the watch in the background has seen all that is recorded."""
ROLLOUT = {SUCCESSFUL: "goes on", RUNNING: "goes on", INCONCLUSIVE: "pauses", ERROR: "aborts", FAILED: "aborts"}

Result = tuple[float, ...] | None
"""Values of a vector, in the order of the answer; None where the query itself failed."""


class ConditionError(ValueError):
    """A condition that the expression language would refuse, or stumble over."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a template, its arguments filled in."""

    name: str
    query: str
    count: int
    failure_limit: int
    inconclusive_limit: int
    consecutive_error_limit: int
    success: str
    failure: str


@dataclass(slots=True)
class Tally:
    """What has been measured of one metric, and what that comes to."""

    count: int = 0
    failed: int = 0
    inconclusive: int = 0
    consecutive_errors: int = 0
    phase: str = RUNNING

    def add(self, outcome: str) -> None:
        """Errors are tried again and do not count."""
        if outcome == ERROR:
            self.consecutive_errors += 1
            return
        self.count += 1
        self.consecutive_errors = 0
        self.failed += outcome == FAILED
        self.inconclusive += outcome == INCONCLUSIVE

    def assess(self, metric: Metric, *, is_ending: bool) -> None:
        """In the order of Argo Rollouts: what is over its limit first, then the count. A metric that is ended early
        is Successful, which is why no verdict may hang on one that can be."""
        if self.phase != RUNNING:
            return
        if self.failed > metric.failure_limit:
            self.phase = FAILED
        elif self.inconclusive > metric.inconclusive_limit:
            self.phase = INCONCLUSIVE
        elif self.consecutive_errors > metric.consecutive_error_limit:
            self.phase = ERROR
        elif self.count >= metric.count or is_ending:
            self.phase = SUCCESSFUL


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one analysis run."""

    phase: str
    by_metric: Mapping[str, str]


Ask = Callable[[str, int], Result]


@dataclass(slots=True)
class Prometheus:
    """A real one; remembers its answers, because mutants ask mostly the same."""

    address: str
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120.0))
    _answers: dict[tuple[str, int], Result] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def ask(self, query: str, time: int) -> Result:
        """An instant query, as Argo Rollouts makes it. Raises ConditionError where Prometheus refuses the query."""
        key = (query, time)
        if key not in self._answers:
            self._answers[key] = self._asked(query, time)
        return self._answers[key]

    def _asked(self, query: str, time: int) -> Result:
        answer = self._client.post(f"{self.address}/api/v1/query", data={"query": query, "time": str(time)}).json()
        if answer["status"] != "success":
            raise ConditionError(f"Prometheus refuses the query: {answer['error']}")
        return tuple(float(sample["value"][1]) for sample in answer["data"]["result"])


def live_template() -> dict[str, Any]:
    """The AnalysisTemplate as it lies in gitops."""
    found: dict[str, Any] = yaml.safe_load((CANARY / "analysis-live.yaml").read_text(encoding="utf-8"))
    return found


def uses() -> dict[str, dict[str, str]]:
    """Arguments by use: `step` for every analysis step, `watch` for the analysis in the background."""
    strategy = yaml.safe_load((CANARY / "steps.yaml").read_text(encoding="utf-8"))["spec"]["strategy"]["canary"]
    name = live_template()["metadata"]["name"]
    steps = [step["analysis"] for step in strategy["steps"] if "analysis" in step]
    live = [step for step in steps if [each["templateName"] for each in step["templates"]] == [name]]
    first, *others = [_values(step["args"]) for step in live]
    assert all(other == first for other in others), "the analysis steps differ, and the table shows one of them"
    return {"step": first, "watch": _values(strategy["analysis"]["args"])}


def _values(args: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {arg["name"]: arg["value"] for arg in args if "value" in arg}


def metrics_of(template: Mapping[str, Any], args: Mapping[str, str]) -> tuple[Metric, ...]:
    """The template's metrics with its arguments. Raises KeyError for one that nobody gives."""
    given = {**_values(template["spec"]["args"]), **args}
    return tuple(_metric(metric, given) for metric in template["spec"]["metrics"])


def _metric(metric: Mapping[str, Any], given: Mapping[str, str]) -> Metric:
    def filled(value: object) -> str:
        return re.sub(r"\{\{\s*args\.([\w-]+)\s*\}\}", lambda found: given[found[1]], str(value))

    return Metric(
        metric["name"],
        filled(metric["provider"]["prometheus"]["query"]),
        int(filled(metric.get("count", 1))),
        int(filled(metric.get("failureLimit", 0))),
        int(filled(metric.get("inconclusiveLimit", 0))),
        int(filled(metric.get("consecutiveErrorLimit", CONSECUTIVE_ERROR_LIMIT))),
        filled(metric.get("successCondition", "")),
        filled(metric.get("failureCondition", "")),
    )


def judge(metrics: Sequence[Metric], ask: Ask) -> Verdict:
    """One analysis run, a measurement of every metric each minute; the run ends with the first that is not well."""
    tallies = {metric.name: Tally() for metric in metrics}
    for minute in range(MEASUREMENTS_MAX):
        for metric in metrics:
            if tallies[metric.name].phase == RUNNING:
                tallies[metric.name].add(measure(metric, ask(metric.query, RUN_SECONDS + 60 * minute)))
                tallies[metric.name].assess(metric, is_ending=False)
        if any(tally.phase not in {RUNNING, SUCCESSFUL} for tally in tallies.values()):
            for metric in metrics:
                tallies[metric.name].assess(metric, is_ending=True)
        if all(tally.phase != RUNNING for tally in tallies.values()):
            break
    phases = {name: tally.phase for name, tally in tallies.items()}
    return Verdict(max(phases.values(), key=WORSE.index), phases)


def measure(metric: Metric, result: Result) -> str:
    """One measurement: with both conditions, the failure counts first, and neither is Inconclusive."""
    if result is None:
        return ERROR
    try:
        is_success = bool(metric.success) and holds(metric.success, result)
        is_failure = bool(metric.failure) and holds(metric.failure, result)
    except ConditionError:
        return ERROR
    if not metric.failure:
        is_failure = bool(metric.success) and not is_success
    if not metric.success:
        is_success = not is_failure
    if is_failure:
        return FAILED
    return SUCCESSFUL if is_success else INCONCLUSIVE


_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_WORDS = {"&&": " and ", "||": " or ", "true": "True", "false": "False"}


def holds(condition: str, result: Sequence[float]) -> bool:
    """
    A condition of the expression language, as far as we use it: && || len() result[n], numbers and comparisons.

    Raises ConditionError for an index that is not there, for a type that does not fit, and for all else.
    """
    words = re.sub(r"&&|\|\||\btrue\b|\bfalse\b", lambda found: _WORDS[found[0]], condition)
    try:
        value = _value(ast.parse(words, mode="eval").body, tuple(result))
    except (SyntaxError, IndexError, TypeError) as error:
        raise ConditionError(f"{condition!r} cannot be evaluated: {error}") from error
    if not isinstance(value, bool):
        raise ConditionError(f"{condition!r} is neither true nor false")
    return value


def _value(node: ast.AST, result: tuple[float, ...]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, result) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(_value(part, result) for part in parts)
        case ast.Compare(left=left, ops=[compare], comparators=[right]) if type(compare) in _COMPARE:
            return _COMPARE[type(compare)](_value(left, result), _value(right, result))
        case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id="result")], keywords=[]):
            return len(result)
        case ast.Subscript(value=ast.Name(id="result"), slice=ast.Constant(value=int(index))):
            return result[index]
        case ast.Name(id="result"):
            return result
        case ast.Constant(value=value) if isinstance(value, bool | int | float):
            return value
    raise ConditionError(f"this table knows no {ast.unparse(node)}")


def verdicts(prometheus: Prometheus, template: Mapping[str, Any], args: Mapping[str, str]) -> dict[str, Verdict]:
    """Of one use of the template, by scenario."""
    return {
        each.name: judge(metrics_of(template, {**args, **_hashes(each)}), _ask(prometheus, each)) for each in SCENARIOS
    }


def _hashes(scenario: Scenario) -> dict[str, str]:
    return {f"{side}-hash": pod_hash(scenario, side) for side in ("canary", "stable")}


def _ask(prometheus: Prometheus, scenario: Scenario) -> Ask:
    return prometheus.ask if scenario.is_answered else lambda _query, _time: None


def table(prometheus: Prometheus) -> str:
    """The verdicts as Markdown, one scenario a line."""
    template, args = live_template(), uses()
    step, watch = (verdicts(prometheus, template, args[use]) for use in ("step", "watch"))
    names = [metric["name"] for metric in template["spec"]["metrics"]]
    rows = [["series", *names, "analysis step", "rollout", "watch meanwhile"], ["---"] * (len(names) + 4)]
    for scenario, verdict in step.items():
        phases = [verdict.by_metric[name] for name in names]
        rows.append([scenario, *phases, f"**{verdict.phase}**", ROLLOUT[verdict.phase], ROLLOUT[watch[scenario].phase]])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page_with(page: str, generated: str) -> str:
    """The page with the table between its two marks. Raises ValueError where they are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or put it into architecture/canary.md."""
    parser = argparse.ArgumentParser(
        description=main.__doc__, epilog="example: python -m tests.gitops.analysis_judge --write"
    )
    parser.add_argument("--write", action="store_true", help="put it into architecture/canary.md")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, recorded(Path(folder)) as address, Prometheus(address) as prometheus:
        made = table(prometheus)
    if options.write:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    else:
        sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
