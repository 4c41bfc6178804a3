"""Facts of an ad are joined as the row joins them, or the clause is loose; one clause a case, right and wrong."""

import pytest

from model.attachment import loose, row_clauses
from model.product import Product

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


def test_a_number_keeps_the_thing_that_is_counted():
    assert reasons(VICE, "Check the size: 3 pairs", "call_to_action") == ["lifted"]


def test_a_headline_ends_where_a_clause_of_the_row_ends():
    clauses = row_clauses(STOOL)

    assert clauses.ends_as("Shower stool")
    assert not clauses.ends_as("Shower stool, height")
    assert not clauses.ends_as("")


@pytest.mark.parametrize("description", ["", "   ", ",,;:..", "½ ¾ — – -", "é" * 5000, "1.2.3,4;5"])
def test_any_row_can_be_cut_up(description):
    product = Product("1", "?", description)

    assert isinstance(list(loose(row_clauses(product), "A 2 l jug, 3 cm", "body")), list)
