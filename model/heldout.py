"""
The rows that a model is measured on, and what would make them known to it beforehand.

Works on words alone; knows no pairs' file but the shipped one, no tokens and no networks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

GRAM_WORDS = 8
"""A held-out ad that shares a run this long with a training ad is no longer unseen."""
SHIPPED = Path(__file__).parent / "data" / "heldout.jsonl"

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Telling:
    """What tells a pair: whose it is, the product and the ad's words in one text."""

    id: str
    family: str
    title: str
    description: str
    ad: str


class HeldOut:
    """Held-out pairs by everything that tells them."""

    def __init__(self, pairs: Iterable[Telling]) -> None:
        self._marks: dict[tuple[str, ...], tuple[str, str]] = {}
        for pair in pairs:
            for mark, what in _marks(pair):
                self._marks.setdefault(mark, (pair.id, what))

    def repeated_by(self, pair: Telling) -> str:
        """What a pair repeats, as `the title "..." of 01-h01`; empty where nothing."""
        for mark, _ in _marks(pair):
            if mark in self._marks:
                held, what = self._marks[mark]
                return f"{what} of {held}"
        return ""


def shipped_heldout() -> HeldOut:
    """The frozen set in model/data."""
    with SHIPPED.open(encoding="utf-8") as file:
        return HeldOut(_telling(json.loads(line)) for line in file)


def _telling(table: dict[str, dict[str, object]]) -> Telling:
    product, words = table["product"], table["copy"]
    texts: list[str] = []
    for key in ("headlines", "bodies", "call_to_action", "hashtags"):
        value = words[key]
        texts += [str(each) for each in value] if isinstance(value, list) else [str(value)]
    said = " ".join(filter(None, texts))
    return Telling(
        str(table["id"]), str(table["family"]), str(product["title"]), str(product.get("description", "")), said
    )


def _marks(pair: Telling) -> Iterator[tuple[tuple[str, ...], str]]:
    """(kind and words, how an error calls it)."""
    yield ("family", pair.family.lower()), f'the family "{pair.family}"'
    yield ("title", *_words(pair.title)), f'the title "{pair.title}"'
    if described := _words(pair.description):
        yield ("description", *described), "the description"
    said = _words(pair.ad)
    for place in range(len(said) - GRAM_WORDS + 1):
        gram = said[place : place + GRAM_WORDS]
        yield ("ad", *gram), f'the words "{" ".join(gram)}"'


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))
