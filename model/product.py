"""
One catalogue row: what is known of a product, and the rules that a row has to meet to become one.

Knows no files: `catalogue` reads those, the service calls `product_from_mapping` for what it is sent.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from model.columns import AttributeColumn, ColumnPlan, column_plan
from model.plain_text import plain_text

_quoted = json.encoder.encode_basestring
"""A JSON string with its quotes, as `json.dumps` writes it without `ensure_ascii`."""

TITLE_CHARS_MAX = 300
DESCRIPTION_CHARS_MAX = 20_000
ATTRIBUTE_CHARS_MAX = 500
ATTRIBUTE_NAME_CHARS_MAX = 100
ATTRIBUTES_MAX = 50
CHARS_MAX: Mapping[str, int] = MappingProxyType(
    {
        "sku": 255,  # the longest handle that Shopify gives
        "title": TITLE_CHARS_MAX,
        "description": DESCRIPTION_CHARS_MAX,
        "category": 300,
        "brand": 200,
        "price": 50,
        "currency": 10,
        "image": 2_000,
    }
)
"""Longest text of each field in characters, counted after HTML is removed."""
MARKUP_FACTOR_MAX = 50
"""A cell may hold this many times its field's limit before HTML is removed: 1,000,000 characters of description."""

_DATA_URI = re.compile(r"data:[\w/+.;=-]++,[A-Za-z0-9+/=%]*+")
_NEXT_IMAGE = re.compile(r"[,;|\s]\s*+(?=https?://)")
_CURRENCY = r"(?:[^\W\d_]|[$¢-¥\u20a0-\u20cf฿﷼.\s])"
_AMOUNT = r"(?:\d{1,3}(?:[.,'’٬ ]\d{2,3})+(?:[.,٫]\d{1,4})?|\d{1,12}(?:[.,٫]\d{1,4})?)(?:[.,][-–—]{1,2})?"
_PRICE = re.compile(rf"{_CURRENCY}{{0,10}}{_AMOUNT}(?:{_CURRENCY}|/){{0,14}}")
_NEGATIVE = re.compile(rf"{_CURRENCY}{{0,10}}[-−–(]{_CURRENCY}{{0,10}}\d.*")
_BARE_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_PLACEHOLDERS = frozenset({"", "-", "–", "—", "n/a", "na", "nan", "none", "null"})
_PLACEHOLDER_CHARS_MAX = max(map(len, _PLACEHOLDERS))


@dataclass(frozen=True, slots=True)
class Product:
    """What is known of one product. Only `sku` and `title` are always there."""

    sku: str
    title: str
    description: str = ""
    category: str = ""
    brand: str = ""
    price: str = ""
    """As written in the source, currency included when the source has it: "24.90 EUR"."""
    image: str = ""
    """URL or path of a picture; never fetched here."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Further facts as (name, value), for instance variant options: ("Colour", "fog")."""

    def facts(self) -> str:
        """All text that a creative may lean on, one part a line."""
        parts = [self.title, self.description, self.category, self.brand, self.price]
        parts += [f"{name}: {value}" for name, value in self.attributes]
        return "\n".join(part for part in parts if part)

    def as_dict(self) -> dict[str, Any]:
        """JSON form; `dataclasses.asdict` would give the same and copy every member in depth."""
        return {name: getattr(self, name) for name in Product.__slots__}

    def canonical(self) -> str:
        """What `json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=False)` gives, in a fifth of the time."""
        facts = ", ".join(f"[{_quoted(name)}, {_quoted(value)}]" for name, value in self.attributes)
        return (
            f'{{"attributes": [{facts}], "brand": {_quoted(self.brand)}, "category": {_quoted(self.category)}, '
            f'"description": {_quoted(self.description)}, "image": {_quoted(self.image)}, '
            f'"price": {_quoted(self.price)}, "sku": {_quoted(self.sku)}, "title": {_quoted(self.title)}}}'
        )

    def digest(self) -> str:
        """sha256 over the canonical JSON of every field, hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def product_from_dict(table: Mapping[str, Any]) -> Product:
    """A product from its JSON form, `Product.as_dict`, taken as it stands. Raises TypeError."""
    return Product(**{**table, "attributes": tuple((name, value) for name, value in table.get("attributes", ()))})


class ProductError(ValueError):
    """A row that is no product: `column` as the row names it, `reason` in words a merchant understands."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


