"""
Whether the facts of an ad hang together as they do in its row: a number on its own noun, a material on its own part.

A small model takes its words from the row and joins them anew: "jaws 125 mm wide, swivel base" becomes "a base 125 mm
wide". Every word is supported, the sentence is not. Compares clauses as bags of rough stems; knows no score and no
channel. What it calls loose need not be wrong: of ads that people wrote freely for a row it flags a good part, so the
writer uses it to choose among its own sentences and validity.py does not count it (see ADR 14).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from model.grounding import FACTS_CHARS_MAX
from model.lexicon import lexicon, normalise, singular, topic_stem
from model.product import Product
from model.quantities import UNITS

Reason = Literal["apart", "lifted", "new", "twice", "denied", "short"]
"""
apart: no clause of the row holds all these words together.
lifted: a number, or a lone word, without any noun of the clause it was taken from: "Fits 14", "Not included".
new: the row has none of the words that matter here.
twice: one word said twice in a clause, or a clause that only says again what stood before it.
denied: what the row says is not there is spoken of as if it were.
short: a headline copies a clause of the row and stops before its noun, "Sesame paste from hulled", or is half a
sentence.
"""

_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n")
_CLAUSE = re.compile(r"(?<!\d)[,;:](?!\d)|[,;:](?=\s|$)|[.!?…](?=\s|$)|\s[-–—]\s")
_JOINED = re.compile(r"\b(?:and|or|with|plus|but|while|when|which|that|so|because|(?:is|are) included)\b")
"""Between two of these an ad states one thing; the row is cut at punctuation alone, to be generous."""
_VERB = re.compile(r"\b(?:is|are|has|have)\b")
_BARE_MEASURE = re.compile(r"\bwith (?:an? )?\d[\d.,]* ?[^\W\d]{1,2}(?: (?:long|wide|high|deep|thick|across))?$")
"""A thing does not come with 110 g."""
_SUBORDINATE = re.compile(r"\b(?:when|while|which|that|because|this|it|they)\b")
_IN = re.compile(r"\bin (?:(?:a|an|the) )?")
_ARTICLES = frozenset("a an the".split())
_BOUNDS = frozenset("from over under max per about above below least most".split())
_WITH = re.compile(r"\bwith\b")
_LINK = re.compile(r"\b(?:in|of|for)\b")
"""A row has "wool flannel, mid grey" where an ad has "wool flannel in mid grey"."""
_NAMED = re.compile(r"\b(?:with|for|in|from|by)\b")
_BELONGS = re.compile(r"\b(in|of|with)\b")
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

COUNTED_WORDS = 3
"""Content words after a number among which is what it counts: "five nesting bowls in grey shades" counts no shades."""


@dataclass(frozen=True, slots=True)
class RowClauses:
    """A row, cut up for comparison. Build it with `row_clauses`."""

    own: Stems
    """What the thing is called, "egg cups" of "Egg cups with hats, set of 2", and its category: goes with anything."""
    clauses: tuple[Stems, ...]
    denied: tuple[Stems, ...]
    """Those of them that say that something is not there."""
    sentences: tuple[tuple[Stems, ...], ...]
    title: Stems
    everything: Stems
    doubled: Stems
    """Stems that a clause of the row holds twice itself."""
    parts_of: Mapping[str, Stems]
    """Stem -> what stands before "in", "of" or "with" in its clause: in "knob in walnut", walnut is the knob's."""
    ends: Stems
    """Of the last words of its clauses."""
    runs: tuple[tuple[str, ...], ...]
    """The words of each clause as they stand."""
    bounds: frozenset[tuple[str, str]]
    """Words such as "from" and "max", each with the number after it."""
    counted: Mapping[str, Stems]
    """Number without a unit -> the next words after it, wherever it stands."""

    def ends_as(self, text: str) -> bool:
        """Whether `text` ends on a word that a clause of the row ends on."""
        return bool(stems := _stem_list(normalise(text))) and stems[-1] in self.ends

    def is_clause(self, text: str) -> bool:
        """Whether `text` stands in a clause of the row, word for word."""
        words = lexicon().words(normalise(text)).texts
        return bool(words) and any(_starts(run, words) for run in self.runs)

    def is_torn_off(self, text: str) -> bool:
        """Whether `text` begins with "for" where no clause of the row that holds it does."""
        words = lexicon().words(normalise(text)).texts
        places = [place for run in self.runs for place in _starts(run, words)]
        return words[:1] == ("for",) and bool(places) and 0 not in places

    def stops_short(self, text: str) -> bool:
        """Whether `text` is the beginning of a clause, or a stretch of it, and the next word belongs to it."""
        words = lexicon().words(text).texts
        nexts = [run[place + len(words) :][:1] for run in self.runs for place in _starts(run, words)]
        loosely = lexicon().sets["function_words"] | lexicon().sets["dimension_words"] | {""}
        return bool(nexts) and all(word and word[0] not in loosely for word in nexts)


