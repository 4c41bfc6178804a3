"""
The panels of a board as one picture, drawn from a real Prometheus by the panels' own queries.

Stands in where there is no Grafana; needs matplotlib, which the lab extra brings. Knows no board by name.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from app.watch.figures import shown
from app.watch.panels import COLUMNS, Board, Panel, Place, Unit, places
from app.watch.series import Series, Window, ask
from app.watch.thresholds import BAD, GOOD, Thresholds, limit_of, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN_INCHES, ROW_INCHES = 0.62, 0.34
GUTTER_INCHES = 0.14
HEADING_INCHES = 0.95
DOTS_PER_INCH = 110
SHADES = 96
"""Colours of the file: enough for lines and their smooth edges, and a third of the bytes."""
PAPER, CARD, INK, SOFT, LINE = "#f6f4ef", "#ffffff", "#1c1a22", "#5f5b6b", "#e3dfd6"
PALETTE = ("#a8341b", "#2b6f8f", "#c98a1b", "#5a7d3a", "#7a4f9a", "#1f9e89", "#b5476d", "#6b6b6b", "#3d5aa8", "#8a6a4a")
COLOURS = {GOOD: "#17693f", BAD: "#b3261e"}
"""Of a number; what is neither good nor bad is ink."""
AXIS_UNITS = {"reqps": "requests a second", "cpm": "a minute", "cores": "cores"}
"""Said once in the corner, and not at every tick."""
BARS_MAX = 12
GAP_STEPS = 3
LEGEND_MAX = 8


class DrawError(RuntimeError):
    """A picture cannot be drawn."""


def draw(board: Board, prometheus: str, window: Window, thresholds: Thresholds, path: Path, caption: str = "") -> None:
    """
    Write the picture as PNG. `caption` says where its data come from.

    Raises DrawError without matplotlib, PrometheusError where nobody answers or a query is refused.
    """
    if find_spec("matplotlib") is None:
        raise DrawError("drawing needs matplotlib: pip install 'adloom[lab]'")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    placed = [(row.title, heading, panels) for row, heading, panels in places(without_cluster(board))]
    high = HEADING_INCHES + ROW_INCHES * max(place.top + place.height for *_, panels in placed for _, place in panels)
    wide = COLUMN_INCHES * COLUMNS + 2 * GUTTER_INCHES
    with rc_context({"font.family": "DejaVu Sans", "text.color": INK, "axes.edgecolor": LINE, "font.size": 8}):
        figure = Figure(figsize=(wide, high), facecolor=PAPER)
        _heading(figure, board, window, caption)
        for title, heading, panels in placed:
            left, bottom, _, height = _box(figure, heading)
            figure.text(left, bottom + height * 0.25, title, size=10, weight="bold", color=SOFT)
            for panel, place in panels:
                _card(figure, panel, place, ask(prometheus, panel, window), window, thresholds)
        _save(figure, path)


def without_cluster(board: Board) -> Board:
    """The board without what only a cluster feeds: a picture of a laptop has nothing to show there."""
    rows = (replace(row, panels=tuple(each for each in row.panels if not each.platform)) for row in board.rows)
    return replace(board, rows=tuple(row for row in rows if row.panels))


def _heading(figure: Figure, board: Board, window: Window, caption: str) -> None:
    width, height = figure.get_size_inches()
    end = time.strftime("%Y-%m-%d %H:%M", time.gmtime(window.end_seconds))
    minutes = f"{window.seconds / 60:.0f} minutes until {end} UTC"
    left, top = GUTTER_INCHES / width, 1 - 0.32 / height
    figure.text(left, top, board.title, size=16, weight="bold", va="center")
    absent = sum(1 for panel in board.panels if panel.platform)
    more = f"  ({absent} more panels only in a cluster)" if absent else ""
    figure.text(left, 1 - 0.66 / height, f"{board.answers}{more}", size=9, color=SOFT, va="center")
    figure.text(1 - left, top, minutes, size=8, color=SOFT, va="center", ha="right")
    figure.text(1 - left, 1 - 0.66 / height, caption, size=8, color=SOFT, va="center", ha="right")


def _box(figure: Figure, place: Place) -> tuple[float, float, float, float]:
    """Left, bottom, width and height as shares of the figure."""
    width, height = figure.get_size_inches()
    left = GUTTER_INCHES + place.left * COLUMN_INCHES
    top = HEADING_INCHES + place.top * ROW_INCHES
    return (
        left / width,
        1 - (top + place.height * ROW_INCHES) / height,
        place.width * COLUMN_INCHES / width,
        place.height * ROW_INCHES / height,
    )


def _card(
    figure: Figure, panel: Panel, place: Place, found: Sequence[Series], window: Window, thresholds: Thresholds
) -> None:
    """The white field with its title, and inside what the panel's kind asks for."""
    width, height = figure.get_size_inches()
    left, bottom, wide, high = _box(figure, place)
    gap_x, gap_y = GUTTER_INCHES / 2 / width, GUTTER_INCHES / 2 / height
    field = figure.add_axes((left + gap_x, bottom + gap_y, wide - 2 * gap_x, high - 2 * gap_y), facecolor=CARD)
    field.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    inches_wide, inches_high = (wide - 2 * gap_x) * width, (high - 2 * gap_y) * height
    field.text(
        0.1 / inches_wide, 1 - 0.17 / inches_high, panel.title, size=8.5, weight="bold", va="center", clip_on=True
    )
    if not found:
        field.text(0.5, 0.45, "no data", size=9, color=SOFT, ha="center", va="center")
        return
    if panel.kind == "lines":
        said = AXIS_UNITS.get(panel.unit, "")
        field.text(1 - 0.1 / inches_wide, 1 - 0.17 / inches_high, said, size=7, color=SOFT, ha="right", va="center")
    if panel.kind == "number":
        _number(field, panel, found[0].last, thresholds)
        return
    if panel.kind == "table":
        _table(field, found)
        return
    inside = _inside(figure, panel, (left + gap_x, bottom + gap_y, inches_wide, inches_high))
    (_bars if panel.kind == "bars" else _lines)(inside, panel, found, window, thresholds)


