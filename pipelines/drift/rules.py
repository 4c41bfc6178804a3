"""The numbers that drift is judged by, each with its reason; flags of `adloom drift` replace some of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriftRules:
    """Pinned into a reference when it is made: what was calibrated is what is judged by."""

    rows_min: int = 200
    """Fewer say nothing: at 200 the bootstrap tells a shift of a fifth of a standard deviation from none."""
    reference_rows_max: int = 5000
    """Of each side. Its own error, 1 / sqrt(5000), is a seventh of the floor below."""
    block_rows: int = 16
    """Neighbours in the log resemble each other (one merchant, one request): they are drawn together."""
    draws: int = 1000
    """Of the bootstrap, each size: the quantile of 0.5 % then rests on five of them."""
    window_alpha: float = 0.01
    """At most so many ordinary windows are taken for drift, all columns together."""
    effect_min: float = 0.1
    """A tenth of the reference's standard deviation, or this Jensen-Shannon distance: Evidently's own defaults."""
    sizes: tuple[int, ...] = (200, 500, 1250, 3000, 8000)
    """Rows of a window that limits are calibrated at; between them by the logarithm, above by the last."""
    shift_sizes: tuple[int, ...] = (200, 1250)
    """Rows of a window that the smallest shift is told for."""
    validity_margin: float = 0.03
    """Mean validity may fall by this: one ad in seventeen with an invented fact (factor 0.5) is not tolerated."""
    validity_errors: float = 2.33
    """And by so many standard errors of the window's mean, one in a hundred by chance."""
    seed: int = 20260115
    """Of every draw: the same rows give the same limits."""
