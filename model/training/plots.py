"""
The plots of an evaluation report, each an SVG in a data address with an alternative text.

Knows scores.json alone; colours are Okabe and Ito's, told apart by colour-blind readers, and never the only sign.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
SHOWN = ("validity", "grounded", "relevance", "rouge_l", "chrf")
BY_GROUP = ("validity", "relevance", "rouge_l", "chrf")
FINDINGS_SHOWN = 12
INCHES_WIDE = 9.0
QUARTILES = (5, 25, 50, 75, 95)

Columns = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Name in the legend -> label on the axis -> mean, low and high."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture, what it shows in words, and its caption."""

    address: str
    alt: str
    caption: str


def plots(scores: Mapping[str, Any], titles: Mapping[str, str], writer_titles: Mapping[str, str]) -> list[Plot]:
    """Scores by writer, by channel and by category, relevance over rows, findings by kind."""
    writers = {"bundle": scores, **scores["baselines"], "references": scores["references"]}
    named = {writer_titles[name]: part for name, part in writers.items()}
    by_writer = {
        name: {titles[key]: part["scores"][key] for key in SHOWN if key in part["scores"]}
        for name, part in named.items()
    }
    return [
        _dots("Scores by writer, means and 95 % intervals", by_writer),
        _dots("This bundle by channel, means and 95 % intervals", _by_group(scores["by_channel"], titles)),
        _dots("This bundle by category, means and 95 % intervals", _by_group(scores["by_category"], titles)),
        _relevance({name: part["per_row"] for name, part in named.items() if "per_row" in part}),
        _findings({name: part["findings"] for name, part in named.items()}),
    ]


def _by_group(groups: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> Columns:
    return {titles[key]: {name: group[key] for name, group in groups.items() if key in group} for key in BY_GROUP}


def _dots(title: str, columns: Columns) -> Plot:
    """A dot with its interval for each legend name, label by label down the page."""
    labels = list(dict.fromkeys(label for column in columns.values() for label in column))
    figure, axes = _canvas(0.6 + 0.13 * len(labels) * (len(columns) + 1))
    for place, (name, column) in enumerate(columns.items()):
        offset = (place - (len(columns) - 1) / 2) * 0.8 / len(columns)
        heights = [labels.index(label) + offset for label in column]
        means = np.array([score["mean"] for score in column.values()])
        ends = np.array([[score["low"], score["high"]] for score in column.values()])
        axes.errorbar(
            means,
            heights,
            xerr=np.abs(ends.T - means),
            fmt=MARKERS[place % len(MARKERS)],
            color=COLOURS[place % len(COLOURS)],
            markersize=5,
            label=name,
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=min(3, len(columns)), frameon=False)
    spoken = ". ".join(
        f"{name}: " + ", ".join(f"{label} {score['mean']:.2f}" for label, score in column.items())
        for name, column in columns.items()
    )
    return Plot(_address(figure), f"{title}. {spoken}.", title)


def _relevance(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Plot:
    title = "Relevance over rows: 5th to 95th percentile, quartiles and median"
    figure, axes = _canvas(1 + 0.4 * len(rows))
    spoken = []
    for place, (name, column) in enumerate(rows.items()):
        values = [row["relevance"] for row in column]
        low, first, median, third, high = np.percentile(values, QUARTILES)
        colour = COLOURS[place % len(COLOURS)]
        axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
        axes.plot([first, third], [place, place], color=colour, linewidth=8, alpha=0.6, solid_capstyle="butt")
        axes.plot([median], [place], marker=MARKERS[place % len(MARKERS)], color="black", markersize=5)
        spoken.append(f"{name}: median {median:.2f}, half of the rows from {first:.2f} to {third:.2f}")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("cosine of ad and product row, MiniLM embeddings")
    axes.grid(axis="x", alpha=0.3)
    return Plot(_address(figure), f"{title}. {'. '.join(spoken)}.", title)


def _findings(counts: Mapping[str, Mapping[str, int]]) -> Plot:
    title = "Findings by kind"
    total: Counter[str] = Counter()
    for found in counts.values():
        total.update(found)
    kinds = [kind for kind, _ in total.most_common(FINDINGS_SHOWN)]
    figure, axes = _canvas(1 + 0.14 * max(1, len(kinds)) * len(counts))
    height = 0.8 / len(counts)
    for place, (name, found) in enumerate(counts.items()):
        heights = [row + (place - (len(counts) - 1) / 2) * height for row in range(len(kinds))]
        widths = [found.get(kind, 0) for kind in kinds]
        axes.barh(heights, widths, height, color=COLOURS[place % len(COLOURS)], label=name)
    axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    axes.invert_yaxis()
    axes.set_xlabel("findings")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    spoken = ". ".join(
        f"{name}: " + (", ".join(f"{kind} {found[kind]}" for kind in kinds if found.get(kind)) or "none")
        for name, found in counts.items()
    )
    return Plot(_address(figure), f"{title}. {spoken}.", title)


def _canvas(inches_high: float) -> tuple[Any, Any]:
    # The figure alone, not pyplot: that keeps a list of all figures and may look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES_WIDE, max(2.0, inches_high)), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _address(figure: Any) -> str:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # A fixed salt and no date: the same scores draw the same bytes.
    with rc_context({"svg.hashsalt": "adloom"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
