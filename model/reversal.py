"""
Where a text says "not", and whether an ad turns a product's "not" into an "is".

Goes by the words of one clause; what a claim is, and who makes it, is in grounding.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from model.lexicon import Words, lexicon, singular, topic_stem

NEGATION_WINDOW_WORDS = 4
"""How far before a word of the ad a "not" is looked for, inside one clause."""

_AUXILIARIES = frozenset("do does did will would can could should must may might".split())
_KEEP = frozenset("keep keeps kept leave leaves stay stays".split())
_LEAVE = frozenset("leave leaves spare spares".split())
_UNFIT = re.compile(
    r"(?:(?:is|are|was) (?:not|never)|isn't|aren't)"
    r" (?:for|an option|the place|a place|allowed|welcome|invited|suitable)\b"
    r"|(?:it|they|this|these) (?:(?:is|are) not|isn't|aren't)$"
    r"|(?:(?:and|or|nor) \S+ )?(?:needs?|wants?|deserves?|asks? for|calls? for|belongs?|goes|go)"
    r" (?:\S+ )?(?:else|elsewhere)\b"
)
"""What follows a thing that the ad turns away: "wool and silk need something else"."""
_AWAY = re.compile(r"(?:in|at|alone|behind|home|aside|for|out)\b|on (?:the|its) shelf\b|$")
OBJECT_WINDOW_WORDS = 4
"""How far behind a verb its object is looked for: "fill it up with fuel"."""

OBJECTS_MAX = 3
"""With more words behind "do not" it is unclear which of them the verb must not meet."""
BOUNDED_USE_WORDS = 4
"""As many as "children under 14 years" has."""

CLAUSE_REACH_WORDS = 12
"""How far to either side a clause is followed."""

_NOT_INCLUDED = re.compile(r"([\w' -]{3,40}?) (?:is |are )?(?:not (?:included|supplied)|sold separately)")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Exclusions:
    """What a product says it is not. Build it with `exclusions`."""

    not_words: frozenset[str]
    """Stems of words that stand only behind a "not", or only as un-: not foldable, unlined."""
    not_for: frozenset[tuple[str, ...]]
    """Uses that the product rules out, as one or two stems: "not for the shower"."""
    not_included: frozenset[str]
    """Stems of things that do not come with it."""
    named_missing: frozenset[str]
    """Stems of every word in a sentence with "not included": more than what is missing, but nothing else can be."""
    not_done: frozenset[tuple[str, str]]
    """Verb and object, as rough stems, of what it does not do or must not be done to it: "do not fill with fuel"."""


def exclusions(facts: str, words: Words) -> Exclusions:
    """What the normalised `facts`, cut into `words`, rule out."""
    not_words, not_for, not_done = _ruled_out(words)
    return Exclusions(not_words, not_for, _excluded(facts), _named_missing(facts), not_done)


def negated(words: Words, start: int) -> bool:
    """Whether an ad's word stands behind a "not" of its clause; generous, since a denial is no claim."""
    negators = lexicon().sets["negators"]
    for position in range(start - 1, max(-1, start - 1 - NEGATION_WINDOW_WORDS), -1):
        if words.clauses[position] != words.clauses[start] or words.texts[position] in ("only", "just", "merely"):
            return False
        if words.texts[position] in negators and words.texts[position - 1 : position + 1] != ("to", "none"):
            return True
    return False


def refused(words: Words, start: int, end: int) -> bool:
    """
    Whether an ad turns the thing named by words `start` to `end` away without a "not" before it.

    "Keep it out of the dishwasher", "the dishwasher dulls the edge", "wool needs something else".
    """
    first, last = _clause(words, start)
    before, after = words.texts[max(first, start - 5) : start], words.texts[end:last]
    return _kept_away(before, after) or _said_unfit(words.texts[end - 1], after)


def _clause(words: Words, at: int) -> tuple[int, int]:
    """The clause around a word, as far as anything is looked for: the ends of a text of one clause are far away."""
    first, last = at, at + 1
    while first > max(0, at - CLAUSE_REACH_WORDS) and words.clauses[first - 1] == words.clauses[at]:
        first -= 1
    while last < min(len(words.texts), at + CLAUSE_REACH_WORDS) and words.clauses[last] == words.clauses[at]:
        last += 1
    return first, last


