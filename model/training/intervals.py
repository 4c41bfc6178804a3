"""
Means over rows with 95 % intervals, alone and as paired differences, by percentile bootstrap over rows.

Knows numbers only (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
"""The ends of a 95 % interval then move by less than the last digit printed."""


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over rows and its 95 % interval."""

    mean: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """JSON form, four decimals."""
        return {"mean": round(self.mean, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def interval(values: Sequence[float]) -> Score:
    """Deterministic: n rows always give the same resamples. Raises ValueError for no rows or one that is NaN."""
    if not values:
        raise ValueError("nothing to score: no rows")
    if not all(map(math.isfinite, values)):
        raise ValueError("a row's score is no finite number, so its mean would be none")
    column = np.array(values, np.float64)
    low, high = np.percentile(column[_resamples(len(values))].mean(axis=1), [2.5, 97.5])
    # Sums in another order differ in their last digits: the interval must hold its own mean.
    mean = float(column.mean())
    return Score(mean, min(float(low), mean), max(float(high), mean))


def paired_difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Score:
    """Mean of ours less theirs over the rows that both have; each row is drawn with both of its values."""
    return interval([ours[row] - theirs[row] for row in ours if row in theirs])


@lru_cache(maxsize=64)
def _resamples(rows: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, rows, (RESAMPLES, rows))
