"""What a step costs: every size of every bundle is measured, and the report says so in numbers, lines and a plot."""

import json

import pytest

from model.training import step_cost
from model.training.step_cost import PROMPT_TOKENS, ROWS, StepsError


def test_two_bundles_are_measured_at_every_size_and_drawn(tiny_bundle, tmp_path, capsys):
    out = tmp_path / "steps.json"
    arguments = [f"one={tiny_bundle}", f"other={tiny_bundle}", "--rounds", "2", "--threads", "1", "--out", str(out)]

    assert step_cost.main(arguments) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    for part in report["bundles"].values():
        assert list(part["step"]) == [str(rows) for rows in ROWS]
        assert list(part["prompt"]) == [str(tokens) for tokens in PROMPT_TOKENS]
        for sizes in part.values():
            for times in sizes.values():
                assert 0 < times["milliseconds_min"] <= times["milliseconds_median"]
    assert list(report["bundles"]) == ["one", "other"]
    assert "<svg" in out.with_suffix(".svg").read_text(encoding="utf-8")
    assert "one" in capsys.readouterr().out


def test_a_folder_without_a_network_is_refused(tmp_path):
    with pytest.raises(StepsError, match="adloom bundle build"):
        step_cost.main([str(tmp_path)])
