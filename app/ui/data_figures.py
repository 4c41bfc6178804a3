"""
Six pictures of a catalogue, each with two sentences on what it means for the writer, computed from the rows shown.

Knows titles, descriptions, categories and prices; charts.py draws.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles

import numpy as np
from markupsafe import Markup

from app.ui import charts
from app.ui.charts import Bar

Rows = Sequence[Mapping[str, str]]
CLASSES_SHOWN = 9
WORD_CLASSES, WORDS_EACH = 4, 3
MAP_ROWS_MAX, MAP_WORDS_MAX = 600, 800
SHORT_CHARS = 80
"""Under it a description gives the writer hardly two facts."""
SLICES = 10
STABILITY_SHARES = 5
PSI_SMALL, PSI_LARGE = 0.1, 0.25
"""The usual reading of the population stability index: below the first nothing moved, above the second much did."""
NEAR_FACTOR = 1.5
OTHERS = "others"
_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+(?:[.,' ]\d+)*")
STOP_WORDS = frozenset(
    "the and for with from that this are has have not its into one two per can all any but you your our out off over "
    "und der die das mit für von ein eine aus ist les des pour avec dans est una con para del los".split()
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, what it shows, and what follows from it for the writer."""

    title: str
    drawing: Markup
    shows: str
    means: str


def figures_of(rows: Rows, reference: Rows) -> list[Figure]:
    """`reference` is what the last picture compares with; empty: the rows' own beginning. Empty for no rows."""
    if not rows:
        return []
    return [
        _classes(rows),
        _lengths(rows),
        _prices(rows),
        _words(rows),
        _map(rows),
        _drift(rows, reference),
    ]


def class_of(row: Mapping[str, str]) -> str:
    """The first level of the category."""
    return re.split(r"[>/|]", row["category"])[0].strip() or "no category"


def _classes(rows: Rows) -> Figure:
    counts = Counter(map(class_of, rows))
    top = counts.most_common(CLASSES_SHOWN)
    rest = len(rows) - sum(count for _, count in top)
    shown = [*top, *([(OTHERS, rest)] if rest else [])]
    name, most = top[0]
    rare = sum(count < 5 for count in counts.values())
    return Figure(
        "Categories",
        charts.bars([Bar(name, count, f"{count:,}") for name, count in shown], f"Products by category: {name} leads."),
        f"{len(rows):,} products lie in {_count(len(counts), 'category', 'categories')}; {name} is the largest, with "
        f"{most / len(rows):.0%}.",
        f"{_count(rare, 'category has', 'categories have')} fewer than 5 products: look at ads from there by hand, "
        "because the writer and the drift report know them least."
        if rare
        else "No category is so small that its ads would need another look for that alone.",
    )


def _lengths(rows: Rows) -> Figure:
    lengths = [len(row["description"]) for row in rows]
    edges = [0, 80, 160, 320, 480, 640, 960, 1280, max(1600, *lengths) + 1]
    counts = [sum(low <= length < high for length in lengths) for low, high in pairwise(edges)]
    short = counts[0]
    names = [*map(str, edges[:-1]), "more"]
    return Figure(
        "Length of descriptions",
        charts.histogram(counts, names, "Descriptions by their length in characters.", "characters"),
        f"Half of the descriptions have more than {median(lengths):,.0f} characters, and the longest has "
        f"{max(lengths):,}.",
        f"{_count(short, 'product has', 'products have')} fewer than {SHORT_CHARS}: with so few facts the writer "
        "repeats the title, so add some before you write for them."
        if short
        else f"Every one has at least {SHORT_CHARS}: enough facts for an ad that does more than repeat the title.",
    )


def price_of(row: Mapping[str, str]) -> float | None:
    """The number in it, whatever its separators; None where there is none."""
    found = _NUMBER.search(row["price"])
    if not found:
        return None
    text = re.sub(r"[' ]", "", found[0])
    whole, mark, cents = text.rpartition(max(",", ".", key=text.rfind))
    if mark and len(cents) != 3:
        return float(f"{re.sub(r'[.,]', '', whole) or 0}.{cents}")
    return float(re.sub(r"[.,]", "", text))


