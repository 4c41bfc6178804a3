"""
Whether the tests of the alerts notice a change: each alert's rule is changed in one place, and its own tests are run.

Knows no alert by name. A mutant that its tests let pass has survived, and says which test is missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from app.watch import promql
from app.watch.alert_rules import Alert, Recording, recordings
from app.watch.promql import COMPARISONS
from app.watch.promtool import run_tests

FLIPPED = {"==": "!=", "!=": "==", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
FACTORS = {"doubled": 2.0, "halved": 0.5}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule with one change."""

    alert: Alert
    what: str
    expression: str
    for_duration: str


def mutants(alert: Alert) -> list[Mutant]:
    """Comparisons flipped, thresholds doubled and halved, each operand of and, or and unless dropped, `for` removed."""
    found = [Mutant(alert, what, changed, alert.for_duration) for what, changed in _changes(alert.expression)]
    if alert.for_duration:
        found.append(Mutant(alert, "for removed", alert.expression, ""))
    return found


def survives(mutant: Mutant, root: Path, recorded: Sequence[Recording] | None = None) -> bool:
    """Whether the alert's own tests pass all the same."""
    rules = recordings(root) if recorded is None else recorded
    tests = yaml.safe_load((root / mutant.alert.tests).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="adloom-mutant-") as folder:
        place = Path(folder)
        (place / "rules.yaml").write_text(_rule_file(mutant, rules), encoding="utf-8")
        (place / "tests.yaml").write_text(yaml.safe_dump({**tests, "rule_files": ["rules.yaml"]}), encoding="utf-8")
        return run_tests([place / "tests.yaml"]).passed


def _changes(expression: str) -> Iterator[tuple[str, str]]:
    pieces = promql.tokens(expression)
    for place, piece in enumerate(pieces):
        if piece.kind != "operator" or piece.text not in COMPARISONS:
            continue
        if _is_matcher(pieces, place):
            continue
        said = f"{piece.text} {pieces[place + 1].text}"
        yield f"{said} flipped", expression[: piece.start] + FLIPPED[piece.text] + expression[piece.end :]
        number = pieces[place + 1]
        if number.kind == "number" and float(number.text):
            for name, factor in FACTORS.items():
                value = f"{float(number.text) * factor:g}"
                yield f"{said} {name}", expression[: number.start] + value + expression[number.end :]
    yield from _dropped(expression)


def _dropped(expression: str) -> Iterator[tuple[str, str]]:
    """Without one operand, here or in the brackets that an operand is."""
    parts = promql.operands(expression)
    for place, (joint, part) in enumerate(parts):
        if len(parts) > 1:
            rest = [each for number, each in enumerate(parts) if number != place]
            yield f"dropped: {' '.join(f'{joint} {part}'.split())[:70]}", _joined([("", rest[0][1]), *rest[1:]])
        inner = promql.unwrapped(part)
        for what, changed in _dropped(inner) if inner else ():
            yield what, _joined([*parts[:place], (joint, f"({changed})"), *parts[place + 1 :]])


def _joined(parts: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"{joint} {part}".strip() for joint, part in parts)


def _is_matcher(pieces: Sequence[promql.Token], place: int) -> bool:
    """`!=` in braces compares a label."""
    return place + 1 < len(pieces) and pieces[place + 1].kind == "text"


def _rule_file(mutant: Mutant, recorded: Sequence[Recording]) -> str:
    """Only what the alert needs, in the groups that its tests name: promtool works through every rule there is."""
    needed = _needed(mutant.alert.expression, {rule.name: rule for rule in recorded})
    app = mutant.alert.file.parent.parent.name
    alert = {"alert": mutant.alert.name, "expr": mutant.expression, "labels": dict(mutant.alert.labels)}
    alert |= {"annotations": dict(mutant.alert.annotations)}
    alert |= {"for": mutant.for_duration} if mutant.for_duration else {}
    records = [{"record": rule.name, "expr": rule.expression} for rule in recorded if rule.name in needed]
    idle = {"record": "adloom:nothing", "expr": "vector(0)"}
    groups = [{"name": f"{app}-alerts", "rules": [alert]}]
    if app == "adloom-api":
        groups.insert(0, {"name": f"{app}-indicators", "rules": records or [idle]})
    return yaml.safe_dump({"groups": groups}, sort_keys=False)


def _needed(expression: str, recorded: dict[str, Recording]) -> set[str]:
    names = {selector.metric for selector in promql.selectors(expression)} & set(recorded)
    return names.union(*(_needed(recorded[name].expression, recorded) for name in names))
