"""
An evaluation for people: a table for the terminal, and one HTML page with plots that asks the network for nothing.

Knows scores.json and the ads; computes no score of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from model.training.pairs import Pair
from model.training.plots import Plot, plots
from model.training.written import Written
from model.validity import FINDINGS

TITLES: Mapping[str, str] = {
    "structural": "structurally valid",
    "grounded": "grounded",
    "valid": "validity 0.9 or more",
    "validity": "validity",
    "untouched": "left as written",
    "relevance": "relevance",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "memorised_words": "longest run from training, words",
    "makes_sense": "makes sense (read)",
    "distinct_2": "distinct-2",
    "self_bleu": "self-BLEU",
    "memorised_10gram_share": "memorised 10-grams",
    "perplexity": "perplexity of references",
    "creatives_per_second": "creatives a second",
}
"""Score -> what it is called, in the order of display."""
WRITER_TITLES: Mapping[str, str] = {
    "bundle": "this bundle",
    "references": "people (references)",
    "description": "description copied",
    "template": "template",
    "untuned": "untuned base",
    "few_shot": "untuned base, few-shot",
}
GOALS: Mapping[str, float] = {"structural": 1.0, "grounded": 0.97, "valid": 0.95, "makes_sense": 0.9}
"""Means that the bundle should reach at least."""
MEMORISED_SHARE_BELOW = 0.01
NAME_WIDTH = 33
CELL_WIDTH = 23


@dataclass(frozen=True, slots=True)
class Sample:
    """One row shown side by side: the pair, and what each writer made of it."""

    pair: Pair
    ads: Mapping[str, Written]


def table(scores: Mapping[str, Any]) -> str:
    """Plain text: the bundle's scores with intervals, the others' means, goals, and where it beats which baseline."""
    writers = _writers(scores)
    lines = [
        f"{'':{NAME_WIDTH}}{WRITER_TITLES['bundle']:>{CELL_WIDTH}}" + "".join(f"{name:>13}" for name in writers[1:])
    ]
    for name, title in TITLES.items():
        cells = [_cell(_part(scores, writer), name, wide=writer == "bundle") for writer in writers]
        if cells[0].strip("- "):
            lines.append(f"{title:{NAME_WIDTH}}{cells[0]:>{CELL_WIDTH}}" + "".join(f"{cell:>13}" for cell in cells[1:]))
    lines += ["", *(f"  {'reached' if met else 'missed':8} {said}" for said, met in goals(scores))]
    lines += ["", *(f"  {said}" for said in beaten(scores))] if scores["differences"] else []
    return "\n".join(lines)


def goals(scores: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Each goal set for the writer as a sentence, and whether it is met; one that was not measured is left out."""
    found = scores["scores"]
    said = [
        (f"{TITLES[name]}: {found[name]['mean']:.1%}, the goal is {goal:.0%}", found[name]["mean"] >= goal)
        for name, goal in GOALS.items()
        if name in found
    ]
    share = scores["corpus"]["memorised_10gram_share"]
    said.append(
        (
            f"memorised 10-grams: {share:.2%}, the goal is under {MEMORISED_SHARE_BELOW:.0%}",
            share < MEMORISED_SHARE_BELOW,
        )
    )
    ours, people = found["relevance"]["mean"], scores["references"]["scores"]["relevance"]["mean"]
    said.append((f"relevance: {ours:.3f}, the references' own is {people:.3f}", ours >= people))
    return said


def beaten(scores: Mapping[str, Any]) -> list[str]:
    """One line a baseline: the paired difference on each compared score; better only where the whole interval is."""
    lines = []
    for writer, found in scores["differences"].items():
        cells = [f"{TITLES[name]} {_signed(value)} ({_verdict(value)})" for name, value in found.items()]
        lines.append(f"against {WRITER_TITLES[writer]}: " + ", ".join(cells))
    return lines


