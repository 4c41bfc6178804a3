"""
Where a text says "not", and whether an ad turns a product's "not" into an "is".

Goes by the words of one clause; what a claim is, and who makes it, is in grounding.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from model.lexicon import Words, lexicon, singular

NEGATION_WINDOW_WORDS = 4
"""How far before a word of the ad a "not" is looked for, inside one clause."""

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


def exclusions(facts: str, words: Words) -> Exclusions:
    """What the normalised `facts`, cut into `words`, rule out."""
    not_words, not_for = _ruled_out(words)
    return Exclusions(not_words, not_for, _excluded(facts))


def negated(words: Words, start: int) -> bool:
    """Whether an ad's word stands behind a "not" of its clause; generous, since a denial is no claim."""
    negators = lexicon().sets["negators"]
    for position in range(start - 1, max(-1, start - 1 - NEGATION_WINDOW_WORDS), -1):
        if words.clauses[position] != words.clauses[start] or words.texts[position] in ("only", "just", "merely"):
            return False
        if words.texts[position] in negators:
            return True
    return False


def _ruled_out(words: Words) -> tuple[frozenset[str], frozenset[tuple[str, ...]]]:
    """(stems that the product only says with "not" or "un-", uses it rules out, of one or two stems)"""
    texts, stems, clauses = words.texts, words.stems, words.clauses
    not_words: set[str] = {
        word[2:] for word in texts if word.startswith("un") and len(word) > 6 and word.endswith("ed")
    }
    not_for: set[tuple[str, ...]] = set()
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
            # "not for children under 3" says nothing against children: only a bare noun or two rule a use out.
            if 0 < len(use) <= 2 and all(
                texts[j].isalpha() and texts[j] not in lexicon().sets["function_words"] for j in use
            ):
                not_for.add(tuple(stems[j] for j in use))
        elif i + 1 < end and _is_quality(texts[i + 1]):
            not_words.add(stems[i + 1])
    elsewhere = {stem for i, stem in enumerate(stems) if i not in behind_not}
    return frozenset(not_words - elsewhere), frozenset(not_for)


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


def reversals(product: Exclusions, words: Words, covered: set[int]) -> Iterator[str]:
    """One sentence for each word of the ad that turns the product's "not" round; `covered` were judged as claims."""
    texts, stems = words.texts, words.stems
    for i, stem in enumerate(stems):
        if i not in covered and (stem in product.not_words or texts[i] in product.not_words) and not negated(words, i):
            yield (f'"{texts[i]}" is the opposite of what the product says')
        elif (
            any(stems[i : i + len(use)] == use for use in product.not_for)
            and _is_use(words, i)
            and not negated(words, i)
        ):
            yield (f'the product is not for "{texts[i]}"')
        elif stem in product.not_included and _as_included(words, i) and not negated(words, i):
            yield (f'"{texts[i]}" is not included')


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
