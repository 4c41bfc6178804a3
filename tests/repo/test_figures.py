"""Every figure of the README's tables comes from a file that a command wrote: architecture/measured/*.json."""

from __future__ import annotations

import hashlib
import json

import pytest

from pipelines.loop import telling
from pipelines.loop.story import STAGES
from tests.repo.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def measured(name):
    return json.loads((ROOT / "architecture/measured" / name).read_text(encoding="utf-8"))


def share(part, name):
    return f"{100 * part['scores'][name]['mean']:.0f} %"


def row(writer, part):
    """One line of the README's table of writers."""
    shares = [share(part, name) for name in ("structural", "grounded", "valid", "untouched")]
    closeness = [f"{part['scores'][name]['mean']:.3f}" for name in ("rouge_l", "chrf", "relevance")]
    return f"| {' | '.join((writer, *shares, *closeness))} |"


@pytest.mark.parametrize("writer", ["tuned", "description", "template", "untuned", "few_shot"])
def test_the_scores_of_each_writer_are_those_that_evaluate_wrote(writer):
    scores = measured("scores-tuned.json")
    part = scores if writer == "tuned" else scores["baselines"][writer]

    assert row(writer.replace("_", "-"), part) in README


def test_every_writer_was_scored_on_the_same_rows():
    scores = measured("scores-tuned.json")
    rows = [part["per_row"] for part in (scores, *scores["baselines"].values())]

    assert {len(each) for each in rows} == {scores["settings"]["rows"]}
    assert all([line["id"] for line in each] == [line["id"] for line in rows[0]] for each in rows)
    assert f"{scores['settings']['rows']} held-out products" in README


def test_the_ads_that_make_sense_are_those_marked_on_the_reading_sheet():
    scores = measured("scores-tuned.json")
    marks = [line["makes_sense"] for line in scores["per_row"] if line["makes_sense"] is not None]
    with (ROOT / "model/data/reading-sheet.jsonl").open(encoding="utf-8") as file:
        sheet = [line for line in map(json.loads, file) if scores["bundle"].startswith(line["bundle"])]

    assert len(marks) >= 100
    assert [sum(line["sense"] for line in sheet), len(sheet)] == [sum(marks), len(marks)]
    assert f"{len(marks)} of the ads were also read by hand: {sum(marks):.0f} make sense" in README


@pytest.mark.parametrize("rows", ["1", "4", "16", "32"])
def test_the_speeds_are_those_that_the_benchmark_wrote(rows):
    report = measured("bench.json")
    figures = report["rows"][rows]
    peers = {name: figure for name, figure in figures.items() if name != "adloom"}
    fastest = max(peers, key=lambda name: peers[name]["creatives_per_second"])
    ours, theirs = figures["adloom"], peers[fastest]
    cells = [
        rows,
        f"{ours['creatives_per_second']:.2f}",
        f"{ours['call_seconds_p50']:.2f} / {ours['call_seconds_p95']:.2f}",
        report["engines"][fastest]["title"],
        f"{theirs['creatives_per_second']:.2f}",
        f"{theirs['call_seconds_p50']:.2f} / {theirs['call_seconds_p95']:.2f}",
        f"{ours['creatives_per_second'] / theirs['creatives_per_second']:.2f}x",
    ]

    assert len(peers) >= 5
    assert f"| {' | '.join(cells)} |" in README


def test_cold_start_and_memory_are_those_that_the_benchmark_wrote():
    report = measured("bench.json")
    cold = report["engines"]["adloom"]["cold_start_seconds"]
    peak = report["rows"]["16"]["adloom"]["peak_resident_bytes"] / 1e6

    assert f"first creative {cold:.1f} s after the start of the process and held {peak:.0f} MB at most" in README


def test_the_size_of_a_serving_install_is_what_its_test_measured():
    serving = measured("serving.json")

    assert f"{serving['site_packages_megabytes']:.0f} MB installed" in README
    assert f"{serving['resident_megabytes_max']:.0f} MB resident" in README


def test_the_page_about_the_pairs_says_what_the_command_counted():
    page = (ROOT / "architecture/dataset.md").read_text(encoding="utf-8")
    counted = measured("dataset.json")
    rows = {
        "pairs written by hand": f"{counted['pairs']:,}",
        "product families": f"{counted['families']:,}",
        "learnt (the rest is left out, see below)": f"{counted['learnt']}",
        "held out, of other families, frozen by digest": f"{counted['heldout']}",
        "learnt pairs that a swap of numbers and colours changes": f"{100 * counted['swapped_share']:.0f} %",
        "pairs with a trap in the row": f"{100 * counted['trapped_share']:.0f} %",
    }

    for name, value in rows.items():
        assert f"| {name} | {value} |" in page
    assert f"above {counted['novelty_max']}" in page
    assert f"all pairs is {counted['novelty_median']}, of the learnt ones {counted['novelty_median_learnt']}" in page
    assert f"The longest is {counted['longest_shared_run_words']} words" in page
    assert f"{counted['lengths']['title alone']} of all pairs" in page


