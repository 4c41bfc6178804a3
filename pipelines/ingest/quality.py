"""
What a product must look like beyond being readable, and the figures that describe many of them.

Rules run over columns of a chunk with pandera; figures are counts that can be added and taken away again. Knows no
files: see `intake`.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from model.product import Product

RULES_VERSION = 1
"""Raise it when a rule changes: the same file is then judged anew."""

FIELDS = ("sku", "title", "description", "category", "brand", "price", "image")
LENGTHS = (0, 1, 10, 20, 40, 60, 80, 120, 200, 500, 1_000, 2_000, 5_000)
"""Lower ends of the bins of a text's characters."""
AMOUNTS = (0, 1, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000)
"""Lower ends of the bins of a price's amount, whatever its currency."""
KINDS_MAX = 1_000
"""Categories, attribute names and reasons that are told apart; what comes later is counted as `(other)`."""
OTHER = "(other)"

_PLACEHOLDERS = frozenset("n/a na nan none null undefined tbd todo test untitled unknown - . ?".split())
_PLACEHOLDER_CHARS_MAX = max(map(len, _PLACEHOLDERS))
_NOT_ZERO = re.compile("[1-9]")
_CELL_ERROR = re.compile(r"#(?:REF|N/A|VALUE|NAME|DIV/0|NULL|NUM)[!?]?", re.IGNORECASE)
_TWICE_DECODED = re.compile("[ÃÂ][\u00a1-\u00bf]|â€")
_AMOUNT = re.compile(r"\d[\d.,'’٬٫ ]*")
_ADDRESS = re.compile(r"(?:https?://\S+|(?![a-z][a-z0-9+.-]*:)\S[^\r\n]*)?", re.IGNORECASE)


def amount(price: str) -> float:
    """
    The number in a price as text; NaN where there is none.

    The last point or comma is the decimal mark if one or two digits, or four, follow it: "1.299,00" and "1,299.00"
    are the same, and "1.299" is a thousand.
    """
    found = _AMOUNT.search(price)
    if not found:
        return math.nan
    whole, mark, tail = re.sub(r"['’٬ ]", "", found[0]).replace("٫", ",").replace(",", ".").strip(".").rpartition(".")
    is_fraction = bool(mark) and len(tail) != 3
    digits = f"{whole.replace('.', '')}.{tail}" if is_fraction else f"{whole}{tail}".replace(".", "")
    return float(digits)


def schema() -> pa.DataFrameSchema:
    """The rules of a chunk; the text of each is the reason that the row's owner reads."""
    rules: dict[str, list[pa.Check]] = {name: [] for name in FIELDS}
    for name in ("title", "description"):
        rules[name].append(
            _check(_has_no_cell_error, "holds an error of a spreadsheet, such as #REF!: mend the formula")
        )
    rules["title"] += [
        _check(_is_no_placeholder, "is a placeholder and no name; every product needs a title of its own"),
        _check(lambda text: "\ufffd" not in text, "has letters that were lost on the way: export it as UTF-8"),
        _check(_was_decoded_once, "was decoded twice, as in Ã© for é: export it as UTF-8"),
    ]
    rules["price"].append(_check(_is_no_zero, "is zero; leave it empty where there is no price"))
    rules["image"].append(_check(lambda text: _ADDRESS.fullmatch(text) is not None, "is no http address and no path"))
    return pa.DataFrameSchema({name: pa.Column(object, checks) for name, checks in rules.items()})


def _check(is_good: Callable[[str], bool], reason: str) -> pa.Check:
    """The rule over a column. An element-wise check of pandera itself makes objects of each answer and costs more."""
    return pa.Check(lambda texts: pd.Series(map(is_good, texts), index=texts.index, dtype=bool), error=reason)


def _has_no_cell_error(text: str) -> bool:
    return "#" not in text or _CELL_ERROR.search(text) is None


def _was_decoded_once(text: str) -> bool:
    return text.isascii() or _TWICE_DECODED.search(text) is None


