"""What would make a held-out row known: its family, its product, or a run of its ad's words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from model.heldout import GRAM_WORDS, SHIPPED, HeldOut, Telling, shipped_heldout

COUNTED = "one two three four five six seven eight"
MUG = Telling(
    "01-h01", "enamel mug", "Enamel mug, blue", "Holds 0.35 l.", "one two three four five six seven eight nine"
)
LAMP = Telling("fb_1", "desk lamp", "Desk lamp", "Turns by 90 degrees.", "a brass lamp that turns where you look")


def curated():
    with SHIPPED.with_name("pairs.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def telling(table):
    words, product = table["copy"], table["product"]
    said = [*words["headlines"], *words["bodies"], words["call_to_action"], *words["hashtags"]]
    return Telling(
        table["id"], table["family"], product["title"], product.get("description", ""), " ".join(filter(None, said))
    )


def test_a_pair_that_shares_nothing_repeats_nothing():
    assert HeldOut([MUG]).repeated_by(LAMP) == ""
    assert HeldOut([]).repeated_by(MUG) == ""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"family": "Enamel Mug"}, 'the family "enamel mug" of 01-h01'),
        ({"title": "ENAMEL mug (blue)"}, 'the title "Enamel mug, blue" of 01-h01'),
        ({"description": "holds 0.35 L"}, "the description of 01-h01"),
        (
            {"ad": "Take one, two, three. Four five six seven EIGHT!"},
            f'the words "{COUNTED}" of 01-h01',
        ),
    ],
)
def test_what_is_repeated_is_named_whatever_its_case_and_punctuation(changes, what):
    assert HeldOut([MUG]).repeated_by(replace(LAMP, **changes)) == what


@pytest.mark.parametrize(("count", "is_known"), [(GRAM_WORDS - 1, False), (GRAM_WORDS, True)])
def test_a_run_of_eight_words_is_known_and_one_of_seven_is_not(count, is_known):
    ad = " ".join([*MUG.ad.split()[1 : 1 + count], "and more"])

    assert bool(HeldOut([MUG]).repeated_by(replace(LAMP, ad=ad))) == is_known


def test_two_products_without_a_description_do_not_repeat_each_other():
    assert HeldOut([replace(MUG, description="")]).repeated_by(replace(LAMP, description=" ")) == ""


def test_the_first_of_several_rows_is_named():
    twin = replace(MUG, id="02-h01")

    assert HeldOut([MUG, twin]).repeated_by(replace(LAMP, title=MUG.title)).endswith(" of 01-h01")


def test_every_shipped_row_is_known_and_no_curated_pair_repeats_one():
    held = shipped_heldout()
    with SHIPPED.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]

    assert len(rows) > 100
    assert all(held.repeated_by(replace(telling(row), family="another")) for row in rows)
    assert [pair["id"] for pair in curated() if held.repeated_by(telling(pair))] == []
