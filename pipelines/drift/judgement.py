"""
The verdict on a window: which columns drift, how sure that is, and whether it hurts.

A column drifts only where its distance is both larger than chance makes it and large enough to matter. Too few rows are
never a verdict of "steady".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipelines.drift.ad_record import COLUMNS
from pipelines.drift.columns import SIDES, Column, Measured, Table
from pipelines.drift.distance import distance
from pipelines.drift.reference import Reference

Verdict = Literal["drift", "steady", "too_few"]
WORDS_SHOWN = 5
COLUMNS_SAID = 4
"""In the reason of a verdict; the report has them all."""


@dataclass(frozen=True, slots=True)
class ColumnVerdict:
    """One column of one window."""

    name: str
    side: str
    method: str
    rows: int
    """Those that say something."""
    verdict: Verdict
    distance: float | None
    """By the method; None where there are too few rows."""
    floor: float
    """What matters: effect size."""
    limit: float
    """What chance does not reach: significance at this number of rows."""
    reference: Any
    """Mean, or shares of the most frequent words; so is `window`."""
    window: Any


@dataclass(frozen=True, slots=True)
class Validity:
    """Mean validity of the reference and of the window."""

    reference: float
    window: float
    error: float
    """Standard error of the window's mean, neighbours taken together."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a window."""

    verdict: Verdict
    why: str
    share: float
    """Drifted columns among those with enough rows; 0 where there are none."""
    hurts: bool
    rows: int
    """Creatives, or products where the window holds no creatives."""
    columns: tuple[ColumnVerdict, ...]
    validity: Validity | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def judge(reference: Reference, window: Measured) -> Judgement:
    """By the rules and limits that the reference was made with."""
    columns = tuple(_column(reference, window, column) for column in COLUMNS if _is_asked(reference, window, column))
    judged = [column for column in columns if column.verdict != "too_few"]
    drifted = [column for column in judged if column.verdict == "drift"]
    validity = _validity(reference, window)
    rows = window["output"].rows or window["input"].rows
    verdict = _verdict(reference, window, drifted)
    return Judgement(
        verdict=verdict,
        why=_why(reference, verdict, rows, drifted),
        share=round(len(drifted) / len(judged), 4) if judged else 0.0,
        hurts=validity is not None and _hurts(reference, validity),
        rows=rows,
        columns=columns,
        validity=validity,
    )


def _is_asked(reference: Reference, window: Measured, column: Column) -> bool:
    """A snapshot holds no outputs: nothing is said of them, and nothing is missed."""
    if column.name not in reference.calibration.columns:
        return False
    return column.side == "input" or bool(window["output"].rows)


def _column(reference: Reference, window: Measured, column: Column) -> ColumnVerdict:
    limits, rules = reference.calibration.columns[column.name], reference.rules
    before, now = reference.tables[column.side], window[column.side]
    rows = now.count(column.name) if now.rows else 0
    limit = limits.limit(rows, rules.sizes)
    is_enough = rows >= rules.rows_min
    found = distance(column, before, now) if is_enough else None
    verdict: Verdict = "too_few" if found is None else "drift" if found >= max(limits.floor, limit) else "steady"
    return ColumnVerdict(
        name=column.name,
        side=column.side,
        method=column.method,
        rows=rows,
        verdict=verdict,
        distance=None if found is None else round(found, 6),
        floor=round(limits.floor, 6),
        limit=round(limit, 6),
        reference=_summary(column, before),
        window=_summary(column, now) if rows else None,
    )


def _verdict(reference: Reference, window: Measured, drifted: list[ColumnVerdict]) -> Verdict:
    """Drift that is seen is drift; that none is seen says something only where every side was looked at."""
    if drifted:
        return "drift"
    asked = [side for side in SIDES if side in reference.calibration.window_alarms]
    if not window["output"].rows and window["input"].rows:
        asked = ["input"]  # a snapshot
    is_enough = all(window[side].rows >= reference.rules.rows_min for side in asked)
    return "steady" if is_enough else "too_few"


def _validity(reference: Reference, window: Measured) -> Validity | None:
    """None where the reference holds no outputs, or the window too few."""
    before, table = reference.validity_mean, window["output"]
    if before is None or table.rows < reference.rules.rows_min:
        return None
    values, block = table.numbers["validity"].astype(np.float64), reference.rules.block_rows
    means = values[: len(values) // block * block].reshape(-1, block).mean(axis=1)
    error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
    return Validity(round(before, 6), round(float(values.mean()), 6), round(error, 6))


def _hurts(reference: Reference, validity: Validity) -> bool:
    drop, rules = validity.reference - validity.window, reference.rules
    return drop > rules.validity_margin and drop > rules.validity_errors * validity.error


def _why(reference: Reference, verdict: Verdict, rows: int, drifted: list[ColumnVerdict]) -> str:
    if verdict == "too_few":
        return f"{rows} rows say nothing: {reference.rules.rows_min} of every side are needed"
    if verdict == "steady":
        return f"no column of {rows} rows is further from the reference than chance and the floor allow"
    worst = sorted(drifted, key=lambda column: -(column.distance or 0) / max(column.floor, column.limit))
    said = [
        f"{column.name} is {column.distance:.3f} away, where {max(column.floor, column.limit):.3f} passes"
        + (f" (mean {column.reference:.4g}, now {column.window:.4g})" if column.method == "wasserstein" else "")
        for column in worst[:COLUMNS_SAID]
    ]
    rest = len(worst) - COLUMNS_SAID
    return "; ".join(said) + (f"; and {rest} more" if rest > 0 else "")


def _summary(column: Column, table: Table) -> float | Mapping[str, float] | None:
    if column.is_number:
        values = table.numbers[column.name]
        there = values[np.isfinite(values)]
        return round(float(there.mean(dtype=np.float64)), 6) if len(there) else None
    words = table.words[column.name]
    counts = Counter(dict(enumerate(np.bincount(words.codes, minlength=len(words.labels)).tolist())))
    return {words.labels[code]: round(count / table.rows, 4) for code, count in counts.most_common(WORDS_SHOWN)}
