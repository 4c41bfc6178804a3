"""
Whether the facts of an ad hang together as they do in its row: a number on its own noun, a material on its own part.

A small model takes its words from the row and joins them anew: "jaws 125 mm wide, swivel base" becomes "a base 125 mm
wide". Every word is supported, the sentence is not. Compares clauses as bags of rough stems; knows no score and no
channel. What it calls loose need not be wrong: of ads that people wrote freely for a row it flags a good part, so the
writer uses it to choose among its own sentences and validity.py does not count it (see ADR 14).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from model.grounding import FACTS_CHARS_MAX
from model.lexicon import lexicon, normalise, singular, topic_stem
from model.product import Product
from model.quantities import UNITS

Reason = Literal["apart", "lifted", "new", "twice", "denied"]
"""
apart: no clause of the row holds all these words together.
lifted: a number, or a lone word, without any noun of the clause it was taken from: "Fits 14", "Not included".
new: the row has none of the words that matter here.
twice: one word said twice in a clause.
denied: a call to action points at what the row says is not there.
"""

_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n")
_CLAUSE = re.compile(r"(?<!\d)[,;:](?!\d)|[,;:](?=\s|$)|[.!?…](?=\s|$)|\s[-–—]\s")
_JOINED = re.compile(r"\b(?:and|or|with|plus|but|while|when|which|that|so|because|(?:is|are) included)\b")
"""Between two of these an ad states one thing; the row is cut at punctuation alone, to be generous."""
_LINK = re.compile(r"\b(?:in|of|for)\b")
"""A row has "wool flannel, mid grey" where an ad has "wool flannel in mid grey"."""
_DENIAL = re.compile(r"\b(?:not|no|without|sold separately|needs?|required?)\b")
_NUMBERS = {word: str(value) for value, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve".split()
)}  # fmt: skip
_UNIT_SIZES = {unit: (size, dimension) for dimension, units in UNITS.items() for unit, size in units.items()}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_PIECES = frozenset(("pair", "piece", "pc", "pcs"))


class Loose(NamedTuple):
    """A clause of an ad that does not hang together."""

    clause: str
    reason: Reason


Stems = frozenset[str]


@dataclass(frozen=True, slots=True)
class RowClauses:
    """A row, cut up for comparison. Build it with `row_clauses`."""

    own: Stems
    """What the thing is called: the title up to its first comma, and the category. It may stand beside anything."""
    clauses: tuple[Stems, ...]
    denied: tuple[Stems, ...]
    """Those of them that say that something is not there."""
    sentences: tuple[tuple[Stems, ...], ...]
    title: Stems
    everything: Stems
    doubled: Stems
    """Stems that a clause of the row holds twice itself."""
    ends: Stems
    """Of the last words of its clauses."""

    def ends_as(self, text: str) -> bool:
        """Whether `text` ends on a word that a clause of the row ends on."""
        return bool(stems := _stem_list(normalise(text))) and stems[-1] in self.ends


@lru_cache(maxsize=256)
def row_clauses(product: Product) -> RowClauses:
    """The row, prepared. Cached, since every candidate of a product asks for it."""
    title = normalise(product.title)
    description = normalise(product.description[:FACTS_CHARS_MAX])
    sentences = [list(_clauses(part)) for part in (title, *_SENTENCE.split(description))]
    texts = [clause for sentence in sentences for clause in sentence]
    own = _stems(next(_clauses(title), title)) | _stems(normalise(product.category.rpartition(">")[2]))
    measured = [
        f"{noun} {measure}"  # "hardened jaws, 125 mm wide": a clause that only measures belongs to the one before it
        for sentence in sentences
        for noun, measure in pairwise(sentence)
        if all(stem[0].isdigit() or stem in _free("dimension") for stem in _stems(measure))
    ]
    clauses = tuple(_stems(text) for text in (*texts, *measured))
    return RowClauses(
        own=own,
        clauses=clauses,
        denied=tuple(stems for text, stems in zip(texts, clauses, strict=False) if _DENIAL.search(text)),
        sentences=tuple(tuple(_stems(clause) for clause in sentence) for sentence in sentences),
        title=_stems(title),
        everything=own.union(*clauses),
        doubled=frozenset(stem for text in texts for stem in _twice(text)),
        ends=frozenset(stems[-1] for text in texts if (stems := _stem_list(text))),
    )


def loose(row: RowClauses, text: str, field: str) -> Iterator[Loose]:
    """Every clause of `text` that does not hang together as the row does; `field` as in `channel.FIELD_NAMES`."""
    for piece in _clauses(normalise(text)):
        beside = _stems(piece)
        if any(stem not in row.doubled for stem in _twice(piece)):
            yield Loose(piece, "twice")
        parts = [part for part in _JOINED.split(piece) if part.strip()]
        for part in parts:
            if reason := _reason(row, part, beside, field, alone=len(parts) == 1):
                yield Loose(part.strip(), reason)


def _reason(row: RowClauses, part: str, beside: Stems, field: str, *, alone: bool) -> Reason | None:
    stems = _stems(part)
    said = stems - (_free(field) - row.everything) - row.own
    new = {stem for stem in said - row.everything if not stem[0].isdigit()}
    numbers = {stem for stem in said if stem[0].isdigit()}
    if new and (numbers or field != "body" or 2 * len(new) >= len(said)):
        return "new"
    known = said - new
    if not known:
        return None
    homes = [clause for clause in row.clauses if known <= clause]
    if not homes and not known <= row.title and not _linked(row, part, known):
        return "apart"
    if field == "call_to_action" and homes and all(home in row.denied for home in homes):
        return "denied"
    lone = alone and len(known) == 1 and field != "body" and not stems & row.own
    if homes and (numbers or lone) and not any(_keeps_noun(row, home, known, stems, beside) for home in homes):
        return "lifted"
    return None


def _linked(row: RowClauses, part: str, known: Stems) -> bool:
    """Whether "in", "of" or "for" ties together clauses of one sentence of the row."""
    ends = [found for end in _LINK.split(part) if (found := _stems(end) & known)]
    return len(ends) > 1 and any(
        all(any(end <= clause for clause in sentence) for end in ends) for sentence in row.sentences
    )


def _keeps_noun(row: RowClauses, home: Stems, known: Stems, stems: Stems, beside: Stems) -> bool:
    """Whether the words taken from `home` brought along another word of it, where it has one."""
    others = {stem for stem in home - row.own - _free("dimension") if not stem[0].isdigit()}
    if all(not stem[0].isdigit() for stem in known):
        return not others - known or bool((others - known) & stems)
    return not others or bool(others & beside)


@lru_cache(maxsize=8)
def _free(field: str) -> Stems:
    """Stems that say nothing of a product in this field; of "dimension", those that name a size."""
    names = {"call_to_action": "pointing_words", "dimension": "dimension_words"}
    return frozenset(topic_stem(word) for word in lexicon().sets[names.get(field, "bearing_words")])


def _clauses(text: str) -> Iterator[str]:
    return (clause for clause in _CLAUSE.split(text) if clause.strip())


def _twice(text: str) -> Stems:
    stems = [stem for stem in _stem_list(text) if not stem[0].isdigit()]
    return frozenset(stem for stem in stems if stems.count(stem) > 1)


def _stems(text: str) -> Stems:
    return frozenset(_stem_list(text))


@lru_cache(maxsize=4096)
def _stem_list(text: str) -> tuple[str, ...]:
    """Rough stems of the content words; a number and its unit are one, in the unit's smallest: "2 l" is "2 litres"."""
    common = lexicon().sets["function_words"]
    stems: list[str] = []
    for word in lexicon().words(text).texts:
        unit = word if word in _UNIT_SIZES else singular(word)
        if stems and _NUMBER.fullmatch(stems[-1]) and (unit in _UNIT_SIZES or unit in _PIECES):
            stems[-1] = _quantity(stems[-1], unit)
        elif word[0].isdigit() or word in _NUMBERS:
            stems.append(_NUMBERS.get(word, word))
        elif len(word) > 1 and word[0].isalpha() and word not in common:
            stems.append(topic_stem(word))
    return tuple(stems)


def _quantity(number: str, unit: str) -> str:
    if unit not in _UNIT_SIZES:
        return number + unit
    size, dimension = _UNIT_SIZES[unit]
    return f"{float(number.replace(',', '.')) * size:.6g}{dimension}"
