"""
What an ad says against what its product says: numbers, units, materials, colours, claims, and words turned round.

Judges words only by rules and lists; knows no channel and no score (see validity.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from model.creative import Finding
from model.language import Language, identify
from model.lexicon import TAG_WORD_CHARS_MIN, Claim, Match, Words, lexicon, normalise, topic_stem
from model.product import Product
from model.quantities import AGES, LABELS, UNITS, Quantity, counted, multiples, quantities, spans
from model.reversal import NEGATION_WINDOW_WORDS, Exclusions, exclusions, negated, refused, reversals

FREE = "free_of_charge"
"""The claim that is only as true as the thing it stands beside: free engraving is no free delivery."""
ECHO_WORDS = 12
"""A run this long, copied from the description, is copying: a list of facts such as
"sizes 20 to 60 cm back length, reflective piping" has 8, and two short facts may follow each other as they stand."""
COUNT_BORROWED_MIN = 3
"""From here on a count of things that the row names without one is a claim: "two tiles and a wedge" is a scene."""
AMOUNT_TOLERANCE = 0.001
"""Relative; covers the rounding of unit conversion and nothing else: 1.95 kg is not 2 kg."""
FACTS_CHARS_MAX = 100_000
"""What lies further down a description is not read; keeps a megabyte of text from costing seconds."""

_CODE = re.compile(r"(?<![\w.@/])[a-z]{1,5}-?\d[a-z\d]*\b")
_NO_SUPERLATIVES = frozenset("forest harvest honest modest nearest latest".split())
_COPULAS = frozenset("is be it's meet get own this".split())
_CONTENT = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class ProductView:
    """A product prepared for comparison. Build it with `view`, once for all candidates of a product."""

    compact: str
    """All facts without spaces and hyphens, to find codes such as IPX7 in."""
    title_words: frozenset[str]
    affirmed: frozenset[int]
    """Numbers of the claims that the product makes."""
    denied: frozenset[int]
    """Numbers of the claims that it expressly does not make: "not waterproof", "mains only"."""
    values: frozenset[float]
    amounts: Mapping[str, tuple[float, ...]]
    """Dimension -> amounts in its smallest unit."""
    bare_values: frozenset[float]
    """Numbers without a unit that count no plural: the 100 of "from 40 to 100"."""
    uncounted_values: frozenset[float]
    """Numbers that only stand beside a unit of their own: the 6 of "6 h"."""
    ranges: tuple[tuple[float, float, str], ...]
    counts: Mapping[str, frozenset[float]]
    """Counted noun -> how many: step -> {2}."""
    multiples: frozenset[tuple[str, float]]
    """Rough stem and number of what is counted without one: "twin straps", "double-lidded"."""
    free_things: frozenset[str]
    """Rough stems that stand in one clause with "free of charge"."""
    exclusions: Exclusions
    topic: frozenset[str]
    shingles: frozenset[tuple[str, ...]]
    """Every run of ECHO_WORDS words of the description."""
    description_words: tuple[str, ...]
    language: Language


@lru_cache(maxsize=256)
def view(product: Product) -> ProductView:
    """The product, prepared. Cached, since every candidate of a product asks for it."""
    facts = normalise(product.facts()[:FACTS_CHARS_MAX])
    words = lexicon().words(facts)
    affirmed, denied = _product_claims(words)
    numbers = quantities(facts, claims_only=False)
    amounts: dict[str, set[float]] = defaultdict(set)
    for number in numbers:
        amounts[number.dimension or number.inherited].update(number.amounts())
    for ages in AGES.finditer(facts):
        amounts["long time"].update(float(age) * UNITS["long time"]["year"] for age in ages.groups() if age)
    counts = counted(numbers)
    nouns = counts.keys() - lexicon().sets["function_words"]
    described = lexicon().words(normalise(product.description[:FACTS_CHARS_MAX])).texts
    return ProductView(
        compact=re.sub(r"[\s-]", "", facts),
        title_words=frozenset(_CONTENT.findall(normalise(f"{product.title} {product.brand}"))),
        affirmed=frozenset(affirmed),
        denied=frozenset(denied),
        values=frozenset(value for number in numbers for value in number.values),
        amounts={dimension: tuple(found) for dimension, found in amounts.items() if dimension},
        bare_values=frozenset(
            value for number in numbers if not number.unit_size and not number.plural for value in number.values
        ),
        uncounted_values=frozenset(
            value for number in numbers if number.unit_size and number.dimension for value in number.values
        )
        - frozenset(value for number in numbers if not number.dimension for value in number.values),
        ranges=tuple(spans(numbers)),
        counts={noun: frozenset(counts[noun]) for noun in nouns},
        multiples=frozenset((topic_stem(word), value) for word, value in multiples(facts)),
        free_things=frozenset(_free_things(words)),
        exclusions=exclusions(facts, words),
        topic=frozenset(topic_stems(words)),
        shingles=frozenset(described[i : i + ECHO_WORDS] for i in range(len(described) - ECHO_WORDS + 1)),
        description_words=described,
        language=identify(facts),
    )


def _free_things(words: Words) -> Iterator[str]:
    free = (m for m in lexicon().matches(words) if m.phrase.claim is not None and m.phrase.claim.name == FREE)
    clauses = {words.clauses[match.start] for match in free}
    clauses |= {clause - 1 for clause in clauses}  # "Engraving up to 12 characters, free of charge"
    return (topic_stem(text) for text, clause in zip(words.texts, words.clauses, strict=True) if clause in clauses)


def topic_stems(words: Words) -> Iterator[str]:
    """Stems of the words that say what a text is about; pairs of characters where a script has no spaces."""
    common = lexicon().sets["function_words"] | lexicon().sets["shop_words"]
    for word in words.texts:
        if word >= "\u2e80" and len(word) > 1:
            yield from (word[i : i + 2] for i in range(len(word) - 1))
        elif (len(word) > 2 or word.isdigit()) and word not in common:
            yield topic_stem(word)


def grounding_findings(product: ProductView, text: str, field: str) -> Iterator[Finding]:
    """Everything in one text that the product does not say, or says the opposite of; also policy and stock phrases."""
    tagged = field == "hashtags"
    plain = normalise(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.removeprefix("#")) if tagged else text)
    plain = plain.replace("no. 1", "no 1").replace("-free ", "-free ; ")  # a scent-free case is no free case
    words = lexicon().words(plain)
    said = list(_claims_said(words))
    yield from _claim_findings(product, words, said, field)
    if tagged:
        yield from _tag_findings(product, plain, field, {match.phrase.claim for match in said})
        return
    yield from _number_findings(product, plain, field)
    covered = {i for match in said for i in range(match.start, match.end)}
    yield from _superlative_findings(product, words, field, covered)
    for detail in reversals(product.exclusions, words, covered):
        yield Finding("contradicts_product", field, detail)
    yield from _echo_findings(product, words, field)


# ---- claims ----------------------------------------------------------------------------------------------------


def _product_claims(words: Words) -> tuple[set[int], set[int]]:
    """(claims the product makes, claims it denies and does not make elsewhere)"""
    affirmed: set[int] = set()
    denied: set[int] = set()
    opposed: set[int] = set()
    for match in lexicon().matches(words):
        claim = match.phrase.claim
        if claim is None:
            continue
        if match.phrase.role == "opposes":
            if not _denied(words, match):
                opposed.add(claim.number)
        elif _denied(words, match):
            if claim.kind != "unsupported_accessory":  # "top not included" does not deny what else is included
                denied.add(claim.number)
        else:
            affirmed.add(claim.number)
    return affirmed - opposed, (denied - affirmed) | opposed


def _denied(words: Words, match: Match) -> bool:
    """
    Whether a product takes the phrase back: "not waterproof", "wood effect", "waterproof: no".

    Stricter than `_negated`, because to believe in a "not" that is none turns a true ad into a lie.
    """
    sets, texts, clauses = lexicon().sets, words.texts, words.clauses
    if match.end < len(texts):
        following = texts[match.end]
        if clauses[match.end] == clauses[match.start] and following in sets["takes_back"]:
            return match.phrase.claim is not None and match.phrase.claim.kind == "unsupported_material"
        alone = match.end + 1 >= len(texts) or clauses[match.end + 1] != clauses[match.end]
        if alone and clauses[match.end] == clauses[match.end - 1] + 1 and following in ("no", "none", "false"):
            return True  # not the "No" of "Not waterproof. No tripod thread."
    gap: list[str] = []
    for position in range(match.start - 1, max(-1, match.start - 1 - NEGATION_WINDOW_WORDS), -1):
        if clauses[position] != clauses[match.start]:
            return False
        if texts[position] in sets["negators"]:
            return "or" in gap or all(word in sets["negator_gap"] for word in gap)
        if texts[position] in ("only", "just", "merely"):
            return False
        gap.append(texts[position])
    return False


def _claims_said(words: Words) -> Iterator[Match]:
    """The claims of an ad: the longest where several of one kind overlap, none inside an idiom."""
    found = sorted(lexicon().matches(words), key=lambda match: match.start - match.end)
    masked = {i for match in found if match.phrase.role == "mask" for i in range(match.start, match.end)}
    taken: dict[str, set[int]] = defaultdict(set)
    for match in found:
        claim, span = match.phrase.claim, range(match.start, match.end)
        if claim is None or match.phrase.role != "says" or not masked.isdisjoint(span):
            continue
        if taken[claim.kind].isdisjoint(span):
            taken[claim.kind].update(span)
            yield match


def _claim_findings(product: ProductView, words: Words, said: list[Match], field: str) -> Iterator[Finding]:
    for match in said:
        claim = match.phrase.claim
        assert claim is not None  # _claims_said yields no masks
        quoted = " ".join(words.texts[match.start : match.end])
        if claim.always:
            if claim.kind != "policy_profanity" or quoted not in product.title_words:
                yield Finding(claim.kind, field, f'"{quoted}"')
        elif _no_claim(product, words, match, claim, field):
            if _flat_denial(product, words, match, claim):
                yield Finding("contradicts_product", field, f'the product says "{claim.name}", the ad denies it')
        elif claim.number in product.denied:
            yield Finding("contradicts_product", field, f'"{quoted}" is the opposite of what the product says')
        elif claim.number not in product.affirmed or (claim.name == FREE and not _same_free(product, words, match)):
            yield Finding(claim.kind, field, f'"{quoted}" is not in the product')


def _no_claim(product: ProductView, words: Words, match: Match, claim: Claim, field: str) -> bool:
    """Whether the words of a claim say nothing of the product: denied, or said of something else."""
    if negated(words, match.start) or _taken_back(words, match) or _of_the_buyer(words, match, claim):
        return True
    thing = claim.kind in ("unsupported_attribute", "unsupported_material")
    if thing and refused(words, match.start, match.end):
        return True
    if field == "hashtags" and claim.kind == "unsupported_accessory":  # a tag says what the thing is
        return product.topic.issuperset(map(topic_stem, words.texts[match.start : match.end]))
    return _of_the_scene(product, words, match, claim)


def _of_the_scene(product: ProductView, words: Words, match: Match, claim: Claim) -> bool:
    """As in "by the brightest window", "brown bananas": said of a thing that the product is not about."""
    if claim.kind not in ("unsupported_colour", "unsupported_superlative") or match.end >= len(words.texts):
        return False
    if words.clauses[match.end] != words.clauses[match.start]:
        return False
    noun = words.stems[match.end]
    return noun in lexicon().sets["scenery"] and topic_stem(noun) not in product.topic


def _same_free(product: ProductView, words: Words, match: Match) -> bool:
    """Whether "engraving is free" speaks of what the product says is free."""
    common = lexicon().sets["function_words"]
    said = {
        topic_stem(text)
        for i, text in enumerate(words.texts)
        if words.clauses[i] == words.clauses[match.start] and not match.start <= i < match.end and text not in common
    }
    return not said or not product.free_things.isdisjoint(said)


def _taken_back(words: Words, match: Match) -> bool:
    claim = match.phrase.claim
    if claim is None or claim.kind != "unsupported_material" or match.end >= len(words.texts):
        return False
    same_clause = words.clauses[match.end] == words.clauses[match.start]
    return same_clause and words.texts[match.end] in lexicon().sets["takes_back"]


def _of_the_buyer(words: Words, match: Match, claim: Claim) -> bool:
    """As in "the oak you have": a material or colour of something the buyer owns."""
    if claim.kind not in ("unsupported_material", "unsupported_colour"):
        return False
    if {"your", "my"} & set(words.texts[max(0, match.start - 2) : match.start]):
        whose = words.texts[match.start - 1]
        if whose in ("own", "old", "largest", "biggest", "smallest", "other", "favourite"):
            return True  # "your largest canvas"; "your leather bag" is the product
    following = words.texts[match.end : match.end + 4]
    return "you" in following and bool({"have", "own", "like", "love", "already", "know"} & set(following))


def _flat_denial(product: ProductView, words: Words, match: Match, claim: Claim) -> bool:
    """Whether the ad says "not waterproof" of what the product says is waterproof."""
    if claim.kind != "unsupported_attribute" or claim.number not in product.affirmed or match.start == 0:
        return False
    same_clause = words.clauses[match.start - 1] == words.clauses[match.start]
    return same_clause and words.texts[match.start - 1] in ("not", "isn't", "aren't", "non")


def _superlative_findings(product: ProductView, words: Words, field: str, covered: set[int]) -> Iterator[Finding]:
    """As in "the tiniest lamp" of a lamp: said of the thing itself, whatever the adjective."""
    for i in range(1, len(words.texts) - 1):
        word = words.texts[i]
        if not word.endswith("est") or len(word) <= 5 or i in covered or words.texts[i - 1] not in ("the", "our"):
            continue
        same_clause = words.clauses[i - 1] == words.clauses[i + 1]
        # "Try it on the bluntest pencil" is said of a pencil, "it is the handiest sharpener" of the product.
        opens = i == 1 or words.clauses[i - 2] != words.clauses[i] or words.texts[i - 2] in _COPULAS
        own = words.texts[i - 1] == "our" or (opens and field != "call_to_action")
        of_product = own and same_clause and words.texts[i + 1] in product.title_words
        if of_product and word not in product.compact and word not in _NO_SUPERLATIVES and not negated(words, i):
            yield Finding("unsupported_superlative", field, f'"the {word} {words.texts[i + 1]}" is not in the product')


def _tag_findings(product: ProductView, tag: str, field: str, found: set[Claim | None]) -> Iterator[Finding]:
    """Claims run together in a hashtag, such as #waterproofbag: looked for at either end of it."""
    run = re.sub(r"[^\w]", "", tag)
    claims = lexicon().tag_words
    for size in range(len(run), TAG_WORD_CHARS_MIN - 1, -1):  # the longest first
        for word in (run[:size], run[-size:]):
            claim = claims.get(word)
            if claim is None:
                continue
            masked = any(word in mask and mask in run for mask in lexicon().tag_masks)  # #rubberstamps
            if claim.kind == "unsupported_accessory":
                masked = masked or all(topic_stem(part) in product.topic for part in claim.name.split())
            if masked or claim in found:
                return
            if claim.number not in product.affirmed and word not in product.compact:
                yield Finding(claim.kind, field, f'"#{run}" is not in the product')
            return


