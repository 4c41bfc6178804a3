"""The preferences themselves: enough of them, each with a reason, and nothing preferred that the rules would refuse."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from model.training.pairs import flaws, read_pairs
from model.training.preference import CHOSEN_BY, read_preferences

DATA = Path(__file__).parents[3] / "model/data"


@pytest.fixture(scope="module")
def preferences():
    return read_preferences(DATA / "preferences.jsonl", read_pairs(DATA / "pairs.jsonl"))


def test_there_are_enough_and_every_one_says_why(preferences):
    assert len(preferences) >= 400
    assert [each.id for each in preferences if len(each.why.split()) < 2] == []
    assert {each.chosen_by for each in preferences} <= set(CHOSEN_BY)


def test_no_two_lines_are_the_same_comparison(preferences):
    compared = Counter((each.pair.id, each.chosen, each.rejected) for each in preferences)

    assert [key[0] for key, count in compared.items() if count > 1] == []
    assert [each.id for each in preferences if each.chosen == each.rejected] == []


def test_every_preferred_ad_is_one_that_could_be_a_training_pair(preferences):
    found = {each.id: flaws(replace(each.pair, words=each.chosen)) for each in preferences}

    assert {name: what for name, what in found.items() if what} == {}