def product_from_mapping(mapping: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> Product:
    """
    One row as a product, by the usual column names or the user's `columns` (see `columns.column_plan`).

    `attributes` may be a mapping or a list of pairs, and is then taken as it stands. Raises ProductError.
    """
    return product_from_row(column_plan(map(str, mapping), columns), tuple(mapping.values()))


def product_from_row(plan: ColumnPlan, values: Sequence[Any]) -> Product:
    """
    The row `values`, in the order of `plan.names`, as a product. Raises ProductError.

    A row without a sku gets "row-" and 12 hex digits of its own digest, so the same row has the same one everywhere.
    """
    title = field_text(plan, values, "title")
    if not title:
        raise ProductError(plan.name_of("title"), "is missing or empty; every product needs a title")
    if not any(map(str.isalnum, title)):
        raise ProductError(plan.name_of("title"), "has no letter or digit; an ad needs words")
    product = Product(
        sku=field_text(plan, values, "sku"),
        title=title,
        description=field_text(plan, values, "description"),
        category=field_text(plan, values, "category"),
        brand=field_text(plan, values, "brand"),
        price=_price(plan, values),
        image=field_text(plan, values, "image"),
        attributes=_attributes(plan, values),
    )
    return product if product.sku else replace(product, sku=f"row-{product.digest()[:12]}")


def field_text(plan: ColumnPlan, values: Sequence[Any], field: str) -> str:
    """The first column of the field that holds something, as clean text; "" where none does."""
    for position in plan.fields[field]:
        value = values[position]
        if field == "image":
            value = _first_image(value)
        elif field == "category" and isinstance(value, list):
            value = _joined(value)
        if text := _text(value, plan.names[position], CHARS_MAX[field]):
            return text
    return ""


def _text(value: Any, column: str, chars_max: int) -> str:
    if isinstance(value, str):
        if not value:
            return ""
        if len(value) > chars_max:
            value = _shortened(value, column, chars_max)
        text = plain_text(value)
        if len(text) > chars_max:
            raise _too_long(column, text, chars_max)
        return text
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProductError(column, f"is {_kind(value)}; it has to be text")
    if not math.isfinite(value) or abs(value) > 1e30:
        raise ProductError(column, "is not a usable number (NaN, infinite or above 1e30)")
    return str(value)


def _shortened(value: str, column: str, chars_max: int) -> str:
    """Pictures pasted into the HTML are dropped first: they are megabytes, and no text."""
    value = _DATA_URI.sub("", value) if "data:" in value and "<" in value else value
    has_markup = "<" in value or "&" in value
    # White space and invisible characters fold away, composed letters halve: a factor that no honest text reaches.
    if len(value) > chars_max * (MARKUP_FACTOR_MAX if has_markup else 4):
        raise _too_long(column, value, chars_max)
    return value


def _too_long(column: str, text: str, chars_max: int) -> ProductError:
    return ProductError(column, f"has {len(text):,} characters; at most {chars_max:,} are allowed")


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", list: "a list", tuple: "a list", dict: "an object"}
    return kinds.get(type(value), f"of the type {type(value).__name__}")


def _first_image(value: Any) -> Any:
    """Shops give one picture, several addresses in a list or a text, or objects around the address."""
    if not isinstance(value, str):
        if isinstance(value, list | tuple):
            value = value[0] if value else None
        if isinstance(value, Mapping):
            value = value.get("src") or value.get("url")
    if isinstance(value, str) and value.find("http", 1) > 0:
        return _NEXT_IMAGE.split(value, maxsplit=1)[0]
    return value


def _joined(values: Iterable[Any]) -> str | None:
    """Plain values in one text; None where one of them is no plain value."""
    values = list(values)
    if any(isinstance(value, bool) or not isinstance(value, str | int | float) for value in values):
        return None
    return ", ".join(str(value) for value in values)


def _price(plan: ColumnPlan, values: Sequence[Any]) -> str:
    """The price as text: checked for being one, never converted. A bare number gets the currency column appended."""
    price = field_text(plan, values, "price")
    if not price:
        return ""
    column = plan.name_of("price")
    if _NEGATIVE.fullmatch(price):
        raise ProductError(column, f"is negative: {price}")
    if not _PRICE.fullmatch(price):
        raise ProductError(column, f"is not a price: {price}; write it like 24.90 or 24,90 EUR")
    if not price[-1].isalpha() and not any(character.isalpha() or character in "$£€¥₹" for character in price):
        price = f"{price} {field_text(plan, values, 'currency')}".strip()
    return price


def _attributes(plan: ColumnPlan, values: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for position in plan.fields["attributes"]:
        found.update(_given(values[position], plan.names[position]))
    for column in plan.attributes:
        if text := _fact(values[column.position], column, plan.names[column.position]):
            found.setdefault(column.name, text)
    for name_position, value_position in plan.options:
        if text := option_value(plan, values, value_position):
            found.setdefault(option_name(plan, values, name_position), text)
    return tuple(found.items())


def option_name(plan: ColumnPlan, values: Sequence[Any], position: int) -> str:
    """What an option of a variant is called: "Colour", or the column's own name where the row leaves it open."""
    return _text(values[position], plan.names[position], ATTRIBUTE_NAME_CHARS_MAX) or plan.names[position]


def option_value(plan: ColumnPlan, values: Sequence[Any], position: int) -> str:
    """One option of a variant; "" for Shopify's "Default Title", which stands for a product without options."""
    text = _text(values[position], plan.names[position], ATTRIBUTE_CHARS_MAX)
    return "" if text == "Default Title" else text


def _fact(value: Any, column: AttributeColumn, name: str) -> str:
    """An attribute's text: flat lists are joined; objects, flags and placeholders such as "n/a" are no facts."""
    if not isinstance(value, str):  # which it is in every row of CSV
        if isinstance(value, list | tuple):
            value = _joined(value)
        if value is None or isinstance(value, bool | Mapping):
            return ""
    text = _text(value, name, ATTRIBUTE_CHARS_MAX)
    if len(text) <= _PLACEHOLDER_CHARS_MAX and text.casefold() in _PLACEHOLDERS:
        return ""
    return f"{text} {column.unit}" if column.unit and _BARE_NUMBER.fullmatch(text) else text


def _given(value: Any, column: str) -> Iterable[tuple[str, str]]:
    """Attributes that arrive as such, not as columns. A text is no such thing and is left out."""
    if value is None or isinstance(value, str):
        return
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise ProductError(column, "has to be an object of names and values, or a list of such pairs")
    if len(pairs) > ATTRIBUTES_MAX:
        raise ProductError(column, f"holds {len(pairs):,} attributes; at most {ATTRIBUTES_MAX} are allowed")
    for name, fact in pairs:
        shown = _text(name, column, ATTRIBUTE_NAME_CHARS_MAX)
        text = _text(fact, f"{column}/{shown}", ATTRIBUTE_CHARS_MAX)
        if shown and text:
            yield shown, text
