"""
How far two samples of one column are from each other: the two statistics of Evidently that are pinned here.

Its formulas, tied to it by a test; `Resampler` is the same for the thousands of draws of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.drift.columns import Column, Floats, Table, Words

NORM_MIN = 0.001
"""Evidently divides by at least this: a column that never changed would otherwise make anything infinite."""

Rows = NDArray[np.int64]
Statistics = NDArray[np.float64]


def norm(reference: Floats) -> float:
    """What a distance of numbers is divided by."""
    return max(float(np.std(_finite(reference), dtype=np.float64)), NORM_MIN)


def wasserstein(reference: Floats, current: Floats) -> float:
    """First Wasserstein distance in standard deviations of the reference."""
    first, second = (_finite(values).astype(np.float64) for values in (reference, current))
    return distance_of_values(first, second) / norm(reference)


def distance_of_values(first: Statistics, second: Statistics) -> float:
    """First Wasserstein distance in the values' own unit: the area between the two distribution functions."""
    both = np.sort(np.concatenate((first, second)))
    shares = [np.searchsorted(np.sort(values), both[:-1], side="right") / len(values) for values in (first, second)]
    return float(np.abs(shares[0] - shares[1]) @ np.diff(both))


def jensen_shannon(reference: Words, current: Words) -> float:
    """Square root of the divergence in nats: 0 for the same shares, 0.83 for no word in common."""
    labels = sorted({*reference.labels, *current.labels})
    return root_divergence(_shares(reference, labels), _shares(current, labels))


def distance(column: Column, reference: Table, current: Table) -> float:
    """By the column's pinned method. Both must have a row that says something in it."""
    if column.is_number:
        return wasserstein(reference.numbers[column.name], current.numbers[column.name])
    return jensen_shannon(reference.words[column.name], current.words[column.name])


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A column as places in the sorted values or labels; the last place stands for nothing said."""

    places: NDArray[np.int64]
    count: int
    gaps: NDArray[np.float64] | None
    """Between neighbouring values, in standard deviations; None for words."""

    def between(self, first: Rows, second: Rows) -> float:
        parts = [np.bincount(self.places[rows], minlength=self.count + 1)[: self.count] for rows in (first, second)]
        shares = [part / max(part.sum(), 1) for part in parts]
        if self.gaps is None:
            return root_divergence(*shares)
        return float(np.abs(np.cumsum(shares[0] - shares[1])[:-1]) @ self.gaps)


class Resampler:
    """Draws windows out of one table, blocks of neighbours at a time, and tells their distances."""

    def __init__(self, table: Table, columns: Sequence[Column], block_rows: int) -> None:
        self._rows, self._block_rows = table.rows, min(block_rows, table.rows)
        self._ranked = [_ranked(table, column) for column in columns]

    def draw(self, rows: int, random: np.random.Generator) -> Rows:
        """Places of so many rows."""
        blocks = -(-rows // self._block_rows)
        starts = random.integers(0, self._rows - self._block_rows + 1, blocks)
        return np.asarray(starts[:, None] + np.arange(self._block_rows)).ravel()[:rows]

    def statistics(self, rows: int, draws: int, random: np.random.Generator) -> Statistics:
        """Distances of windows to the reference where nothing has changed, [draw, column]; both are drawn anew."""
        found = np.empty((draws, len(self._ranked)))
        for line in found:
            reference, window = self.draw(self._rows, random), self.draw(rows, random)
            line[:] = [ranked.between(reference, window) for ranked in self._ranked]
        return found


def _ranked(table: Table, column: Column) -> _Ranked:
    if not column.is_number:
        words = table.words[column.name]
        return _Ranked(words.codes.astype(np.int64), len(words.labels), None)
    values = table.numbers[column.name]
    different = np.unique(_finite(values))
    places = np.where(np.isfinite(values), np.searchsorted(different, values), len(different))
    return _Ranked(places.astype(np.int64), len(different), np.diff(different.astype(np.float64)) / norm(values))


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _shares(words: Words, labels: Sequence[str]) -> NDArray[np.float64]:
    counts: Mapping[str, int] = dict(
        zip(words.labels, np.bincount(words.codes, minlength=len(words.labels)).tolist(), strict=True)
    )
    return np.array([counts.get(label, 0) for label in labels]) / max(len(words.codes), 1)


def root_divergence(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Jensen-Shannon distance of two lists of shares."""
    middle = (first + second) / 2
    total = 0.0
    for part in (first, second):
        there = part > 0
        total += float(np.sum(part[there] * np.log(part[there] / middle[there])))
    return float(np.sqrt(max(total / 2, 0.0)))