def _inside(figure: Figure, panel: Panel, card: tuple[float, float, float, float]) -> Axes:
    """Axes within a card, that leave room for its title, the labels and the legend."""
    width, height = figure.get_size_inches()
    left, bottom, wide, high = card
    margin_left, margin_right = (1.75, 0.55) if panel.kind == "bars" else (0.58, 0.12)
    margin_bottom, margin_top = (0.12, 0.36) if panel.kind == "bars" else (0.62, 0.38)
    return figure.add_axes(
        (
            left + margin_left / width,
            bottom + margin_bottom / height,
            (wide - margin_left - margin_right) / width,
            (high - margin_bottom - margin_top) / height,
        ),
        facecolor=CARD,
    )


def _number(field: Axes, panel: Panel, value: float, thresholds: Thresholds) -> None:
    text = panel.words.get(round(value), "") if panel.words else ""
    field.text(
        0.5, 0.36, text or shown(value, panel.unit, panel.decimals), size=19, weight="bold", ha="center", va="center",
        color=_colour(panel, value, thresholds),
    )  # fmt: skip


def _colour(panel: Panel, value: float, thresholds: Thresholds) -> str:
    """Of the last step that the value has reached, as Grafana colours it."""
    reached = [colour for start, colour in steps(panel, thresholds) if start is None or value >= start]
    return COLOURS.get(reached[-1], INK)


def _table(field: Axes, found: Sequence[Series]) -> None:
    """The labels of each series; what every scrape adds is left out, and digests are cut."""
    names = ("instance", "version", "commit", "bundle")
    for place, name in enumerate(names):
        left = 0.03 + 0.24 * place
        field.text(left, 0.72, name, size=8, color=SOFT, weight="bold")
        for line, series in enumerate(found[:5]):
            text = series.labels.get(name, "") or "not told"
            field.text(left, 0.56 - 0.13 * line, text if len(text) <= 22 else f"{text[:12]}…", size=9, clip_on=True)


def _bars(axes: Axes, panel: Panel, found: Sequence[Series], _window: Window, thresholds: Thresholds) -> None:
    rows = sorted(found, key=lambda series: (-series.last, series.name))[:BARS_MAX]
    values = [series.last for series in rows]
    colours = [_colour(panel, value, thresholds) for value in values]
    ends = [PALETTE[1] if colour == INK else colour for colour in colours]
    axes.barh(range(len(rows)), values, color=ends, height=0.62)
    axes.set_yticks(range(len(rows)), [_cut(series.name, 27) for series in rows], size=7.5)
    axes.set_ylim(max(len(rows), 3) - 0.4, -0.6)
    right = max([*values, *_limits(panel, thresholds, near=max(values))]) or 1.0
    axes.set(xlim=(0, right * 1.02), xticks=[])
    for place, value in enumerate(values):
        axes.annotate(
            shown(value, panel.unit, panel.decimals), (1.02, place), xycoords=("axes fraction", "data"), size=7.5,
            va="center", color=SOFT if colours[place] == INK else colours[place],
        )  # fmt: skip
    for limit in _limits(panel, thresholds, near=max(values)):
        axes.axvline(limit, color=COLOURS[BAD], linestyle=(0, (4, 3)), linewidth=1)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK)


