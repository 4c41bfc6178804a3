"""
What training must not see, and what it had better not: held-out rows, and ads that bring much of their own.

Works on words alone; knows no tokens and no networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from model.ranking import content_stems
from model.training.pairs import Pair
from model.training.run_config import TrainingError

GRAM_WORDS = 8
"""A held-out ad that shares a run this long with a training ad is no longer unseen."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def refuse_leaks(train: Sequence[Pair], heldout: Sequence[Pair]) -> None:
    """Raise TrainingError naming the first training pair that repeats a held-out family, product or run of words."""
    marks: dict[tuple[str, ...], tuple[str, str]] = {}
    for pair in heldout:
        for mark, what in _marks(pair):
            marks.setdefault(mark, (pair.id, what))
    for pair in train:
        for mark, _ in _marks(pair):
            if mark in marks:
                held, what = marks[mark]
                raise TrainingError(
                    f"held-out row leaked into training: pair {pair.id} repeats {what} of {held}; take the pair out"
                )


def _marks(pair: Pair) -> Iterator[tuple[tuple[str, ...], str]]:
    """What tells a pair: (kind and words, how an error calls it)."""
    yield ("family", pair.family.lower()), f'the family "{pair.family}"'
    yield ("title", *_words(pair.product.title)), f'the title "{pair.product.title}"'
    if described := _words(pair.product.description):
        yield ("description", *described), "the description"
    said = _words(pair.words.joined())
    for place in range(len(said) - GRAM_WORDS + 1):
        gram = said[place : place + GRAM_WORDS]
        yield ("ad", *gram), f'the words "{" ".join(gram)}"'


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))


def novelty(pair: Pair) -> float:
    """
    Share of an ad's different content words that its row does not hold, 0 to 1.

    A content word is made of letters, roughly stemmed, and neither a function word nor shop talk ("product", "buy").
    Hashtags are left out: they run words together.
    """
    words = pair.words
    said = content_stems(" . ".join((*words.headlines, *words.bodies, *words.texts("call_to_action"))))
    return len(said - content_stems(pair.product.facts())) / len(said) if said else 0.0
