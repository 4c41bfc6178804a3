"""`adloom evaluate` on the tiny bundle: what each score counts, resuming, the reading sheet, and bad input."""

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model.bundle import open_bundle
from model.creative import Copy, Finding
from model.decoder import EngineError
from model.gate import judge
from model.heldout_samples import chosen, read_samples
from model.prompt import few_shot_prompt, tuned_prompt
from model.training import evaluate, reading, scoring
from model.training.measures import TrainingText
from model.training.pairs import PairsError, read_pairs
from model.training.reading import SheetError
from model.training.untuned import with_prompt
from model.training.written import BASELINE_CODE, BUNDLE_CODE, Author, Lines, Written, write_all

ROOT = Path(__file__).parents[3]
PAIRS = read_pairs(ROOT / "model/data/heldout.jsonl")
ROWS = 6
QUIET = lambda _: None  # noqa: E731


class CosineOfNothing:
    """Stands in for the embeddings: no weights, one answer."""

    def cosines(self, texts, others):
        return [0.25 for _ in zip(texts, others, strict=True)]


def ad(pair, *, validity=1.0, findings=(), repairs=(), words=None):
    return Written(pair, f"cr_{pair.id}", words or pair.words, repairs, validity, findings, 0.5)


def scored(ads, sense=None):
    return scoring.score_writer(ads, scoring.Instruments(TrainingText(["one two three"]), CosineOfNothing()), sense)


def run(tiny_bundle, root, *more):
    arguments = ["--bundle", str(tiny_bundle), "--untuned-bundle", str(tiny_bundle), "--root", str(root)]
    return evaluate.main([*arguments, "--rows", str(ROWS), "--candidates", "1", "--threads", "1", *more])


def report_folder(tiny_bundle, root):
    return root / "reports" / open_bundle(tiny_bundle).digest[:16]


@pytest.fixture(scope="module")
def root(tiny_bundle, tmp_path_factory):
    """Where one whole evaluation lies, all four baselines included; copy it before changing anything in it."""
    root = tmp_path_factory.mktemp("root")
    assert run(tiny_bundle, root) == 0
    return root


@pytest.fixture
def scores(tiny_bundle, root):
    return json.loads((report_folder(tiny_bundle, root) / "scores.json").read_text())


def test_each_score_counts_its_own_fault():
    invented, short = Finding("unsupported_number", "body", "9"), Finding("too_short", "body", "2 words")
    found = scored([
        ad(PAIRS[0]),
        ad(PAIRS[1], validity=0.5, findings=(invented,)),
        ad(PAIRS[2], validity=0.08, findings=(short,), repairs=("mended",)),
        ad(PAIRS[3], validity=0.9, words=Copy(bodies=("say one two three",))),
    ])  # fmt: skip
    means = {name: value["mean"] for name, value in found["scores"].items()}

    assert means["validity"] == pytest.approx((1 + 0.5 + 0.08 + 0.9) / 4)
    assert means["valid"] == 0.5
    assert means["grounded"] == means["structural"] == means["untouched"] == 0.75
    assert means["relevance"] == 0.25
    assert [row["rouge_l"] for row in found["per_row"][:3]] == [1, 1, 1]
    assert found["per_row"][3]["rouge_l"] < 0.5
    assert found["per_row"][3]["memorised_words"] == 3
    assert found["findings"] == {"unsupported_number": 1, "too_short": 1}
    assert found["corpus"]["creatives_per_second"] == 2


def test_nothing_has_no_score():
    with pytest.raises(ValueError, match="nothing to score"):
        scored([])


def test_a_row_makes_sense_only_where_a_reader_said_so():
    found = scored([ad(pair) for pair in PAIRS[:3]], {PAIRS[0].id: True, PAIRS[1].id: False})

    assert [row["makes_sense"] for row in found["per_row"]] == [1.0, 0.0, None]
    assert found["scores"]["makes_sense"]["mean"] == 0.5
    assert "makes_sense" not in scored([ad(PAIRS[0]), ad(PAIRS[1])])["scores"]


