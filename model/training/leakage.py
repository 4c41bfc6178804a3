"""
What training must not see, and what it had better not: held-out rows, and ads that bring much of their own.

Works on words alone; knows no tokens and no networks.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.heldout import HeldOut, Telling
from model.ranking import content_stems
from model.training.pairs import Pair
from model.training.run_config import TrainingError


def refuse_leaks(train: Sequence[Pair], heldout: Sequence[Pair]) -> None:
    """Raise TrainingError naming the first training pair that repeats a held-out family, product or run of words."""
    held = HeldOut(map(_telling, heldout))
    for pair in train:
        if repeated := held.repeated_by(_telling(pair)):
            raise TrainingError(
                f"held-out row leaked into training: pair {pair.id} repeats {repeated}; take the pair out"
            )


def _telling(pair: Pair) -> Telling:
    return Telling(pair.id, pair.family, pair.product.title, pair.product.description, pair.words.joined())


def novelty(pair: Pair) -> float:
    """
    Share of an ad's different content words that its row does not hold, 0 to 1.

    A content word is made of letters, roughly stemmed, and neither a function word nor shop talk ("product", "buy").
    Hashtags are left out: they run words together.
    """
    words = pair.words
    said = content_stems(" . ".join((*words.headlines, *words.bodies, *words.texts("call_to_action"))))
    return len(said - content_stems(pair.product.facts())) / len(said) if said else 0.0
