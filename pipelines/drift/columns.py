"""
Columns that are compared, and tables of them: numbers, and words as codes.

Knows no task and no statistics.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["input", "output"]
SIDES: tuple[Side, ...] = ("input", "output")
Floats = NDArray[np.float32]
Codes = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is measured of every record."""

    name: str
    side: Side
    says: str
    least_change: float | None = None
    """Of a column of numbers: a smaller change is nobody's business, in the column's unit. None: words."""

    @property
    def is_number(self) -> bool:
        """Otherwise words of a small set."""
        return self.least_change is not None

    @property
    def method(self) -> str:
        """As Evidently calls it; pinned, so that no number of rows changes it."""
        return "wasserstein" if self.is_number else "jensenshannon"


@dataclass(frozen=True, slots=True)
class Words:
    """A column of words."""

    codes: Codes
    """Places in `labels`, one a row."""
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, rows in the order in which they happened."""

    numbers: Mapping[str, Floats]
    """NaN where a record says nothing."""
    words: Mapping[str, Words]
    rows: int

    def taken(self, rows: NDArray[Any]) -> Table:
        """Those rows, by place, in that order."""
        numbers = {name: values[rows] for name, values in self.numbers.items()}
        words = {name: Words(column.codes[rows], column.labels) for name, column in self.words.items()}
        return Table(numbers, words, len(rows))

    def count(self, name: str) -> int:
        """Rows that say something in this column."""
        return int(np.count_nonzero(np.isfinite(self.numbers[name]))) if name in self.numbers else self.rows


Measured = Mapping[Side, Table]
"""Inputs once a request, outputs once a creative: a product asked for in six channels came in once."""

EMPTY = Table({}, {}, 0)


def spread_blocks(rows: int, rows_max: int, block_rows: int, seed: int) -> NDArray[np.int64]:
    """
    Places of at most `rows_max` of `rows`, whole blocks drawn without replacement, in order.

    Neighbours stay together, because they resemble each other and a sample has to show that.
    """
    if rows <= rows_max:
        return np.arange(rows)
    starts = np.arange(0, rows - block_rows + 1, block_rows)
    drawn = np.random.default_rng(seed).choice(starts, rows_max // block_rows, replace=False)
    return (np.sort(drawn)[:, None] + np.arange(block_rows)).ravel()


class WordsMaker:
    """Takes words one by one; four bytes of each."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._codes = array("i")

    def append(self, word: str) -> None:
        """A new word becomes a label: whoever calls sees to it that there are few."""
        self._codes.append(self._places.setdefault(word, len(self._places)))

    def made(self) -> Words:
        """Labels in alphabetical order, so that the same rows make the same table."""
        labels = tuple(sorted(self._places))
        order = np.zeros(max(len(labels), 1), np.int32)
        for place, label in enumerate(labels):
            order[self._places[label]] = place
        return Words(order[np.array(self._codes, np.int32)], labels)
