"""
How far windows are from their reference where nothing has changed, and how far something has to move to be seen.

All by bootstrap on the reference itself. What follows is as good as the reference is like ordinary traffic: one night
does not know the day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pipelines.drift.columns import SIDES, Column, Measured, Side, Table
from pipelines.drift.distance import Resampler, Rows, Statistics, distance_of_values, norm, root_divergence
from pipelines.drift.rules import DriftRules

WINDOWS_A_MONTH = 720
"""Hours of 30 days."""
FOUND = 0.9
_COLUMN_QUANTILE = 0.99
"""Puts columns on one scale; the joint limit is then calibrated on the largest of them."""
_SHIFT_DRAWS = 60
_SHIFT_STEPS = 7
"""Halvings of the interval below: 2 / 2^7 is 0.016 standard deviations."""
_SHIFT_MAX = 2.0


@dataclass(frozen=True, slots=True)
class ColumnLimits:
    """What one column is held against."""

    norm: float
    """One standard deviation in the column's own unit; 1 for words."""
    floor: float
    """Effect size: a distance below this is of no importance, however sure."""
    limits: tuple[float, ...]
    """Significance: distances above this do not come by chance, one for each of `DriftRules.sizes`."""
    smallest_shift: tuple[float | None, ...]
    """Found nine times in ten, one for each of `shift_sizes`: standard deviations, or share of rows. None: over 2, 1"""

    def limit(self, rows: int, sizes: Sequence[int]) -> float:
        """For a window of so many rows."""
        return float(np.interp(np.log(max(rows, 1)), np.log(sizes), self.limits))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one reference."""

    columns: Mapping[str, ColumnLimits]
    window_alarms: Mapping[Side, tuple[float, ...]]
    """Share of unchanged windows that were taken for drift, on draws that set no limit, by size."""

    def alarms_a_month(self, place: int) -> float:
        """Of the rule two of three at one window an hour, windows being independent; at one of the sizes."""
        quiet = np.prod([1 - alarms[place] for alarms in self.window_alarms.values()])
        return episodes_a_month(1 - float(quiet))

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def episodes_a_month(window_alarm: float) -> float:
    """How often "two of the last three" begins to hold where each window errs by itself with this probability."""
    return WINDOWS_A_MONTH * 2 * window_alarm**2 * (1 - window_alarm) ** 2


def calibrate(reference: Measured, columns: Sequence[Column], rules: DriftRules) -> Calibration:
    """Some seconds. Sides without rows are left out, and so are columns in which fewer than `rows_min` say anything."""
    found: dict[str, ColumnLimits] = {}
    alarms: dict[Side, tuple[float, ...]] = {}
    there = [side for side in SIDES if reference[side].rows >= rules.rows_min]
    for place, side in enumerate(there):
        table, random = reference[side], np.random.default_rng((rules.seed, place))
        own = [column for column in columns if column.side == side and table.count(column.name) >= rules.rows_min]
        resampler = Resampler(table, own, rules.block_rows)
        floors = np.array([_floor(column, table, rules) for column in own])
        limits = np.array(
            [_limits(resampler, rows, rules, rules.window_alpha / len(there), random) for rows in rules.sizes]
        )
        alarms[side] = tuple(
            _alarms(resampler, rows, np.maximum(floors, limit), rules, random)
            for rows, limit in zip(rules.sizes, limits, strict=True)
        )
        for column, floor, own_limits in zip(own, floors, limits.T, strict=True):
            plain = ColumnLimits(_norm(column, table), float(floor), tuple(own_limits.tolist()), ())
            shifts = tuple(_smallest_shift(column, table, plain, rows, rules, random) for rows in rules.shift_sizes)
            found[column.name] = ColumnLimits(plain.norm, plain.floor, plain.limits, shifts)
    return Calibration(found, alarms)


def _norm(column: Column, table: Table) -> float:
    return norm(table.numbers[column.name]) if column.is_number else 1.0


def _floor(column: Column, table: Table, rules: DriftRules) -> float:
    """Where a column hardly ever changes, a tenth of its standard deviation is nothing: then its own unit counts."""
    if column.least_change is None:
        return rules.effect_min
    return max(rules.effect_min, column.least_change / _norm(column, table))


def _limits(
    resampler: Resampler, rows: int, rules: DriftRules, alpha: float, random: np.random.Generator
) -> Statistics:
    drawn = resampler.statistics(rows, rules.draws, random)
    scale = np.maximum(np.quantile(drawn, _COLUMN_QUANTILE, axis=0), 1e-9)
    return np.asarray(scale * np.quantile((drawn / scale).max(axis=1), 1 - alpha))


def _alarms(
    resampler: Resampler,
    rows: int,
    thresholds: Statistics,
    rules: DriftRules,
    random: np.random.Generator,
) -> float:
    drawn = resampler.statistics(rows, rules.draws, random)
    return float(np.mean((drawn >= thresholds).any(axis=1)))


def _smallest_shift(
    column: Column, table: Table, limits: ColumnLimits, rows: int, rules: DriftRules, random: np.random.Generator
) -> float | None:
    """By halving, as the share that is found grows with the shift; every step looks at the same windows."""
    threshold = max(limits.floor, limits.limit(rows, rules.sizes))
    blocks = Resampler(table, [], rules.block_rows)
    drawn = [blocks.draw(rows, random) for _ in range(_SHIFT_DRAWS)]
    low, high = 0.0, _SHIFT_MAX if column.is_number else 1.0

    def is_found(shift: float) -> bool:
        distances = np.array(_distances(column, table, drawn, shift, limits.norm))
        return float(np.mean(distances >= threshold)) >= FOUND

    if not is_found(high):
        return None
    for _ in range(_SHIFT_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return round(high, 3)


def _distances(column: Column, table: Table, drawn: Sequence[Rows], shift: float, unit: float) -> list[float]:
    """Of each window once `shift` has been done to it: added to numbers; so many rows take a word never seen."""
    if not column.is_number:
        words = table.words[column.name]
        before = np.append(np.bincount(words.codes, minlength=len(words.labels)) / table.rows, 0.0)
        after = [np.bincount(words.codes[rows], minlength=len(words.labels)) / len(rows) for rows in drawn]
        return [root_divergence(before, np.append(window * (1 - shift), shift)) for window in after]
    values = table.numbers[column.name].astype(np.float64)
    reference = values[np.isfinite(values)]
    windows = [values[rows] for rows in drawn]
    return [distance_of_values(reference, window[np.isfinite(window)] + shift * unit) / unit for window in windows]
