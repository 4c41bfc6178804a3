"""
Pictures of numbers as SVG: bars, histograms, dots and bands, drawn in the colours of the page's style sheet.

Knows numbers and labels; what they mean is said beside the picture. 400 units wide, so that a telephone can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.ui.health_figures import Day

WIDTH = 400
LEFT, RIGHT = 118, 392
"""Of the bars: names stand on the left, values behind the bars."""
ROW = 24
NOTE_CHAR_WIDTH = 6.2
PLOT_TOP, PLOT_BOTTOM, PLOT_LEFT, PLOT_RIGHT = 12, 190, 34, 380
HEIGHT = 226
NAME_CHARS_MAX = 18
STRIP_LEFT, STRIP_CELL_MAX, STRIP_ENDS_WIDTH = 138, 26.0, 150.0
KINDS = 6
"""Of dots: as many as the style sheet has colours, each with a form of its own for those who see no colours."""


@dataclass(frozen=True, slots=True)
class Bar:
    """`kind` chooses a colour; `note` stands behind the bar."""

    name: str
    value: float
    note: str
    kind: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """`share` is of what would be too much; None where nothing is known."""

    share: float | None
    is_over: bool
    says: str


@dataclass(frozen=True, slots=True)
class Strip:
    """One thing over time, the oldest first."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def times_over(self) -> int:
        """How often it was too much."""
        return sum(cell.is_over for cell in self.cells)

    @property
    def most(self) -> float:
        """The largest share."""
        return max((cell.share or 0.0 for cell in self.cells), default=0.0)


def _svg(height: float, says: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}" class="chart">{}</svg>').format(
        WIDTH, f"{height:g}", says, Markup().join(parts)
    )


def _text(x: float, y: float, text: object, kind: str = "", anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        f"{x:.1f}", f"{y:.1f}", anchor, kind, text
    )


def _box(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="2" class="{}"/>').format(
        f"{x:.1f}", f"{y:.1f}", f"{max(0.0, width):.1f}", f"{max(0.0, height):.1f}", kind
    )


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARS_MAX else f"{name[: NAME_CHARS_MAX - 1]}…"


STRIP_LEGEND = (
    (40, Cell(0.3, is_over=False, says=""), "near the reference"),
    (188, Cell(1.0, is_over=True, says=""), "drift"),
    (262, Cell(None, is_over=False, says=""), "too few rows"),
)
"""Each with where it begins."""


def bars(rows: Sequence[Bar], says: str) -> Markup:
    """One line each, the longest as wide as there is room."""
    most = max((bar.value for bar in rows), default=0.0) or 1.0
    room = max((len(bar.note) for bar in rows), default=0) * NOTE_CHAR_WIDTH + 8
    parts = []
    for place, bar in enumerate(rows):
        y = 6 + place * ROW
        width = (RIGHT - LEFT - room) * bar.value / most
        parts += [
            _text(LEFT - 8, y + 14, _short(bar.name), "name", "end"),
            _box(LEFT, y + 2, max(2.0, width), ROW - 8, f"column kind{bar.kind % KINDS}"),
            _text(LEFT + width + 7, y + 14, bar.note, "note"),
        ]
    return _svg(12 + len(rows) * ROW, says, parts)


def histogram(counts: Sequence[int], edges: Sequence[str], says: str, axis: str) -> Markup:
    """`edges` name the borders, one more than there are counts; every other one is written."""
    most = max(counts, default=0) or 1
    width = (PLOT_RIGHT - PLOT_LEFT) / max(1, len(counts))
    parts = [_line(PLOT_LEFT, PLOT_BOTTOM, PLOT_RIGHT, PLOT_BOTTOM)]
    for place, count in enumerate(counts):
        height = (PLOT_BOTTOM - PLOT_TOP - 14) * count / most
        x = PLOT_LEFT + place * width
        parts.append(_box(x + 1, PLOT_BOTTOM - height, width - 2, height, "column kind0"))
        if count:
            parts.append(_text(x + width / 2, PLOT_BOTTOM - height - 4, f"{count:,}", "note", "middle"))
    step = 2 if len(edges) > 7 else 1
    parts += [
        _text(PLOT_LEFT + place * width, PLOT_BOTTOM + 14, edge, "note", "middle")
        for place, edge in enumerate(edges)
        if place % step == 0
    ]
    return _svg(HEIGHT, says, [*parts, _text(PLOT_RIGHT, HEIGHT - 4, axis, "note", "end")])


