"""
Writers without a network that a model has to beat: the description copied, and fixed sentence forms filled in.

Each is given its best simple form: within every limit of the channel, cut on words and sentences, orders taken out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from model.channel import ChannelSpec, FieldSpec
from model.creative import Copy
from model.drafting import fit, split_sentences, tidy
from model.orders import without_orders
from model.product import Product

NEUTRAL_ACTION = "See the details"
"""True of every product, and what a copier would put where a channel insists on a call to action."""
FILLERS = (NEUTRAL_ACTION, "Take a closer look", "Look at it up close")
"""Headlines and descriptions of last resort, where a row has too few facts for the texts that a channel needs."""
FORMS = 3
"""Sentence forms of the template writer; a product's digest chooses, so that not all ads read alike."""
TAG_WORD_CHARS_MIN = 3

_WORD = re.compile(r"[^\W_]+")
_FILLER_SENTENCES = ("Take a closer look before you decide.", "See all the details online.")


def describe(product: Product, spec: ChannelSpec) -> Copy:
    """The title as headline, the description as body, as much of it as the channel takes."""
    product = replace(product, description=without_orders(product.description))
    sentences = split_sentences(product.description)
    bodies = (
        product.description,
        *_packed(sentences, spec),
        f"{product.title}: take a closer look.",
        *_FILLER_SENTENCES,
    )
    return _copy(spec, product, headlines=(product.title, *_facts(product)), bodies=bodies)


def fill_template(product: Product, spec: ChannelSpec) -> Copy:
    """Fixed sentences with the product's title, brand, category, price and attributes in their gaps."""
    form = int(product.digest()[:8], 16) % FORMS
    title, category = product.title, product.category.rpartition(">")[2].strip()
    openings = (f"Meet {title}.", f"{title}: ready when you are.", f"Say hello to {title}.")
    details = [f"{name}: {value}." for name, value in product.attributes]
    if category:
        details.insert(0, f"From our {category.lower()} range.")
    if product.brand:
        details.insert(0, f"Made by {product.brand}.")
    if product.price:
        details.append(f"Price: {product.price}.")
    closings = ("See all the details online.", "Take a closer look today.", "Find out if it suits you.")
    single = [" ".join((openings[form], *details, closings[form]))] if _takes_one_body(spec) else []
    headlines = (title, *_facts(product))
    bodies = (*single, openings[form], " ".join(details), closings[form], *_FILLER_SENTENCES)
    return _copy(spec, product, headlines=headlines, bodies=bodies)


WRITERS: Mapping[str, Callable[[Product, ChannelSpec], Copy]] = MappingProxyType(
    {"description": describe, "template": fill_template}
)
"""Baseline -> its writer; the two that need a network are bundles (untuned.py)."""


def _copy(spec: ChannelSpec, product: Product, *, headlines: Iterable[str], bodies: Iterable[str]) -> Copy:
    """The first texts that fit and differ, as many as the channel needs; never more."""
    calls = _chosen((NEUTRAL_ACTION,), spec, "call_to_action")
    tags = _tags(product, spec)
    return Copy(
        headlines=_chosen((*headlines, *FILLERS), spec, "headline"),
        bodies=_chosen(bodies, spec, "body"),
        call_to_action=calls[0] if calls else "",
        hashtags=tags,
    )


def _chosen(candidates: Iterable[str], spec: ChannelSpec, field: str) -> tuple[str, ...]:
    limits = spec.field(field)
    if limits is None:
        return ()
    kept: list[str] = []
    for candidate in candidates:
        text = _fitted(candidate, limits, spec)
        if text and not any(_same(text, other) for other in kept):
            kept.append(text)
        if len(kept) == limits.count_min:
            break
    return tuple(kept)


def _takes_one_body(spec: ChannelSpec) -> bool:
    limits = spec.field("body")
    return limits is not None and limits.count_min == 1


def _fitted(text: str, limits: FieldSpec, spec: ChannelSpec) -> str:
    return fit(tidy(text), limits, spec.length, complete=True)


def _same(text: str, other: str) -> bool:
    """The rules call two texts of an ad the same by their letters; one inside the other says nothing new."""
    ours, theirs = ("".join(_WORD.findall(each.casefold())) for each in (text, other))
    return ours in theirs or theirs in ours


def _packed(sentences: Iterable[str], spec: ChannelSpec) -> list[str]:
    """The description again in stretches that each fit a body whole: for channels that take more than one."""
    limits = spec.field("body")
    assert limits is not None  # every channel has one
    stretches: list[str] = []
    for sentence in sentences:
        longer = f"{stretches[-1]} {sentence}" if stretches else sentence
        if stretches and spec.length(longer) <= limits.chars_budget:
            stretches[-1] = longer
        else:
            stretches.append(sentence)
    return stretches


def _facts(product: Product) -> list[str]:
    """Short texts about the product besides its title, for channels that take several headlines."""
    category = product.category.rpartition(">")[2].strip()
    parts = [part.strip() for part in product.title.split(",")[1:]]
    pairs = [f"{name}: {value}" for name, value in product.attributes]
    return [part for part in (*parts, category, product.brand, *pairs, product.price) if part]


def _tags(product: Product, spec: ChannelSpec) -> tuple[str, ...]:
    limits = spec.field("hashtags")
    if limits is None:
        return ()
    found: dict[str, None] = {}
    for text in (product.category.rpartition(">")[2], product.title.partition(",")[0], *product.title.split()):
        tag = "#" + "".join(_WORD.findall(text.lower()))
        if len(tag) > TAG_WORD_CHARS_MIN and not tag[1:].isdigit() and spec.length(tag) <= limits.chars_budget:
            found[tag] = None
    return tuple(found)[: limits.count_written] or ("#product",)
