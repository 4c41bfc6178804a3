"""
What a step of the network costs: decoding by rows that share it, reading a prompt by its length.

Bundles given together are measured in turns, so that a busy machine slows all alike.
Example: adloom steps .adloom/bundle other=/path/to/another --out out/steps.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.decoder import Decoder
from model.training.lab import require_lab

ROWS = (1, 2, 4, 8, 16)
PROMPT_TOKENS = (16, 32, 64, 128, 256, 512)
HELD_TOKENS = 120
"""Tokens that every row holds before the step that is timed: a prompt of ordinary length."""
TOKEN = 100
"""Any id: the time of a step does not hang on what it reads."""


class StepsError(ValueError):
    """A bundle is not named as it should be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    require_lab(("matplotlib",))
    folders = dict(_named(text) for text in arguments.bundles)
    report = measure(folders, arguments.rounds, arguments.threads)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    plot = arguments.out.with_suffix(".svg")
    draw(report, plot)
    sys.stdout.write(f"{table(report)}\n{arguments.out}, {plot}\n")
    return 0


def measure(folders: dict[str, Path], rounds: int, threads: int = 0) -> dict[str, Any]:
    """Milliseconds of each step and of each prompt, the fastest and the median of `rounds`, by bundle."""
    decoders = {name: Decoder(folder, threads=threads, rows_max=max(ROWS)) for name, folder in folders.items()}
    found: dict[str, dict[str, dict[str, Any]]] = {name: {"step": {}, "prompt": {}} for name in folders}
    for rows in ROWS:
        _note(found, "step", rows, {name: _stepper(decoder, rows) for name, decoder in decoders.items()}, rounds)
    for tokens in PROMPT_TOKENS:
        _note(found, "prompt", tokens, {name: _reader(each, tokens) for name, each in decoders.items()}, rounds)
    return {"form": 1, "rounds": rounds, "held_tokens": HELD_TOKENS, "bundles": found}


def _note(
    found: dict[str, dict[str, dict[str, Any]]], kind: str, size: int, work: dict[str, Callable[[], None]], rounds: int
) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if turn:  # the first one makes room
                seconds[name].append(time.perf_counter() - start)
    for name, taken in seconds.items():
        found[name][kind][str(size)] = {
            "milliseconds_min": round(1e3 * min(taken), 2),
            "milliseconds_median": round(1e3 * float(np.median(taken)), 2),
        }


def _stepper(decoder: Decoder, rows: int) -> Callable[[], None]:
    def run() -> None:
        if int(decoder.lengths[0]) != HELD_TOKENS or int(decoder.lengths[rows - 1]) != HELD_TOKENS:
            decoder.begin([TOKEN])
            decoder.read(decoder.spare, [TOKEN] * HELD_TOKENS)
            for row in range(rows):
                decoder.move(decoder.spare, row)
        decoder.step([TOKEN] * rows)
        decoder.lengths[:rows] -= 1

    return run


def _reader(decoder: Decoder, tokens: int) -> Callable[[], None]:
    def run() -> None:
        decoder.begin([TOKEN])
        decoder.read(decoder.spare, [TOKEN] * tokens)

    return run


def table(report: dict[str, Any]) -> str:
    """Fastest milliseconds as lines of text."""
    lines = []
    for kind, unit in (("step", "rows"), ("prompt", "tokens")):
        sizes = ROWS if kind == "step" else PROMPT_TOKENS
        lines.append(f"{kind + ', ' + unit:20}" + "".join(f"{size:>9}" for size in sizes))
        for name, part in report["bundles"].items():
            cells = (part[kind][str(size)]["milliseconds_min"] for size in sizes)
            lines.append(f"{name:20}" + "".join(f"{cell:9.1f}" for cell in cells))
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> None:
    """Tokens a second against rows of a step, and against the length of a prompt."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4))
    for axes, kind, sizes, label in (
        (panels[0], "step", ROWS, "rows that share a step"),
        (panels[1], "prompt", PROMPT_TOKENS, "tokens of a prompt"),
    ):
        for name, part in report["bundles"].items():
            speeds = [1e3 * size / part[kind][str(size)]["milliseconds_min"] for size in sizes]
            axes.plot(sizes, speeds, marker="o", label=name)
        axes.set_xscale("log", base=2)
        axes.set(xlabel=label, ylabel="tokens a second", ylim=(0, None), xticks=sizes)
        axes.get_xaxis().set_major_formatter(mpl.ticker.ScalarFormatter())
    if len(report["bundles"]) > 1:
        panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _named(text: str) -> tuple[str, Path]:
    name, found, folder = text.rpartition("=")
    path = Path(folder)
    if not (path / "model.onnx").is_file():
        raise StepsError(f"{text!r} is not FOLDER or NAME=FOLDER of a bundle; build one with `adloom bundle build`")
    return (name if found else path.resolve().name), path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom steps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="*", default=[".adloom/bundle"], help="FOLDER or NAME=FOLDER (.adloom/bundle)")
    parser.add_argument("--rounds", type=int, default=15, help="of each size (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    parser.add_argument(
        "--out", type=Path, default=Path("out/steps.json"), help="plot beside it (default: %(default)s)"
    )
    return parser