def _prices(rows: Rows) -> Figure:
    prices = [price for row in rows if (price := price_of(row)) is not None]
    edges = [0, 5, 10, 20, 50, 100, 200, 500, math.inf]
    counts = [sum(low <= price < high for price in prices) for low, high in pairwise(edges)]
    missing = len(rows) - len(prices)
    drawing = charts.histogram(
        counts, [*(f"{edge:g}" for edge in edges[:-1]), "more"], "Products by price.", "price, in its own currency"
    )
    shows = (
        f"Half of the {len(prices):,} prices lie below {median(prices):,.2f}; the highest is {max(prices):,.2f}."
        if prices
        else "No row has a price."
    )
    means = (
        f"{_count(missing, 'product has', 'products have')} no price, and no ad will name one for them."
        if missing
        else "Every product has a price, so an ad that names another is found out."
    )
    return Figure("Prices", drawing, shows, means)


def words_of(row: Mapping[str, str]) -> set[str]:
    """Of title and description, without those that stand everywhere."""
    return set(_WORD.findall(f"{row['title']} {row['description']}".lower())) - STOP_WORDS


def _words(rows: Rows) -> Figure:
    """By log odds with one added to each count, so that a word seen once proves little."""
    words = [words_of(row) for row in rows]
    classes = [class_of(row) for row in rows]
    everywhere = Counter(word for each in words for word in each)
    shown, own = [], 0
    for kind, (name, size) in enumerate(Counter(classes).most_common(WORD_CLASSES)):
        inside = Counter(word for each, its in zip(words, classes, strict=True) if its == name for word in each)
        odds = {
            word: math.log((count + 1) / (size - count + 1))
            - math.log((everywhere[word] - count + 1) / (len(rows) - size - everywhere[word] + count + 1))
            for word, count in inside.items()
        }
        best = sorted(odds, key=lambda word: (-odds[word], word))[:WORDS_EACH]
        own += sum(everywhere[word] == inside[word] for word in best)
        shown += [Bar(word, inside[word] / size, f"{name}, {inside[word]} of {size}"[:26], kind) for word in best]
    strongest = max(shown, key=lambda bar: bar.value, default=Bar("", 0.0, ""))
    return Figure(
        "Words that set categories apart",
        charts.bars(shown, "The words that are most typical of the largest categories."),
        f"“{strongest.name}” is the surest sign of its category: {strongest.value:.0%} of the products there have it."
        if shown
        else "The rows hold no words.",
        f"{_count(own, 'of these words stands', 'of these words stand')} in one category alone: an ad from another "
        "one that uses it was not written from its product."
        if own
        else "None of these words belongs to one category alone: a category says little of its ads, and the writer has "
        "to go by each product's own facts.",
    )


def _map(rows: Rows) -> Figure:
    """Words weighed by rarity, and their two strongest directions (latent semantic analysis)."""
    shown = rows[:: math.ceil(len(rows) / MAP_ROWS_MAX)]  # evenly: exports are mostly sorted
    top = [name for name, _ in Counter(map(class_of, shown)).most_common(charts.KINDS - 1)]
    names = [*top, OTHERS] if any(class_of(row) not in top for row in shown) else top
    places = directions([words_of(row) for row in shown])
    kinds = [top.index(name) if (name := class_of(row)) in top else len(top) for row in shown]
    classes = [class_of(row) for row in shown]
    near = _share_of_near_class(places, classes)
    chance = sum((count / len(classes)) ** 2 for count in Counter(classes).values())
    return Figure(
        "Embedding map of the products",
        charts.dots(
            [(x, y, kind) for (x, y), kind in zip(_to_unit(places[:, :2]), kinds, strict=True)],
            names,
            "Products as dots: those with the same rare words lie together.",
        ),
        f"Each product is a vector of its rare words, seen from the two strongest sides; {near:.0%} of the products "
        f"have their nearest neighbour in their own category, where chance gives {chance:.0%}.",
        "Words tell the categories apart, so drift that is judged by category says something."
        if near >= NEAR_FACTOR * chance
        else "Words hardly tell the categories apart: check whether they are filled in by one rule, because palettes "
        "and drift are judged by them.",
    )


