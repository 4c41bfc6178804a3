"""Text measures on hand-made cases whose answers are known."""

import pytest

from model.training import measures
from model.training.intervals import interval, paired_difference
from model.training.lab import MissingLabError, require_lab
from model.training.measures import TrainingText
from model.training.relevance import Embedder

AD = "Solid beech, 43 cm, and a scale burnt into the wood."


def test_a_perfect_copy_is_one_and_strange_words_are_zero():
    assert measures.rouge_l([AD], [AD]) == [1.0]
    assert measures.chrf([AD], [AD]) == pytest.approx([1.0])
    assert measures.rouge_l(["xyz"], [AD]) == [0.0]
    assert measures.chrf(["xyz"], ["ab ab"]) == [0.0]


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
    # "beech pin" of 3 words against a reference of 4: precision 2/3, recall 2/4.
    assert measures.rouge_l(["beech pin today"], ["a beech rolling pin"]) == pytest.approx(
        [2 * 2 / 3 * 0.5 / (2 / 3 + 0.5)]
    )


def test_an_empty_ad_is_far_from_everything():
    assert measures.rouge_l([""], [AD]) == [0.0]
    assert measures.chrf([""], [AD]) == [0.0]


def test_words_lose_their_case_and_punctuation_and_numbers_stay_whole():
    assert measures.words_of("Don't: 2.5 l, #MoonLamp!") == ("don't", "2.5", "l", "moonlamp")


def test_distinct_2_counts_each_pair_of_words_once():
    # a b, b a, a b: two of three differ.
    assert measures.distinct_2(["a b a b"]) == pytest.approx(2 / 3)
    assert measures.distinct_2(["a b", "a b"]) == 0.5
    assert measures.distinct_2(["one", ""]) == 0.0


def test_self_bleu_is_one_for_the_same_ad_and_falls_as_ads_differ():
    others = ["A kettle pours slowly at eighty degrees", "Fourteen pegs hold the porch of this tent"]

    assert measures.self_bleu([AD, AD, AD]) == pytest.approx(1.0)
    assert measures.self_bleu([AD, *others]) < 0.2
    with pytest.raises(ValueError, match="two texts"):
        measures.self_bleu([AD])


def test_self_bleu_of_many_ads_is_over_a_fixed_draw(monkeypatch):
    monkeypatch.setattr(measures, "SELF_BLEU_TEXTS", 4)
    ads = [AD] * 4 + ["A kettle pours slowly", "Fourteen pegs hold", "Moss green wool", "Six soups", "Read by the lamp"]

    assert measures.self_bleu(ads) == measures.self_bleu(ads)
    assert measures.self_bleu(ads) < measures.self_bleu(ads[:4]) == pytest.approx(1.0)


def test_memorised_words_are_the_longest_unbroken_run_of_one_training_ad():
    training = TrainingText(["one two three four", "four five six"])

    assert training.longest_shared_run("say one two three now") == 3
    assert training.longest_shared_run("ONE, two; three four!") == 4
    assert training.longest_shared_run("three four five") == 2  # never across two ads
    assert training.longest_shared_run("nothing here") == 0
    assert training.longest_shared_run("") == 0


def test_a_run_of_ten_is_memorised_and_one_of_nine_is_not():
    ten = "a b c d e f g h i j"
    training = TrainingText([ten])

    assert training.memorised_share([ten]) == 1.0
    assert training.memorised_share([ten + " k"]) == 0.5  # one of two runs
    assert training.memorised_share(["a b c d e f g h i x"]) == 0.0
    assert training.memorised_share(["a b c"]) == 0.0


def test_the_interval_holds_the_mean_and_narrows_with_rows():
    few, many = interval([0.0, 1.0] * 5), interval([0.0, 1.0] * 200)

    assert few.low < few.mean == 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert interval([0.1] * 7).low <= interval([0.1] * 7).mean


@pytest.mark.parametrize(("values", "said"), [([], "no rows"), ([0.5, float("nan")], "no finite number")])
def test_no_rows_and_nan_have_no_mean(values, said):
    with pytest.raises(ValueError, match=said):
        interval(values)


def test_a_paired_difference_takes_the_rows_that_both_have():
    found = paired_difference({"a": 1.0, "b": 0.5, "c": 0.0}, {"a": 0.5, "b": 0.0, "z": 1.0})

    # Every row differs by the same half: pairing leaves no doubt at all.
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.slow
def test_an_ad_is_nearer_to_its_own_product_than_to_another():
    embedder = Embedder(threads=1)
    same, own, other = embedder.cosines([AD, AD, AD], [AD, "Rolling pin, beech", "Satin sleep mask, navy stars"])

    assert same == pytest.approx(1.0, abs=1e-5)
    assert own > other + 0.1
    assert embedder.cosines([""], [AD])[0] < 0.5


def test_a_missing_package_is_named_with_what_installs_it():
    with pytest.raises(MissingLabError, match=r"package_that_is_nowhere is not installed.*make evaluate.*lab"):
        require_lab(("json", "package_that_is_nowhere"))
    require_lab(("json",))
