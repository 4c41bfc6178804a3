"""Scores over creatives: what they count, that they cannot be made of nothing, and the command on the tiny bundle."""

import json
from dataclasses import replace

import pytest

from model.creative import Copy, Creative, Finding, Passport
from model.training import evaluate
from model.training.pairs import PairsError

PASSPORT = Passport("b", "p", "d", 0, 1, {}, "2")
GOOD = Creative("cr_1", "s", "x", Copy(bodies=("Fine.",)), 1.0, (), PASSPORT)
INVENTED = replace(GOOD, validity=0.5, findings=(Finding("unsupported_number", "body", "9"),))
BROKEN = replace(GOOD, validity=0.08, findings=(Finding("too_short", "body", "2 words"),), repairs=("mended",))


def test_each_score_counts_its_own_fault():
    scores = evaluate.score([GOOD, INVENTED, BROKEN, GOOD])

    assert scores["validity"].mean == pytest.approx((1 + 0.5 + 0.08 + 1) / 4)
    assert scores["validity at least 0.9"].mean == 0.5
    assert scores["grounded"].mean == 0.75
    assert scores["structurally valid"].mean == 0.75
    assert scores["left as the model wrote it"].mean == 0.75


def test_the_interval_holds_the_mean_and_narrows_with_rows():
    few, many = evaluate.score([GOOD, INVENTED] * 5)["validity"], evaluate.score([GOOD, INVENTED] * 200)["validity"]

    assert few.low <= few.mean <= few.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_nothing_has_no_score():
    with pytest.raises(ValueError, match="nothing to score"):
        evaluate.score([])


def test_the_command_scores_a_bundle_and_writes_every_figure(tiny_bundle, tmp_path, capsys):
    out = tmp_path / "scores.json"
    arguments = ["--bundle", str(tiny_bundle), "--rows", "3", "--candidates", "1", "--out", str(out)]
    assert evaluate.main(arguments) == 0
    report = json.loads(out.read_text())

    assert report["rows"] == 3
    assert report["scores"]["structurally valid"]["mean"] == 1
    assert set(report["scores"]) == set(evaluate.score([GOOD]))
    assert "3 rows" in capsys.readouterr().out


def test_a_sample_is_always_the_same_and_never_empty():
    pairs = list(range(50))

    assert evaluate._chosen(pairs, 7) == evaluate._chosen(pairs, 7)
    assert evaluate._chosen(pairs, 50) == evaluate._chosen(pairs, None) == pairs
    with pytest.raises(ValueError, match="from 1"):
        evaluate._chosen(pairs, 0)


def test_an_empty_file_is_no_held_out_set(tiny_bundle, tmp_path):
    (tmp_path / "none.jsonl").write_text("")

    with pytest.raises(PairsError, match="holds no pairs"):
        evaluate.main(["--bundle", str(tiny_bundle), "--pairs", str(tmp_path / "none.jsonl")])