def directions(words: Sequence[set[str]], count: int = 24) -> np.ndarray:
    """A row of `count` coordinates for each set of words. Zeros where nothing is shared."""
    known = Counter(word for each in words for word in each)
    kept = [word for word, seen in known.most_common(MAP_WORDS_MAX) if 1 < seen < max(3, len(words))]
    place = {word: column for column, word in enumerate(kept)}
    weights = np.zeros((len(words), max(1, len(kept))))
    for row, each in enumerate(words):
        for word in each & place.keys():
            weights[row, place[word]] = math.log(len(words) / known[word])
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-9)
    left, strength, _ = np.linalg.svd(weights - weights.mean(axis=0), full_matrices=False)
    found = (left * strength)[:, :count]
    return np.pad(found, ((0, 0), (0, max(0, count - found.shape[1]))))


def _to_unit(places: np.ndarray) -> list[tuple[float, float]]:
    """By rank, so that one outlier does not press all others into a corner."""
    ranks = places.argsort(axis=0).argsort(axis=0) / max(1, len(places) - 1)
    spread = places - places.min(axis=0)
    linear = spread / np.maximum(spread.max(axis=0), 1e-9)
    return [(float(x), float(y)) for x, y in 0.5 * ranks + 0.5 * linear]


def _share_of_near_class(places: np.ndarray, classes: Sequence[str]) -> float:
    # |a - b|^2 = |a|^2 + |b|^2 - 2ab: the differences themselves would be 70 MB of a process that has little.
    squares = np.sum(places**2, axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * places @ places.T
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    return float(np.mean([classes[own] == classes[other] for own, other in enumerate(nearest)]))


def stability(rows: Sequence[int], reference: Sequence[int]) -> tuple[float, float]:
    """
    The population stability index of two sets of lengths, over the fifths of the reference; and what chance gives.

    Twice the divergence of two samples of one population is chi-squared: its mean is one for each degree of freedom,
    times the sum of both samples' reciprocals. (0, 0) where there is nothing to compare.
    """
    if len(reference) < 2 or not rows:
        return 0.0, 0.0
    edges = quantiles(reference, n=STABILITY_SHARES)
    shares = [
        np.bincount(np.searchsorted(edges, lengths), minlength=STABILITY_SHARES) / len(lengths)
        for lengths in (rows, reference)
    ]
    now, before = (np.maximum(share, 0.01) for share in shares)
    chance = (STABILITY_SHARES - 1) * (1 / len(rows) + 1 / len(reference))
    return float(np.sum((now - before) * np.log(now / before))), chance


def _drift(rows: Rows, reference: Rows) -> Figure:
    lengths = [len(row["description"]) for row in rows]
    slices = [part.tolist() for part in np.array_split(np.array(lengths), min(SLICES, len(lengths)))]
    tenths = [quantiles(part, n=4) if len(part) > 1 else [part[0]] * 3 for part in slices]
    half = max(1, len(lengths) // 2)
    known = [len(row["description"]) for row in reference] or lengths[:half]
    index, chance = stability(lengths if reference else lengths[half:], known)
    beyond = index - chance
    medians = [each[1] for each in tenths]
    level = "nothing has moved" if beyond < PSI_SMALL else "some has moved" if beyond < PSI_LARGE else "much has moved"
    other = "the sample catalogue" if reference else "the first half of the file"
    drawing = charts.band(
        [each[0] for each in tenths],
        medians,
        [each[2] for each in tenths],
        "Length of descriptions from the first rows to the last: the middle half as a band, the median as a line.",
        "characters of description",
    )
    return Figure(
        "Drift of a feature along the file",
        drawing,
        f"Exports are mostly in the order of time: from its first rows to its last the median description goes from "
        f"{medians[0]:,.0f} to {medians[-1]:,.0f} characters, and the band holds the middle half.",
        f"Against {other} the stability index is {index:.2f}, of which chance gives {min(index, chance):.2f}: {level}"
        + (", so a retrain finds what it knows." if beyond < PSI_SMALL else "; the drift report says if it hurts."),
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