def test_categories_of_four_rows_are_merged_and_of_five_stand_alone():
    rows = [{"category": "Tools"}] * 5 + [{"category": "Food"}] * 4 + [{"category": "Toys"}]
    rows = [
        {"id": str(n), "channel": "x", **row, **dict.fromkeys(scoring.ROW_SCORES, 1.0)} for n, row in enumerate(rows)
    ]
    group_of = scoring._category_group(rows)

    assert list(scoring.grouped(rows, group_of)) == ["Tools", "other"]


@pytest.mark.slow
def test_the_command_writes_form_one_as_the_gate_reads_it(scores):
    assert scores["form"] == 1
    assert scores["settings"] == {"candidates": 1, "seed": 0, "rows": ROWS}
    assert scores["dataset"]["rows"] == len(PAIRS)
    assert list(scores["baselines"]) == ["description", "template", "untuned", "few_shot"]
    assert scores["scores"]["structural"]["mean"] == 1
    assert {row["id"] for row in scores["per_row"]} == {row["id"] for row in scores["baselines"]["template"]["per_row"]}
    certificate = {"form": 1, "bundle": scores["bundle"], "passed": True, "breaches": [], "rows": [{"kv_cache": True}]}

    # Nothing else is wrong with it: the form is the one that the gate reads.
    assert judge(scores, None, certificate).reasons == (
        f"The candidate was scored on {ROWS} rows, and 50 are the least that is compared.",
    )


@pytest.mark.slow
def test_a_dozen_of_the_ads_that_were_scored_are_kept_to_be_looked_at(tiny_bundle, root, scores):
    folder = report_folder(tiny_bundle, root)
    table = json.loads((folder / "samples.json").read_text())
    kept = [json.loads(line) for line in (folder / "creatives-bundle.jsonl").read_text().splitlines()]
    ads = {line["pair"]: line["creative"] for line in kept}
    validities = {row["id"]: row["validity"] for row in scores["per_row"]}
    samples = read_samples(table)

    assert (table["form"], table["bundle"]) == (1, scores["bundle"])
    assert [sample["row"] for sample in samples] == chosen(validities)
    for sample in samples:
        ad = ads[sample["row"]]
        assert (sample["channel"], sample["headlines"], sample["bodies"]) == (
            ad["channel"], ad["headlines"], ad["descriptions"],
        )  # fmt: skip
        assert sample["validity"] == validities[sample["row"]]


@pytest.mark.slow
def test_every_figure_is_a_finite_number(tiny_bundle, root):
    def refuse(constant):
        raise AssertionError(constant)

    text = (report_folder(tiny_bundle, root) / "scores.json").read_text()

    assert json.loads(text, parse_constant=refuse)["corpus"]["perplexity"] > 1


def test_untuned_and_few_shot_differ_in_their_prompt_alone(tiny_bundle, tmp_path):
    bundle = open_bundle(tiny_bundle)
    plain, shots = (with_prompt(bundle, prompt, tmp_path) for prompt in (tuned_prompt(), few_shot_prompt()))
    differing = {name for name in plain.manifest.files if plain.manifest.files[name] != shots.manifest.files[name]}

    assert differing == {"prompt.json"}
    assert open_bundle(tiny_bundle).digest == bundle.digest  # the links did not write through
    assert with_prompt(bundle, tuned_prompt(), tmp_path).digest == plain.digest


@pytest.mark.slow
def test_the_second_run_reads_every_ad_and_writes_the_same_bytes(tiny_bundle, root, tmp_path):
    again = tmp_path / "root"
    shutil.copytree(root, again)
    folder = report_folder(tiny_bundle, again)
    before = {path: path.read_bytes() for path in again.rglob("*.json*")}
    (folder / "scores.json").unlink()
    run(tiny_bundle, again)

    assert {path: path.read_bytes() for path in again.rglob("*.json*")} == before


