"""
What each ad channel accepts, and how it counts characters, read from data/channels.toml.

A channel is data: adding one is a table in that file, not a class here.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

FIELD_NAMES = ("headline", "body", "call_to_action", "hashtags")
"""Order of writing, and of display. A channel may lack a field."""

URL_LENGTH = 23
"""X wraps every link: https://docs.x.com/fundamentals/counting-characters."""
LIGHT_RANGES = ((0x0000, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))
"""Code points that count one on X, every other counts two: config v3 of https://github.com/twitter/twitter-text."""

_HEAVY = re.compile("[^" + "".join(f"{chr(first)}-{chr(last)}" for first, last in LIGHT_RANGES) + "]")

# A link with or without its scheme, ASCII only, less the punctuation after it. X knows the list of top-level domains;
# we take any word after a dot, so a missing space between two sentences counts as a link: too long is the safe side.
_URL = re.compile(
    r"(?:https?://[!-~]+|(?<![@\w.-])(?:[a-z0-9-]+\.)+[a-z]{2,}\b(?:/[!-~]*)?)(?<![.,;:!?)'\"])", re.IGNORECASE
)

# One emoji as people see it: a keycap, a flag, or pictographs joined by U+200D with skin tones and tags attached.
_PICTOGRAPH = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
    "(?:\ufe0f|[\U0001f3fb-\U0001f3ff])?[\U000e0020-\U000e007f]*"
)
_EMOJI = re.compile(
    f"[0-9#*]\ufe0f?\u20e3|[\U0001f1e6-\U0001f1ff]{{2}}|(?![\u00a9\u00ae](?!\ufe0f)){_PICTOGRAPH}(?:\u200d{_PICTOGRAPH})*"
)


def double_width_length(text: str) -> int:
    """Characters as Google Ads counts them: a full-width one (Chinese, Japanese, Korean, emoji) is two."""
    if text.isascii():  # the usual case
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def weighted_length(text: str) -> int:
    """Characters as X counts them after NFC: links 23, an emoji 2, code points outside LIGHT_RANGES 2."""
    text, links = _URL.subn("", unicodedata.normalize("NFC", text))
    text, emoji = _EMOJI.subn("", text)
    return URL_LENGTH * links + 2 * emoji + len(text) + len(_HEAVY.findall(text))


COUNTINGS: Mapping[str, Callable[[str], int]] = MappingProxyType(
    {"codepoints": len, "double_width": double_width_length, "weighted": weighted_length}
)
"""How a channel may count; `counting` in data/channels.toml names one."""


class UnknownChannelError(ValueError):
    """The name is none of the channels in data/channels.toml."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Limits of one field; every length is in characters as `ChannelSpec.length` counts them."""

    name: str
    count_min: int
    count_max: int
    count_written: int
    """How many the writer asks the model for."""
    chars_max: int
    """The platform refuses or hides what is longer."""
    chars_budget: int
    """The writer stops here; at most `chars_max`."""
    source: str
    """Page that `chars_max` and the counts come from."""


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One ad channel: its fields in order of writing, and its picture sizes."""

    name: str
    title: str
    fields: tuple[FieldSpec, ...]
    total_chars_max: int
    """Limit over all fields joined by single spaces; 0 where the platform has none."""
    images: tuple[tuple[int, int], ...]
    """(width, height) in pixels; the first is the default."""
    source: str
    counting: str = "codepoints"
    """A key of COUNTINGS."""

    def length(self, text: str) -> int:
        """Characters of `text` as this channel counts them: what every limit here is compared with."""
        return COUNTINGS[self.counting](text)

    def field(self, name: str) -> FieldSpec | None:
        """The named field, or None where this channel has no such field."""
        return next((spec for spec in self.fields if spec.name == name), None)


def _image_size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def _channel(name: str, table: Mapping[str, Any]) -> ChannelSpec:
    fields = tuple(FieldSpec(name=field, **table[field]) for field in FIELD_NAMES if field in table)
    for spec in fields:
        if not 0 < spec.count_min <= spec.count_written <= spec.count_max:
            raise ValueError(f"channel {name}, field {spec.name}: counts are out of order")
        if not 0 < spec.chars_budget <= spec.chars_max:
            raise ValueError(f"channel {name}, field {spec.name}: budget is above the limit")
        if not spec.source.startswith("https://"):
            raise ValueError(f"channel {name}, field {spec.name}: source is no https page")
    counting = table.get("counting", "codepoints")
    if counting not in COUNTINGS:
        raise ValueError(f"channel {name}: unknown counting {counting!r}; choose from {', '.join(COUNTINGS)}")
    return ChannelSpec(
        name=name,
        title=table["title"],
        fields=fields,
        total_chars_max=table["total_chars_max"],
        images=tuple(_image_size(size) for size in table["images"]),
        source=table["source"],
        counting=counting,
    )


@cache
def channels() -> Mapping[str, ChannelSpec]:
    """Every channel by name, in the order of the file."""
    text = files("model").joinpath("data/channels.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: _channel(name, table) for name, table in tomllib.loads(text).items()})


def channel(name: str) -> ChannelSpec:
    """Look one channel up. Raises UnknownChannelError, naming those that exist."""
    try:
        return channels()[name]
    except KeyError:
        known = ", ".join(channels())
        raise UnknownChannelError(f"unknown channel {name!r}; choose from {known}") from None