def _line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="axis"/>').format(x1, y1, x2, y2)


def dots(points: Sequence[tuple[float, float, int]], names: Sequence[str], says: str) -> Markup:
    """`points` between 0 and 1 with their kind; `names` of the kinds become the legend."""
    parts = [
        _dot(PLOT_LEFT - 20 + x * (PLOT_RIGHT - PLOT_LEFT + 16), PLOT_TOP + y * (PLOT_BOTTOM - PLOT_TOP), kind)
        for x, y, kind in points
    ]
    for place, name in enumerate(names):
        x, y = 14 + (place % 3) * 130, PLOT_BOTTOM + 22 + (place // 3) * 18
        parts += [_dot(x, y - 4, place), _text(x + 9, y, _short(name), "name")]
    return _svg(PLOT_BOTTOM + 28 + (len(names) - 1) // 3 * 18, says, parts)


def _dot(x: float, y: float, kind: int) -> Markup:
    """Circle, square, triangle, diamond, ring, cross."""
    shape = (
        "M{a},{y}a{r},{r} 0 1 0 {d},0a{r},{r} 0 1 0 -{d},0",
        "M{a},{t}h{d}v{d}h-{d}z",
        "M{x},{t}L{b},{u}H{a}z",
        "M{x},{t}L{b},{y}L{x},{u}L{a},{y}z",
        "M{a},{y}a{r},{r} 0 1 0 {d},0a{r},{r} 0 1 0 -{d},0m1.6,0a2,2 0 1 1 4,0a2,2 0 1 1 -4,0",
        "M{a},{t}L{b},{u}M{b},{t}L{a},{u}",
    )[kind % KINDS]
    radius = 3.6
    path = shape.format(
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        a=f"{x - radius:.1f}",
        b=f"{x + radius:.1f}",
        t=f"{y - radius:.1f}",
        u=f"{y + radius:.1f}",
        r=radius,
        d=2 * radius,
    )
    return Markup('<path d="{}" class="dot kind{}"/>').format(path, kind % KINDS)


def band(lows: Sequence[float], middles: Sequence[float], highs: Sequence[float], says: str, axis: str) -> Markup:
    """A line of middles within the band from low to high, from left to right."""
    most = max(highs, default=0.0) or 1.0
    step = (PLOT_RIGHT - PLOT_LEFT) / max(1, len(middles) - 1)

    def at(place: int, value: float) -> str:
        return f"{PLOT_LEFT + place * step:.1f},{PLOT_BOTTOM - (PLOT_BOTTOM - PLOT_TOP) * value / most:.1f}"

    upper = [at(place, value) for place, value in enumerate(highs)]
    lower = [at(place, value) for place, value in enumerate(lows)]
    middle = [at(place, value) for place, value in enumerate(middles)]
    parts = [
        Markup('<polygon points="{}" class="band"/>').format(" ".join([*upper, *reversed(lower)])),
        Markup('<polyline points="{}" class="curve"/>').format(" ".join(middle)),
        _line(PLOT_LEFT, PLOT_BOTTOM, PLOT_RIGHT, PLOT_BOTTOM),
        _text(PLOT_LEFT - 6, PLOT_TOP + 8, f"{most:,.0f}", "note", "end"),
        _text(PLOT_LEFT - 6, PLOT_BOTTOM, "0", "note", "end"),
        _text(PLOT_LEFT, PLOT_BOTTOM + 16, "first rows", "note"),
        _text(PLOT_RIGHT, PLOT_BOTTOM + 16, "last rows", "note", "end"),
        _text(PLOT_RIGHT, HEIGHT - 2, axis, "note", "end"),
    ]
    return _svg(HEIGHT, says, parts)


def days(shown: Sequence[Day]) -> Markup:
    """Creatives of each day as columns, the oldest on the left, with their mean validity above."""
    ordered = sorted(shown, key=lambda day: -day.ago)
    most = max((day.count for day in ordered), default=0) or 1
    width = (PLOT_RIGHT - 10) / max(1, len(ordered))
    parts = [_line(8, PLOT_BOTTOM, PLOT_RIGHT, PLOT_BOTTOM)]
    for place, day in enumerate(ordered):
        height = (PLOT_BOTTOM - PLOT_TOP - 36) * day.count / most
        x = 10 + place * width
        name = "today" if day.ago == 0 else f"-{day.ago} d"
        validity = "–" if day.mean_validity is None else f"{day.mean_validity:.2f}"
        parts += [
            _box(x + 5, PLOT_BOTTOM - height, width - 10, height, "column kind0"),
            _text(x + width / 2, PLOT_BOTTOM - height - 18, validity, "name", "middle"),
            _text(x + width / 2, PLOT_BOTTOM - height - 5, f"{day.count:,} ads", "note", "middle"),
            _text(x + width / 2, PLOT_BOTTOM + 15, name, "note", "middle"),
        ]
    says = "; ".join(
        f"{'last 24 hours' if day.ago == 0 else f'{day.ago} days before'}: {day.count} ads"
        + ("" if day.mean_validity is None else f" with a mean validity of {day.mean_validity:.2f}")
        for day in ordered
    )
    return _svg(PLOT_BOTTOM + 24, says, parts)


def strips(rows: Sequence[Strip], ends: tuple[str, str], says: str) -> Markup:
    """
    Cells over time: the fuller, the nearer to too much; one that is over is full and has a cross.

    `ends` name the first and the last moment.
    """
    count = max((len(row.cells) for row in rows), default=1)
    width = min(STRIP_CELL_MAX, (RIGHT - STRIP_LEFT) / max(1, count))
    parts = []
    for place, row in enumerate(rows):
        y = 6 + place * ROW
        parts.append(_text(STRIP_LEFT - 8, y + 14, _short(row.name), "name", "end"))
        parts += [_cell(STRIP_LEFT + at * width, y, width, cell) for at, cell in enumerate(row.cells)]
    bottom = 6 + len(rows) * ROW
    parts += [
        _text(STRIP_LEFT, bottom + 12, ends[0], "note"),
        _text(
            STRIP_LEFT + count * width, bottom + 12, ends[1] if count * width > STRIP_ENDS_WIDTH else "", "note", "end"
        ),
    ]
    for x, cell, name in STRIP_LEGEND:
        parts += [_cell(x, bottom + 22, 16, cell), _text(x + 22, bottom + 36, name, "note")]
    return _svg(bottom + 46, says, parts)


def _cell(x: float, y: float, width: float, cell: Cell) -> Markup:
    side = max(2.0, width - 2)
    kind = "cell" if cell.share is not None else "cell unknown"
    full = 0.0 if cell.share is None else 1.0 if cell.is_over else 0.08 + 0.5 * min(1.0, cell.share)
    box = Markup(
        '<rect x="{}" y="{}" width="{}" height="{}" rx="3" class="{}" fill-opacity="{}"><title>{}</title></rect>'
    ).format(f"{x:.1f}", f"{y + 1:.1f}", f"{side:.1f}", ROW - 6, kind, f"{full:.2f}", cell.says)
    if not cell.is_over:
        return box
    a, b, t, u = x + side / 2 - 3, x + side / 2 + 3, y + ROW / 2 - 5, y + ROW / 2 + 1
    cross = Markup('<path d="M{},{}L{},{}M{},{}L{},{}" class="cross"/>')
    return box + cross.format(*(f"{each:.1f}" for each in (a, t, b, u, b, t, a, u)))


def trace(shares: Sequence[float | None], ends: tuple[str, str], says: str) -> Markup:
    """A line of shares of what would be too much, with a line at too much itself; gaps where nothing is known."""
    most = 1.15 * max(1.0, *(share or 0.0 for share in shares))
    step = (PLOT_RIGHT - PLOT_LEFT) / max(1, len(shares) - 1)

    def at(share: float) -> float:
        return PLOT_BOTTOM - (PLOT_BOTTOM - PLOT_TOP) * share / most

    points = [(PLOT_LEFT + place * step, at(share)) for place, share in enumerate(shares) if share is not None]
    parts = [
        _line(PLOT_LEFT, PLOT_BOTTOM, PLOT_RIGHT, PLOT_BOTTOM),
        Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="limit"/>').format(
            PLOT_LEFT, f"{at(1.0):.1f}", PLOT_RIGHT, f"{at(1.0):.1f}"
        ),
        _text(PLOT_LEFT, at(1.0) - 5, "drift from here on", "note"),
        Markup('<polyline points="{}" class="curve"/>').format(" ".join(f"{x:.1f},{y:.1f}" for x, y in points)),
        *(_dot(x, y, 3 if y < at(1.0) else 0) for x, y in points),
        _text(PLOT_LEFT, PLOT_BOTTOM + 16, ends[0], "note"),
        _text(PLOT_RIGHT, PLOT_BOTTOM + 16, ends[1], "note", "end"),
    ]
    return _svg(PLOT_BOTTOM + 24, says, parts)