@pytest.mark.slow
def test_a_killed_run_goes_on_after_its_last_whole_line(tiny_bundle, root, tmp_path, capsys):
    again = tmp_path / "root"
    shutil.copytree(root, again)
    folder = report_folder(tiny_bundle, again)
    whole = json.loads((folder / "scores.json").read_text())
    written = folder / "creatives-bundle.jsonl"
    lines = written.read_bytes().split(b"\n")
    written.write_bytes(b"\n".join(lines[:3]) + b"\n" + lines[3][:50])
    run(tiny_bundle, again)
    resumed = json.loads((folder / "scores.json").read_text())

    assert f"bundle: 3 of {ROWS} rows are in" in capsys.readouterr().err
    for each in (whole, resumed):
        each["corpus"].pop("creatives_per_second")  # three rows were timed again
    assert resumed == whole


@pytest.mark.slow
def test_another_seed_is_written_beside_and_not_mistaken_for_this_one(tiny_bundle, root, tmp_path, capsys):
    again = tmp_path / "root"
    shutil.copytree(root, again)
    run(tiny_bundle, again, "--seed", "1", "--baselines", "none")

    assert "are in" not in capsys.readouterr().err.partition("perplexity")[0]
    assert len((report_folder(tiny_bundle, again) / "creatives-bundle.jsonl").read_text().splitlines()) == 2 * ROWS


def test_a_row_that_cannot_be_written_is_left_out_and_tried_again(tmp_path):
    tried = []

    def write(pair):
        tried.append(pair.id)
        raise EngineError("too long")

    author = Author("bundle", "one", write)
    for _ in range(2):
        with pytest.raises(ValueError, match="nothing to score: bundle wrote no ad for any of 2 rows"):
            write_all(author, PAIRS[:2], "x", tmp_path / "ads.jsonl", QUIET)

    assert tried == [PAIRS[0].id, PAIRS[1].id] * 2


def test_lines_survive_a_cut_and_strangers(tmp_path):
    path = tmp_path / "lines.jsonl"
    Lines(path, "key").add("a", {"value": 1})
    path.write_bytes(path.read_bytes() + b'[1]\n{"key": "other"}\n{"key": "cut o')
    Lines(path, "key").add("b", {"value": 2})
    found = Lines(path, "key")

    assert (found.get("a")["value"], found.get("b")["value"], found.get("c")) == (1, 2, None)
    assert Lines(path, "another key").get("a") is None


def test_the_cache_knows_every_file_that_decides_the_words():
    def reached(path, seen):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("model."):
                other = ROOT / (node.module.replace(".", "/") + ".py")
                if other.is_file() and other not in seen:
                    seen.add(other)
                    reached(other, seen)
        return {str(each.relative_to(ROOT / "model")) for each in seen}

    # bundle.py is covered by the bundle's digest; columns and plain_text read files, which pairs do not come from.
    needed = reached(ROOT / "model/writer.py", set()) - {"bundle.py", "columns.py", "plain_text.py"}

    assert needed - set(BUNDLE_CODE) == set()
    assert [name for name in {*BUNDLE_CODE, *BASELINE_CODE} if not (ROOT / "model" / name).is_file()] in (
        [],
        ["data/ranking.json"],  # learnt by a command, and absent before its first run
    )


def test_a_mark_counts_for_the_words_that_were_read_and_for_no_others(tmp_path):
    sheet = tmp_path / "sheet.jsonl"
    ads = [ad(pair) for pair in PAIRS[:3]]
    reading.write_sheet(sheet, "me", ads, 3)
    lines = [json.loads(line) for line in sheet.read_text().splitlines()]
    sheet.write_text("\n".join(json.dumps(line | {"sense": True, "why": "clear"}) for line in lines))
    changed = [replace(ads[0], words=replace(ads[0].words, bodies=("Other words.",))), *ads[1:]]
    marks = reading.read_sheet(sheet)

    assert len(reading.join(marks, "me", ads).sense) == 3
    found = reading.join(marks, "me", changed)
    assert set(found.sense) == {PAIRS[1].id, PAIRS[2].id}
    assert found.notes == (
        "reading sheet: 1 of 3 marks are of other words than this bundle writes now, and count for nothing",
    )
    assert reading.join(marks, "another bundle", ads).sense == {}


