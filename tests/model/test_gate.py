"""The promotion gate: what passes, what is refused and why, its error rates, its command, its page."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model import gate, gate_command
from model.gate import AGREED, FLOORS, MARGINS, ROWS_MIN, judge
from model.gate_trial import cases, certificate, simulate, synthetic

PAGE = (Path(__file__).parents[2] / "architecture/gate.md").read_text(encoding="utf-8")
CHAMPION = synthetic("champion", writer=0)
BETTER = synthetic("better", writer=1, shifts={"chrf": 0.05})


def verdict(candidate=BETTER, champion=CHAMPION, paper=None):
    return judge(candidate, champion, certificate(candidate) if paper is None else paper)


def with_rows(scores, change):
    """The scores with `change(number, row)` in place of every row."""
    return {**scores, "per_row": [change(number, dict(row)) for number, row in enumerate(scores["per_row"])]}


def with_column(scores, name, values):
    return with_rows(scores, lambda number, row: row | {name: values[number]})


def refused(said, *arguments, **more):
    judged = verdict(*arguments, **more)
    assert not judged.passed
    return any(re.search(said, reason) for reason in judged.reasons)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_each_synthetic_case_is_judged_as_it_should_be(case):
    assert case.verdict.passed == case.should_pass
    assert case.verdict.reasons
    assert f"| {case.name} | {gate_command._word(case.verdict)} |" in PAGE


def test_there_are_nine_cases_and_only_the_better_one_passes():
    assert [case.name for case in cases() if case.verdict.passed] == ["better"]
    assert len(cases()) == 9


def test_the_page_shows_the_table_that_the_command_prints():
    assert "\n".join(gate_command.trial_table()) in PAGE


def test_the_page_gives_the_margins_floors_and_rates_of_the_code():
    for name, margin in MARGINS.items():
        assert f"| `{name}` | {margin:.2f} |" in PAGE
    for name, floor in FLOORS.items():
        assert f"| `{name}` | {floor:.2f} |" in PAGE
    assert f"at least {ROWS_MIN} rows" in PAGE
    assert f"{gate.ERROR_RATE:.0%}".replace("%", " %") in PAGE


def test_the_page_shows_every_simulated_kind_with_its_rows():
    shown = re.findall(r"^\| (.+) \| (\d+) \| \d+\.\d % \|$", PAGE, flags=re.MULTILINE)

    assert shown == [(rate.name, str(rate.rows)) for rate in simulate(1)]


@pytest.mark.proof
def test_simulated_rates_are_near_those_of_the_page():
    shown = {
        (name, int(rows)): float(share)
        for name, rows, share in re.findall(r"^\| (.+) \| (\d+) \| (.+) % \|$", PAGE, re.MULTILINE)
    }
    for rate in simulate(100):
        expected = shown[rate.name, rate.rows]
        # Four standard errors of 100 trials, and at least 5 points.
        tolerance = max(5.0, 4 * math.sqrt(expected * (100 - expected) / 100))

        assert abs(100 * rate.passed / rate.trials - expected) <= tolerance, rate


def test_the_same_scores_get_the_same_verdict():
    assert verdict() == verdict()
    assert verdict(with_rows({**BETTER, "per_row": BETTER["per_row"][::-1]}, lambda _, row: row)) == verdict()


def test_a_verdict_is_json_and_prints_as_a_table():
    judged = verdict()
    table = json.loads(json.dumps(judged.as_dict(), allow_nan=False))

    assert table["passed"] is True
    assert [one["name"] for one in table["comparisons"]] == [name for name in AGREED if name != "makes_sense"]
    assert {"name", "difference", "low", "high", "p"} == set(table["comparisons"][0])
    assert str(judged).splitlines()[0] == "passed"
    assert all(any(line.split()[:1] == [one.name] for line in str(judged).splitlines()) for one in judged.comparisons)


@pytest.mark.parametrize("worse_rows", [0, 1, 20])
def test_bounds_hold_the_difference_and_one_row_more_widens_them(worse_rows):
    columns = [0.0 if number < worse_rows else 1.0 for number in range(151)]
    perfect = with_column(CHAMPION, "grounded", [1.0] * 151)
    found = next(
        one for one in verdict(with_column(BETTER, "grounded", columns), perfect).comparisons if one.name == "grounded"
    )

    assert found.low < found.difference < found.high
    assert found.difference == pytest.approx(-worse_rows / 151)


def test_no_difference_seen_has_the_bound_of_the_rule_of_three():
    perfect, same = (with_column(scores, "grounded", [1.0] * 151) for scores in (CHAMPION, BETTER))
    found = next(one for one in verdict(same, perfect).comparisons if one.name == "grounded")

    assert found.low == pytest.approx(-3 / 151, rel=0.02)
    assert found.p == 1


@pytest.mark.parametrize(("losses", "passes"), [(0, True), (2, True), (3, False), (15, False)])
def test_grounding_may_be_lost_only_within_the_margin(losses, passes):
    perfect = with_column(with_column(CHAMPION, "grounded", [1.0] * 151), "validity", [1.0] * 151)
    candidate = with_column(BETTER, "validity", [1.0] * 151)
    judged = verdict(with_column(candidate, "grounded", [0.0] * losses + [1.0] * (151 - losses)), perfect)

    assert judged.passed == passes
    assert any(reason.startswith("grounded may be worse") for reason in judged.reasons) != passes


def test_better_on_anything_does_not_pay_for_worse_validity():
    candidate = with_column(BETTER, "validity", [0.9] * 151)

    assert refused("validity may be worse", candidate, with_column(CHAMPION, "validity", [1.0] * 151))


@pytest.mark.parametrize(("whose", "index"), [("candidate", 0), ("champion", 1)])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("grounded", None, "grounded is null in 1 row, row-000"),
        ("validity", float("nan"), "validity is NaN"),
        ("chrf", float("inf"), "chrf is NaN or infinite"),
        ("rouge_l", "0.5", "rouge_l is no number"),
        ("rouge_l", True, "rouge_l is no number"),
        ("relevance", 1.5, "relevance is not between -1 and 1"),
        ("grounded", -0.1, "grounded is not between 0 and 1"),
        ("grounded", 10**400, "grounded is not between 0 and 1"),
        ("makes_sense", float("nan"), "makes_sense is NaN"),
    ],
)
def test_a_value_that_is_no_score_is_named_with_its_row(whose, index, name, value, said):
    both = [BETTER, CHAMPION]
    both[index] = with_rows(both[index], lambda number, row: row | {name: value} if number == 0 else row)

    assert refused(f"The {whose}'s {said}", *both)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": 2}, "form 2 instead of 1"),
        ({"form": None}, "form None"),
        ({"bundle": ""}, "which bundle"),
        ({"dataset": {}}, "pairs_sha256"),
        ({"dataset": None}, "pairs_sha256"),
        ({"dataset": {"pairs_sha256": "other", "rows": 151}}, "different held-out rows"),
        ({"settings": {}}, "settings"),
        ({"settings": {"candidates": 8, "seed": 0, "rows": 151}}, "other settings: candidates 8 against 4"),
        ({"validity_version": "3"}, "versions synthetic and 3"),
        ({"validity_version": None}, "validity_version"),
        ({"per_row": None}, "no per_row list"),
        ({"per_row": "rows"}, "no per_row list"),
        ({"per_row": []}, "0 rows"),
        ({"per_row": [{"grounded": 1.0}] * 151}, "no per_row list of rows with an id"),
        ({"per_row": BETTER["per_row"][:150]}, "was to be scored on 151 rows, and only 150"),
        ({"per_row": [*BETTER["per_row"][1:], BETTER["per_row"][1]]}, "hold a row twice"),
        ({"per_row": [*BETTER["per_row"][1:], BETTER["per_row"][0] | {"id": "new"}]}, "One of the two alone .* 2 rows"),
    ],
)
def test_scores_of_another_kind_are_not_compared(change, said):
    assert refused(said, BETTER | change, paper=certificate(BETTER | change))


@pytest.mark.parametrize("nothing", [{}, [], "scores", None])
def test_nothing_is_no_candidate_and_no_champion(nothing):
    assert refused("The candidate has no scores", nothing, paper=certificate(BETTER))
    if nothing is not None:
        assert refused("The champion has no scores", BETTER, nothing)


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        ({}, "has no quantization certificate"),
        ([], "has no quantization certificate"),
        (certificate(CHAMPION), "belongs to the bundle champion, not better"),
        (certificate(BETTER) | {"form": 2}, "form 2 instead of 1"),
        (certificate(BETTER) | {"passed": False, "breaches": ["Perplexity rose by 40 %."]}, "Perplexity rose by 40 %"),
        (certificate(BETTER) | {"passed": "true"}, "does not say passed"),
        (certificate(BETTER) | {"passed": True, "breaches": ["But."]}, "did not pass: But"),
        (certificate(BETTER) | {"breaches": None}, "did not pass"),
        (certificate(BETTER) | {"rows": []}, "measured nothing"),
    ],
)
def test_without_its_own_passed_certificate_nothing_passes(paper, said):
    assert refused(said, paper=paper)
    assert refused(said, champion=None, paper=paper)


def test_no_certificate_at_all_is_refused():
    assert not judge(BETTER, CHAMPION, None).passed


@pytest.mark.parametrize(("rows", "passes"), [(ROWS_MIN - 1, False), (ROWS_MIN, True)])
def test_a_first_version_needs_enough_rows(rows, passes):
    flawless = with_rows(
        synthetic("first", writer=0, rows=rows), lambda _, row: row | dict.fromkeys([*FLOORS, "validity"], 1.0)
    )

    assert judge(flawless, None, certificate(flawless)).passed == passes


@pytest.mark.parametrize(
    ("name", "faults", "passes"),
    [
        ("structural", 0, True),
        ("structural", 1, False),
        ("grounded", 3, True),
        ("grounded", 4, False),
        ("valid", 5, True),
        ("valid", 6, False),
    ],
)
def test_a_first_version_is_held_to_the_floors(name, faults, passes):
    flawless = with_rows(
        synthetic("first", writer=0, rows=100), lambda _, row: row | dict.fromkeys([*FLOORS, "validity"], 1.0)
    )
    candidate = with_column(flawless, name, [0.0] * faults + [1.0] * (100 - faults))
    judged = judge(candidate, None, certificate(candidate))

    assert judged.passed == passes
    assert any(reason.startswith(f"{name} is {1 - faults / 100:.4f}") for reason in judged.reasons)


def test_a_reading_sheet_counts_only_where_both_mark_the_same_rows():
    def marked(scores, values):
        return with_column(scores, "makes_sense", [*values, *[None] * (151 - len(values))])

    poor, good, few = [0.0, 1.0] * 50, [1.0] * 100, [1.0] * (ROWS_MIN - 1)
    equal = synthetic("equal", writer=2)

    assert verdict(marked(equal, good), marked(CHAMPION, poor)).passed
    assert not verdict(marked(equal, few), marked(CHAMPION, [0.0] * len(few))).passed
    assert not verdict(marked(equal, good[:60]), marked(CHAMPION, poor)).passed


def written(tmp_path, name, table):
    path = tmp_path / name
    path.write_text(json.dumps(table))
    return str(path)


def test_the_command_judges_files_and_says_so_by_its_status(tmp_path, capsys):
    better, champion = written(tmp_path, "better.json", BETTER), written(tmp_path, "champion.json", CHAMPION)
    paper = written(tmp_path, "certificate.json", certificate(BETTER))

    assert gate_command.main([better, champion, "--certificate", paper, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    assert gate_command.main([better, champion]) == 1
    assert "adloom certify" in capsys.readouterr().out
    assert gate_command.main([champion, better, "--certificate", paper]) == 1


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", "null"])
def test_a_file_that_holds_no_scores_is_named(tmp_path, content):
    path = tmp_path / "scores.json"
    path.write_text(content)

    with pytest.raises(ValueError, match=r"scores\.json holds no scores"):
        gate_command.main([str(path)])
    with pytest.raises(ValueError, match=r"absent\.json holds no scores"):
        gate_command.main([str(tmp_path / "absent.json")])


def test_the_trial_prints_the_table_and_a_wrong_gate_is_noticed(capsys, monkeypatch):
    assert gate_command.main(["--try"]) == 0
    assert capsys.readouterr().out.splitlines() == gate_command.trial_table()

    # A gate that lets everything be worse, and so lets the bold one pass.
    monkeypatch.setattr(gate, "MARGINS", {"grounded": 1.0, "validity": 1.0})
    with pytest.raises(RuntimeError, match=r"judges wrongly: .*worse only on grounding"):
        gate_command.main(["--try"])


@pytest.mark.parametrize("trials", ["0", "-1"])
def test_a_simulation_of_nothing_is_refused(trials):
    with pytest.raises(ValueError, match="from 1"):
        gate_command.main(["--simulate", trials])


def test_the_gate_needs_neither_mlflow_nor_torch():
    code = "import sys, model.gate_command; print(sorted({'mlflow', 'torch', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(gate.__file__).parents[1]
    )

    assert done.stdout.strip() == "[]"
