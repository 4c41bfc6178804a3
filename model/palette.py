"""
Colours: contrast as WCAG 2.2 defines it, a curated palette for a category, and brand colours made legible.

Knows no shapes and no text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

CONTRAST_BODY = 4.5
"""Least contrast of text at AA: https://www.w3.org/TR/WCAG22/#contrast-minimum."""
CONTRAST_LARGE = 3.0
"""The same for large text (24 px, or 18.66 px bold)."""
CONTRAST_SHAPE = 1.25
"""Below this a decorative shape melts into what it lies on."""

HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class ColourError(ValueError):
    """The text is no colour of the form #rrggbb."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Four flat colours: a ground, the text on it, and two for shapes."""

    name: str
    background: str
    foreground: str
    accent: str
    second: str


PALETTES: tuple[tuple[Palette, str], ...] = (
    (Palette("oat", "#f6efe3", "#2b1d14", "#d9481c", "#f2b441"), "kitchen cookware bakeware cooking tableware dining"),
    (Palette("roast", "#ecdfcc", "#2a1812", "#8a3b1c", "#e8ab55"), "coffee tea drink beverage cup mug kettle"),
    (Palette("moss", "#eef2e0", "#15301f", "#2f7d4a", "#f3c653"), "garden plant flower floral lawn seed"),
    (Palette("ridge", "#e6ece6", "#16292b", "#e4572e", "#2f6d62"), "outdoor camping hiking travel luggage tent"),
    (Palette("rouge", "#fcebe4", "#3d1226", "#dc5a4b", "#f5b39f"), "beauty cosmetic makeup skincare fragrance hair"),
    (
        Palette("atelier", "#f3efe8", "#161514", "#c4122f", "#c9bfae"),
        "fashion apparel clothing dress accessory bag wear",
    ),
    (Palette("track", "#edf2fb", "#0b1b3f", "#2453ff", "#c4ee3f"), "sport fitness shoe footwear running cycling bike"),
    (
        Palette("signal", "#eceff3", "#0e1726", "#3b4ff0", "#ff7a45"),
        "electronic computer phone audio tech gadget camera",
    ),
    (Palette("lantern", "#1d2136", "#fff4da", "#ffc44d", "#4d5ca6"), "light lamp lighting lantern candle"),
    (Palette("clay", "#efe6da", "#24302b", "#b5532f", "#86a38f"), "home furniture decor living room houseware storage"),
    (Palette("dusk", "#ebeaf5", "#232149", "#6357c9", "#f4bfae"), "bedding bedroom textile linen sleep curtain"),
    (Palette("block", "#fff2d2", "#1c2b50", "#ee4b52", "#2fb0a0"), "toy game baby kid child nursery"),
    (Palette("ink", "#f5f1e6", "#1a2342", "#2147a8", "#f0a202"), "book stationery office paper art craft pen"),
    (Palette("tabby", "#fff0de", "#2c2040", "#ec7430", "#79b4bc"), "pet dog cat animal aquarium"),
    (Palette("market", "#fff5e0", "#2e2010", "#d2273a", "#86b03c"), "food grocery snack fruit vegetable pantry"),
    (Palette("vault", "#11302b", "#f7ecd4", "#dba741", "#2f6a5e"), "jewelry jewellery watch gift ring luxury"),
    (Palette("basin", "#e2f1ef", "#0f343b", "#14808a", "#f6b59d"), "bath bathroom wellness health soap spa clean"),
    (Palette("workshop", "#f3f0e9", "#191919", "#f5b400", "#565b62"), "tool diy hardware automotive car garage"),
    (Palette("encore", "#281433", "#fdeee6", "#ff6d59", "#8658cf"), "music instrument vinyl party film"),
)
"""Each palette and the category words that call for it, singular."""


def require_hex(colour: str, *, field: str) -> str:
    """The colour in lower case. Raises ColourError, naming `field`, for anything but #rrggbb."""
    if not HEX_COLOUR.fullmatch(colour):
        raise ColourError(f"{field} is {colour!r}: give a colour as #rrggbb, for instance #1a2342")
    return colour.lower()


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    shares = [value / 255 for value in _channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21, the order does not matter: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix(colour: str, other: str, share: float) -> str:
    """`colour` with `share` (0 to 1) of `other` in it."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _nearest(colour: str, fits: Callable[[str], bool]) -> str:
    """The smallest move towards black or white after which `fits` holds; the better of the two ends if never."""
    for step in range(21):
        for end in ("#000000", "#ffffff"):
            candidate = mix(colour, end, step / 20)
            if fits(candidate):
                return candidate
    raise AssertionError("black or white fits every ground")  # max(contrast) is never under 4.58


def legible(colour: str, ground: str, *, least: float = CONTRAST_BODY) -> str:
    """`colour`, darkened or lightened no more than needed to read on `ground`. `least` is at most 4.5."""
    return _nearest(colour, lambda candidate: contrast(candidate, ground) >= least)


def text_on(ground: str, palette: Palette) -> str:
    """The palette's own dark or light where it reads at AA on `ground`, else the nearer of them made legible."""
    best = max((palette.foreground, palette.background), key=lambda colour: contrast(colour, ground))
    return legible(best, ground)


def visible(colour: str, ground: str) -> str:
    """`colour`, moved just enough for a shape to stand out from `ground`."""
    return _nearest(colour, lambda candidate: contrast(candidate, ground) >= CONTRAST_SHAPE)


def _stem(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def for_category(category: str, fallback: str = "") -> Palette:
    """
    The palette whose words the category names; the last matching word decides ("Home > Lamps" is about lamps).

    Without a match the digest of category and `fallback` (the title, say) picks one.
    """
    words = [_stem(word) for word in re.findall(r"[^\W\d_]+", category.lower())]
    for word in reversed(words):
        for palette, keys in PALETTES:
            if word in keys.split():
                return palette
    digest = hashlib.sha256(f"{category}\n{fallback}".encode("utf-8", "replace")).digest()
    return PALETTES[digest[0] % len(PALETTES)][0]


def for_brand(background: str, foreground: str, accent: str) -> Palette:
    """A palette from three brand colours (#rrggbb): the background stays, the others move until they can be seen."""
    ground = require_hex(background, field="brand background")
    text = legible(require_hex(foreground, field="brand foreground"), ground)
    shape = visible(require_hex(accent, field="brand accent"), ground)
    return Palette("brand", ground, text, shape, visible(mix(shape, ground, 0.55), ground))