def test_a_mark_without_a_words_digest_is_joined_by_the_creatives_id(tmp_path):
    sheet = tmp_path / "sheet.jsonl"
    line = {"bundle": "me", "pair": PAIRS[0].id, "creative": f"cr_{PAIRS[0].id}", "sense": False, "why": "no"}
    sheet.write_text(json.dumps(line) + "\n")
    other = replace(ad(PAIRS[0]), creative="cr_other")

    assert reading.join(reading.read_sheet(sheet), "me", [ad(PAIRS[0])]).sense == {PAIRS[0].id: False}
    assert reading.join(reading.read_sheet(sheet), "me", [other]).sense == {}


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"bundle": "b"}', '{"bundle": "b", "pair": "p", "creative": "c", "sense": 1}']
)
def test_a_line_that_is_no_mark_is_named_with_its_number(tmp_path, line):
    sheet = tmp_path / "sheet.jsonl"
    sheet.write_text("\n" + line + "\n")

    with pytest.raises(SheetError, match=r"sheet\.jsonl, line 2: not a mark"):
        reading.read_sheet(sheet)


def test_an_absent_and_an_empty_sheet_mark_nothing(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")

    assert reading.read_sheet(tmp_path / "absent.jsonl") == reading.read_sheet(tmp_path / "empty.jsonl") == []


def test_two_marks_that_disagree_are_refused():
    mark = reading.Mark("me", PAIRS[0].id, f"cr_{PAIRS[0].id}", "", sense=True, why="")

    with pytest.raises(SheetError, match="as sense and as nonsense"):
        reading.join([mark, replace(mark, sense=False)], "me", [ad(PAIRS[0])])


@pytest.mark.slow
def test_the_command_writes_an_empty_sheet_once_and_reads_it_when_marked(tiny_bundle, root, tmp_path, capsys):
    again, sheet = tmp_path / "root", tmp_path / "sheet.jsonl"
    shutil.copytree(root, again)
    run(tiny_bundle, again, "--sheet", str(sheet), "--sheet-rows", "4")
    lines = [json.loads(line) for line in sheet.read_text().splitlines()]
    with pytest.raises(SheetError, match="may hold marks"):
        run(tiny_bundle, again, "--sheet", str(sheet))
    marked = tmp_path / "marked.jsonl"
    marked.write_text("".join(json.dumps(line | {"sense": place > 0}) + "\n" for place, line in enumerate(lines)))
    run(tiny_bundle, again, "--marks", str(marked), "--baselines", "none")
    scores = json.loads((report_folder(tiny_bundle, again) / "scores.json").read_text())

    assert [line["sense"] for line in lines] == [None] * 4
    assert all(line["product"]["title"] and line["ad"] for line in lines)
    assert scores["scores"]["makes_sense"]["mean"] == 0.75
    assert "makes sense" in capsys.readouterr().out


def test_a_sample_is_always_the_same_and_never_empty():
    assert evaluate.chosen(PAIRS, 7) == evaluate.chosen(PAIRS, 7)
    assert evaluate.chosen(PAIRS, len(PAIRS)) == evaluate.chosen(PAIRS, None) == PAIRS
    with pytest.raises(ValueError, match="from 1"):
        evaluate.chosen(PAIRS, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--baselines", "template,flan"], "unknown baseline 'flan'; choose from description, template"),
        (["--candidates", "0"], "--candidates takes a whole number from 1"),
        (["--sheet-rows", "0"], "--sheet-rows takes a whole number from 1"),
    ],
)
def test_an_option_out_of_range_is_refused_before_any_work(tmp_path, arguments, said):
    with pytest.raises(ValueError, match=said):
        evaluate.main(["--root", str(tmp_path), *arguments])

    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_held_out_set(tiny_bundle, tmp_path):
    (tmp_path / "none.jsonl").write_text("")

    with pytest.raises(PairsError, match="holds no pairs"):
        evaluate.main(["--bundle", str(tiny_bundle), "--pairs", str(tmp_path / "none.jsonl"), "--root", str(tmp_path)])