# ---- numbers ---------------------------------------------------------------------------------------------------


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= AMOUNT_TOLERANCE * max(abs(one), abs(other))


def _number_findings(product: ProductView, text: str, field: str) -> Iterator[Finding]:
    for quantity in quantities(text, claims_only=True):
        kind = _number_kind(product, quantity)
        if kind:
            yield Finding(kind, field, f'"{quantity.text}" is not in the product')
    for code in _CODE.findall(text):
        if code.replace("-", "") not in product.compact:
            yield Finding("unsupported_number", field, f'"{code}" is not in the product')


def _number_kind(product: ProductView, quantity: Quantity) -> str:
    """The finding that a number of an ad deserves; empty where the product holds it."""
    dimension = quantity.dimension or quantity.inherited
    if dimension and _measured(product, dimension, quantity):
        return ""
    known = not product.values.isdisjoint(quantity.values)
    if quantity.dimension:
        return "unsupported_unit" if known else "unsupported_number"
    if quantity.noun and not quantity.inherited and quantity.values[0] >= 2:
        if product.multiples and (topic_stem(quantity.noun), quantity.values[0]) in product.multiples:
            return ""
        held = product.counts.get(quantity.noun)
        if held and held.isdisjoint(quantity.values) and quantity.before not in LABELS:
            return "unsupported_number"
        borrowed = quantity.plural and quantity.values[0] >= COUNT_BORROWED_MIN
        borrowed = borrowed and product.uncounted_values.issuperset(quantity.values)
        if borrowed and topic_stem(quantity.noun) in product.topic:
            return "unsupported_unit"  # "6 h" are no six pockets
    inside = any(low <= value <= high for value in quantity.values for low, high, unit in product.ranges if not unit)
    return "" if known or inside else "unsupported_number"


def _measured(product: ProductView, dimension: str, quantity: Quantity) -> bool:
    """Whether the product holds this amount, in any unit of the dimension."""
    held = product.amounts.get(dimension, ())
    if any(_close(amount, one) for amount in quantity.amounts() for one in held):
        return True
    spans = [(low, high) for low, high, unit in product.ranges if unit == dimension]
    if any(low <= amount <= high for amount in quantity.amounts() for low, high in spans):
        return True
    # "1-degree steps from 40 to 100" holds 100 °C: the number stands bare, the unit stands elsewhere.
    bare = any(value in product.bare_values for value in quantity.values)
    return bare and dimension in product.amounts


# ---- words copied ----------------------------------------------------------------------------------------------


def _echo_findings(product: ProductView, words: Words, field: str) -> Iterator[Finding]:
    texts = words.texts
    runs = (texts[i : i + ECHO_WORDS] for i in range(len(texts) - ECHO_WORDS + 1))
    run = next((run for run in runs if run in product.shingles), None)
    if run is None and field == "body" and len(texts) >= 6 and texts == product.description_words:
        run = texts
    if run:
        yield Finding("echo", field, f'"{" ".join(run)}" is copied from the description')