def _lines(axes: Axes, panel: Panel, found: Sequence[Series], window: Window, thresholds: Thresholds) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    tick_unit: Unit = "short" if panel.unit in AXIS_UNITS else panel.unit
    rows = sorted(found, key=lambda series: series.name)
    if panel.stacked and len(rows) > 1:
        _stack(axes, rows)
    else:
        for place, series in enumerate(rows):
            minutes, values = _with_gaps(series, window)
            axes.plot(minutes, values, color=PALETTE[place % len(PALETTE)], linewidth=1.4, label=series.name)
            if len(rows) <= 2:
                axes.fill_between(minutes, values, color=PALETTE[place % len(PALETTE)], alpha=0.07, linewidth=0)
    highest = axes.get_ylim()[1] if any(value for series in rows for value in series.values) else 0.0
    limits = _limits(panel, thresholds, near=highest)
    for limit in limits:
        axes.axhline(limit, color=COLOURS[BAD], linestyle=(0, (4, 3)), linewidth=1)
    axes.set_xlim(-window.seconds / 60, 0)
    axes.set_ylim(0, panel.top * 1.03 if panel.top else max([highest, *(limit * 1.3 for limit in limits)]) or 1.0)
    counts = panel.unit == "short" and all(value.is_integer() for series in rows for value in series.values)
    axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2, integer=counts))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, tick_unit, None)))
    is_long = window.seconds >= 3 * 60
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=is_long))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "now" if not value else f"{value:.0f} min" if is_long else f"{value * 60:.0f} s")
    )
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=SOFT, labelsize=7)
    axes.tick_params(axis="x", pad=5)
    axes.set_axisbelow(True)
    _legend(axes, columns=4 if panel.width >= 8 else 3)


def _with_gaps(series: Series, window: Window) -> tuple[list[float], list[float]]:
    """Minutes before the end, and values: no line leads over a time in which there was nothing."""
    minutes: list[float] = []
    values: list[float] = []
    for at, value in zip(series.times_seconds, series.values, strict=True):
        here = (at - window.end_seconds) / 60
        if minutes and here - minutes[-1] > GAP_STEPS * window.step_seconds / 60:
            minutes.append(here)
            values.append(math.nan)
        minutes.append(here)
        values.append(value)
    return minutes, values


def _stack(axes: Axes, rows: Sequence[Series]) -> None:
    """Every series on the times of all, 0 where it has none; minutes before the newest."""
    times = sorted({at for series in rows for at in series.times_seconds})
    by_time = [dict(zip(series.times_seconds, series.values, strict=True)) for series in rows]
    heights = [[values.get(at, 0.0) for at in times] for values in by_time]
    colours = [PALETTE[place % len(PALETTE)] for place in range(len(rows))]
    minutes = [(at - times[-1]) / 60 for at in times]
    axes.stackplot(minutes, heights, labels=[series.name for series in rows], colors=colours, alpha=0.78, linewidth=0)


def _legend(axes: Axes, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    named = [(handle, _cut(name, 24)) for handle, name in zip(handles, names, strict=True) if name][:LEGEND_MAX]
    if named:
        axes.legend(
            [handle for handle, _ in named], [name for _, name in named], loc="upper left", ncols=columns,
            bbox_to_anchor=(-0.08, -0.13), frameon=False, fontsize=6.8, handlelength=1, columnspacing=1,
            handletextpad=0.4, borderpad=0, labelspacing=0.25,
        )  # fmt: skip


def _limits(panel: Panel, thresholds: Thresholds, *, near: float) -> list[float]:
    """The alert's number, where it can be shown without flattening everything else to a line."""
    if not panel.alert:
        return []
    limit = limit_of(panel, thresholds).value
    return [limit] if limit <= max(near * 20, 1.0) or panel.top else []


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def _save(figure: Figure, path: Path) -> None:
    """A PNG with few colours: the picture is flat, and lies in Git."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer.seek(0)
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(SHADES).save(path, optimize=True)
