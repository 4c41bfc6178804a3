"""
The validity score of a creative, 0 to 1, and the named findings that lower it (architecture/validity.md).

Judges words by rules alone: no model, no network, the same answer on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from model.channel import ChannelSpec
from model.creative import Copy, Finding
from model.grounding import ProductView, grounding_findings, topic_stems, view
from model.language import foreign_letters, identify
from model.lexicon import lexicon, normalise
from model.product import Product
from model.wording import EMOJI_MAX, emoji_count, wording_findings

VALIDITY_VERSION = "3"
"""Part of every passport. Raise it whenever a change of rules, words or factors can change a score."""

FINDINGS: Mapping[str, str] = MappingProxyType({
    "missing_field": "A field that the channel needs is empty.",
    "extra_field": "There are more texts than the channel takes, or a field it does not have.",
    "over_long": "A text is longer than the channel shows.",
    "duplicate_text": "Two texts of the ad say the same.",
    "too_short": "The ad says too little to be an ad.",
    "malformed_hashtag": "A hashtag is not one word behind a #.",
    "repetition": "The same words come again and again.",
    "gibberish": "The words make no sentence.",
    "truncated": "A text stops in the middle of a sentence.",
    "leftover_label": "The name of a field stands in the text.",
    "placeholder": "A gap was left where a word should be.",
    "broken_markup": "Markup or broken characters stand in the text.",
    "contact_leak": "The ad holds an address or telephone number that the product does not.",
    "prompt_leak": "The text talks about writing the ad.",
    "wrong_language": "The ad is not in the language of the product.",
    "off_topic": "The ad is hardly about this product.",
    "contradicts_product": "The ad says the opposite of what the product says.",
    "policy_medical": "The ad promises an effect on health that the product does not state.",
    "policy_financial": "The ad promises money.",
    "policy_profanity": "The ad swears.",
    "policy_discrimination": "The ad shuts people out or speaks down to them.",
    "unsupported_number": "A number in the ad is not in the product.",
    "unsupported_unit": "A number of the product stands beside another unit in the ad.",
    "unsupported_material": "A material in the ad is not in the product.",
    "unsupported_colour": "A colour in the ad is not in the product.",
    "unsupported_attribute": "The ad gives the product a property that it does not state.",
    "unsupported_accessory": "The ad adds something to the parcel that the product does not.",
    "unsupported_certification": "The ad claims a test or certificate that the product does not state.",
    "unsupported_offer": "The ad makes an offer that the product does not state.",
    "unsupported_urgency": "The ad makes haste without a reason in the product.",
    "unsupported_superlative": "The ad praises beyond what the product states.",
    "unsupported_comparison": "The ad compares with others without support in the product.",
    "unsupported_guarantee": "The ad guarantees something that the product does not.",
    "unsupported_popularity": "The ad claims customers, ratings or sales that the product does not state.",
    "unsupported_origin": "The ad claims an origin that the product does not state.",
    "echo": "A long run of words is copied from the description.",
    "stock_phrase": "A phrase that fits every product.",
    "weak_call_to_action": "The call to action does not say what happens next.",
    "shouting": "Capitals or exclamation marks shout.",
    "too_many_emoji": "More than one emoji.",
    "loose_punctuation": "Punctuation stands wrong.",
    "unfinished_sentence": "The body does not end in a full stop.",
})  # fmt: skip
"""Kind -> one sentence for merchants."""

STRUCTURAL = frozenset({
    "missing_field", "extra_field", "over_long", "duplicate_text", "too_short", "malformed_hashtag", "repetition",
    "gibberish", "truncated", "leftover_label", "placeholder", "broken_markup",
})  # fmt: skip
"""The ad is not whole: it could not be published as it stands."""
GROUNDING = frozenset(kind for kind in FINDINGS if kind.startswith("unsupported_"))
"""The ad says something that the product does not say."""
CRITICAL = STRUCTURAL | frozenset({
    "contact_leak", "prompt_leak", "wrong_language", "off_topic", "contradicts_product", "policy_medical",
    "policy_financial", "policy_profanity", "policy_discrimination",
})  # fmt: skip
"""One of these and the ad must not run."""

CRITICAL_FACTOR = 0.08
"""Below 0.1 with a single finding, so that no threshold anybody would set lets one pass."""
GROUNDING_FACTOR = 0.5
"""One invented fact halves the score; two leave a quarter, so candidates still rank."""
STYLE_FACTORS: Mapping[str, float] = MappingProxyType({
    "echo": 0.6,  # true, but no ad: ranks below anything that is written
    "stock_phrase": 0.93,
    "weak_call_to_action": 0.97,
    "shouting": 0.93,
    "too_many_emoji": 0.95,
    "loose_punctuation": 0.9,
    "unfinished_sentence": 0.95,
})  # fmt: skip
"""Light findings; one alone leaves 0.9 or more, except a copied description."""

OFF_TOPIC_TIES_MIN = 2
"""Different content words that ad and product must share; 1 where the product has no more than three."""
BODY_WORDS_MIN = 4
"""Content words of all bodies together: "A poster for a TV show." has three and says nothing."""
AD_TEXT_CHARS_MAX = 5_000
"""What lies further on in a text is counted, not read: more than twice the longest limit of any channel, and too long
anyway. It keeps a text of a megabyte from costing seconds."""
FOREIGN_LETTERS_MIN = 3
"""A single omega or mu is a unit; three letters of another script are a word."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a creative is worth, and why."""

    validity: float
    """0 to 1, four decimals."""
    findings: tuple[Finding, ...]


