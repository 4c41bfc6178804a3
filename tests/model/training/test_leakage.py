"""What is held out stays out of training, and how much an ad brings of its own is counted in words."""

import pytest

from model.heldout import GRAM_WORDS
from model.training.leakage import novelty, refuse_leaks
from model.training.pairs import pair_from_dict
from model.training.run_config import TrainingError
from tests.model.training.test_pairs import row

RUN = "one two three four five six seven eight"


def pair(**changes):
    return pair_from_dict(row(**changes))


def apart(**changes):
    """A pair that shares nothing with `row()` but what `changes` bring."""
    own = {
        "id": "T-2",
        "family": "desk lamp",
        "product__title": "Desk lamp, brass",
        "product__description": "Turns by 90 degrees.",
        "copy__headlines": ["Brass on the desk"],
        "copy__bodies": ["It turns by 90 degrees."],
        "copy__call_to_action": "Turn it on",
        "copy__hashtags": ["#lamp"],
    }
    return pair(**(own | changes))


def test_pairs_that_share_nothing_pass():
    refuse_leaks([apart()], [pair()])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"family": "Enamel Mug"}, 'the family "enamel mug"'),
        ({"product__title": "ENAMEL mug (blue)"}, 'the title "Enamel mug, blue"'),
        ({"product__description": row()["product"]["description"].upper()}, "the description"),
    ],
)
def test_a_held_out_product_is_named_whatever_its_case(changes, what):
    with pytest.raises(TrainingError) as caught:
        refuse_leaks([apart(**changes)], [pair()])
    assert str(caught.value) == (
        f"held-out row leaked into training: pair T-2 repeats {what} of T-1; take the pair out"
    )


def test_eight_shared_words_leak_and_seven_do_not():
    held = pair(copy__bodies=[f"Here are {RUN} of them."])
    seven = RUN.rpartition(" ")[0]

    assert len(RUN.split()) == GRAM_WORDS
    refuse_leaks([apart(copy__bodies=[f"Count {seven} and more."])], [held])
    with pytest.raises(TrainingError, match=f'the words "{RUN}" of T-1'):
        refuse_leaks([apart(copy__bodies=[f"Count {RUN} and more."])], [held])


def test_an_empty_description_is_no_leak():
    refuse_leaks([apart(product__description="")], [pair(product__description="")])


@pytest.mark.parametrize(
    ("body", "share"),
    [
        ("An enamelled mug, blue.", 0),
        ("The mugs of blue steel, 120 g.", 0),  # plural, function words, number: none of them is news
        ("A blue mug with a dragon.", 1 / 3),
        ("Dragon.", 1),
        ("", 0),
    ],
)
def test_novelty_is_the_share_of_content_words_that_the_row_lacks(body, share):
    words = {"copy__headlines": [], "copy__bodies": [body], "copy__call_to_action": "", "copy__hashtags": ["#dragons"]}

    assert novelty(pair(**words)) == pytest.approx(share)
