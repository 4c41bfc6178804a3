"""
Look at the training pairs: counts and figures of what the model is shown, before any of it is learnt.

Example: adloom dataset --out architecture/figures --numbers architecture/measured/dataset.json
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.bundle import file_sha256
from model.channel import channels
from model.prompt import VOICES
from model.training.augment import swapped
from model.training.lab import require_lab
from model.training.leakage import novelty
from model.training.pairs import Pair, read_pairs
from model.training.run_config import read_config
from model.training.train_command import DEFAULT_CONFIG

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DATA = Path(__file__).parents[1] / "data"
LEARNT, LEFT_OUT, HELD_OUT = "#0072B2", "#E69F00", "#009E73"
"""Okabe and Ito's blue, orange and green: told apart by colour-blind readers."""
LENGTHS: Mapping[str, int] = {"title alone": 0, "to 15 words": 15, "to 50 words": 50, "to 120 words": 120}
"""Kind of row to the most words of its description."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: figures as SVG, numbers as JSON, both the same for the same pairs."""
    arguments = _parser().parse_args(argv)
    require_lab(("matplotlib",))
    pairs, heldout = read_pairs(arguments.pairs), read_pairs(arguments.heldout)
    config = read_config(arguments.config)
    runs = shared_runs(heldout, pairs)
    report = numbers(pairs, heldout, novelty_max=config.novelty_max, runs=runs)
    report["pairs_sha256"], report["heldout_sha256"] = file_sha256(arguments.pairs), file_sha256(arguments.heldout)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, figure in _figures(pairs, heldout, config.novelty_max, runs).items():
        _save(figure, arguments.out / f"dataset-{name}.svg")
    arguments.numbers.parent.mkdir(parents=True, exist_ok=True)
    arguments.numbers.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 0


def numbers(
    pairs: Sequence[Pair], heldout: Sequence[Pair], *, novelty_max: float, runs: Sequence[int]
) -> dict[str, Any]:
    """What the report states, as one JSON object; shares are 0 to 1 with three decimals."""
    draw = random.Random(0)
    learnt = [pair for pair in pairs if novelty(pair) <= novelty_max]
    return {
        "pairs": len(pairs),
        "heldout": len(heldout),
        "families": len({pair.family for pair in pairs}),
        "learnt": len(learnt),
        "novelty_max": novelty_max,
        "novelty_median": round(float(np.median([novelty(pair) for pair in pairs])), 3),
        "novelty_median_learnt": round(float(np.median([novelty(pair) for pair in learnt])), 3),
        "channels": dict(sorted(Counter(pair.spec.name for pair in pairs).items())),
        "voices": dict(sorted(Counter(pair.voice for pair in pairs).items())),
        "lengths": {kind: sum(_length(pair) == kind for pair in pairs) for kind in LENGTHS},
        "trapped_share": round(sum(bool(pair.trap) for pair in pairs) / len(pairs), 3),
        "swapped_share": round(sum(swapped(pair, draw) != pair for pair in learnt) / max(1, len(learnt)), 3),
        "words_of_a_row_median": int(np.median([_count(pair.product.facts()) for pair in learnt])),
        "words_of_an_ad_median": int(np.median([_count(pair.words.joined()) for pair in learnt])),
        "longest_shared_run_words": max(runs),
    }


def shared_runs(heldout: Sequence[Pair], pairs: Sequence[Pair]) -> list[int]:
    """For each held-out ad, the longest run of words that it shares with any training ad."""
    sizes = range(1, 1 + max(_count(pair.words.joined()) for pair in heldout))
    said = [_words(pair.words.joined()) for pair in pairs]
    longest = [0] * len(heldout)
    for size in sizes:
        seen = {tuple(words[at : at + size]) for words in said for at in range(len(words) - size + 1)}
        shared = False
        for row, pair in enumerate(heldout):
            words = _words(pair.words.joined())
            if any(tuple(words[at : at + size]) in seen for at in range(len(words) - size + 1)):
                longest[row], shared = size, True
        if not shared:
            break
    return longest


def _figures(
    pairs: Sequence[Pair], heldout: Sequence[Pair], novelty_max: float, runs: Sequence[int]
) -> dict[str, Figure]:
    return {
        "novelty": _novelty_figure(pairs, heldout, novelty_max),
        "coverage": _coverage_figure(pairs),
        "lengths": _lengths_figure([pair for pair in pairs if novelty(pair) <= novelty_max]),
        "shared-runs": _runs_figure(runs),
    }


def _novelty_figure(pairs: Sequence[Pair], heldout: Sequence[Pair], novelty_max: float) -> Figure:
    figure, axes = _blank("share of an ad's content words that its row does not hold", "pairs")
    edges = np.linspace(0, 1, 21)
    values = [novelty(pair) for pair in pairs]
    parts = [[v for v in values if v <= novelty_max], [v for v in values if v > novelty_max]]
    axes.hist(parts, bins=list(edges), stacked=True, color=[LEARNT, LEFT_OUT], label=["learnt", "left out"])
    axes.hist([novelty(p) for p in heldout], bins=list(edges), histtype="step", color=HELD_OUT, lw=2, label="held out")
    axes.axvline(novelty_max, color="black", ls="--", lw=1)
    axes.legend(frameon=False)
    return figure


def _coverage_figure(pairs: Sequence[Pair]) -> Figure:
    figure, axes = _blank("", "")
    names = sorted(channels())
    table = np.array([[sum(p.voice == v and p.spec.name == n for p in pairs) for n in names] for v in VOICES])
    axes.imshow(table, cmap="Blues", vmin=0, aspect="auto")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(VOICES)), VOICES)
    for row, column in np.ndindex(table.shape):
        dark = table[row, column] > table.max() * 0.6
        axes.text(column, row, str(table[row, column]), ha="center", va="center", color="white" if dark else "black")
    return figure


def _lengths_figure(pairs: Sequence[Pair]) -> Figure:
    figure, axes = _blank("words of the product row", "words of the ad")
    for voice, colour, marker in zip(VOICES, (LEARNT, LEFT_OUT, HELD_OUT), "os^", strict=True):
        chosen = [pair for pair in pairs if pair.voice == voice]
        rows = [_count(pair.product.facts()) for pair in chosen]
        ads = [_count(pair.words.joined()) for pair in chosen]
        axes.plot(rows, ads, marker, color=colour, ms=3, alpha=0.7, label=voice)
    axes.legend(frameon=False)
    return figure


def _runs_figure(runs: Sequence[int]) -> Figure:
    figure, axes = _blank("longest run of words that a held-out ad shares with any training ad", "held-out ads")
    counts = Counter(runs)
    axes.bar(list(counts), list(counts.values()), color=LEARNT)
    axes.axvline(7.5, color="black", ls="--", lw=1)
    axes.set_xlim(0, max(9, *counts) + 1)
    return figure


def _blank(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    import matplotlib as mpl

    # Without a salt and with a date the same pairs would draw another file every time.
    with mpl.rc_context({"svg.hashsalt": "adloom", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _length(pair: Pair) -> str:
    count = _count(pair.product.description)
    return next((kind for kind, most in LENGTHS.items() if count <= most), "longer")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _count(text: str) -> int:
    return len(_words(text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom dataset", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, default=DATA / "pairs.jsonl", help="default: the shipped pairs")
    parser.add_argument("--heldout", type=Path, default=DATA / "heldout.jsonl", help="default: the frozen pairs")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="whose novelty_max (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/dataset"), help="folder of the figures (%(default)s)")
    parser.add_argument("--numbers", type=Path, default=Path("out/dataset/dataset.json"), help="default: %(default)s")
    return parser