@lru_cache(maxsize=256)
def row_clauses(product: Product) -> RowClauses:
    """The row, prepared. Cached, since every candidate of a product asks for it."""
    title = normalise(product.title)
    description = normalise(product.description[:FACTS_CHARS_MAX])
    sentences = [list(_clauses(part)) for part in (title, *_SENTENCE.split(description))]
    texts = [clause for sentence in sentences for clause in sentence]
    name = _NAMED.split(next(_clauses(title), title))[0]
    own = _stems(name) | _stems(normalise(product.category.rpartition(">")[2]))
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
        parts_of=_parts_of(texts, own),
        ends=frozenset(stems[-1] for text in texts if (stems := _stem_list(text))),
        runs=tuple(lexicon().words(text).texts for text in texts),
        bounds=frozenset(bound for text in texts for bound in _bounds(text)),
        counted=_counted(texts),
    )


def _starts(run: tuple[str, ...], words: tuple[str, ...]) -> list[int]:
    return [place for place in range(len(run) - len(words) + 1) if run[place : place + len(words)] == words]


def _counted(texts: Iterable[str]) -> dict[str, Stems]:
    found: dict[str, Stems] = {}
    for text in texts:
        stems = _stem_list(text)
        for place, stem in enumerate(stems):
            if stem.isdigit():
                found[stem] = found.get(stem, frozenset()) | frozenset(stems[place + 1 : place + 1 + COUNTED_WORDS])
    return found


def _parts_of(texts: Iterable[str], own: Stems) -> dict[str, Stems]:
    found: dict[str, Stems] = {}
    for text in texts:
        before, _, after = _BELONGS.split(text, maxsplit=1) if _BELONGS.search(text) else (text, "", "")
        for stem in _stems(text):
            part = _stems(before) - own if stem in _stems(after) else frozenset()
            # A clause that gives it to the whole thing outweighs one that gives it to a part.
            found[stem] = part & found.get(stem, part)
    return found


def clause_stems(text: str) -> Stems:
    """Rough stems of the content words of any text, to see whether one says what another has said."""
    return _stems(normalise(text))


def loose(row: RowClauses, text: str, field: str) -> Iterator[Loose]:
    """Every clause of `text` that does not hang together as the row does; `field` as in `channel.FIELD_NAMES`."""
    if field == "call_to_action":
        if reason := _pointing(row, normalise(text)):
            yield Loose(text, reason)
        return
    said: Stems = frozenset()
    if not _goes_with(row, normalise(text)):
        yield Loose(text, "apart")
    for piece in _clauses(normalise(text)):
        beside = _stems(piece)
        if any(stem not in row.doubled for stem in _twice(piece)) or (beside and beside <= said):
            yield Loose(piece, "twice")
        said |= beside
        if _BARE_MEASURE.search(piece):
            yield Loose(piece, "lifted")
        if any(noun not in row.counted.get(number, {noun}) for number, noun in _counts(piece)):
            yield Loose(piece, "lifted")
        if field == "headline" and (row.stops_short(piece) or _SUBORDINATE.search(piece)):
            yield Loose(piece, "short")
        parts = [part for part in _JOINED.split(piece) if part.strip()]
        if not row.bounds.issuperset(_bounds(piece)) or not _is_in(row, piece):
            yield Loose(piece, "apart")
        if any(_only_measures(part) for part in parts[1:]) and any(stem[0].isalpha() for stem in _stems(parts[0])):
            yield Loose(piece, "lifted")
        for part in parts:
            if reason := _reason(row, part, beside, field, alone=len(parts) == 1):
                yield Loose(part.strip(), reason)


def _counts(piece: str) -> Iterator[tuple[str, str]]:
    """Numbers without a unit in an ad's clause, each with the last of the few words that it may count."""
    for part in _JOINED.split(piece):
        stems = _stem_list(part)
        for place, stem in enumerate(stems[:-1]):
            if stem.isdigit():
                yield stem, stems[place + 1 : place + 1 + COUNTED_WORDS][-1]


def _bounds(text: str) -> Iterator[tuple[str, str]]:
    """("from", "10") of "from 10 kg": what is at least is not what it holds."""
    words = lexicon().words(text).texts
    return ((word, number) for word, number in pairwise(words) if word in _BOUNDS and number[0].isdigit())


