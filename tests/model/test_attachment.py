"""Facts of an ad are joined as the row joins them, or the clause is loose; one clause a case, right and wrong."""

import json
from pathlib import Path

import pytest

from model.attachment import loose, row_clauses
from model.product import Product
from model.training.pairs import copy_from, read_pairs

ROOT = Path(__file__).parents[2]
DATA = ROOT / "model/data"

VICE = Product(
    "V-1",
    "Bench vice 'Ferrum', swivel base",
    "Grey cast iron, jaws 125 mm wide, opening 150 mm. Anvil at the back. Up to 2 l of oil. Ships in 3 pairs.",
    "Tools > Vices",
)
STOOL = Product(
    "S-1",
    "Shower stool, height adjustable",
    "Aluminium legs, plastic seat 32 cm across with drain holes. Rubber feet. Wool flannel, mid grey. "
    "Hose not included.",
)


def reasons(product, text, field="body"):
    return [found.reason for found in loose(row_clauses(product), text, field)]


@pytest.mark.parametrize(
    "text",
    [
        "The jaws are 125 mm wide.",
        "The vice has an anvil at the back.",
        "It holds up to 2 litres of oil.",
        "Grey cast iron with a swivel base.",
        "The jaws are 125 mm wide and the opening is 150 mm.",
    ],
)
def test_a_sentence_that_joins_what_the_row_joins_is_not_loose(text):
    assert reasons(VICE, text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The base is grey cast iron.", "apart"),
        ("The opening is 125 mm wide.", "apart"),
        ("A vice 125 mm wide.", "lifted"),
        ("The vice weighs 125 mm.", "lifted"),
        ("A forged spindle turns smoothly.", "new"),
        ("The anvil back is at the back.", "twice"),
    ],
)
def test_a_sentence_that_joins_facts_anew_is_loose(text, reason):
    assert reasons(VICE, text) == [reason]


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("The legs are rubber feet with drain holes.", "body", ["apart"]),
        ("Wool flannel in mid grey.", "body", []),
        ("Not included", "headline", ["lifted"]),
        ("Hose not included", "headline", []),
        ("See the hose", "call_to_action", ["denied"]),
        ("See the rubber feet", "call_to_action", []),
        ("Check the size", "call_to_action", []),
        ("Check the size: 32 cm", "call_to_action", ["lifted"]),
        ("Upright stool", "headline", ["new"]),
    ],
)
def test_headlines_and_calls_to_action_are_held_to_the_row_too(text, field, expected):
    assert reasons(STOOL, text, field) == expected


POT = Product(
    "P-1",
    "Moka pot 'Vesper', 6 cups, 14.5 kg",
    "Aluminium pot with handle and knob in walnut. Parking mode needs the wiring kit. Loop recording in clips of 3. "
    "Sesame paste from hulled white sesame. A pad and pens not included. Each rests on a stand, 40 cm above the floor. "
    "First order from 3 pairs.",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See the handle and knob", []),
        ("See the details", []),
        ("See the walnut", ["lifted"]),  # it is the knob's
        ("Check the pad and pens", ["denied"]),
        ("See the resting", ["new"]),
        ("Check the 14.5 kg", ["lifted"]),
        ("Check the height of the stand: 40 cm", ["new"]),
        ("Check 40 cm above the floor", []),
        ("Check 40 cm", ["lifted"]),
        ("Check the size: 3 pairs", ["lifted"]),
        ("See the spout", ["new"]),
        ("Check rests on a stand", ["apart"]),
        ("See the handle, knob", ["apart"]),
        ("Check 3 pairs", ["lifted"]),
    ],
)
def test_a_call_to_action_names_one_thing_of_the_row_that_can_be_looked_at(text, expected):
    assert reasons(POT, text, "call_to_action") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Walnut Moka pot", ["lifted"]),
        ("Aluminium Moka pot", []),
        ("Sesame paste from hulled", ["short"]),
        ("Loop recording", []),
        ("Loop recording in clips of 3", []),
    ],
)
def test_a_headline_takes_no_material_of_a_part_and_stops_before_no_noun(text, expected):
    assert reasons(POT, text, "headline") == expected


def test_what_is_needed_is_not_said_to_be_there():
    assert reasons(POT, "The pot has a wiring kit.") == ["denied"]
    assert reasons(POT, "Parking mode needs the wiring kit.") == []


def test_what_with_joins_stands_in_one_sentence_of_the_row():
    assert reasons(STOOL, "The plastic seat is 32 cm across, with drain holes.") == []
    assert "apart" in reasons(STOOL, "The wool flannel with rubber feet.")


def test_a_number_counts_what_it_counts_in_the_row():
    bowls = Product("B-1", "Tint bowl set", "Five nesting bowls in grey shades.")

    assert "lifted" in reasons(bowls, "Five grey shades.")
    assert reasons(bowls, "Five nesting bowls.") == []


def test_a_phrase_with_for_is_torn_off_where_the_row_has_it_inside_a_clause():
    beds = row_clauses(Product("B-2", "Bunk bed", "Spare slats for hostels. For children from 6 years."))

    assert beds.is_torn_off("For hostels.")
    assert not beds.is_torn_off("For children from 6 years.")
    assert not beds.is_torn_off("Spare slats for hostels.")


def test_a_thing_does_not_come_with_its_weight():
    assert set(reasons(POT, "A moka pot with 14.5 kg.")) == {"lifted"}
    assert set(reasons(POT, "The pot has a handle and 14.5 kg.")) == {"lifted"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Handle in walnut.", []),
        ("Recording in clips.", []),
        ("The pot is in steel.", ["new"]),  # of another material: grounding finds that, and so does this
        ("The pot in handle.", ["apart"]),
        ("First order from 3 pairs.", []),
        ("First order max 3 pairs.", ["apart", "new"]),
    ],
)
def test_small_words_stand_before_what_they_stand_before_in_the_row(text, expected):
    assert reasons(POT, text) == expected


def test_a_headline_ends_where_a_clause_of_the_row_ends():
    clauses = row_clauses(STOOL)

    assert clauses.ends_as("Shower stool")
    assert not clauses.ends_as("Shower stool, height")
    assert not clauses.ends_as("")


@pytest.mark.parametrize("description", ["", "   ", ",,;:..", "½ ¾ — – -", "é" * 5000, "1.2.3,4;5"])
def test_any_row_can_be_cut_up(description):
    product = Product("1", "?", description)

    assert isinstance(list(loose(row_clauses(product), "A 2 l jug, 3 cm", "body")), list)


def test_the_decision_says_how_many_marked_ads_are_loose():
    def is_loose(product, words):
        row = row_clauses(product)
        return any(
            any(loose(row, text, field))
            for field in ("headline", "body", "call_to_action")
            for text in words.texts(field)
        )

    products = {pair.id: pair.product for pair in read_pairs(DATA / "pairs.jsonl")}
    with (DATA / "preferences.jsonl").open(encoding="utf-8") as file:
        marks = [json.loads(line) for line in file]
    rejected = [is_loose(products[mark["pair"]], copy_from(mark["rejected"])) for mark in marks]
    chosen = {(mark["pair"], copy_from(mark["chosen"])) for mark in marks}
    kept = [is_loose(products[pair], words) for pair, words in chosen]
    decision = (ROOT / "architecture/decisions/0014-facts-stay-attached.md").read_text(encoding="utf-8")

    assert f"{sum(rejected)} of {len(rejected)} rejected ads" in decision
    assert f"{sum(kept)} of {len(kept)} chosen ones" in decision
