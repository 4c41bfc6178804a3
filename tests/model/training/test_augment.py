"""A swapped pair: other numbers and colours in row and ad alike, and nothing else touched."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.channel import channel
from model.creative import Copy
from model.product import Product
from model.training.augment import COLOURS, NUMBER, swapped
from model.training.pairs import Pair, flaws, read_pairs

PAIRS = Path(__file__).parents[3] / "model/data/pairs.jsonl"
FIXED = "Keep it out of the microwave."


def mug(description, body, title="Enamel mug", headline="A mug for the fire"):
    product = Product("T-1", title, f"{description} Not for the microwave.", "Camping > Cups")
    words = Copy((headline,), (f"{body} {FIXED}",), "Put it in the pack", ("#enamelmug", "#camping"))
    return Pair("T-1", "mug", "plain", "use", "", product, channel("instagram"), words)


def swaps(pair, seeds=range(20)):
    """Every outcome that differs from the pair, over the seeds."""
    outcomes = [swapped(pair, random.Random(seed)) for seed in seeds]
    return [outcome for outcome in outcomes if outcome != pair]


def test_a_number_changes_in_row_and_ad_alike():
    pair = mug("Holds 350 ml. 350 ml is plenty.", "An enamel mug that holds 350 ml.", title="Enamel mug, 350 ml")

    assert flaws(pair) == []
    outcomes = swaps(pair)
    assert outcomes
    for outcome in outcomes:
        (number,) = NUMBER.findall(outcome.words.bodies[0])
        assert number != "350"
        assert len(number) == 3
        assert number[0] != "0"
        assert outcome.product.title == f"Enamel mug, {number} ml"
        assert outcome.product.description.startswith(f"Holds {number} ml. {number} ml is plenty.")


def test_a_number_written_against_its_unit_changes_too():
    pair = mug("Holds 350ml.", "An enamel mug that holds 350 ml.", title="Enamel mug 350ml")
    outcomes = swaps(pair)

    assert outcomes
    assert not any("350" in outcome.product.facts() + outcome.words.joined() for outcome in outcomes)


def test_a_number_that_the_ad_leaves_out_stays():
    pair = mug("Holds 350 ml. Weighs 120 g.", "An enamel mug that holds 350 ml.")

    assert swaps(pair)
    assert all("Weighs 120 g." in outcome.product.description for outcome in swaps(pair))


def test_two_numbers_stay_two():
    pair = mug("Holds 35 cl. Weighs 12 g.", "An enamel mug of 35 cl that weighs 12 g.")
    outcomes = swaps(pair, range(200))

    assert len(outcomes) > 100
    assert all(len(set(NUMBER.findall(outcome.words.bodies[0]))) == 2 for outcome in outcomes)


@pytest.mark.parametrize("kept", ["1900", "1987", "2099", "2"])
def test_years_and_single_digits_are_kept(kept):
    pair = mug(f"Made since {kept}. Holds 350 ml.", f"An enamel mug made since {kept}, for 350 ml of tea.")

    assert swaps(pair)
    assert all(f"since {kept}," in outcome.words.bodies[0] for outcome in swaps(pair))


@pytest.mark.parametrize("number", ["1899", "2100", "10"])
def test_what_only_looks_like_a_year_or_a_digit_is_swapped(number):
    pair = mug(f"Holds {number} ml.", f"An enamel mug that holds {number} ml.")

    assert swaps(pair)
    assert all(f" {number} " not in outcome.words.bodies[0] for outcome in swaps(pair))


@pytest.mark.parametrize("whole", ["12.5", "12,500", "3.12", "112", "123", "M12", "12x5", "1.12.4", "12.5.3"])
def test_half_a_number_is_never_touched(whole):
    pair = mug(f"Holds 12 cl. Base {whole} across.", "An enamel mug that holds 12 cl.")

    assert swaps(pair)
    for outcome in swaps(pair):
        assert f"Base {whole} across" in outcome.product.description
        assert "Holds 12 cl" not in outcome.product.description


def test_a_decimal_keeps_its_shape():
    pair = mug("Holds 2.5 dl.", "An enamel mug that holds 2.5 dl.")

    assert swaps(pair)
    for outcome in swaps(pair):
        (number,) = NUMBER.findall(outcome.words.bodies[0])
        assert (len(number), number[1]) == (3, ".")
        assert f"Holds {number} dl" in outcome.product.description


def test_a_colour_changes_in_row_and_ad_alike_and_keeps_its_capital():
    pair = mug(
        "Glazed in blue.", "This blue enamel mug is for tea.", title="Enamel mug, Blue", headline="Blue, for tea"
    )
    outcomes = swaps(pair)

    assert outcomes
    for outcome in outcomes:
        colour = outcome.words.bodies[0].split()[1]
        assert colour in COLOURS
        assert colour != "blue"
        assert outcome.words.headlines == (f"{colour.capitalize()}, for tea",)
        assert outcome.product.title == f"Enamel mug, {colour.capitalize()}"
        assert outcome.product.description.startswith(f"Glazed in {colour}.")


def test_two_colours_stay_two_and_none_becomes_one_that_the_row_already_has():
    pair = mug("Glazed in blue, rim in white. Also in red.", "An enamel mug in blue with a white rim.")
    outcomes = swaps(pair)

    assert outcomes
    for outcome in outcomes:
        said = {colour for colour in COLOURS if f" {colour} " in outcome.words.bodies[0]}
        assert len(said) == 2
        assert said.isdisjoint({"blue", "white", "red"})


@pytest.mark.parametrize("word", ["redo", "reds", "reddish", "Redwood", "blueberry", "greens"])
def test_a_colour_inside_another_word_is_left_alone(word):
    pair = mug(f"In red, blue or green. Note: {word}.", "An enamel mug in red, blue or green.")

    assert swaps(pair)
    assert all(f"Note: {word}." in outcome.product.description for outcome in swaps(pair))


def test_a_colour_that_may_be_a_thing_is_never_taken_out():
    pair = mug("It will not rust. Holds 350 ml.", "An enamel mug for 350 ml of tea that will not rust.")

    assert swaps(pair)
    assert all("will not rust." in outcome.words.bodies[0] for outcome in swaps(pair))


def test_where_the_ad_takes_nothing_the_pair_itself_comes_back():
    pair = mug("Holds 350 ml.", "An enamel mug for tea beside the tent.")

    assert swapped(pair, random.Random(0)) is pair


@pytest.mark.parametrize(
    ("body", "tag"), [("An enamel mug that holds 350 ml.", "#mug350"), ("A blue enamel mug for tea.", "#bluemug")]
)
def test_a_hashtag_that_would_go_on_saying_the_old_fact_keeps_the_pair_as_it_is(body, tag):
    pair = mug("Holds 350 ml. Glazed in blue.", body)
    tagged = replace(pair, words=replace(pair.words, hashtags=(tag, "#camping")))

    assert flaws(tagged) == []
    assert swaps(pair)
    assert swaps(tagged) == []


def test_a_swap_that_the_score_refuses_falls_back_to_the_pair():
    # The number in words stays, and is in no row whose digits have changed.
    pair = mug("Holds 12 cups.", "An enamel mug that holds 12 cups, and twelve cups are plenty for the tent.")

    assert flaws(pair) == []
    assert swaps(pair) == []


def test_an_unsound_pair_is_not_made_worse():
    pair = mug("Holds 350 ml.", "An enamel mug that holds 350 ml and comes with 4 lids for free.")

    assert flaws(pair)
    assert swaps(pair) == []


def test_the_same_draw_gives_the_same_pair():
    pair = mug("Holds 350 ml, 12 cm, blue.", "An enamel mug of 350 ml, 12 cm high, in blue.")

    assert swapped(pair, random.Random(5)) == swapped(pair, random.Random(5))
    assert swapped(pair, random.Random(5)) != swapped(pair, random.Random(6))


@pytest.fixture(scope="module")
def pairs():
    return read_pairs(PAIRS)


@given(place=st.integers(0, 10_000), seed=st.integers(0, 2**32))
@settings(max_examples=150, derandomize=True, deadline=None)
def test_a_swapped_pair_stays_sound_and_keeps_its_form(place, seed, pairs):
    pair = pairs[place % len(pairs)]
    outcome = swapped(pair, random.Random(seed))

    assert flaws(outcome) == []
    assert replace(outcome, product=pair.product, words=pair.words) == pair
    for field in ("headline", "body", "call_to_action", "hashtags"):
        before, after = pair.words.texts(field), outcome.words.texts(field)
        assert [len(text.split()) for text in after] == [len(text.split()) for text in before]


def test_most_pairs_of_the_file_can_be_swapped(pairs):
    changed = [swapped(pair, random.Random(0)) != pair for pair in pairs[::4]]

    assert sum(changed) / len(changed) > 0.6
