"""
How often values fell where, counted where they arise and published by whoever knows a metrics library.

Bounds are those that matter for this model on ordinary cores.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

STEP_ROWS = (1, 2, 4, 8, 12, 16, 32)
WAIT_SECONDS = (0.005, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40)
"""An idle engine takes a request at once; a full queue of 64 keeps one for most of a minute."""
FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 20, 40)
"""A prompt of 100 to 200 tokens is read in 0.1 to 0.3 s on two cores, when it is alone."""


class Tally:
    """Counts by bucket: `counts[i]` values were at most `bounds[i]`, and the last of `counts` lay above all."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value. By one thread only; others may read."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class EngineCounts:
    """What an engine has done since it was made."""

    tokens: int = 0
    """Sampled and kept."""
    step_rows: Tally = field(default_factory=lambda: Tally(STEP_ROWS))
    wait_seconds: Tally = field(default_factory=lambda: Tally(WAIT_SECONDS))
    first_token_seconds: Tally = field(default_factory=lambda: Tally(FIRST_TOKEN_SECONDS))
