"""
Text to outlines: which face draws a character, and how a line is shaped.

Lengths are in em unless a name says otherwise, y grows upwards. Knows no paragraphs (see paragraph.py) and no colours.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import uharfbuzz as hb
from bidi import algorithm as bidi_algorithm

SYSTEM_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts")
SYSTEM_FONT_NAMES = re.compile(
    r"(NotoSans(?!Mono|Symbols)[A-Za-z]*-(?:Bold|SemiBold|Medium|Regular)|DejaVuSans-Bold|DejaVuSans|FreeSansBold|"
    r"wqy-zenhei|DroidSansFallbackFull|PingFang|Arial Unicode)\.(?:ttf|otf|ttc)$"
)
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
PICTOGRAPHS = re.compile(
    "[\U0001f000-\U0001faff\U0001fc00-\U0001fffd\u2600-\u27bf\u2b00-\u2bff\u231a-\u23ff\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f]\u200d?"
)
"""Dropped even where a font has them: a monochrome face in a headline looks like a misprint."""


class FontMissingError(RuntimeError):
    """A font package is not installed."""


@dataclass(frozen=True, slots=True)
class Family:
    """One style of lettering: faces tried in order, and the spacing that suits it."""

    faces: tuple[tuple[str, str], ...]
    """(package, file); the last ones are there for the characters that the first lacks."""
    tracking: float = 0.0
    """Added after every character."""


DISPLAY_SANS = Family(
    (("font_rhd", "RedHatDisplay-Black.ttf"), ("font_manrope", "Manrope-ExtraBold.ttf")), tracking=-0.022
)
DISPLAY_SERIF = Family(
    (("font_source_serif_pro", "SourceSerifPro-Semibold.ttf"), ("font_manrope", "Manrope-ExtraBold.ttf")),
    tracking=-0.016,
)
TEXT = Family((("font_manrope", "Manrope-Medium.ttf"),))
LABEL = Family((("font_manrope", "Manrope-Bold.ttf"),))
EYEBROW = Family((("font_manrope", "Manrope-ExtraBold.ttf"),), tracking=0.09)


@dataclass(frozen=True)
class Face:
    """One font file, opened once a process."""

    path: str
    font: hb.Font
    units_per_em: int
    codepoints: frozenset[int]


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring glyphs of one face."""

    outline: str
    """SVG path data in font units."""
    units_per_em: int


@dataclass(frozen=True, slots=True)
class Line:
    """One shaped line."""

    text: str
    width: float
    runs: tuple[Run, ...]
    ink: tuple[float, float, float, float]
    """Left, bottom, right, top of what is really drawn, from the start of the baseline."""


@cache
def _face(path: str) -> Face:
    face = hb.Face(hb.Blob.from_file_path(path))
    return Face(path, hb.Font(face), face.upem, frozenset(face.unicodes))


@cache
def _packaged(package: str, file: str) -> Face:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FontMissingError(
            f"font package {package} is missing: install it with pip install {package.replace('_', '-')}"
        )
    return _face(str(Path(next(iter(spec.submodule_search_locations))) / "files" / file))


@cache
def _system_fonts() -> tuple[str, ...]:
    found = [path for folder in SYSTEM_FONT_FOLDERS for path in Path(folder).rglob("*") if Path(folder).is_dir()]
    named = [str(path) for path in found if SYSTEM_FONT_NAMES.search(path.name)]
    # Bold first: the fallback stands beside heavy faces more often than beside light ones.
    return tuple(sorted(named, key=lambda path: ("Bold" not in path, path)))


@cache
def _system_face(codepoint: int) -> Face | None:
    for path in _system_fonts():
        try:
            face = _face(path)
        except (OSError, hb.HarfBuzzError):
            continue
        if codepoint in face.codepoints:
            return face
    return None


@lru_cache(maxsize=8192)
def _face_for(character: str, family: Family) -> Face | None:
    for package, file in family.faces:
        face = _packaged(package, file)
        if ord(character) in face.codepoints:
            return face
    return _system_face(ord(character))


def _kept(character: str, family: Family) -> bool:
    if character in " \u200c\u200d" or unicodedata.category(character) == "Mn":
        return True
    return unicodedata.category(character)[0] != "C" and _face_for(character, family) is not None


def drawable(text: str, family: Family = DISPLAY_SANS) -> str:
    """
    The part of `text` that can be drawn here, white space collapsed.

    Emoji, control characters and characters that no installed font has are dropped, so no box is ever drawn for them.
    """
    plain = re.sub(r"\s+", " ", PICTOGRAPHS.sub(" ", unicodedata.normalize("NFC", text)))
    plain = re.sub(r"(?<=\w)'(?=\w)", "’", plain)
    kept = "".join(character for character in plain if _kept(character, family))
    visible = re.sub(r" +", " ", kept).strip(" " + ZERO_WIDTH)
    return re.sub(r" ([.,!?])(?=\s|$)", r"\1", visible) if any(c.isalnum() for c in visible) else ""


def is_right_to_left(text: str) -> bool:
    """Whether the first letter with a direction runs from right to left."""
    strong = (unicodedata.bidirectional(character) for character in text)
    return next((kind in {"R", "AL"} for kind in strong if kind in {"L", "R", "AL"}), False)


def _levels(text: str, *, right_to_left: bool) -> list[int]:
    if not right_to_left and not any(unicodedata.bidirectional(character) in {"R", "AL", "AN"} for character in text):
        return [0] * len(text)
    storage = bidi_algorithm.get_empty_storage()
    storage["base_level"] = int(right_to_left)
    storage["base_dir"] = ("L", "R")[int(right_to_left)]
    bidi_algorithm.get_embedding_levels(text, storage)
    bidi_algorithm.explicit_embed_and_overrides(storage)
    bidi_algorithm.resolve_weak_types(storage)
    bidi_algorithm.resolve_neutral_types(storage, False)
    bidi_algorithm.resolve_implicit_levels(storage, False)
    levels = [int(entry["level"]) for entry in storage["chars"]]
    # Embedding controls leave the storage; drawable() removed them already, so the lengths agree.
    return levels if len(levels) == len(text) else [int(right_to_left)] * len(text)


