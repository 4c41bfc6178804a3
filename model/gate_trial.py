"""
The promotion gate on trial: nine synthetic cases with known answers, and its error rates by simulation.

Knows no real scores; `adloom gate --try` and `adloom gate --simulate` print what is in architecture/gate.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from model.gate import FORM, Verdict, judge

ROWS = 151
"""As many as the frozen held-out set has."""
MEANS: Mapping[str, float] = MappingProxyType({"relevance": 0.70, "rouge_l": 0.30, "chrf": 0.35})
SPREADS: Mapping[str, float] = MappingProxyType({"relevance": 0.10, "rouge_l": 0.10, "chrf": 0.08})
"""Standard deviation over rows; half of the variance is the row's own difficulty, which both writers share."""
UNGROUNDED_SHARE = 0.01
STYLE_SHARE = 0.03
"""Share of ads with a style finding (factor 0.6) and of ads with an invented fact (factor 0.5) of a good writer."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the verdict table: what the gate is given, and what it should say."""

    name: str
    should_pass: bool
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a kind of candidate passed."""

    name: str
    rows: int
    trials: int
    passed: int


def cases() -> list[Case]:
    """The nine cases of the verdict table, each judged."""
    champion = synthetic("champion", writer=0)
    better = synthetic("better", writer=1, shifts={"chrf": 0.05})
    shown: list[tuple[str, bool, Mapping[str, Any]]] = [
        ("better", True, better),
        ("equal", False, synthetic("equal", writer=2)),
        ("worse", False, synthetic("worse", writer=3, shifts=dict.fromkeys(["grounded", *MEANS], -0.1))),
        ("worse only on grounding", False, synthetic("bold", writer=4, shifts={"grounded": -0.1, "chrf": 0.05})),
        ("NaN", False, _with_value(better, "grounded", float("nan"))),
        ("missing metric", False, _without(better, "grounded")),
        ("5 rows", False, better | {"per_row": better["per_row"][:5]}),
        ("all errors", False, _all_null(better)),
        ("identical model", False, champion),
    ]
    return [Case(name, expected, judge(scores, champion, certificate(scores))) for name, expected, scores in shown]


def simulate(trials: int) -> Iterator[Rate]:
    """How often candidates of known quality pass, each in so many draws of champion and candidate."""
    kinds: list[tuple[str, int, Mapping[str, float]]] = [
        ("equal", ROWS, {}),
        ("better on chrf by 0.01", ROWS, {"chrf": 0.01}),
        ("better on chrf by 0.02", ROWS, {"chrf": 0.02}),
        ("better on chrf by 0.03", ROWS, {"chrf": 0.03}),
        ("better on chrf by 0.05, grounded 4 points worse", ROWS, {"chrf": 0.05, "grounded": -0.04}),
        ("better on chrf by 0.05, grounded 5 points worse", ROWS, {"chrf": 0.05, "grounded": -0.05}),
        ("better on chrf by 0.05, grounded 4 points worse", 50, {"chrf": 0.05, "grounded": -0.04}),
        ("better on chrf by 0.05", 50, {"chrf": 0.05}),
        ("better on chrf by 0.05", 100, {"chrf": 0.05}),
    ]
    for name, rows, shifts in kinds:
        passed = 0
        for trial in range(trials):
            champion = synthetic("champion", writer=0, rows=rows, seed=trial)
            candidate = synthetic("candidate", writer=1, rows=rows, seed=trial, shifts=shifts)
            passed += judge(candidate, champion, certificate(candidate)).passed
        yield Rate(name, rows, trials, passed)


def synthetic(
    bundle: str, *, writer: int, rows: int = ROWS, seed: int = 0, shifts: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """
    A scores.json object of a made-up writer. Writers of one seed meet the same rows and differ in their luck.

    `shifts` move the mean of a score; one of `grounded` moves the share of ads without an invented fact.
    """
    moved = shifts or {}
    difficulty = np.random.default_rng([seed, rows]).normal(size=rows)
    draw = np.random.default_rng([seed, rows, 1 + writer])
    grounded = draw.random(rows) >= UNGROUNDED_SHARE - moved.get("grounded", 0.0)
    styled = draw.random(rows) >= STYLE_SHARE
    validity = np.where(grounded, 1.0, 0.5) * np.where(styled, 1.0, 0.6)
    columns = {"grounded": grounded.astype(float), "validity": validity, "valid": (validity >= 0.9).astype(float)}
    columns["structural"] = np.ones(rows)
    for name, mean in MEANS.items():
        luck = (difficulty + draw.normal(size=rows)) / np.sqrt(2)
        columns[name] = np.clip(mean + moved.get(name, 0.0) + SPREADS[name] * luck, 0.0, 1.0)
    return {
        "form": FORM,
        "bundle": bundle,
        "dataset": {"pairs_sha256": "synthetic", "rows": rows},
        "settings": {"candidates": 4, "seed": 0, "rows": rows},
        "validity_version": "synthetic",
        "per_row": [
            {
                "id": f"row-{row:03}",
                "makes_sense": None,
                **{name: float(column[row]) for name, column in columns.items()},
            }
            for row in range(rows)
        ],
    }


def certificate(scores: Mapping[str, Any]) -> dict[str, Any]:
    """A passed certificate of the same bundle."""
    return {"form": FORM, "bundle": scores["bundle"], "passed": True, "breaches": [], "rows": [{"kv_cache": True}]}


def _with_value(scores: Mapping[str, Any], name: str, value: object) -> dict[str, Any]:
    """The scores with one value changed, in the first row."""
    first, *others = scores["per_row"]
    return {**scores, "per_row": [{**first, name: value}, *others]}


def _without(scores: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**scores, "per_row": [{key: row[key] for key in row if key != name} for row in scores["per_row"]]}


def _all_null(scores: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation leaves whose writer failed on every row."""
    return {**scores, "per_row": [{key: row[key] if key == "id" else None for key in row} for row in scores["per_row"]]}
