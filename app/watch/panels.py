"""
What a dashboard is made of: boards, rows, panels and their queries, as data.

Knows neither Grafana nor matplotlib: grafana.py turns boards into JSON, draw.py into pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "lines", "bars", "table"]
Unit = Literal["short", "percentunit", "s", "reqps", "cpm", "bytes", "none", "cores"]
"""Grafana's names, but for cores, which it has none for."""

COLUMNS = 24
"""Of Grafana's grid."""
API = 'job="adloom-api", namespace=~"$namespace"'
EXPORTER = 'job="adloom-exporter", namespace=~"$namespace"'
CHANNEL = 'channel=~"$channel"'
"""Selectors that every board shares. All of $namespace is `.*`, which also matches series without that label."""
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression; `legend` names its series, with labels in double braces."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. Its thresholds are the rules' own: it names the alert and never repeats the number."""

    title: str
    """A noun, or the question that it answers."""
    description: str
    """One sentence."""
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    width: int = 8
    height: int = 8
    alert: str = ""
    """Whose threshold is drawn; in the unit of the panel."""
    comparison: int = 0
    """Which one, where the alert's expression has several; from 0."""
    runbooks: tuple[str, ...] = ()
    """Further alerts that this panel helps with; the one above is linked anyway."""
    words: Mapping[int, str] | None = None
    """What single values mean to a reader: 1 is worse than 0."""
    good: Literal["", "low", "high"] = ""
    """Which end is good, where no rule says so; a number that is not 0 (or not 1) is then coloured."""
    platform: str = ""
    """Why it shows nothing outside a cluster; empty where the service and the exporter feed it."""
    decimals: int | None = None
    top: float | None = None
    """Of the axis."""
    stacked: bool = False

    @property
    def alerts(self) -> tuple[str, ...]:
        """Every alert whose runbook is linked, once."""
        return tuple(dict.fromkeys(name for name in (self.alert, *self.runbooks) if name))


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    answers: str
    """One sentence: what one learns here."""
    rows: tuple[Row, ...]
    has_channels: bool = False

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in reading order."""
        return tuple(panel for row in self.rows for panel in row.panels)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel stands on the grid, in columns and in rows of about 30 pixels."""

    left: int
    top: int
    width: int
    height: int


def places(board: Board) -> Iterator[tuple[Row, Place, tuple[tuple[Panel, Place], ...]]]:
    """Each row with the place of its heading, and its panels with theirs; a panel that does not fit starts a line."""
    top = 0
    for row in board.rows:
        heading = Place(0, top, COLUMNS, 1)
        top, left, line_height = top + 1, 0, 0
        found = []
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, line_height = top + line_height, 0, 0
            found.append((panel, Place(left, top, panel.width, panel.height)))
            left, line_height = left + panel.width, max(line_height, panel.height)
        top += line_height
        yield row, heading, tuple(found)


def number(title: str, description: str, unit: Unit, expr: str, **more: object) -> Panel:
    """One value, large."""
    return Panel(title, description, unit, (Query(expr),), **{"kind": "number", "width": 4, "height": 4, **more})  # type: ignore[arg-type]  # the fields of Panel, by name


def filled(expr: str, *, rate_seconds: int, range_seconds: int) -> str:
    """The expression as Grafana would send it with every variable on All. Raises ValueError for an unknown one."""
    values = {
        "namespace": ".*",
        "channel": ".*",
        "__rate_interval": f"{rate_seconds}s",
        "__range": f"{range_seconds}s",
    }

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in values:
            raise ValueError(f"a query names the variable ${name}, which no dashboard has")
        return values[name]

    return VARIABLE.sub(value, expr)