def assess(product: Product, words: Copy, spec: ChannelSpec) -> Assessment:
    """Score the words of one ad for one product on one channel. Never raises, whatever the words."""
    prepared = view(product)
    findings = [*_field_findings(words, spec), *_duplicate_findings(words)]
    for field in ("headline", "body", "call_to_action", "hashtags"):
        for text in words.texts(field):
            findings += text_findings(prepared, text, field)
    findings += _whole_findings(prepared, words)
    unique = tuple(dict.fromkeys(findings))
    return Assessment(score(unique), unique)


def text_findings(product: ProductView, text: str, field: str) -> tuple[Finding, ...]:
    """
    What is wrong with one text of an ad on its own: all but lengths, counts, topic and language.

    `product` comes from `view`; `field` is one of `channel.FIELD_NAMES`.
    """
    text = text[:AD_TEXT_CHARS_MAX]
    if not text.strip():
        return ()
    return (*wording_findings(product, text, field), *grounding_findings(product, text, field))


def score(findings: Iterable[Finding]) -> float:
    """
    1 times one factor for each different finding: kind and words, wherever in the ad they stand.

    The same invented fact in headline and body counts once.
    """
    validity = 1.0
    for kind, _ in dict.fromkeys((finding.kind, finding.detail) for finding in findings):
        validity *= factor(kind)
    return round(validity, 4)


def factor(kind: str) -> float:
    """What one finding of this kind leaves of the score. Raises KeyError for a kind that is none."""
    if kind in CRITICAL:
        return CRITICAL_FACTOR
    return GROUNDING_FACTOR if kind in GROUNDING else STYLE_FACTORS[kind]


def _field_findings(words: Copy, spec: ChannelSpec) -> Iterator[Finding]:
    for name in ("headline", "body", "call_to_action", "hashtags"):
        texts = [text for text in words.texts(name) if text.strip()]
        limits = spec.field(name)
        if limits is None:
            if texts:
                yield Finding("extra_field", name, f"{spec.title} has no {name.replace('_', ' ')}")
            continue
        if len(texts) < limits.count_min:
            yield Finding("missing_field", name, f"{len(texts)} of at least {limits.count_min}")
        if len(texts) > limits.count_max:
            yield Finding("extra_field", name, f"{len(texts)}, and {limits.count_max} are the most")
        for text in texts:
            length = spec.length(text)
            if length > limits.chars_max:
                yield Finding("over_long", name, f"{length} characters, and {limits.chars_max} are the most")
    total = spec.length(words.joined())
    if 0 < spec.total_chars_max < total:
        yield Finding("over_long", "creative", f"{total} characters in all, and {spec.total_chars_max} are the most")


def _duplicate_findings(words: Copy) -> Iterator[Finding]:
    for name in ("headline", "body", "hashtags"):
        seen: set[str] = set()
        for text in words.texts(name):
            key = _bare(text)
            if key and key in seen:
                yield Finding("duplicate_text", name, f'"{text.strip()[:60]}" stands there twice')
            seen.add(key)
    headlines = {_bare(text) for text in words.headlines}
    for text in words.bodies:
        if _bare(text) and _bare(text) in headlines:
            yield Finding("duplicate_text", "creative", "headline and body are the same")


def _bare(text: str) -> str:
    return "".join(character for character in normalise(text) if character.isalnum())


def _whole_findings(product: ProductView, words: Copy) -> Iterator[Finding]:
    """What only shows in the ad as a whole: topic, language, length, emoji."""
    text = normalise(words.joined()[: 2 * AD_TEXT_CHARS_MAX])
    if not text.strip():
        return
    body = _stems(words.bodies)
    stems = body | _stems((*words.headlines, *words.texts("call_to_action")))
    if any(body_text.strip() for body_text in words.bodies) and len(body) < BODY_WORDS_MIN:
        yield Finding("too_short", "body", f"{len(body)} words that say something")
    yield from _topic_findings(product, words, stems)
    yield from _language_findings(product, text)
    emoji = emoji_count(text)
    if emoji > EMOJI_MAX:
        yield Finding("too_many_emoji", "creative", f"{emoji} emoji")


def _stems(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(topic_stems(lexicon().words(normalise(" ".join(texts)[:AD_TEXT_CHARS_MAX]))))


def _topic_findings(product: ProductView, words: Copy, stems: frozenset[str]) -> Iterator[Finding]:
    if not product.topic:
        return
    ties = set(product.topic & stems)
    tags = [normalise(tag).lstrip("#") for tag in words.hashtags]
    ties |= {stem for stem in product.topic if len(stem) > 3 and any(stem in tag for tag in tags)}
    needed = 1 if len(product.topic) <= 3 else OFF_TOPIC_TIES_MIN
    if len(ties) < needed:
        yield Finding("off_topic", "creative", f"{len(ties)} words in common with the product")


def _language_findings(product: ProductView, text: str) -> Iterator[Finding]:
    foreign = foreign_letters(text, product.language)
    ad, home = identify(text), product.language
    expected = home.name or "english"
    detail = ""
    if foreign >= FOREIGN_LETTERS_MIN:
        detail = f"{foreign} letters of a script that the product does not use"
    elif home.main_script and ad.main_script and ad.main_script != home.main_script:
        detail = f"written in {ad.main_script}, the product in {home.main_script}"
    elif ad.name and ad.name != expected:
        detail = f"reads as {ad.name.capitalize()}, the product as {expected.capitalize()}"
    if detail:
        yield Finding("wrong_language", "creative", detail)
