"""The faults that a reader stumbles over cost an ad its rank, and no score lifts an ad over one with fewer findings."""

import json

import pytest

from model.channel import channel
from model.creative import Copy, Creative, Passport
from model.drafting import finish
from model.grounding import view
from model.product import Product
from model.ranking import FEATURES, OWN_WORDS, Ranking, RankingError, features, read_ranking, row_text

STAND = Product("S-1", "TV stand 'Reed'", "Bamboo, 120 cm wide, 45 cm high. Holds 50 kg. A drawer for cables.")
ROW = row_text(STAND)
LEARNT = {name: {"weight": 1.0, "scale": 2.0} for name in FEATURES}


def copy(*bodies, headlines=("Bamboo TV stand",), call_to_action=""):
    return Copy(headlines, bodies, call_to_action, ("#bamboo",))


def measured(feature, words):
    return features(ROW, words)[FEATURES.index(feature)]


def creative(words, validity=1.0, repairs=()):
    passport = Passport("", "", "", 0, 1, {}, "")
    return Creative("id", STAND.sku, "instagram", words, validity, (), passport, repairs)


def table(**changes):
    return json.dumps({"form": 1, "features": LEARNT} | changes)


@pytest.mark.parametrize(
    ("words", "share"),
    [
        (copy("It holds cables."), 0),
        (copy("It holds dragons."), 1 / 4),  # of bamboo, stand, hold, dragon
        (copy("It holds cables.", call_to_action="Feed the dragon"), 2 / 6),
        (Copy(hashtags=("#dragon",)), 0),
        (Copy(), 0),
    ],
)
def test_novelty_is_the_share_of_content_words_that_the_row_lacks(words, share):
    assert measured("novelty", words) == pytest.approx(share)


@pytest.mark.parametrize(
    ("body", "share"),
    [
        ("Holds 50 kg", 1),
        ("Holds 45 kg", 0),
        ("It holds 50 kg", 1 / 2),
        ("120 cm high", 0),
        ("45 cm high", 1),
        ("50 kg", 0),
    ],
)
def test_joined_is_the_share_of_neighbours_that_stand_together_in_the_row(body, share):
    assert measured("joined", copy(body, headlines=())) == pytest.approx(share)


def test_words_of_two_texts_are_no_neighbours():
    assert measured("joined", copy("kg", headlines=("50",))) == 0


@pytest.mark.parametrize(
    ("body", "count"),
    [("It is bamboo, so it holds.", 1), ("So wide, and so high.", 0), ("High because wide, which means tall.", 2)],
)
def test_reasons_are_counted(body, count):
    assert measured("consequence", copy(body)) == count


@pytest.mark.parametrize(("body", "share"), [("Bamboo, 50 kg.", 0), ("Bamboo, bamboo.", 1 / 2), ("", 0)])
def test_a_word_said_twice_in_the_bodies_is_repeated(body, share):
    assert measured("repeated", copy(body)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("sound", "faulty"),
    [
        ("It holds 50 kg and is 120 cm wide.", "It holds 120 kg and is 50 cm wide."),
        ("A drawer for cables.", "A drawer for the evening that never ends."),
        ("It is bamboo, 45 cm high.", "It is bamboo, so it is 45 cm high."),
        ("It holds 50 kg.", "It holds 50 kg and it holds 50 kg."),
    ],
)
def test_the_learnt_score_prefers_the_ad_that_makes_sense(sound, faulty):
    ranking = read_ranking()

    assert ranking.score(ROW, copy(sound)) > ranking.score(ROW, copy(faulty))


def ranked(*drafts):
    """Numbers of (creative, likelihood), best first."""
    ranking = read_ranking()
    return sorted(range(len(drafts)), key=lambda place: ranking.key(drafts[place][0], ROW, drafts[place][1]))


def test_no_score_lifts_an_ad_over_one_with_fewer_findings():
    good, bad = copy("It holds 50 kg."), copy("It sings of dragons, so you smile.")

    assert ranked((creative(bad, 0.95), -3.0), (creative(good, 0.9), -0.1)) == [0, 1]
    assert ranked((creative(bad, 0.9), -0.1), (creative(good, 0.9), -3.0)) == [1, 0]


def test_repairs_and_then_likelihood_part_ads_that_score_alike():
    words = copy("It holds 50 kg.")

    assert ranked((creative(words, repairs=("body: cut at the limit",)), -0.1), (creative(words), -3.0)) == [1, 0]
    assert ranked((creative(words), -3.0), (creative(words), -0.1)) == [1, 0]


def test_an_ad_of_the_products_own_words_comes_after_what_the_model_wrote():
    own, repairs = finish({}, STAND, view(STAND), channel("instagram"))
    written = copy("It sings of dragons, so you smile.")

    assert any(repair.startswith(OWN_WORDS) for repair in repairs)  # drafting.py still says it in these words
    assert ranked((creative(own, repairs=repairs), -0.1), (creative(written), -3.0)) == [1, 0]
    assert ranked((creative(own, repairs=repairs), -0.1), (creative(written, 0.9), -3.0)) == [0, 1]


def test_an_own_headline_alone_costs_no_rank():
    repairs = ("headline: the product's own words stand in",)

    assert ranked((creative(copy("It sings.")), -0.1), (creative(copy("It holds 50 kg."), repairs=repairs), -3.0)) == [
        1,
        0,
    ]


def test_weights_are_brought_back_from_standard_deviations(tmp_path):
    path = tmp_path / "ranking.json"
    path.write_text(table())

    assert read_ranking(path) == Ranking((0.5,) * len(FEATURES))
    assert read_ranking(path).score(ROW, copy("Holds 50 kg", headlines=())) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1"),
        ("[]", "list indices"),
        (table(form=2), "form 2 is not 1"),
        (table(features={}), "instead of novelty, joined"),
        (table(features=dict(reversed(LEARNT.items()))), "features are repeated, consequence"),
        (table(features=LEARNT | {"joined": {"weight": 1.0, "scale": 0}}), "joined needs"),
        (table(features=LEARNT | {"joined": {"weight": float("nan"), "scale": 1}}), "joined needs"),
        (table(features=LEARNT | {"joined": {"weight": 1.0}}), "'scale'"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path, text, why):
    path = tmp_path / "ranking.json"
    path.write_text(text)

    with pytest.raises(RankingError, match=r"ranking\.json holds no ranking weights .*adloom scorer") as caught:
        read_ranking(path)
    assert why in str(caught.value)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RankingError, match=r"elsewhere\.json holds no ranking weights .*adloom scorer"):
        read_ranking(tmp_path / "elsewhere.json")