def page(scores: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """The whole report as one HTML document."""
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    settings = scores["settings"]
    return Template(template).substitute(
        digest=escape(scores["bundle"][:16]),
        base=escape(" + ".join(part.partition("@")[0] for part in scores["base"].split(" + "))),
        rows=settings["rows"],
        dataset_rows=scores["dataset"]["rows"],
        candidates=settings["candidates"],
        seed=settings["seed"],
        pairs=escape(scores["dataset"]["pairs_sha256"][:16]),
        goals="".join(_goal(said, met=met) for said, met in goals(scores)),
        scores=_score_table(scores),
        beats=_beat_table(scores),
        plots="".join(map(_figure, plots(scores, TITLES, WRITER_TITLES))),
        findings=_finding_table(scores),
        samples="".join(map(_sample, samples)),
        samples_count=len(samples),
    )


def _writers(scores: Mapping[str, Any]) -> list[str]:
    return ["bundle", *scores["baselines"], "references"]


def _part(scores: Mapping[str, Any], writer: str) -> Mapping[str, Any]:
    if writer == "bundle":
        return scores
    part: Mapping[str, Any] = scores["references"] if writer == "references" else scores["baselines"][writer]
    return part


def _cell(part: Mapping[str, Any], name: str, *, wide: bool) -> str:
    """A mean with its interval, a plain figure, or a dash where the writer has none."""
    if name in part["scores"]:
        score = part["scores"][name]
        interval = f" ({score['low']:.3f} to {score['high']:.3f})" if wide else ""
        return f"{score['mean']:.3f}{interval}"
    value = part["corpus"].get(name)
    return "-" if value is None else f"{value:,.3f}"


def _signed(value: Mapping[str, float]) -> str:
    return f"{value['mean']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}]"


def _verdict(value: Mapping[str, float]) -> str:
    if value["low"] > 0:
        return "better"
    return "worse" if value["high"] < 0 else "no difference shown"


def _goal(said: str, *, met: bool) -> str:
    word = "reached" if met else "missed"
    return f'<li class="{word}"><b>{word}</b> {escape(said)}</li>'


def _row(cells: Iterable[str], *, head: bool = False) -> str:
    first, *others = cells
    tag = "th" if head else "td"
    return (
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in others)
        + "</tr>"
    )


def _score_table(scores: Mapping[str, Any]) -> str:
    writers = _writers(scores)
    rows = [_row(["score", *(WRITER_TITLES[writer] for writer in writers)], head=True)]
    for name, title in TITLES.items():
        cells = [_cell(_part(scores, writer), name, wide=True) for writer in writers]
        if any(cell != "-" for cell in cells):
            rows.append(_row([title, *cells]))
    return "".join(rows)


def _beat_table(scores: Mapping[str, Any]) -> str:
    if not scores["differences"]:
        return _row(["no baseline was asked for"])
    names = list(next(iter(scores["differences"].values())))
    rows = [_row(["this bundle less ...", *(TITLES[name] for name in names)], head=True)]
    for writer, found in scores["differences"].items():
        rows.append(
            _row([WRITER_TITLES[writer], *(f"{_signed(found[name])} {_verdict(found[name])}" for name in names)])
        )
    return "".join(rows)


def _finding_table(scores: Mapping[str, Any]) -> str:
    writers = _writers(scores)
    kinds = [kind for kind in FINDINGS if any(kind in _part(scores, writer)["findings"] for writer in writers)]
    rows = [_row(["finding", *(WRITER_TITLES[writer] for writer in writers)], head=True)]
    for kind in kinds:
        counts = [str(_part(scores, writer)["findings"].get(kind, 0)) for writer in writers]
        rows.append(_row([FINDINGS[kind], *counts]))
    return "".join(rows)


def _figure(plot: Plot) -> str:
    image = f'<img src="{plot.address}" alt="{escape(plot.alt)}">'
    return f"<figure>{image}<figcaption>{escape(plot.caption)}</figcaption></figure>"


def _sample(sample: Sample) -> str:
    pair = sample.pair
    cards = _card(WRITER_TITLES["references"], pair.words.joined(), [])
    for name, ad in sample.ads.items():
        found = [f"{finding.kind}: {finding.detail}" for finding in ad.findings]
        cards += _card(f"{WRITER_TITLES[name]}, validity {ad.validity:.2f}", _plain(ad), found)
    facts = escape(pair.product.facts()).replace("\n", "<br>")
    return (
        f"<section><h3>{escape(pair.product.title)}</h3>"
        f"<p class=meta>{escape(pair.id)}, {escape(pair.spec.title)}, {escape(pair.voice)}</p>"
        f"<blockquote>{facts}</blockquote><div class=cards>{cards}</div></section>"
    )


def _plain(ad: Written) -> str:
    words = ad.words
    return "\n".join(filter(None, (*words.headlines, *words.bodies, words.call_to_action, " ".join(words.hashtags))))


def _card(title: str, text: str, findings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(finding)}</li>" for finding in findings)
    body = escape(text).replace("\n", "<br>")
    return f"<article><h4>{escape(title)}</h4><p>{body}</p>{f'<ul>{items}</ul>' if items else ''}</article>"
