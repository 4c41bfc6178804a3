"""
Which column of somebody's export means what: names in, a plan of positions out.

Knows the usual names of shop systems and a mapping that the user gives; reads no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from model.plain_text import plain_text


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sku": _listed(
            "sku, id, handle, url handle, product id, item id, item number, article number, asin, variant sku"
        ),
        "title": _listed("title, product title, product name, name, item name, product"),
        "description": _listed(
            "description, product description, body (html), body html, long description, body, desc, short description"
        ),
        "category": _listed("category, categories, product type, type, product category, google product category"),
        "brand": _listed("brand, brand name, vendor, manufacturer"),
        "price": _listed("price, variant price, regular price, list price, unit price"),
        "currency": _listed("currency, currency code, price currency"),
        "image": _listed(
            "image, image url, image src, image link, main image, product image url, thumbnail, images, picture, photo"
        ),
        "handle": _listed("handle, url handle"),
        "attributes": ("attributes",),
    }
)
"""Column names by field, best first: where a row fills several columns of one field, the first one counts."""

TARGETS = ("sku", "title", "description", "category", "brand", "price", "image", "attribute")
"""What a user's mapping may name; "attribute" keeps the column as a fact under its own name."""

ATTRIBUTES = frozenset(
    _listed(
        "age, age group, age range, allergens, assembly, author, battery, battery life, bulb type, capacity, care, "
        "care instructions, certification, certifications, closure, collection, color, colors, colour, colours, "
        "compatibility, composition, connectivity, contents, country of origin, cover material, depth, diameter, "
        "dimensions, display, edition, fabric, features, filling, finish, fit, flavor, flavors, flavour, flavours, "
        "format, fragrance, frame material, gender, grind, heel height, height, highlights, included, includes, "
        "ingredients, language, length, lining, load, made in, material, materials, max load, maximum load, memory, "
        "neckline, net weight, number of pieces, occasion, origin, pack size, pages, pattern, pieces, power, "
        "power source, publisher, recommended age, resolution, roast, room, scent, screen size, season, servings, "
        "shape, shelf life, size, sizes, sleeve length, sole, storage, style, target gender, thickness, thread count, "
        "upper, voltage, volume, warranty, warranty information, washing, washing instructions, water resistance, "
        "wattage, weight, width"
    )
)
"""
Columns that become attributes: facts that an ad may use. Anything else stays out unless the user maps it, so that
stock counts, ratings, internal ids and review texts never turn into claims.
"""

_METAFIELD = re.compile(r"\((?:product\.)?metafields\..*\)$")
_OPTION = re.compile(r"(option|attribute) ?(\d+) (name|values?|value\(s\))")
_UNIT = re.compile(
    r"(?P<name>.+?)\s*[\s(\[](?:in )?(?P<unit>mm|cm|m|inch|inches|ft|mg|g|grams?|kg|oz|lbs?|ml|cl|l|lit(?:er|re)s?"
    r"|w|kw|v|mah|ah|wh|hours|h|years|months)[)\]]?",
    re.IGNORECASE,
)


class ColumnMappingError(ValueError):
    """A user's mapping names a target or a column that does not exist."""


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """One column that becomes an attribute called `name`; `unit` is appended to bare numbers, "" for none."""

    position: int
    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Where in a row each fact stands. Positions count from 0."""

    names: tuple[str, ...]
    fields: Mapping[str, tuple[int, ...]]
    """Positions by key of `NAMES`, best first."""
    attributes: tuple[AttributeColumn, ...]
    options: tuple[tuple[int, int], ...]
    """(position of the name, position of the value): "Option1 Name", "Option1 Value" and the like."""

    def name_of(self, field: str) -> str:
        """The column that feeds `field` first, as the file writes it; the field's own name where none does."""
        positions = self.fields.get(field, ())
        return self.names[positions[0]] if positions else field


def column_key(name: str) -> str:
    """What is compared: case, underscores, hyphens, camel case and Shopify's metafield suffixes do not matter."""
    return _display(name).lower()


def column_plan(names: Iterable[str], columns: Mapping[str, str] | None = None) -> ColumnPlan:
    """
    The plan for rows with these column names.

    `columns` maps a column to one of `TARGETS` and goes before the usual meaning of its name, and before every other
    column of that target; a column that is not among `names` is ignored. Raises ColumnMappingError for an unknown
    target.
    """
    return _column_plan(tuple(names), tuple((columns or {}).items()))


@lru_cache(maxsize=256)
def _column_plan(names: tuple[str, ...], columns: tuple[tuple[str, str], ...]) -> ColumnPlan:
    mapped = {column_key(name): _target(name, target) for name, target in columns}
    keys = [column_key(name) for name in names]
    fields = {}
    for field, aliases in NAMES.items():
        first = [position for position, key in enumerate(keys) if mapped.get(key) == field]
        usual = [
            position for alias in aliases for position, key in enumerate(keys) if key == alias and key not in mapped
        ]
        fields[field] = tuple(first + usual)
    attributes = (_attribute(position, names[position], mapped.get(key)) for position, key in enumerate(keys))
    return ColumnPlan(names, MappingProxyType(fields), tuple(filter(None, attributes)), _options(keys))


def _target(name: str, target: str) -> str:
    if target not in TARGETS:
        raise ColumnMappingError(
            f"the mapping sends column {name!r} to {target!r}; it can be one of {', '.join(TARGETS)}"
        )
    return target


def _attribute(position: int, name: str, target: str | None) -> AttributeColumn | None:
    if target is not None and target != "attribute":
        return None
    shown, unit = _display(name), ""
    if shown.lower() not in ATTRIBUTES and (found := _UNIT.fullmatch(shown)):
        shown, unit = found["name"], found["unit"]
    if target is None and shown.lower() not in ATTRIBUTES:
        return None
    return AttributeColumn(position, shown[:1].upper() + shown[1:], unit)


def _options(keys: list[str]) -> tuple[tuple[int, int], ...]:
    found = {position: _OPTION.fullmatch(key) for position, key in enumerate(keys)}
    sides = {(match[1], match[2], match[3] == "name"): position for position, match in found.items() if match}
    return tuple(
        (position, sides[kind, number, False])
        for (kind, number, is_name), position in sides.items()
        if is_name and (kind, number, False) in sides
    )


def _display(name: str) -> str:
    words = _METAFIELD.sub("", plain_text(name)).replace("_", " ").replace("-", " ").strip()
    if " " not in words:
        words = re.sub(r"(?<=[a-z])[A-Z]", lambda capital: f" {capital[0].lower()}", words)
    return " ".join(words.split())
