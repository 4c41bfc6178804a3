"""
Flat geometric artwork as SVG elements: tiles, rings, suns, arches, a cropped character, and a few plain objects.

Knows no words of the ad; every function fills one box of pixels and is clipped to it by `field`.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from model.palette import Palette, mix, visible
from model.typeface import Line


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Pixels from the left of the picture to the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Pixels from the top of the picture to the lower edge."""
        return self.y + self.height

    def inset(self, margin: float) -> Box:
        """The same box, smaller by `margin` on every side."""
        return Box(self.x + margin, self.y + margin, self.width - 2 * margin, self.height - 2 * margin)


@dataclass(frozen=True, slots=True)
class Inks:
    """What the artwork is painted with: the box's own ground and three colours that show on it."""

    ground: str
    main: str
    second: str
    dark: str


def inks(ground: str, palette: Palette, page: str) -> Inks:
    """
    Three of the palette's colours for shapes on `ground`.

    None is the `page` around the artwork either: a shape of that colour at the edge would eat into the outline.
    """
    own = (palette.accent, palette.second, palette.background, palette.foreground, mix(ground, "#ffffff", 0.4))
    others = [colour for colour in dict.fromkeys(own) if colour not in {ground, page}]
    main, second, dark = (visible(colour, ground) for colour in (others * 3)[:3])
    return Inks(ground, main, second, dark)


def choices(seed: str) -> Iterator[int]:
    """An endless, reproducible row of numbers from 0 to 255."""
    block = 0
    while True:
        yield from hashlib.sha256(f"{seed}:{block}".encode()).digest()
        block += 1


