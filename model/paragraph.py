"""
Text into a box: where lines break, how large the letters may be, and what gives way when there is no room.

Boxes are in pixels, widths of text in em. Knows no colours and no pictures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from model.typeface import Family, Line, is_right_to_left, shape

BREAKS = re.compile(r" (?!(?<=\d )(?:[^\W\d_]{1,2}\b|[%°]))")
"""Spaces where a line may end: not between a number and its unit."""
UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
"""Scripts that break a line between any two characters."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text broken into lines that fit a box."""

    lines: tuple[Line, ...]
    size: float
    """Pixels per em."""
    leading: float
    """Baseline to baseline, in em."""
    right_to_left: bool
    truncated: bool

    @property
    def height(self) -> float:
        """Pixels from the top of the first line's em box to the bottom of the last one's."""
        return self.size * (1 + self.leading * (len(self.lines) - 1)) if self.lines else 0.0


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """(glue, word): what stands before the word if it does not start a line, and the word."""
    for word in BREAKS.split(text):
        glue = " "
        for piece in re.findall(f"{UNSPACED.pattern}[、。，．！？」』]*|(?:(?!{UNSPACED.pattern}).)+", word):
            yield glue, piece
            glue = ""


def _broken(word: str, family: Family, width: float) -> list[str]:
    """A word longer than a line, cut between characters; a cut between letters gets a hyphen."""
    pieces = [""]
    for character, after in zip(word, word[1:] + " ", strict=True):
        hyphen = "-" if after.isalpha() else ""
        too_long = _measure(pieces[-1] + character + hyphen, family) > width
        if pieces[-1] and too_long and unicodedata.category(character) != "Mn":
            pieces[-1] += "-" if character.isalpha() and pieces[-1][-1].isalpha() else ""
            pieces.append("")
        pieces[-1] += character
    return pieces


@lru_cache(maxsize=16384)
def _measure(text: str, family: Family) -> float:
    line = shape(text, family, right_to_left=is_right_to_left(text))
    return max(line.width, line.ink[2]) - min(0.0, line.ink[0])


def wrap(text: str, family: Family, width: float) -> list[str]:
    """Lines no wider than `width`; a longer word is cut."""
    lines: list[str] = []
    for glue, word in _tokens(text):
        if lines and _measure(lines[-1] + glue + word, family) <= width:
            lines[-1] += glue + word
        elif _measure(word, family) <= width:
            lines.append(word)
        else:
            lines += _broken(word, family, width)
    return lines


def longest_word(text: str, family: Family) -> float:
    """Width of the widest unbreakable word."""
    return max((_measure(word, family) for _, word in _tokens(text)), default=0.0)


def _balanced(text: str, family: Family, width: float) -> list[str]:
    """As many lines as `wrap` needs, of widths as even as possible: no last line with one short word."""
    lines = wrap(text, family, width)
    low, high = max(width * 0.5, min(width, longest_word(text, family))), width
    for _ in range(6):
        middle = (low + high) / 2
        if len(wrap(text, family, middle)) > len(lines):
            low = middle
        else:
            high = middle
    return wrap(text, family, high)


def _ellipsized(lines: list[str], count: int, family: Family, width: float) -> list[str]:
    kept = lines[:count]
    last = kept[-1].rstrip(" .,;:")
    while last and _measure(last + "…", family) > width:
        last = last[:-1].rstrip(" .,;:")
    return [*kept[:-1], last + "…"]


def fit(
    text: str,
    family: Family,
    width: float,
    height: float,
    *,
    size_max: float,
    size_min: float,
    leading: float = 1.0,
    lines_max: int = 12,
    balance: bool = False,
) -> Paragraph:
    """
    The largest size that holds `text` in a box of pixels: first whole words, then cut words, then an ellipsis.

    No lines come back where `text` has nothing to draw or not even one line of `size_min` fits.
    """
    right_to_left = is_right_to_left(text)
    size, lines, truncated = size_min, list[str](), False
    words_fit = width / (longest_word(text, family) or 1.0)
    for step in range(64):
        size = max(size_min, size_max * 0.96**step)
        if size > words_fit and size > max(size_min, 0.4 * size_max):
            continue
        lines = wrap(text, family, width / size) if text else []
        rows = min(lines_max, int((height / size - 1) / leading + 1 + 1e-9)) if height >= size else 0
        if len(lines) <= rows:
            lines = _balanced(text, family, width / size) if balance and lines else lines
            break
        if size <= size_min:
            lines = _ellipsized(lines, rows, family, width / size) if rows else []
            truncated = True
            break
    shaped = tuple(shape(line, family, right_to_left=right_to_left) for line in lines)
    return Paragraph(shaped, size, leading, right_to_left, truncated)
