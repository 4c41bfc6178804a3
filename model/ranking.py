"""
Which of a product's ads a careful reader would rather accept: a linear score over four counts of words.

Judges words against the row, with the weights of data/ranking.json (`adloom scorer` learns them); knows no tokens.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from typing import Any

from model.creative import Copy, Creative
from model.grounding import FACTS_CHARS_MAX, topic_stems, view
from model.lexicon import lexicon, normalise
from model.product import Product
from model.quantities import UNITS

FORM = 1
FEATURES = ("novelty", "joined", "consequence", "repeated")
"""What `features` measures, in its order; ranking.json holds a weight for each."""
OWN_WORDS = ("creative: the product's own words stand in", "body: the product's own words stand in")
"""How the repairs of an ad begin whose body the model did not write (see drafting.py)."""

_UNITS = frozenset(unit for units in UNITS.values() for unit in units) | {"°", "c"}  # "°C" is two words
_CONSEQUENCE = re.compile(r", so\b|\bbecause\b|\bwhich means\b")


class RankingError(ValueError):
    """ranking.json is missing or holds no weights for these features; the message says how to get one."""


@dataclass(frozen=True, slots=True)
class RowText:
    """A product's words prepared for comparison. Build it with `row_text`, once for all candidates."""

    stems: frozenset[str]
    """Of its content words, as `grounding.topic_stems` has them."""
    joints: frozenset[tuple[str, str]]
    """Every two words that follow each other, function words included; a number and its unit are one word."""


def row_text(product: Product) -> RowText:
    """The row, prepared."""
    return RowText(view(product).topic, frozenset(_joints(normalise(product.facts()[:FACTS_CHARS_MAX]))))


def features(row: RowText, words: Copy) -> tuple[float, ...]:
    """
    What the score weighs, in the order of FEATURES; hashtags are left out, they run words together.

    `novelty`: share of the different content words that the row lacks, 0 to 1: invented scenes, filler, garbled words.
    `joined`: share of neighbouring words that are neighbours in the row too, 0 to 1: a number beside its own noun.
    `consequence`: how often the ad gives reasons (", so", "because"), which are mostly false ones.
    `repeated`: share of the bodies' content words that were said before, 0 to 1.
    """
    texts = [normalise(text) for text in (*words.headlines, *words.bodies)]
    said = content_stems(" . ".join((*texts, *words.texts("call_to_action"))))
    joints = [joint for text in texts for joint in _joints(text)]
    bodies = [stem for text in texts[len(words.headlines) :] for stem in topic_stems(lexicon().words(text))]
    return (
        _share(stem not in row.stems for stem in said),
        _share(joint in row.joints for joint in joints),
        float(sum(len(_CONSEQUENCE.findall(text)) for text in texts)),
        1 - len(set(bodies)) / len(bodies) if bodies else 0.0,
    )


def content_stems(text: str) -> set[str]:
    """Rough stems of the words made of letters that are neither function words nor shop talk."""
    return {stem for stem in topic_stems(lexicon().words(normalise(text))) if stem.isalpha()}


def _joints(text: str) -> Iterator[tuple[str, str]]:
    """Neighbouring words, so that "weighs 45 cm" and "45 cm high" differ in more than the unit they share."""
    joined: list[str] = []
    for word in lexicon().words(text).texts:
        if joined and word in _UNITS and joined[-1][0].isdigit():
            joined[-1] += word
        else:
            joined.append(word)
    return pairwise(joined)


def _share(holds: Iterable[bool]) -> float:
    found = list(holds)
    return sum(found) / len(found) if found else 0.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """The learnt weights."""

    weights: tuple[float, ...]
    """Of each feature as it is measured, in the order of FEATURES; above zero is better."""

    def score(self, row: RowText, words: Copy) -> float:
        """Higher is likelier to make sense. Compares ads for one product; says nothing across products."""
        return sum(weight * value for weight, value in zip(self.weights, features(row, words), strict=True))

    def key(self, creative: Creative, row: RowText, likelihood: float) -> tuple[float, bool, float, int, float]:
        """
        To sort a product's ads by, best first.

        Validity comes first, so an ad with findings never outranks one without. Ads whose body is the product's own
        come last among equals: they score highest of all, and who asks for an ad has that text already. Repairs and
        `likelihood`, the mean log-probability of the tokens, part the ads that score alike.
        """
        borrowed = any(repair.startswith(OWN_WORDS) for repair in creative.repairs)
        score = self.score(row, creative.copy)
        return -creative.validity, borrowed, -score, len(creative.repairs), -likelihood


def read_ranking(path: Path | None = None) -> Ranking:
    """The weights in `path`, or those that come with the package. Raises RankingError."""
    if path is None:
        with as_file(files("model").joinpath("data/ranking.json")) as packaged:
            return read_ranking(packaged)
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        weights = tuple(_weights(table))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RankingError(f"{path} holds no ranking weights ({error}); learn them with `adloom scorer`") from error
    return Ranking(weights)


def _weights(table: Mapping[str, Any]) -> Iterator[float]:
    """Standardised weights brought back to the features as they are measured."""
    if table["form"] != FORM:
        raise ValueError(f"form {table['form']} is not {FORM}")
    if tuple(table["features"]) != FEATURES:
        raise ValueError(f"features are {', '.join(table['features'])} instead of {', '.join(FEATURES)}")
    for name, entry in table["features"].items():
        weight, scale = float(entry["weight"]), float(entry["scale"])
        if not (math.isfinite(weight) and math.isfinite(scale) and scale > 0):
            raise ValueError(f"{name} needs a finite weight and a scale above zero")
        yield weight / scale
