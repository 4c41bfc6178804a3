"""Weights are learnt from preferences, judged on products that they were not learnt from, and kept in one file."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from model.ranking import FEATURES, read_ranking, row_text
from model.training.pairs import read_pairs
from model.training.preference import PreferencesError, read_preferences
from model.training.scorer import (
    JUDGED_PRODUCTS_MIN,
    PREFERENCES,
    RANKING,
    accuracy,
    fit,
    main,
    measure,
    unseen_margins,
)
from tests.model.training.test_pairs import row

PRODUCTS = JUDGED_PRODUCTS_MIN
SOUND = "Enamelled steel, 120 g. It holds 350 ml."
FAULTY = "A dragon sleeps here, so 120 ml of steel sing and sing."


def copy(body):
    return {"headlines": ["Enamel mug"], "bodies": [body], "call_to_action": "See the mug", "hashtags": ["#mug"]}


def preference(number, chosen=SOUND, rejected=FAULTY, **changes):
    said = {"id": f"p-{number}", "pair": f"T-{number % PRODUCTS}", "channel": "instagram", "voice": "plain"}
    return {**said, "chosen": copy(chosen), "rejected": copy(rejected), "chosen_by": "edited", "why": "", **changes}


@pytest.fixture
def files(tmp_path):
    """Writes both inputs and returns the arguments that name them, output last."""

    def write(preferences, products=PRODUCTS):
        pairs = [row(id=f"T-{number}") for number in range(products)]
        for name, lines in (("pairs", pairs), ("preferences", preferences)):
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
        names = (("--pairs", "pairs.jsonl"), ("--preferences", "preferences.jsonl"), ("--out", "new/ranking.json"))
        return [part for option, name in names for part in (option, str(tmp_path / name))]

    return write


def read(arguments):
    return read_preferences(Path(arguments[3]), read_pairs(Path(arguments[1])))


def test_the_command_writes_weights_that_prefer_what_was_chosen(files, capsys):
    arguments = files([preference(number) for number in range(PRODUCTS)])

    assert main(arguments) == 0
    ranking = read_ranking(Path(arguments[-1]))
    [first, *_] = read(arguments)
    facts = row_text(first.pair.product)
    assert ranking.score(facts, first.chosen) > ranking.score(facts, first.rejected)
    printed = capsys.readouterr().out
    assert f"all: {PRODUCTS} preferences over {PRODUCTS} products\n  learnt         1.000" in printed
    assert "model: 0 preferences over 0 products: too few to judge by" in printed


def test_the_file_names_what_it_was_learnt_from_and_comes_out_the_same_again(files):
    arguments = files([preference(number) for number in range(PRODUCTS)])
    main(arguments)
    first = Path(arguments[-1]).read_bytes()
    main(arguments)

    assert Path(arguments[-1]).read_bytes() == first
    assert json.loads(first)["preferences_sha256"] == hashlib.sha256(Path(arguments[3]).read_bytes()).hexdigest()
    assert [path.name for path in Path(arguments[-1]).parent.iterdir()] == ["ranking.json"]


def test_a_kind_is_judged_from_twenty_products_on(files):
    both = [preference(number, chosen_by="model" if number else "edited") for number in range(PRODUCTS)]
    enough = [*both, preference(PRODUCTS, chosen_by="model")]
    judged = {}
    for name, lines in (("few", both), ("enough", enough)):
        arguments = files(lines)
        main(arguments)
        judged[name] = json.loads(Path(arguments[-1]).read_text())["accuracy"]["model"]

    assert judged["few"] == {"preferences": PRODUCTS - 1, "products": PRODUCTS - 1}
    assert judged["enough"]["products"] == PRODUCTS
    assert judged["enough"]["learnt"]["mean"] == 1


def test_newton_finds_where_the_penalised_likelihood_is_flat():
    draw = np.random.default_rng(4)
    chosen, rejected = draw.normal(0.4, 1, (60, 4)), draw.normal(0, 1, (60, 4))
    found = fit(chosen, rejected)
    differences = (chosen - rejected) / found.scales
    slope = differences.T @ (1 / (1 + np.exp(differences @ found.standardised))) - found.standardised

    assert np.abs(slope).max() < 1e-9
    assert np.abs(found.standardised).min() > 0


def test_a_feature_that_never_varies_weighs_nothing():
    chosen, rejected = np.array([[1.0, 2.0], [1.0, 3.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    found = fit(chosen, rejected)

    assert found.standardised[0] == 0
    assert found.scales[0] == 1
    assert found.standardised[1] > 0


def test_a_product_is_judged_by_weights_that_never_saw_it(files):
    # One product alone prefers faulty ads: weights that had seen its thirty preferences would agree with it.
    contrary = [preference(PRODUCTS * number, FAULTY, SOUND) for number in range(1, 31)]
    preferences = read(files([*contrary, *(preference(number) for number in range(1, PRODUCTS))]))
    chosen, rejected = measure(preferences)
    margins = unseen_margins(preferences, chosen, rejected)

    assert (margins[: len(contrary)] < 0).all()
    assert (fit(chosen, rejected).margins(chosen - rejected)[: len(contrary)] > 0).all()


def test_products_count_once_and_ties_half(files):
    preferences = read(files([preference(0), preference(PRODUCTS), preference(1), preference(2)]))

    assert accuracy(preferences, np.array([1.0, -1.0, 1.0, 0.0])).mean == pytest.approx((0.5 + 1 + 0.5) / 3)


def test_too_few_products_are_refused_and_nothing_is_written(files):
    arguments = files([preference(number) for number in range(9)])

    with pytest.raises(PreferencesError, match="9 products are too few to learn from; 10 are needed"):
        main(arguments)
    assert not Path(arguments[-1]).exists()
    assert main(files([preference(number) for number in range(10)])) == 0


def test_a_line_for_a_product_that_no_pair_has_is_named(files):
    arguments = files([preference(0), preference(1, pair="T-99")])

    with pytest.raises(PreferencesError, match=r"line 2: .*T-99"):
        main(arguments)


@pytest.mark.skipif(not PREFERENCES.exists(), reason="the preferences are not part of this checkout")
def test_the_packaged_weights_were_learnt_from_the_packaged_preferences():
    table = json.loads(RANKING.read_text(encoding="utf-8"))

    assert table["preferences_sha256"] == hashlib.sha256(PREFERENCES.read_bytes()).hexdigest()
    assert table["accuracy"]["all"]["learnt"]["low"] > 0.5
    assert tuple(table["features"]) == FEATURES