def _only_measures(part: str) -> bool:
    return bool(stems := _stems(part)) and all(stem[0].isdigit() and not stem.isdigit() for stem in stems)


def _is_in(row: RowClauses, piece: str) -> bool:
    """Whether what follows "in" does so in the row too, or is a material or a colour: no "scales in mechanical"."""
    for after in _IN.split(piece)[1:]:
        words = lexicon().words(after)
        said = words.texts[:1]
        kinds = {match.phrase.claim.kind for match in lexicon().matches(words) if match.phrase.claim is not None}
        if not kinds & {"unsupported_material", "unsupported_colour"} and not any(
            "in" in (run[place - 1 : place] + (run[place - 2 : place - 1] if run[place - 1] in _ARTICLES else ()))
            for run in row.runs
            for place in _starts(run, said)
            if place
        ):
            return False
    return True


def _goes_with(row: RowClauses, text: str) -> bool:
    """Whether what "with" joins stands in one sentence of the row; what the title says goes with everything."""
    for left, right in pairwise(_WITH.split(text)):
        ends = [*list(_clauses(left))[-1:], *list(_clauses(right))[:1]]
        said = [stems for end in ends if (stems := _stems(end) - row.own) and not stems <= row.title]
        homes = [
            {place for place, sentence in enumerate(row.sentences) if any(stems <= clause for clause in sentence)}
            for stems in said
        ]
        if homes and all(homes) and not set.intersection(*homes):
            return False
    return True


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
    if not homes and not (known <= row.title and not _VERB.search(part)) and not _linked(row, part, known):
        return "apart"
    if homes and all(home in row.denied for home in homes) and not _DENIAL.search(part):
        return "denied"
    lone = alone and len(known) == 1 and field != "body"
    if lone and stems & row.own and not numbers:
        return "lifted" if all(row.parts_of.get(stem) for stem in known) else None
    if homes and (numbers or lone) and not any(_keeps_noun(row, home, known, stems, beside) for home in homes):
        return "lifted"
    return None


def _pointing(row: RowClauses, text: str) -> Reason | None:
    """What is wrong with a call to action: it names one thing of the row, whole, and a buyer can look at it."""
    stems = _stems(text)
    words = lexicon().words(text).texts
    introduced = lexicon().sets["function_words"] | lexicon().sets["pointing_words"]
    if "," in text or (len(words) > 1 and singular(words[1]) not in introduced and not words[1][0].isdigit()):
        return "apart"  # "Check stop using once baby starts", "See the salt, wheat flour"
    known = stems - (_free("call_to_action") - row.everything) - row.own
    numbers = {stem for stem in known if stem[0].isdigit()}
    if any(_stem_list(text).count(stem) > 1 for stem in stems):
        return "twice"
    if any(stem not in row.everything for stem in known - numbers) or not _as_spelt(row, text):
        return "new"
    homes = [clause for clause in row.clauses if known <= clause]
    if not homes:
        return "apart"
    if any(row.parts_of.get(stem) and not row.parts_of[stem] & stems for stem in known) and stems & row.own:
        return "lifted"
    if known and all(home in row.denied for home in homes):
        return "denied"
    sizes = stems & _free("dimension")
    if numbers and (not known - numbers | sizes or any(not _measurable(stem) for stem in numbers)):
        return "lifted"
    for home in homes:
        others = {stem for stem in home - row.own - _free("dimension") if not stem[0].isdigit()}
        if not numbers and (len(known) != 1 or stems & row.own or not others - known):
            return None
        if numbers and others <= stems:
            return None
    return "lifted" if known else None


def _as_spelt(row: RowClauses, text: str) -> bool:
    """Whether its words in -ing are the row's: "rests" are nothing to see the "resting" of."""
    words = {word for run in row.runs for word in run}
    return all(word in words or not word.endswith("ing") for word in lexicon().words(text).texts)


def _measurable(stem: str) -> bool:
    """A length or a plain count; nobody checks grams or minutes on a page."""
    return stem.endswith("length") or _NUMBER.fullmatch(stem) is not None or "/" in stem


def _linked(row: RowClauses, part: str, known: Stems) -> bool:
    """
    Whether "in", "of" or "for" ties clauses of one sentence of the row together.

    What follows the link is a whole clause: "in mid grey" where the row has ", mid grey", and no "cups in walnut".
    """
    first, *others = [found for end in _LINK.split(part) if (found := _stems(end) & known)]
    worded = all(any(not stem[0].isdigit() for stem in end) for end in (first, *others))
    return (
        bool(others)
        and worded
        and any(
            any(first <= clause for clause in sentence) and all(end in sentence for end in others)
            for sentence in row.sentences
        )
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
