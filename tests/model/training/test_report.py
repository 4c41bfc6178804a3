"""The report: one page without outside resources, everything from a product escaped, goals said as they are."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from model.training.measures import TrainingText
from model.training.pairs import read_pairs
from model.training.plots import plots
from model.training.report import TITLES, WRITER_TITLES, Sample, beaten, goals, page, table
from model.training.scoring import Instruments, differences, score_writer
from model.training.written import baseline_author, references, write_all

PAIRS = read_pairs(Path(__file__).parents[3] / "model/data/heldout.jsonl")[:12]
ATTACK = "<script>alert(1)</script> & co"


class SameCosine:
    """Stands in for the embeddings: no weights, one answer."""

    def cosines(self, texts, others):
        return [0.5 for _ in zip(texts, others, strict=True)]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def ads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ads")
    hostile = [replace(PAIRS[0], product=replace(PAIRS[0].product, title=ATTACK)), *PAIRS[1:]]
    authors = [baseline_author(name) for name in ("description", "template")]
    return {each.name: write_all(each, hostile, "x", folder / each.name, lambda _: None) for each in authors} | {
        "references": references(hostile)
    }


@pytest.fixture(scope="module")
def scores(ads):
    instruments = Instruments(TrainingText([]), SameCosine())
    found = {name: score_writer(written, instruments) for name, written in ads.items()}
    return {
        "bundle": "ab" * 32,
        "base": "base.gguf@sha256:1 + adapter@sha256:2",
        "dataset": {"pairs_sha256": "cd" * 32, "rows": 151},
        "settings": {"candidates": 4, "seed": 0, "rows": 12},
        **found["description"],
        "baselines": {"template": found["template"]},
        "references": found["references"],
        "differences": {"template": differences(found["description"]["per_row"], found["template"]["per_row"])},
    }


@pytest.fixture(scope="module")
def html(scores, ads):
    shown = [
        Sample(one.pair, {"bundle": one, "template": two})
        for one, two in zip(ads["description"], ads["template"], strict=True)
    ]
    return page(scores, shown)


def test_the_page_loads_nothing_from_outside(html):
    tags = Tags()
    tags.feed(html)
    addresses = [value for _, attrs in tags.found for key, value in attrs.items() if key in {"src", "href"}]

    assert len(addresses) == 5
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert "default-src 'none'" in html


def test_what_a_product_says_cannot_become_markup(html):
    tags = Tags()
    tags.feed(html)

    assert "script" not in {tag for tag, _ in tags.found}
    assert "&lt;script&gt;" in html


def test_every_plot_is_described_in_words(html):
    tags = Tags()
    tags.feed(html)
    texts = [attrs["alt"] for tag, attrs in tags.found if tag == "img"]

    assert all(re.search(r"\d", text) and len(text) > 60 for text in texts)


def test_the_same_scores_draw_the_same_pictures(scores):
    assert plots(scores, TITLES, WRITER_TITLES) == plots(scores, TITLES, WRITER_TITLES)


def test_goals_are_met_at_the_bound_and_missed_below_it(scores):
    def met(mean):
        changed = scores["scores"] | {"grounded": {"mean": mean, "low": mean, "high": mean}}
        return next(met for said, met in goals(scores | {"scores": changed}) if said.startswith("grounded"))

    assert met(0.97)
    assert not met(0.9699)


def test_better_is_said_only_where_the_whole_interval_is_above_zero(scores):
    def verdict(low, high):
        value = {"mean": (low + high) / 2, "low": low, "high": high}
        return beaten(scores | {"differences": {"template": {"chrf": value}}})[0]

    assert "(better)" in verdict(0.01, 0.1)
    assert "(no difference shown)" in verdict(0.0, 0.1)
    assert "(worse)" in verdict(-0.1, -0.01)


def test_the_table_names_each_score_once_and_works_without_baselines(scores):
    said = table(scores)

    assert said.count("ROUGE-L  ") == 1
    assert "missed   validity 0.9 or more" in said
    assert "template" not in table(scores | {"baselines": {}, "differences": {}})