def _kept_away(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    bare = before[:-1] if before and before[-1] in ("the", "a", "an", "your", "any") else before
    if bare[-1:] and bare[-1] in _LEAVE and len(bare) < len(before):  # "leave the varnish in its tin"
        rest = after[1:] if after and after[0] not in lexicon().sets["function_words"] else after
        return bool(_AWAY.match(" ".join(rest)))
    bare = bare[:-1] if bare and bare[-1] in ("of", "from") else bare
    if not bare or bare[-1] not in ("out", "off", "away"):
        return False
    # The verb, at most one word, and the preposition: "keeps the rain off the leather" keeps nothing off a product.
    return bool(_KEEP & set(bare[-3:-1])) and (len(bare) < 3 or bare[-2] in (*_KEEP, "it", "them", "this", "these"))


def _said_unfit(word: str, after: tuple[str, ...]) -> bool:
    sets = lexicon().sets
    if after and after[0] in sets["appliances"]:  # "the tumble dryer"
        word, after = after[0], after[1:]
    if _UNFIT.match(" ".join(after)):
        return True
    if word not in sets["appliances"]:
        return False
    rest = after[1:] if after and after[0] in ("would", "will", "may", "can", "could", "only", "just") else after
    if not rest:
        return False
    return singular(rest[0]) in sets["harms"] or (singular(rest[0]) == "take" and bool({"edge", "shine"} & set(rest)))


def _ruled_out(words: Words) -> tuple[frozenset[str], frozenset[tuple[str, ...]], frozenset[tuple[str, str]]]:
    """(stems that only stand with "not" or "un-", uses of one or two stems, verbs with their object)"""
    texts, stems, clauses = words.texts, words.stems, words.clauses
    not_words: set[str] = {
        word[2:] for word in texts if word.startswith("un") and len(word) > 6 and word.endswith("ed")
    }
    not_for: set[tuple[str, ...]] = set()
    not_done: set[tuple[str, str]] = set()
    behind_not: set[int] = set()
    for i in (i for i, word in enumerate(texts) if word in ("not", "isn't", "aren't")):
        end = next((j for j in range(i + 1, len(texts)) if clauses[j] != clauses[i]), len(texts))
        behind_not.update(range(i + 1, min(i + 3, end)))
        if "for" in texts[i + 1 : i + 3] and i + 1 + texts[i + 1 : i + 3].index("for") < end:
            use = [
                j
                for j in range(i + 2 + texts[i + 1 : i + 3].index("for"), end)
                if texts[j] not in ("the", "a", "an", "use", "in")
            ]
            # "not for children under 3" says nothing against children: only a bare noun or two rule a use out ...
            bare = all(texts[j].isalpha() and texts[j] not in lexicon().sets["function_words"] for j in use)
            # ... and, turned round as a whole, "for children under 3".
            bounded = any(texts[j] in ("under", "over", "below", "above") for j in use)
            if use and ((bare and len(use) <= 2) or (bounded and len(use) <= BOUNDED_USE_WORDS)):
                not_for.add(tuple(stems[j] for j in use))
        elif i > 0 and texts[i - 1] in _AUXILIARIES and clauses[i - 1] == clauses[i] and i + 2 < end:
            # "Do not fill with fuel" says nothing against filling. The last object decides: "leave in direct sun".
            objects = [j for j in range(i + 2, end) if texts[j] not in lexicon().sets["function_words"]]
            if 0 < len(objects) <= OBJECTS_MAX and _is_quality(texts[i + 1]):
                not_done.add((topic_stem(texts[i + 1]), topic_stem(texts[objects[-1]])))
        elif i + 1 < end and _is_quality(texts[i + 1]):
            not_words.add(stems[i + 1])
    elsewhere = {stem for i, stem in enumerate(stems) if i not in behind_not}
    return frozenset(not_words - elsewhere), frozenset(not_for), frozenset(not_done)


def _is_quality(word: str) -> bool:
    """Whether "not `word`" says what a thing is not; "not included" and "not suitable for" say something else."""
    return len(word) > 3 and word not in lexicon().sets["function_words"] | {
        "included",
        "supplied",
        "suitable",
        "merely",
        "part",
    }


def _excluded(facts: str) -> frozenset[str]:
    found: set[str] = set()
    for match in _NOT_INCLUDED.finditer(facts):
        named = [word for word in _WORD.findall(match[1]) if word not in lexicon().sets["function_words"]]
        found.update(singular(word) for word in named[-1:])
    return frozenset(found)


def _named_missing(facts: str) -> frozenset[str]:
    sentences = (sentence for sentence in re.split(r"[.;!?]\s", facts) if _NOT_INCLUDED.search(sentence))
    return frozenset(singular(word) for sentence in sentences for word in _WORD.findall(sentence))


def reversals(product: Exclusions, words: Words, covered: set[int]) -> Iterator[str]:
    """One sentence for each word of the ad that turns the product's "not" round; `covered` were judged as claims."""
    texts, stems = words.texts, words.stems
    yield from _wrongly_missing(product, words)
    for i, stem in enumerate(stems):
        if negated(words, i) or texts[i + 1 : i + 2] in (("nothing",), ("none",), ("no",)):
            continue
        if i not in covered and (stem in product.not_words or texts[i] in product.not_words):
            if not refused(words, i, i + 1):
                yield f'"{texts[i]}" is the opposite of what the product says'
        elif (
            any(stems[i : i + len(use)] == use for use in product.not_for)
            and _is_use(words, i)
            and not refused(words, i, i + 1)
        ):
            yield f'the product is not for "{texts[i]}"'
        elif stem in product.not_included and _as_included(words, i):
            yield f'"{texts[i]}" is not included'
        elif product.not_done and (end := _object_end(product, words, i)) and not refused(words, i, end):
            yield f'"{" ".join(texts[i:end])}" is the opposite of what the product says'


def _wrongly_missing(product: Exclusions, words: Words) -> Iterator[str]:
    """What the ad says is not included, and the product does not: "the pen tray is not" where it is the pens."""
    texts = words.texts
    for i in range(1, len(texts) - 1):
        if texts[i : i + 2] not in (("not", "included"), ("not", "supplied"), ("sold", "separately")):
            continue
        at = i - 2 if texts[i - 1] in ("is", "are") else i - 1
        if at >= 1 and texts[at] == "itself":
            at -= 1
        said = at >= 0 and words.clauses[at] == words.clauses[i] and _is_quality(texts[at])
        if said and words.stems[at] not in product.named_missing and product.not_included:
            yield f'"{texts[at]}" is not what the product leaves out'


def _object_end(product: Exclusions, words: Words, at: int) -> int:
    """Behind the object of a verb that the product rules out; 0 where there is none, or a "no" stands before it."""
    verb, last = topic_stem(words.texts[at]), _clause(words, at)[1]
    if all(verb != name for name, _ in product.not_done):
        return 0
    for j in range(at + 1, min(at + 1 + OBJECT_WINDOW_WORDS, last)):
        if words.texts[j] in lexicon().sets["negators"]:
            return 0
        if (verb, topic_stem(words.texts[j])) in product.not_done:
            return j + 1
    return 0


def _is_use(words: Words, at: int) -> bool:
    before = {words.texts[i] for i in range(max(0, at - 3), at) if words.clauses[i] == words.clauses[at]}
    following = words.texts[at + 1] if at + 1 < len(words.texts) else ""
    return bool(before & {"for", "in"}) or following in ("safe", "proof", "ready", "friendly")


def _as_included(words: Words, at: int) -> bool:
    near = [i for i in range(max(0, at - 3), min(at + 4, len(words.texts))) if words.clauses[i] == words.clauses[at]]
    before = {words.texts[i] for i in near if i < at}
    after = [words.texts[i] for i in near if i > at]
    if "included" in after:
        return not lexicon().sets["negators"] & set(after)
    return bool(before & {"including", "includes", "comes", "plus"})
