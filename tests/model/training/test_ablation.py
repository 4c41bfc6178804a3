"""The ablation: adapters named wrongly are refused, raw words are judged as they stand, differences are paired."""

import pytest

from model.channel import channel
from model.creative import Copy
from model.product import Product
from model.training.ablation import SCORES, AblationError, _named, as_copy, compare, judged, table
from model.training.pairs import Pair

STOOL = Product(sku="S", title="Beech step stool", description="Two steps, 42 cm high. Carries 150 kg.")
WORDS = Copy(("Beech step stool",), ("Two steps, 42 cm high.",), "See the details", ("#stool",))


def pair():
    return Pair(
        id="p1",
        family="stools",
        product=STOOL,
        spec=channel("instagram"),
        voice="plain",
        words=WORDS,
        angle="use",
        trap="",
    )


def test_an_ad_of_the_rows_own_words_is_grounded_and_attached():
    scores = judged(pair(), WORDS)

    assert (scores["grounded"], scores["attached"], scores["rouge_l"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("body", "score"), [("Two steps, 90 cm high.", "grounded"), ("It carries 42 cm of beech.", "attached")]
)
def test_an_invented_number_and_a_fact_on_the_wrong_part_are_seen(body, score):
    scores = judged(pair(), Copy(("Beech step stool",), (body,), "See the details", ("#stool",)))

    assert scores[score] == 0.0


def test_raw_words_are_taken_as_they_stand_and_only_tags_count_as_hashtags():
    raw = {
        "headline": [(" Step up ", True)], "body": [("", True), ("Two steps", False)],
        "call_to_action": [], "hashtags": [("#stool and #beech", True)],
    }  # fmt: skip

    assert as_copy(raw) == Copy(("Step up",), ("Two steps",), "", ("#stool", "#beech"))


def test_a_sure_difference_has_a_star_and_a_doubtful_one_none():
    base = {score: {str(row): float(row % 2) for row in range(40)} for score in SCORES}
    better = {score: dict.fromkeys(rows, 1.0) for score, rows in base.items()}
    same = {score: dict(rows) for score, rows in base.items()}
    lines = table(compare({"base": base, "better": better, "same": same}, 40)).splitlines()

    assert lines[2].count("*") == len(SCORES)
    assert lines[1].count("*") == lines[3].count("*") == 0


@pytest.mark.parametrize("text", ["folder", "a=", "a=/nowhere", "two words=/tmp"])
def test_an_adapter_that_is_none_is_refused_with_what_to_write(text):
    with pytest.raises(AblationError, match="NAME=FOLDER"):
        _named(text)
