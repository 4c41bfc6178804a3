"""
Teach copying: the same ad for a product with other numbers and colours, changed in row and ad alike.

A model that has seen "31 hours" and "27 hours" in the same sentence learns where the number comes from.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace

from model.creative import Copy
from model.product import Product
from model.training.pairs import Pair, flaws

NUMBER_START, NUMBER_END = r"(?<![\w.,])", r"(?!\w*\d|[.,]\d)"
NUMBER = re.compile(rf"{NUMBER_START}\d+(?:[.,]\d+)?{NUMBER_END}")
COLOURS = (
    "red", "blue", "green", "yellow", "purple", "pink", "brown", "black", "white", "grey", "orange", "navy", "ivory",
    "charcoal", "mustard", "sage", "rust", "teal",
)  # fmt: skip
"""Plain adjectives that stand in one another's place; "cream" or "rose" may be a thing."""
THINGS = frozenset({"orange", "ivory", "charcoal", "mustard", "sage", "rust"})
"""Colours that are put in but never taken out: orange peel would turn into teal peel."""
YEARS = range(1900, 2100)


def swapped(pair: Pair, draw: random.Random) -> Pair:
    """The pair with other numbers and colours, or unchanged where that would not leave a sound pair."""
    facts = pair.product.facts()
    said = pair.words.joined()
    table = _numbers(facts, said, draw) | _colours(facts, said, draw)
    if not table:
        return pair
    changed = replace(pair, product=_product(pair.product, table), words=_words(pair.words, table))
    # A hashtag may run a number or colour into a word, where it stays: #mug350.
    stale = any(key in tag.lower() for key in table for tag in changed.words.hashtags)
    return pair if stale or flaws(changed) else changed


def _numbers(facts: str, said: str, draw: random.Random) -> dict[str, str]:
    """Every number that the ad takes from the row, to another of the same length; two stay different."""
    shown = set(NUMBER.findall(facts))
    table: dict[str, str] = {}
    for number in sorted(shown & set(NUMBER.findall(said))):
        if number.isdigit() and (len(number) < 2 or int(number) in YEARS):
            continue  # "2 steps" is often said in words, and a year is a fact of another kind
        digits = [draw.choice("123456789") if place == 0 else draw.choice("0123456789") for place in range(len(number))]
        other = "".join(new if old.isdigit() else old for old, new in zip(number, digits, strict=True))
        if other not in shown and other not in table.values():
            table[number] = other
    return table


def _colours(facts: str, said: str, draw: random.Random) -> dict[str, str]:
    present = [colour for colour in COLOURS if re.search(rf"\b{colour}\b", facts, re.IGNORECASE)]
    used = [colour for colour in present if colour not in THINGS and re.search(rf"\b{colour}\b", said, re.IGNORECASE)]
    free = [colour for colour in COLOURS if colour not in present]
    draw.shuffle(free)
    return dict(zip(used, free, strict=False))


def _product(product: Product, table: Mapping[str, str]) -> Product:
    return replace(
        product,
        title=_swap(product.title, table),
        description=_swap(product.description, table),
        price=_swap(product.price, table),
        attributes=tuple((name, _swap(value, table)) for name, value in product.attributes),
    )


def _words(words: Copy, table: Mapping[str, str]) -> Copy:
    return Copy(
        tuple(_swap(text, table) for text in words.headlines),
        tuple(_swap(text, table) for text in words.bodies),
        _swap(words.call_to_action, table),
        tuple(_swap(text, table) for text in words.hashtags),
    )


def _swap(text: str, table: Mapping[str, str]) -> str:
    """Replace whole numbers and words in one pass, keeping a capital."""
    pattern = "|".join(
        f"{NUMBER_START}{re.escape(key)}{NUMBER_END}" if key[0].isdigit() else rf"\b{key}\b" for key in table
    )

    def other(match: re.Match[str]) -> str:
        found = match[0]
        new = table.get(found) or table[found.lower()]
        return new.capitalize() if found[0].isupper() else new

    return re.sub(pattern, other, text, flags=re.IGNORECASE)