def test_the_pairs_that_were_counted_are_the_pairs_that_are_there():
    counted = measured("dataset.json")

    for name in ("pairs", "heldout"):
        digest = hashlib.sha256((ROOT / f"model/data/{name}.jsonl").read_bytes()).hexdigest()
        assert counted[f"{name}_sha256"] == digest


def test_the_page_about_training_says_what_the_ablation_measured():
    page = (ROOT / "architecture/training.md").read_text(encoding="utf-8")
    for name, part in measured("ablation.json")["adapters"].items():
        cells = []
        for score in ("grounded", "attached", "structural", "validity", "rouge_l", "chrf", "likelihood"):
            difference = part["less_first"][score]
            sure = "*" if difference["low"] > 0 or difference["high"] < 0 else ""
            cells.append(f"{part['scores'][score]['mean']:.3f}{sure}")

        assert f"| {name} | {' | '.join(cells)} |" in page


def test_the_page_about_training_lists_the_trials_of_the_search():
    page = (ROOT / "architecture/training.md").read_text(encoding="utf-8")
    trials = measured("search.json")["trials"]

    assert len(trials) >= 12
    for trial in trials:
        settings, loss = trial["params"], list(trial["validation_loss"].values())[-1]
        end = "" if trial["state"] == "complete" else " (pruned)"
        assert (
            f"| {trial['trial']} | {settings['learning_rate']:.5f} | {settings['rank']} | {settings['dropout']:.2f} "
            f"| {settings['swap_share']:.2f} | {loss:.3f}{end} |"
        ) in page


def test_the_page_about_training_says_how_well_the_ranking_ranks():
    page = (ROOT / "architecture/training.md").read_text(encoding="utf-8")
    ranking = json.loads((ROOT / "model/data/ranking.json").read_text(encoding="utf-8"))
    accuracy = ranking["accuracy"]["all"]

    assert f"for {100 * accuracy['learnt']['mean']:.0f} % of {accuracy['preferences']} preferences" in page
    assert f"do so for {100 * accuracy['novelty alone']['mean']:.0f} %" in page


def test_the_page_about_training_says_what_the_run_of_preferences_reached():
    page = (ROOT / "architecture/training.md").read_text(encoding="utf-8")
    steps = json.loads((ROOT / "model/data/adapter/run.json").read_text(encoding="utf-8"))["metrics"]
    first = next(step for step in steps if "preference_accuracy" in step)
    last = next(step for step in reversed(steps) if "preference_validation_accuracy" in step)

    assert f"`preference_validation_accuracy` {last['preference_validation_accuracy']}" in page
    assert f"mean margin {last['preference_validation_margin']:.2f} nats" in page
    assert f"{8 * first['preference_accuracy']:.0f} of 8 in its first step" in page


def test_the_page_about_speed_has_every_ratio_of_the_race():
    page, report = (ROOT / "architecture/speed.md").read_text(encoding="utf-8"), measured("bench.json")
    for rows, peers in report["ratios"].items():
        for peer, ratio in peers.items():
            figures = " | ".join(f"{ratio[name]:.2f}" for name in ("min", "median", "max"))
            assert f"| {rows} | {report['engines'][peer]['title']} | {figures} |" in page

    assert f"{report['rounds']} rounds in turns" in page


def test_the_page_about_speed_has_every_step_and_the_growth_of_the_soak():
    page, soak = (ROOT / "architecture/speed.md").read_text(encoding="utf-8"), measured("soak.json")
    first = next(iter(measured("steps.json")["bundles"].values()))
    for sizes in first.values():
        for size, times in sizes.items():
            fastest = times["milliseconds_min"]
            assert f"| {size} | {fastest:.1f} | {1e3 * int(size) / fastest:.0f} |" in page

    assert f"{soak['growth_mib']:+.1f} MiB from the first half to the second" in page
    assert f"{soak['peak_mib']:.0f} MiB at most" in page
    assert soak["seconds"] >= 600


def test_the_page_about_speed_has_what_the_service_costs():
    page, report = (ROOT / "architecture/speed.md").read_text(encoding="utf-8"), measured("overhead.json")
    for servers in report["connections"].values():
        rates = [f"{servers[name]['requests_per_second']:.0f}" for name in ("service", "bare")]
        times = [
            f"{1e3 * servers[name]['p50_seconds']:.1f} / {1e3 * servers[name]['p99_seconds']:.1f}"
            for name in ("service", "bare")
        ]
        assert f"| {' | '.join(rates + times)} |" in page


def test_the_page_about_the_loop_shows_the_run_that_was_reported():
    report = measured("loop.json")
    page = (ROOT / "architecture/loop.md").read_text(encoding="utf-8")

    assert len(report["stages"]) == STAGES
    assert not any(stage["failure"] for stage in report["stages"])
    assert "\n".join(telling.rows(report)) in page
    assert f"{report['seconds']:.0f} s in all" in page
