"""
Whether a candidate may replace the champion: scores and certificate in, a verdict with its reasons out.

Knows no registry, no files and no model (architecture/gate.md); `adloom gate` calls it on files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

FORM = 1
ROWS_MIN = 50
"""Below this no paired comparison is made at all."""
ERROR_RATE = 0.05
"""Of each one-sided bound, and of all tests for "better" together (Holm, Scand. J. Statist. 6, 1979)."""
MARGINS: Mapping[str, float] = MappingProxyType({
    "grounded": 0.04,  # against a faultless champion two lost rows of 151 pass and three do not
    "validity": 0.04,  # one ad in ten that copies its description (factor 0.6)
})  # fmt: skip
"""How much worse a candidate may truly be on the scores that it must not be worse on."""
AGREED = ("validity", "grounded", "relevance", "rouge_l", "chrf", "makes_sense")
"""Better on one of these is better."""
OPTIONAL = frozenset({"makes_sense"})
"""Null where no person has marked the row; compared only when both sheets mark the same rows, enough of them."""
FLOORS: Mapping[str, float] = MappingProxyType({"structural": 1.0, "grounded": 0.97, "valid": 0.95})
"""Means that a first version needs, with nobody to be compared with: the goals set for the writer."""
RESAMPLES = 10_000
"""The smallest adjusted p is then 6 / 10,001, far below the error rate."""
_LOWEST: Mapping[str, float] = MappingProxyType({"relevance": -1.0})

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One score, candidate less champion, over the rows that both have."""

    name: str
    difference: float
    low: float
    """One-sided 95 % bound, with one imagined row in which the candidate loses everything (see `_bounds`)."""
    high: float
    """The same upwards."""
    p: float
    """Of a difference this large from an equal candidate, adjusted for the number of scores compared."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate said and why, one sentence a reason."""

    passed: bool
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON form, as the promotion ledger keeps it."""
        return {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }

    def __str__(self) -> str:
        """A table of the comparisons below the verdict and its reasons."""
        lines = ["passed" if self.passed else "refused", *(f"  {reason}" for reason in self.reasons)]
        if self.comparisons:
            lines.append(f"  {'score':12} {'difference':>10} {'low':>8} {'high':>8} {'p':>7}")
        lines += [
            f"  {one.name:12} {one.difference:+10.4f} {one.low:+8.4f} {one.high:+8.4f} {one.p:7.4f}"
            for one in self.comparisons
        ]
        return "\n".join(lines)


def judge(
    candidate: Mapping[str, Any], champion: Mapping[str, Any] | None, certificate: Mapping[str, Any] | None
) -> Verdict:
    """
    Compare two scores.json objects on the same rows, and read the candidate's certificate.json.

    Without a champion the floors decide. Never raises on what it is given: whatever cannot be read is a reason to
    refuse. Deterministic: the resamples are drawn from a fixed seed.
    """
    refusals = _certificate_refusals(certificate, candidate) + _form_refusals(candidate, "candidate")
    if champion is not None:
        refusals += _form_refusals(champion, "champion")
    if refusals:
        return Verdict(passed=False, reasons=tuple(refusals))
    if champion is None:
        return _against_floors(candidate)
    return _against_champion(candidate, champion)


def _against_floors(candidate: Mapping[str, Any]) -> Verdict:
    rows = _rows(candidate)
    refusals = _column_refusals(rows, (*FLOORS, "validity"), "candidate")
    if refusals:
        return Verdict(passed=False, reasons=tuple(refusals))
    reached: list[str] = []
    for name, floor in FLOORS.items():
        mean = math.fsum(row[name] for row in rows.values()) / len(rows)
        said = f"{name} is {mean:.4f} over {len(rows)} rows, and a first version needs {floor:.2f}."
        (reached if mean >= floor else refusals).append(said)
    return Verdict(passed=not refusals, reasons=tuple(refusals or ["There is no champion yet.", *reached]))


def _against_champion(candidate: Mapping[str, Any], champion: Mapping[str, Any]) -> Verdict:
    ours, theirs = _rows(candidate), _rows(champion)
    refusals = _unlike_refusals(candidate, champion, ours, theirs)
    needed = [name for name in AGREED if name not in OPTIONAL]
    refusals += _column_refusals(ours, needed, "candidate") + _column_refusals(theirs, needed, "champion")
    for name in sorted(OPTIONAL):
        refusals += _nonsense(ours, name, "candidate", null_allowed=True)
        refusals += _nonsense(theirs, name, "champion", null_allowed=True)
    if refusals:
        return Verdict(passed=False, reasons=tuple(refusals))
    comparisons = _compared(ours, theirs)
    for one in comparisons:
        if one.name in MARGINS and not one.low > -MARGINS[one.name]:
            refusals.append(
                f"{one.name} may be worse by {-one.low:.4f} (difference {one.difference:+.4f} over {len(ours)} rows), "
                f"and at most {MARGINS[one.name]:.2f} is allowed."
            )
    better = [one for one in comparisons if one.difference > 0 and one.p <= ERROR_RATE]
    if not better:
        names = ", ".join(one.name for one in comparisons)
        refusals.append(f"The candidate is better on none of {names} at a joint error rate of {ERROR_RATE:.0%}.")
    if refusals:
        return Verdict(passed=False, reasons=tuple(refusals), comparisons=comparisons)
    praise = ", ".join(f"{one.name} ({one.difference:+.4f}, p {one.p:.4f})" for one in better)
    reasons = (f"No worse on {' and '.join(MARGINS)} over {len(ours)} rows.", f"Better on {praise}.")
    return Verdict(passed=True, reasons=reasons, comparisons=comparisons)


def _certificate_refusals(certificate: object, candidate: object) -> list[str]:
    if not isinstance(certificate, Mapping) or not certificate:
        return ["The candidate has no quantization certificate; make one with `adloom certify`."]
    if certificate.get("form") != FORM:
        return [f"The certificate is of form {certificate.get('form')!r} instead of {FORM}; make it again."]
    digest = candidate.get("bundle") if isinstance(candidate, Mapping) else None
    found = []
    if certificate.get("bundle") != digest:
        other = _short(certificate.get("bundle"))
        found.append(f"The certificate belongs to the bundle {other}, not {_short(digest)}.")
    breaches = certificate.get("breaches")
    if certificate.get("passed") is not True or breaches != []:
        said = "; ".join(map(str, breaches)) if isinstance(breaches, list) and breaches else "it does not say passed"
        found.append(f"The quantization certificate did not pass: {said.rstrip('.')}.")
    if not certificate.get("rows"):
        found.append("The certificate measured nothing: it has no rows.")
    return found


def _form_refusals(scores: object, whose: str) -> list[str]:
    """What keeps one scores.json from being read at all."""
    if not isinstance(scores, Mapping) or not scores:
        return [f"The {whose} has no scores; make them with `adloom evaluate`."]
    if scores.get("form") != FORM:
        return [f"The {whose}'s scores are of form {scores.get('form')!r} instead of {FORM}; evaluate it again."]
    found = [
        f"The {whose}'s scores do not say {what}."
        for what, value in (
            ("which bundle they are of", scores.get("bundle")),
            ("which rows they are from (dataset.pairs_sha256)", _inner(scores, "dataset").get("pairs_sha256")),
            ("with which settings they were made", scores.get("settings")),
            ("the validity_version", scores.get("validity_version")),
        )
        if not value
    ]
    lines = scores.get("per_row")
    if not isinstance(lines, Sequence) or not all(isinstance(row, Mapping) and row.get("id") for row in lines):
        return [*found, f"The {whose}'s scores have no per_row list of rows with an id."]
    if len({str(row["id"]) for row in lines}) < len(lines):
        found.append(f"The {whose}'s scores hold a row twice.")
    if len(lines) < ROWS_MIN:
        found.append(f"The {whose} was scored on {len(lines)} rows, and {ROWS_MIN} are the least that is compared.")
    promised = _promised_rows(scores)
    if promised is not None and len(lines) < promised:
        found.append(f"The {whose} was to be scored on {promised} rows, and only {len(lines)} are there.")
    return found


def _promised_rows(scores: Mapping[str, Any]) -> int | None:
    """How many rows the evaluation set out to score; a writer that fails on hard rows must not profit by it."""
    asked = (_inner(scores, "settings").get("rows"), _inner(scores, "dataset").get("rows"))
    return min((rows for rows in asked if isinstance(rows, int)), default=None)


def _unlike_refusals(
    candidate: Mapping[str, Any], champion: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> list[str]:
    found = []
    if candidate["bundle"] == champion["bundle"]:
        found.append("Candidate and champion are the same bundle.")
    if _inner(candidate, "dataset")["pairs_sha256"] != _inner(champion, "dataset")["pairs_sha256"]:
        found.append("Candidate and champion were scored on different held-out rows; evaluate both on the same file.")
    if candidate["settings"] != champion["settings"]:
        found.append(f"Candidate and champion were scored with other settings: {_settings(candidate, champion)}.")
    if candidate["validity_version"] != champion["validity_version"]:
        versions = f"{champion['validity_version']} and {candidate['validity_version']}"
        found.append(f"The validity rules changed between the two evaluations (versions {versions}).")
    if stray := set(ours) ^ set(theirs):
        found.append(f"One of the two alone was scored on {_counted(sorted(stray))}.")
    return found


def _column_refusals(rows: Mapping[str, Mapping[str, Any]], names: Sequence[str], whose: str) -> list[str]:
    return [reason for name in names for reason in _nonsense(rows, name, whose, null_allowed=False)]


def _nonsense(rows: Mapping[str, Mapping[str, Any]], name: str, whose: str, *, null_allowed: bool) -> list[str]:
    """One sentence for each way in which a column is no column of numbers."""
    if null_allowed:
        rows = {key: row for key, row in rows.items() if row.get(name) is not None}
    elif not any(name in row for row in rows.values()):
        return [f"The {whose}'s scores lack {name}."]
    faults: dict[str, list[str]] = {}
    for key, row in rows.items():
        if fault := _fault(row.get(name), _LOWEST.get(name, 0.0)):
            faults.setdefault(fault, []).append(key)
    return [f"The {whose}'s {name} {fault} in {_counted(keys)}." for fault, keys in faults.items()]


def _fault(value: object, lowest: float) -> str:
    """Why a value is no score; empty where it is one."""
    if value is None:
        return "is null"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is no number"
    if isinstance(value, float) and not math.isfinite(value):
        return "is NaN or infinite"
    # A cosine of two equal vectors may exceed 1 by its rounding.
    return "" if lowest - 1e-6 <= value <= 1 + 1e-6 else f"is not between {lowest:.0f} and 1"


def _compared(ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]) -> tuple[Comparison, ...]:
    """Every agreed score that both have on enough of the same rows."""
    columns: dict[str, Floats] = {}
    for name in AGREED:
        marked = [key for key, row in ours.items() if row.get(name) is not None]
        if len(marked) >= ROWS_MIN and set(marked) == {key for key, row in theirs.items() if row.get(name) is not None}:
            columns[name] = np.array([ours[key][name] - theirs[key][name] for key in sorted(marked)], np.float64)
    adjusted = _holm({name: _p_better(column) for name, column in columns.items()})
    return tuple(
        Comparison(name, float(column.mean()), *_bounds(column), adjusted[name]) for name, column in columns.items()
    )


def _bounds(differences: Floats) -> tuple[float, float]:
    """
    One-sided bounds of the mean by bootstrap over rows (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    50 rows without a fault do not prove that there are none, yet a plain bootstrap of 50 zeros has no width. So one
    imagined row joins the pool, in which the candidate loses everything (for the upper bound: wins): with no
    difference seen, the bound is then about -3 / rows, as the rule of three has it.
    """
    rows = len(differences) + 1
    pools = np.stack([np.append(differences, -1.0), np.append(differences, 1.0)], axis=1)
    means = _resamples(rows) @ pools / rows
    low = np.quantile(means[:, 0], ERROR_RATE, method="lower")
    high = np.quantile(means[:, 1], 1 - ERROR_RATE, method="higher")
    return float(low), float(high)


def _p_better(differences: Floats) -> float:
    """Share of resamples, shifted to a mean of 0, whose mean is at least the one seen."""
    seen = differences.mean()
    means = _resamples(len(differences)) @ differences / len(differences)
    # 1e-12: sums of the same numbers in another order differ in their last digits.
    return float((1 + np.count_nonzero(means - seen >= seen - 1e-12)) / (RESAMPLES + 1))


@lru_cache(maxsize=8)
def _resamples(rows: int) -> Floats:
    """How often each row is drawn in each resample, shape [resamples, rows]; the same on every call."""
    draw = np.random.default_rng(rows)
    return draw.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float64)


def _holm(p: Mapping[str, float]) -> dict[str, float]:
    """Each p times the number of hypotheses still standing, never below an earlier one, at most 1."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, p[name] * (len(p) - place)))
        adjusted[name] = highest
    return adjusted


def _rows(scores: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(row["id"]): row for row in scores["per_row"]}


def _inner(scores: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = scores.get(key)
    return value if isinstance(value, Mapping) else {}


def _settings(candidate: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    ours, theirs = _inner(candidate, "settings"), _inner(champion, "settings")
    names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    return ", ".join(f"{name} {ours.get(name)!r} against {theirs.get(name)!r}" for name in names) or "not comparable"


def _short(digest: object) -> str:
    return str(digest)[:12] if digest else "(unnamed)"


def _counted(keys: Sequence[str]) -> str:
    return f"{len(keys)} rows, such as {keys[0]}" if len(keys) > 1 else f"1 row, {keys[0]}"