def _is_no_placeholder(text: str) -> bool:
    return len(text) > _PLACEHOLDER_CHARS_MAX or text.casefold() not in _PLACEHOLDERS


def _is_no_zero(price: str) -> bool:
    return not price or _NOT_ZERO.search(price) is not None or amount(price) != 0


def broken_rules(rules: pa.DataFrameSchema, products: Sequence[Product]) -> dict[int, tuple[str, str]]:
    """Place in `products` to (field, reason), the first rule that a product breaks."""
    table = pd.DataFrame({name: [getattr(each, name) for each in products] for name in FIELDS}, dtype=object)
    try:
        rules.validate(table, lazy=True)
    except SchemaErrors as error:
        found: dict[int, tuple[str, str]] = {}
        for case in error.failure_cases.to_dict("records"):
            found.setdefault(int(case["index"]), (str(case["column"]), str(case["check"])))
        return found
    return {}


@dataclass(slots=True)
class Figures:
    """Counts over accepted products, and over the reasons of those that were not."""

    products: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    """By field and attribute; `sku` where the source gave one."""
    attributes: Counter[str] = field(default_factory=Counter)
    title_chars: Counter[int] = field(default_factory=Counter)
    description_chars: Counter[int] = field(default_factory=Counter)
    amounts: Counter[int] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    """By the first part of a path, "Home > Lamps" being Home."""
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: Figures) -> None:
        """All counts of `other`, which is left as it is."""
        self.products += other.products
        for name in _COUNTERS:
            mine, theirs = getattr(self, name), getattr(other, name)
            for key, count in theirs.items():
                mine[key if key in mine or len(mine) < KINDS_MAX else OTHER] += count

    def subtract(self, product: Product) -> None:
        """Take one away that was counted in `figures_of`, before `add` has folded what is rare."""
        one = figures_of([product])
        self.products -= 1
        for name in _COUNTERS:
            mine = getattr(self, name)
            mine.subtract(getattr(one, name))
            for key in [key for key, count in mine.items() if not count]:
                del mine[key]

    def as_dict(self) -> dict[str, Any]:
        """JSON form, in an order that depends on the counts alone."""
        return {
            "products": self.products,
            **{name: _sorted(getattr(self, name)) for name in ("filled", "attributes", "categories", "reasons")},
            "title_chars": _binned(self.title_chars, LENGTHS),
            "description_chars": _binned(self.description_chars, LENGTHS),
            "amounts": _binned(self.amounts, AMOUNTS),
        }


_COUNTERS = ("filled", "attributes", "title_chars", "description_chars", "amounts", "categories", "reasons")


def figures_of(products: Sequence[Product]) -> Figures:
    """The counts of these."""
    figures = Figures(products=len(products))
    for name in FIELDS[1:]:
        figures.filled[name] = sum(1 for each in products if getattr(each, name))
    figures.filled["sku"] = sum(1 for each in products if not each.sku.startswith("row-"))
    figures.filled += Counter()  # drops the zeros
    figures.attributes.update(name for each in products for name, _ in each.attributes)
    figures.title_chars.update(bisect_right(LENGTHS, len(each.title)) - 1 for each in products)
    figures.description_chars.update(bisect_right(LENGTHS, len(each.description)) - 1 for each in products)
    figures.amounts.update(_bin_of(each.price) for each in products if each.price)
    figures.categories.update(each.category.partition(" > ")[0] for each in products if each.category)
    return figures


def reason_kind(column: str, reason: str) -> str:
    """The reason without what is of one row only, so that rows with the same trouble are counted together."""
    general = "stands already in another row" if " stands already in " in reason else re.split(r"[:;,] ", reason)[0]
    general = re.sub(r"\d[\d.,]*", "N", general)
    return f"{column}: {general}" if column else general


def _bin_of(price: str) -> int:
    number = amount(price)
    return -1 if math.isnan(number) else bisect_right(AMOUNTS, number) - 1


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _binned(counts: Counter[int], ends: Sequence[int]) -> dict[str, int]:
    return {f"{end}": counts[place] for place, end in enumerate(ends)}
