"""The validity score on hand-written rows and ads, its properties, and its tie to architecture/validity.md."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.channel import FIELD_NAMES, channel
from model.creative import Copy, Finding
from model.product import Product
from model.validity import (
    CRITICAL,
    CRITICAL_FACTOR,
    FINDINGS,
    GROUNDING,
    GROUNDING_FACTOR,
    STRUCTURAL,
    STYLE_FACTORS,
    VALIDITY_VERSION,
    Assessment,
    assess,
    factor,
    score,
    text_findings,
    view,
)

CASES_FILE = Path(__file__).with_name("validity_cases.toml")
TABLE: dict[str, Any] = tomllib.loads(CASES_FILE.read_text(encoding="utf-8"))
CASES: list[dict[str, Any]] = TABLE["case"]
TWINS: list[dict[str, Any]] = TABLE["twin"]
PAGE = (Path(__file__).parents[2] / "architecture" / "validity.md").read_text(encoding="utf-8")
GOOD_SCORE_MIN = 0.9


def row(name: str) -> Product:
    entry = TABLE["product"][name]
    return Product(
        sku=name, title=entry["title"], description=entry.get("description", ""), price=entry.get("price", "")
    )


def words(case: dict[str, Any]) -> Copy:
    entry = TABLE["product"][case["product"]] | case
    headlines = entry.get("headlines") or [entry["headline"]]
    bodies = entry.get("bodies") or [entry["body"]]
    return Copy(
        headlines=tuple(text for text in headlines if text),
        bodies=tuple(bodies),
        call_to_action=entry["call_to_action"],
        hashtags=tuple(entry["hashtags"]),
    )


def judged(case: dict[str, Any]) -> Assessment:
    return assess(row(case["product"]), words(case), channel(TABLE["product"][case["product"]]["channel"]))


def kinds(product: Product, text: str, field: str = "body") -> set[str]:
    return {finding.kind for finding in text_findings(view(product), text, field)}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_each_ad_of_the_table_gets_the_findings_and_the_score_that_it_deserves(case):
    assessment = judged(case)
    found = {finding.kind for finding in assessment.findings}

    if "finds" in case:
        assert set(case["finds"]) <= found
        assert case.get("at_least", 0) <= assessment.validity <= case["at_most"]
    else:
        assert found <= set(STYLE_FACTORS)
        assert assessment.validity >= GOOD_SCORE_MIN
    assert not found & set(case.get("spares", ()))


@pytest.mark.parametrize("twin", TWINS, ids=[twin["rule"] for twin in TWINS])
def test_an_excuse_spares_the_true_sentence_and_not_the_invention_beside_it(twin):
    product, field = Product("1", "Thing", twin["row"]), twin.get("field", "body")
    spared = {text: kinds(product, text, field) & (GROUNDING | CRITICAL) for text in twin["holds"]}
    missed = [text for text in twin["lies"] if twin["finds"] not in kinds(product, text, field)]

    assert not any(spared.values())
    assert missed == []


def test_the_table_is_long_enough_and_at_least_half_of_it_is_bad_in_many_ways():
    bad = [case for case in CASES if "finds" in case]

    assert len(CASES) >= 90
    assert len(bad) * 2 >= len(CASES)
    assert {kind for case in bad for kind in case["finds"]} >= set(FINDINGS) - {"unsupported_accessory"}
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [case for case in CASES if "at_least" in case], ids=lambda case: case["name"])
def test_a_light_case_holds_nothing_but_light_findings(case):
    assert {finding.kind for finding in judged(case).findings} <= set(STYLE_FACTORS)


SAME = [
    ("40 L", "40 litres"), ("40 L", "40-litre"), ("40 L", "40l"), ("0.5 l", "half a litre"), ("0.5 l", "500 ml"),
    ("1,000 W", "1000 watts"), ("two steps", "2 steps"), ("1.2 l", "1.2-litre"), ("10 %", "10 percent"),
    ("260 g", "260 grams"), ("250ml", "0.25 l"), ("1.8 m", "180 cm"), ("30 °C", "30 degrees"),
    ("140 x 250 cm", "140 cm by 250 cm"), ("62 to 127 cm", "62–127 cm"), ("600 x 900 mm", "60 x 90 cm"),
    ("24.90 EUR", "€24.90"), ("1½ kg", "1.5 kg"), ("UPF 50+", "UV protection"), ("waterproof", "keeps water out"),
    ("grey", "gray"), ("aluminium", "aluminum"), ("stainless steel", "steel"), ("navy", "blue"), ("oak", "wooden"),
    ("merino", "wool"), ("USB-C", "usb-c"), ("18/10", "18/10"), ("15 inch", '15"'), ("a dozen bulbs", "12 bulbs"),
    ("dishwasher safe", "dishwasher-safe"), ("rechargeable", "battery"),
]  # fmt: skip
NOT_SAME = [
    ("40 L", "40 kg"), ("40 L", "41 L"), ("0.5 l", "0.6 l"), ("1.95 kg", "2 kg"), ("140 x 250 cm", "140 x 260 cm"),
    ("steel", "stainless steel"), ("blue", "navy"), ("wood", "oak"), ("wool", "merino"),
    ("leather", "full-grain leather"), ("water-repellent", "waterproof"), ("battery", "solar"),
    ("UV protection", "UPF 50+"), ("24.90 EUR", "$24.90"),
]  # fmt: skip


@pytest.mark.parametrize(("held", "said"), SAME)
def test_an_equivalent_is_no_finding(held, said):
    assert not kinds(Product("1", "Thing", f"A thing: {held}."), f"It is {said}.") & (GROUNDING | CRITICAL)


@pytest.mark.parametrize(("held", "said"), NOT_SAME)
def test_what_is_more_than_the_product_says_is_a_finding(held, said):
    assert kinds(Product("1", "Thing", f"A thing: {held}."), f"It is {said}.") & GROUNDING


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("Not for bones, not for frozen food.", "It is for frozen food."),
        ("Waterproof: no", "Waterproof."),
        ("Top not included.", "It comes with a top."),
        ("Analogue only.", "A digital dial."),
    ],
)
def test_a_not_turned_into_an_is_contradicts_the_product(held, said):
    assert "contradicts_product" in kinds(Product("1", "Thing", held), said)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("From 4 years. Not for children under 3.", "For the children on a wet Sunday."),
        ("The fabric is waterproof, the outer pocket is not.", "The fabric is waterproof."),
        ("Runs on two batteries (not included).", "Two batteries and it runs."),
        ("Not just waterproof but warm.", "It is waterproof."),
        ("No fuss, waterproof.", "It is waterproof."),
    ],
)
def test_a_not_that_means_something_else_contradicts_nothing(held, said):
    assert "contradicts_product" not in kinds(Product("1", "Thing", held), said)


def test_the_teddy_bear_loop_and_the_poster_score_near_zero_even_for_their_own_products():
    by_name = {case["name"]: judged(case).validity for case in CASES}

    assert by_name["the teddy bear loop"] < 0.1
    assert by_name["the poster that says nothing"] < 0.1
    assert by_name["a plain ad for a rucksack"] == 1.0


def test_a_total_of_281_characters_is_over_long_on_x_and_280_is_not():
    product, spec = row("lights"), channel("x")

    def ad(chars: int) -> Copy:
        start = "80 lumens ahead and 30 behind from the bike light set, six steady hours, clips to bar and seat post. "
        tail = " See it #bikelights"
        return Copy((), ((start * 3)[: chars - len(tail) - 1] + ".",), "See it", ("#bikelights",))

    assert len(ad(280).joined()) == 280
    assert "over_long" not in {finding.kind for finding in assess(product, ad(280), spec).findings}
    assert "over_long" in {finding.kind for finding in assess(product, ad(281), spec).findings}


def test_the_same_invention_in_two_fields_counts_once_and_two_inventions_count_twice():
    once = [Finding("unsupported_colour", "headline", '"red"'), Finding("unsupported_colour", "body", '"red"')]
    twice = [*once, Finding("unsupported_material", "body", '"oak"')]

    assert score(once) == GROUNDING_FACTOR
    assert score(twice) == GROUNDING_FACTOR**2


def test_one_finding_of_each_severity_lands_in_its_band():
    assert all(factor(kind) < 0.1 for kind in CRITICAL)
    assert all(factor(kind) <= 0.5 for kind in GROUNDING)
    assert all(0.9 <= value < 1 for kind, value in STYLE_FACTORS.items() if kind != "echo")
    with pytest.raises(KeyError):
        factor("no_such_kind")


def test_every_kind_has_exactly_one_severity_and_a_sentence():
    assert set(FINDINGS) == CRITICAL | GROUNDING | set(STYLE_FACTORS)
    assert not CRITICAL & GROUNDING
    assert not set(STYLE_FACTORS) & (CRITICAL | GROUNDING)
    assert STRUCTURAL < CRITICAL
    assert all(sentence.endswith(".") for sentence in FINDINGS.values())


def test_the_page_explains_every_kind_and_states_the_constants_as_they_are():
    explained = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    constants = dict(re.findall(r"^\| `([A-Z_]+)` \| ([\d.]+) \|", PAGE, re.MULTILINE))
    style = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (0\.\d+) \|", PAGE, re.MULTILINE))

    assert explained - set(constants) == set(FINDINGS)
    assert float(constants["CRITICAL_FACTOR"]) == CRITICAL_FACTOR
    assert float(constants["GROUNDING_FACTOR"]) == GROUNDING_FACTOR
    assert constants["VALIDITY_VERSION"] == VALIDITY_VERSION
    assert {kind: float(value) for kind, value in style.items()} == dict(STYLE_FACTORS)


def test_the_page_states_the_thresholds_of_every_rule_as_they_are():
    from model import grounding, language, lexicon, quantities, reversal, validity, wording

    stated = dict(re.findall(r"^\| `([A-Z_]+)` \| ([\d.]+) \|", PAGE, re.MULTILINE))
    held = {
        name: getattr(module, name)
        for module in (grounding, language, lexicon, quantities, reversal, validity, wording)
        for name in stated
        if hasattr(module, name)
    }

    assert held.keys() == stated.keys()
    assert {name: float(value) for name, value in stated.items()} == {name: float(held[name]) for name in held}


TEXTS = st.text(max_size=200) | st.sampled_from(
    [
        "",
        " ",
        "½½½",
        "1/0 0/2",
        "°",
        '15"',
        "#",
        "####",
        "𝟙𝟚 kg",
        "İİİ",
        "\x00",
        "1,000,000,000 x 2",
        "not not not",
        "five and a half",
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    title=TEXTS,
    description=TEXTS,
    texts=st.tuples(TEXTS, TEXTS, TEXTS, TEXTS),
    name=st.sampled_from(["google_rsa", "x", "facebook"]),
)
def test_any_words_for_any_product_get_a_score_between_0_and_1_and_the_same_one_again(title, description, texts, name):
    product = Product("1", title, description)
    ad = Copy((texts[0],), (texts[1],), texts[2], (texts[3],))

    first, again = assess(product, ad, channel(name)), assess(product, ad, channel(name))

    assert 0.0 <= first.validity <= 1.0
    assert first == again
    assert {finding.kind for finding in first.findings} <= set(FINDINGS)
    assert {finding.field for finding in first.findings} <= {*FIELD_NAMES, "creative"}


def test_a_description_of_a_megabyte_is_judged_and_its_end_is_not_read():
    long = Product("1", "Bag", "A bag of canvas. " * 60_000 + "It is waterproof.")

    assert kinds(long, "A canvas bag.") <= {"repetition"}
    assert "unsupported_attribute" in kinds(long, "A waterproof bag.")


@pytest.mark.parametrize("piece", ["x", "a-", "a.", "1 ", "((", "one hundred ", "@"])
def test_a_text_of_a_hundred_thousand_characters_is_too_long_and_is_judged_all_the_same(piece):
    long = (piece * 100_000)[:100_000]

    assessment = assess(Product("1", "Bag", long), Copy((long,), (long,), long, (f"#{long}",)), channel("facebook"))

    assert assessment.validity < 0.1
    assert "over_long" in {finding.kind for finding in assessment.findings}


def test_a_product_of_emoji_alone_has_no_topic_to_miss():
    ad = Copy(("Look at this one",), ("Open the parcel on the kitchen table and tell nobody.",), "See it", ("#parcel",))

    assessment = assess(Product("1", "🎁🎁"), ad, channel("facebook"))

    assert "off_topic" not in {finding.kind for finding in assessment.findings}
    assert assessment.validity >= GOOD_SCORE_MIN