def number(value: float) -> str:
    """At most two decimals: a hundredth of a pixel is below what anyone sees."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def rectangle(box: Box, fill: str, radius: float = 0) -> str:
    """One rectangle, its corners rounded by `radius` pixels."""
    rounded = f' rx="{number(radius)}"' if radius else ""
    size = f'width="{number(box.width)}" height="{number(box.height)}"'
    return f'<rect x="{number(box.x)}" y="{number(box.y)}" {size}{rounded} fill="{fill}"/>'


def disc(x: float, y: float, radius: float, fill: str) -> str:
    """One full circle."""
    return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" fill="{fill}"/>'


def path(data: str, fill: str) -> str:
    """One filled path."""
    return f'<path d="{data}" fill="{fill}"/>'


def field(box: Box, ground: str, shapes: list[str]) -> str:
    """Shapes on their ground, cut off at the edges of the box. A nested svg clips without needing an id."""
    x, y, width, height = (number(value) for value in (box.x, box.y, box.width, box.height))
    frame = f'x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}"'
    return f'<svg {frame} overflow="hidden">{rectangle(box, ground)}{"".join(shapes)}</svg>'


def _grid(box: Box, across: int) -> tuple[int, int]:
    """Columns and rows with cells as square as whole numbers allow."""
    short = min(box.width, box.height)
    options = [(short / count, count) for count in range(max(1, across - 1), across + 2)]

    def skew(side: float) -> float:
        columns, rows = max(1, round(box.width / side)), max(1, round(box.height / side))
        return abs(math.log((box.width / columns) / (box.height / rows)))

    side = min(options, key=lambda option: skew(option[0]))[0]
    return max(1, round(box.width / side)), max(1, round(box.height / side))


def _tile(cell: Box, kind: int, turn: int, colours: tuple[str, str]) -> str:
    x, y, right, bottom, w, h = cell.x, cell.y, cell.right, cell.bottom, cell.width, cell.height
    corners = (
        (x, y, right, y, x, bottom),
        (right, y, right, bottom, x, y),
        (right, bottom, x, bottom, right, y),
        (x, bottom, x, y, right, bottom),
    )
    ax, ay, bx, by, cx, cy = corners[turn % 4]
    points = [number(value) for value in (ax, ay, bx, by, cx, cy)]
    radius = f"{number(w)} {number(h)}"
    triangle = "M{} {}L{} {}L{} {}z".format(*points)
    quarter = f"M{points[0]} {points[1]}L{points[2]} {points[3]}A{radius} 0 0 1 {points[4]} {points[5]}z"
    half = f"A{number(w / 2)} {number(h / 2)} 0 0 {turn % 2} "
    halves = (
        f"M{number(x)} {number(y + h / 2)}{half}{number(right)} {number(y + h / 2)}z",
        f"M{number(x + w / 2)} {number(y)}{half}{number(x + w / 2)} {number(bottom)}z",
    )
    if kind in {0, 1, 2}:
        return path(quarter, colours[0])
    if kind == 3:
        return path(halves[turn // 2 % 2], colours[0])
    if kind == 4:
        middle, radius_x = (x + w / 2, y + h / 2), min(w, h)
        return disc(*middle, radius_x * 0.5, colours[0]) + disc(*middle, radius_x * 0.22, colours[1])
    return path(triangle, colours[0])


def tiles(box: Box, ink: Inks, seed: str, across: int = 3) -> list[str]:
    """A quilt of quarter discs, half discs, rings and triangles."""
    columns, rows = _grid(box, across)
    # Whole pixels: shapes of one colour that meet at an edge show no seam.
    xs = [round(box.x + box.width * index / columns) for index in range(columns + 1)]
    ys = [round(box.y + box.height * index / rows) for index in range(rows + 1)]
    draw, shapes, previous = choices(seed), [], -1
    grounds = (ink.ground, ink.main, ink.second, ink.dark)
    for index in range(columns * rows):
        column, row = index % columns, index // columns
        cell = Box(xs[column], ys[row], xs[column + 1] - xs[column], ys[row + 1] - ys[row])
        base = (0, 0, 1, 2, 2, 3)[next(draw) % 6]
        base = (base + 1) % 3 if base == previous else base
        previous = base
        over = (base + 1 + next(draw) % 3) % 4
        shapes.append(rectangle(cell, grounds[base]))
        shapes.append(_tile(cell, next(draw) % 6, next(draw), (grounds[over], grounds[base])))
    return shapes


def rings(box: Box, ink: Inks, seed: str) -> list[str]:
    """Concentric quarter discs that grow out of one corner."""
    draw = choices(seed)
    corner_x = (box.x, box.right)[next(draw) % 2]
    corner_y = box.bottom
    outer = min(max(box.width, box.height) * 0.96, min(box.width, box.height) * 1.3)
    colours = (ink.main, ink.ground, ink.second, ink.ground, ink.dark, ink.main)
    steps = (1.0, 0.8, 0.74, 0.5, 0.44, 0.2)
    return [disc(corner_x, corner_y, outer * share, colour) for share, colour in zip(steps, colours, strict=True)]


def sun(box: Box, ink: Inks, seed: str) -> list[str]:
    """A disc that sinks into stripes."""
    low = next(choices(seed)) % 2
    radius = min(box.width, box.height) * (0.4 if low else 0.43)
    x, y = box.x + box.width * 0.5, box.y + box.height * 0.48
    shapes = [disc(x, y, radius, ink.main)]
    top, count = y + radius * 0.1, 6
    for index in range(count):
        # Gaps widen downwards, from a hairline to two thirds of a step.
        step = radius * 0.9 / count
        thick = step * (0.12 + 0.1 * index)
        shapes.append(rectangle(Box(box.x, top + index * step + step - thick, box.width, thick), ink.ground))
    shapes.append(disc(x + radius * 0.62, y - radius * 0.62, radius * 0.2, ink.second))
    return shapes


def arches(box: Box, ink: Inks, seed: str) -> list[str]:
    """Nested arches on the lower edge, one pair beside a disc."""
    draw = choices(seed)
    colours = (ink.main, ink.ground, ink.second, ink.ground, ink.dark)
    radius = min(box.width * 0.42, box.height * 0.5)
    x = box.x + box.width * 0.5
    spring = box.y + box.height * 0.92 - max(0.0, min(box.height * 0.3, box.height - radius * 1.6))
    shapes = []
    for share, colour in zip((1.0, 0.79, 0.73, 0.5, 0.44), colours, strict=True):
        reach = radius * share
        left, right, bottom = number(x - reach), number(x + reach), number(box.bottom)
        arc = f"A{number(reach)} {number(reach)} 0 0 1 {right} {number(spring)}"
        shapes.append(path(f"M{left} {bottom}V{number(spring)}{arc}V{bottom}z", colour))
    side = 1 if next(draw) % 2 else -1
    shapes.append(disc(x + side * radius * 0.88, spring - radius * 0.86, radius * 0.14, ink.dark))
    return shapes


def hills(box: Box, ink: Inks, seed: str) -> list[str]:
    """Half discs in rows that overlap like roof tiles."""
    draw = choices(seed)
    across = 2 if box.width < box.height * 1.5 else 3
    radius = box.width / across / 2
    colours, shapes = (ink.main, ink.second, ink.dark), []
    rows = math.ceil(box.height / radius) + 1
    offset = next(draw) % 3
    for row in range(rows):
        y = box.y + radius + row * radius
        for column in range(-1, across + 1):
            x = box.x + radius * (2 * column + 1 + row % 2)
            colour = colours[(row + offset) % 3]
            shapes += [
                disc(x, y, radius, colour),
                disc(x, y, radius * 0.66, ink.ground),
                disc(x, y, radius * 0.34, colour),
            ]
    return shapes


def figure(box: Box, line: Line, fill: str, *, wide: bool) -> str:
    """One huge number that runs off the right or lower edge of the picture, never over its inner neighbours."""
    left, bottom, right, top = line.ink
    if wide:
        # A twentieth of the width is lost at most: a cropped number must still be that number.
        size = min(box.width * 1.05 / (right - left), box.height * 1.2 / (top - bottom))
    else:
        size = min(box.width * 1.05 / (right - left), box.height * 1.3 / (top - bottom))
    drop = max(0.0, (box.height - (top - bottom) * size) / 2) if wide else 0.0
    x = box.x - left * size + (0 if wide else max(0.0, box.width - (right - left) * size) * 0.5)
    return outlines(line, x, box.y + drop + top * size, size, fill)


def outlines(line: Line, x: float, y: float, size: float, fill: str) -> str:
    """A shaped line with its baseline starting at (x, y), `size` pixels per em."""
    parts = []
    for run in line.runs:
        scale = f"{size / run.units_per_em:.6g}"
        parts.append(
            f'<path transform="matrix({scale} 0 0 -{scale} {number(x)} {number(y)})" fill="{fill}" d="{run.outline}"/>'
        )
    return "".join(parts)


ABSTRACTS: tuple[Callable[[Box, Inks, str], list[str]], ...] = (tiles, rings, sun, arches, hills)


@cache
def objects() -> dict[str, tuple[frozenset[str], str]]:
    """Plain objects by name: the words that call for each, and its drawing, from data/objects.toml."""
    text = files("model").joinpath("data/objects.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text).items()
    return {name: (frozenset(table["words"]), table["svg"].replace("\n", "")) for name, table in tables}


def object_for(text: str) -> str:
    """Name of the object that a word of `text` calls for, the last word first; empty without one."""
    words = [word.removesuffix("s") for word in re.findall(r"[a-z]+", text.lower())]
    for word in reversed(words):
        for name, (calls, _) in objects().items():
            if word in calls:
                return name
    return ""


def still_life(box: Box, ink: Inks, name: str) -> list[str]:
    """One object before a disc, standing in the middle of the box."""
    side = min(box.width, box.height)
    x, y = box.x + box.width / 2, box.y + box.height / 2
    scale = side * 0.68 / 200
    pale = visible(mix(ink.ground, ink.second, 0.35), ink.ground)
    main, second, dark = (visible(colour, pale) for colour in (ink.main, ink.second, ink.dark))
    drawing = objects()[name][1].format(m=main, s=second, d=dark, g=pale)
    place = f"translate({number(x - 100 * scale)} {number(y - 100 * scale)}) scale({scale:.5g})"
    return [disc(x, y, side * 0.46, pale), f'<g transform="{place}">{drawing}</g>']
