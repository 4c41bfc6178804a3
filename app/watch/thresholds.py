"""
The numbers in the alerts' expressions, for the dashboards to draw: the rules are their one source.

Knows no metric and no alert. Of an expression it reads the comparisons with a constant, in their order; steps() says
where a panel's colours change by them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.watch.alert_rules import alerts
from app.watch.panels import Panel

GOOD, BAD, NEUTRAL = "green", "red", "blue"
JUST_ABOVE_ZERO = 1e-9

_NUMBER = r"\d+(?:\.\d+)?"
_COMPARISON = re.compile(rf"(?<![=!<>~])(>=|<=|==|>|<)\s*({_NUMBER}(?:\s*\*\s*{_NUMBER})*)(?![\w\[])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Threshold:
    """From where on an alert would fire."""

    value: float
    is_floor: bool
    """Below it is bad; otherwise above it."""
    includes_value: bool
    """The value itself is bad."""


Thresholds = Mapping[str, tuple[Threshold, ...]]
"""By alert."""


def thresholds(root: Path) -> dict[str, tuple[Threshold, ...]]:
    """By alert; alerts that compare with no constant are left out. Raises ValueError where there are no rules."""
    found = {alert.name: compared(alert.expression) for alert in alerts(root)}
    return {name: numbers for name, numbers in found.items() if numbers}


def compared(expression: str) -> tuple[Threshold, ...]:
    """Every comparison of the expression with a constant, from left to right."""
    bare = _QUOTED.sub('""', expression)  # a regular expression inside quotes compares nothing
    return tuple(_threshold(operator, product) for operator, product in _COMPARISON.findall(bare))


def steps(panel: Panel, thresholds: Thresholds) -> list[tuple[float | None, str]]:
    """Where the colours change, rising, the first from below; a single one where nothing is better than another."""
    if panel.alert:
        limit = limit_of(panel, thresholds)
        below, above = (BAD, GOOD) if limit.is_floor else (GOOD, BAD)
        # Grafana's steps include their value. A count that may be 0, and must not be more, is bad from there on.
        value = limit.value if limit.is_floor or limit.includes_value or limit.value else JUST_ABOVE_ZERO
        return [(None, below), (value, above)]
    if panel.good == "low":
        return [(None, GOOD), (0.5, BAD)]  # counts: half of one is none
    if panel.good == "high":
        return [(None, BAD), (0.5, GOOD)]
    return [(None, NEUTRAL)]


def limit_of(panel: Panel, thresholds: Thresholds) -> Threshold:
    """What the panel's alert compares with. Raises ValueError where its rule has no such number."""
    found = thresholds.get(panel.alert, ())
    if panel.comparison >= len(found):
        raise ValueError(f"the panel {panel.title!r} wants a number of {panel.alert}, and its rule has none there")
    return found[panel.comparison]


def _threshold(operator: str, product: str) -> Threshold:
    value = round(math.prod(float(factor) for factor in product.split("*")), 12)  # 14.4 x 0.005 is 0.072
    if operator == "==" and value == 0:  # of something that is 0 or 1
        return Threshold(1, is_floor=True, includes_value=False)
    return Threshold(value, is_floor=operator.startswith("<"), includes_value="=" in operator)
