"""
One row of an owner's file as a training pair: an object in the pairs' own form, or the cells of a spreadsheet.

Knows no files, and not whether a pair is worth learning.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.channel import ChannelSpec, channels
from model.columns import ColumnPlan, column_key, column_plan
from model.creative import Copy
from model.pair import Pair, title_family
from model.plain_text import plain_text
from model.product import CHARS_MAX, Product, ProductError, product_from_mapping, product_from_row
from model.prompt import VOICES

ANGLE = "sent in bulk"
"""Of a pair whose owner names none."""
TEXT_CHARS_MAX = 2_500
"""More than any channel takes; what is longer is refused before it is judged, which takes time."""
TEXTS_MAX = 20
"""Of one field; Google takes 15 headlines."""
NAME_CHARS_MAX = 100
"""Of a family, angle or trap."""
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

MEMBERS = ("id", "family", "channel", "voice", "angle", "trap", "product", "copy")
COPY_MEMBERS = ("headlines", "bodies", "call_to_action", "hashtags")
PRODUCT_MEMBERS = (*CHARS_MAX, "attributes")
SINGLE_COLUMNS = ("id", "family", "channel", "voice", "angle", "trap", "call to action", "hashtags")
"""Of the pair and its ad; every other column is of the product, by the names that catalogues use."""

_MANY = re.compile(r"(headline|body|headlines|bodies) ?\d{0,2}")
_TAGS = re.compile(r"[\s,;]+")


class PairRowError(ValueError):
    """A row that is no pair; the message says what is wrong with it."""


class PairColumnsError(ValueError):
    """A header that no pairs can be read by; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class SheetPlan:
    """Where in a row of cells each thing stands; positions count from 0."""

    single: Mapping[str, int]
    """By name of SINGLE_COLUMNS."""
    headlines: tuple[int, ...]
    bodies: tuple[int, ...]
    product: tuple[int, ...]
    columns: ColumnPlan
    """Of the cells of `product`."""


def sheet_plan(names: Sequence[str]) -> SheetPlan:
    """The plan for a spreadsheet with this header. Raises PairColumnsError."""
    keys = [column_key(name) for name in names]
    single = {key: place for place, key in enumerate(keys) if key in SINGLE_COLUMNS}
    twice = [key for key in SINGLE_COLUMNS if keys.count(key) > 1]
    many = {place: key for place, key in enumerate(keys) if _MANY.fullmatch(key)}
    product = tuple(place for place, key in enumerate(keys) if key not in SINGLE_COLUMNS and place not in many)
    columns = column_plan(names[place] for place in product)
    lacks = [
        what
        for what, has in (("channel", "channel" in single), ("title", columns.fields["title"]), ("headline", many))
        if not has
    ]
    if lacks or twice:
        said = f"lacks the column {lacks[0]}" if lacks else f"has the column {twice[0]} twice"
        raise PairColumnsError(f"{said}; a header is like: title,description,channel,headline 1,body,call to action")
    headlines = tuple(place for place, key in many.items() if key.startswith("headline"))
    bodies = tuple(place for place, key in many.items() if key.startswith("bod"))
    return SheetPlan(single, headlines, bodies, product, columns)


def pair_from_cells(plan: SheetPlan, cells: Sequence[str], name: str) -> Pair:
    """The pair of one row, called `name` where it has no id. A formula is text like any other. Raises PairRowError."""
    said = {key: cells[place].strip() for key, place in plan.single.items()}
    tags = _TAGS.split(said.pop("hashtags", ""))
    words = {
        "headlines": _filled(cells, plan.headlines),
        "bodies": _filled(cells, plan.bodies),
        "call_to_action": said.pop("call to action", ""),
        "hashtags": [tag for tag in tags if tag],
    }
    try:
        product = product_from_row(plan.columns, [cells[place] for place in plan.product])
    except ProductError as error:
        raise PairRowError(str(error)) from None
    return _pair({key: text for key, text in said.items() if text}, product, words, name)


def pair_from_object(table: Mapping[str, Any], name: str) -> Pair:
    """The pair of one line of JSON, called `name` where it has no id. Raises PairRowError."""
    _require_members(table, MEMBERS, "the pair")
    row, words = table.get("product"), table.get("copy")
    if not isinstance(row, Mapping) or not isinstance(words, Mapping):
        raise PairRowError("needs an object product and an object copy")
    _require_members(row, PRODUCT_MEMBERS, "its product")
    _require_members(words, COPY_MEMBERS, "its copy")
    try:
        product = product_from_mapping(row)
    except ProductError as error:
        raise PairRowError(str(error)) from None
    return _pair(table, product, words, name)


def _filled(cells: Sequence[str], places: Iterable[int]) -> list[str]:
    """Each line of each cell that holds something: a cell may have line breaks."""
    return [line for place in places for line in cells[place].splitlines() if line.strip()]


def _require_members(table: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    unknown = [name for name in table if name not in names]
    if unknown:
        raise PairRowError(f"{where} has a member {unknown[0][:40]!r}; it may have {', '.join(names)}")


def _pair(said: Mapping[str, Any], product: Product, words: Mapping[str, Any], name: str) -> Pair:
    voice = _plain(said.get("voice", VOICES[0]), "voice", NAME_CHARS_MAX).lower()
    if voice not in VOICES:
        raise PairRowError(f"voice is none of {', '.join(VOICES)}")
    given = said.get("id", name)
    if not isinstance(given, str) or not ID.fullmatch(given):
        raise PairRowError("id should be 1 to 64 of A-Z a-z 0-9 . _ -, and begin with a letter or digit")
    return Pair(
        id=given,
        family=_plain(said.get("family", ""), "family", NAME_CHARS_MAX) or title_family(product.title),
        voice=voice,
        angle=_plain(said.get("angle", ""), "angle", NAME_CHARS_MAX) or ANGLE,
        trap=_plain(said.get("trap", ""), "trap", NAME_CHARS_MAX),
        product=product,
        spec=_spec(said.get("channel", "")),
        words=Copy(
            _texts(words.get("headlines", []), "headlines"),
            _texts(words.get("bodies", []), "bodies"),
            _plain(words.get("call_to_action", ""), "call_to_action", TEXT_CHARS_MAX),
            _texts(words.get("hashtags", []), "hashtags"),
        ),
    )


def _spec(said: Any) -> ChannelSpec:
    found = channels().get(_plain(said, "channel", NAME_CHARS_MAX).lower())
    if found is None:
        raise PairRowError(f"channel is none of {', '.join(channels())}")
    return found


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > TEXTS_MAX:
        raise PairRowError(f"{name} should be a list of at most {TEXTS_MAX} texts")
    return tuple(_plain(text, name, TEXT_CHARS_MAX) for text in value)


def _plain(value: Any, name: str, chars_max: int) -> str:
    """One line as a reader sees it; spaces are folded, and what cannot be seen is refused instead of taken away."""
    if not isinstance(value, str):
        raise PairRowError(f"{name} should be a text")
    if len(value) > chars_max:
        raise PairRowError(f"{name} has {len(value):,} characters; at most {chars_max:,} are read")
    line = " ".join(unicodedata.normalize("NFC", value).split())
    if plain_text(line) != line:
        raise PairRowError(f"{name} holds markup, entities or characters that nobody sees: write plain text")
    return line