def _visual_runs(text: str, family: Family, *, right_to_left: bool) -> list[tuple[str, int, Face]]:
    """(text, level, face) from left to right: rule L2 of Unicode Standard Annex 9 applied to whole runs."""
    runs: list[tuple[str, int, Face]] = []
    for character, level in zip(text, _levels(text, right_to_left=right_to_left), strict=True):
        face = _face_for(character, family)
        joins = character == " " or character in ZERO_WIDTH or unicodedata.category(character) == "Mn"
        if runs and level == runs[-1][1] and (face is runs[-1][2] or joins or face is None):
            runs[-1] = (runs[-1][0] + character, level, runs[-1][2])
        elif face is not None:
            runs.append((character, level, face))
    for level in range(max((run[1] for run in runs), default=0), 0, -1):
        start = 0
        while start < len(runs):
            stop = start
            while stop < len(runs) and runs[stop][1] >= level:
                stop += 1
            runs[start:stop] = reversed(runs[start:stop])
            start = max(stop, start + 1)
    return runs


@dataclass(frozen=True, slots=True)
class Glyph:
    """An outline as SVG path data relative to its own start, font units."""

    start: tuple[float, float]
    rest: str
    ink: tuple[float, float, float, float]


class _Pen:
    """Collects one glyph as relative SVG commands: after `z` the point is back at the contour's start."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.at = (0.0, 0.0)
        self.contour = (0.0, 0.0)
        self.first: tuple[float, float] | None = None

    def _step(self, command: str, *points: tuple[float, float]) -> None:
        numbers = [f"{value:g}" for x, y in points for value in (x - self.at[0], y - self.at[1])]
        self.parts.append(command + " ".join(numbers))
        self.at = points[-1]

    def move(self, x: float, y: float) -> None:
        self.at = self.contour
        if self.first is None:
            self.first = self.at = (x, y)
        else:
            self._step("m", (x, y))
        self.contour = (x, y)

    def line(self, x: float, y: float) -> None:
        self._step("l", (x, y))

    def quadratic(self, cx: float, cy: float, x: float, y: float) -> None:
        self._step("q", (cx, cy), (x, y))

    def cubic(self, ax: float, ay: float, bx: float, by: float, x: float, y: float) -> None:
        self._step("c", (ax, ay), (bx, by), (x, y))

    def close(self) -> None:
        self.parts.append("z")


@cache
def _draw_funcs() -> hb.DrawFuncs:
    funcs = hb.DrawFuncs()
    funcs.set_move_to_func(lambda x, y, pen: pen.move(x, y))
    funcs.set_line_to_func(lambda x, y, pen: pen.line(x, y))
    funcs.set_quadratic_to_func(lambda cx, cy, x, y, pen: pen.quadratic(cx, cy, x, y))
    funcs.set_cubic_to_func(lambda ax, ay, bx, by, x, y, pen: pen.cubic(ax, ay, bx, by, x, y))
    funcs.set_close_path_func(lambda pen: pen.close())
    return funcs


@lru_cache(maxsize=8192)
def _glyph(path: str, number: int) -> Glyph | None:
    pen = _Pen()
    font = _face(path).font
    font.draw_glyph(number, _draw_funcs(), pen)
    if pen.first is None:
        return None
    extents = font.get_glyph_extents(number)
    left, top = extents.x_bearing, extents.y_bearing
    return Glyph(pen.first, "".join(pen.parts), (left, top + extents.height, left + extents.width, top))


def _shape_run(text: str, level: int, face: Face, tracking: float, start: float) -> tuple[Run, float, list[float]]:
    """The run, the pen position after it, and the corners of its ink; positions in em."""
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if level % 2 else "ltr"
    hb.shape(face.font, buffer)
    pen, parts, ink = start * face.units_per_em, [], []
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        glyph = _glyph(face.path, info.codepoint)
        if glyph is not None and info.codepoint:
            x, y = pen + position.x_offset, float(position.y_offset)
            parts.append(f"M{x + glyph.start[0]:.6g} {y + glyph.start[1]:.6g}{glyph.rest}")
            left, bottom, right, top = glyph.ink
            ink += [(x + left) / face.units_per_em, (y + bottom) / face.units_per_em]
            ink += [(x + right) / face.units_per_em, (y + top) / face.units_per_em]
        # Joined scripts must not be pulled apart.
        spacing = 0.0 if level % 2 else tracking * face.units_per_em
        pen += position.x_advance + (spacing if position.x_advance else 0.0)
    return Run("".join(parts), face.units_per_em), pen / face.units_per_em, ink


@lru_cache(maxsize=4096)
def shape(text: str, family: Family, *, right_to_left: bool = False) -> Line:
    """Outline one line of `drawable` text, in visual order."""
    runs, width, ink = [], 0.0, list[float]()
    for part, level, face in _visual_runs(text, family, right_to_left=right_to_left):
        run, width, corners = _shape_run(part, level, face, family.tracking, width)
        runs.append(run)
        ink += corners
    width = max(0.0, width - family.tracking) if runs else 0.0
    box = (min(ink[::2]), min(ink[1::2]), max(ink[::2]), max(ink[1::2])) if ink else (0.0, 0.0, 0.0, 0.0)
    return Line(text, width, tuple(run for run in runs if run.outline), box)
