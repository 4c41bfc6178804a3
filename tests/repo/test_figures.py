"""Every figure of the README's tables comes from a file that a command wrote: architecture/measured/*.json."""

from __future__ import annotations

import json

import pytest

from tests.repo.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def measured(name):
    return json.loads((ROOT / "architecture/measured" / name).read_text(encoding="utf-8"))


def share(scores, name):
    return f"{100 * scores['scores'][name]['mean']:.0f} %"


@pytest.mark.parametrize(("writer", "file"), [("tuned", "scores-tuned.json"), ("untuned", "scores-untuned.json")])
def test_the_scores_of_each_writer_are_those_that_evaluate_wrote(writer, file):
    scores = measured(file)
    cells = [
        share(scores, "structurally valid"),
        share(scores, "grounded"),
        share(scores, "validity at least 0.9"),
        share(scores, "left as the model wrote it"),
    ]

    assert f"| {writer} | {' | '.join(cells)} |" in README


def test_both_writers_were_scored_on_the_same_rows():
    tuned, untuned = measured("scores-tuned.json"), measured("scores-untuned.json")
    shared = ("pairs_sha256", "rows", "candidates", "seed", "validity_version")

    assert [tuned[key] for key in shared] == [untuned[key] for key in shared]
    assert f"{tuned['rows']} held-out products" in README


@pytest.mark.parametrize("rows", ["1", "4"])
def test_the_speeds_are_those_that_the_benchmark_wrote(rows):
    figures = measured("bench.json")["rows"][rows]
    ours, theirs = figures["adloom engine"], figures["optimum generate"]
    ratio = ours["creatives_per_second"] / theirs["creatives_per_second"]
    cells = [
        rows,
        f"{ours['creatives_per_second']:.2f}",
        f"{ours['call_seconds_p50']:.2f} / {ours['call_seconds_p95']:.2f}",
        f"{theirs['creatives_per_second']:.2f}",
        f"{theirs['call_seconds_p50']:.2f} / {theirs['call_seconds_p95']:.2f}",
        f"{ratio:.2f}x",
    ]

    assert f"| {' | '.join(cells)} |" in README


def test_the_size_of_a_serving_install_is_what_its_test_measured():
    serving = measured("serving.json")

    assert f"{serving['site_packages_megabytes']:.0f} MB installed" in README
    assert f"{serving['resident_megabytes_max']:.0f} MB resident" in README
