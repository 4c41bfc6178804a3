"""
Mixed load on the engine for minutes, to see whether its memory grows: short and long prompts, single ads and groups,
requests that are cancelled, that come too late, and that find the queue full.

Example: adloom soak --minutes 10 --out out/soak.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model.engine import Engine
from model.sampling import Sampling
from model.tickets import CancelledError, DeadlineError, QueueFullError, Request, Slot, Ticket, Vocabulary
from model.training.lab import require_lab

WAITING_MAX = 24
"""Requests kept on their way: more than the engine takes at once, so that its queue is never empty."""
QUEUE_MAX = 16
GROWTH_MIB_MAX = 16.0
"""More than the samples of a healthy run scatter; a leak of one row's cache a minute would be above it."""
WARM_SHARE = 0.3
"""Of the run, not judged: buffers grow until the longest prompt and the fullest step have been seen."""
SAMPLE_SECONDS = 1.0


@dataclass(slots=True)
class _Load:
    """What is on its way and what became of the rest."""

    engine: Engine
    vocabulary: int
    draw: random.Random
    tickets: list[Ticket] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def submit(self) -> None:
        """One request at random: 1 to 8 rows, prompts of 8 to 600 tokens, now and then one with hardly any time."""
        draw = self.draw
        length = draw.choice((8, 60, 120, 200, 600))
        late = draw.random() < 0.05
        request = Request(
            [draw.randrange(5, self.vocabulary) for _ in range(length)],
            [Slot((), draw.randint(1, 48), 10**6), Slot((draw.randrange(5, self.vocabulary),), 16, 10**6)],
            draw.choice((1, 1, 4, 4, 8)),
            draw.randrange(2**32),
            Sampling(),
            deadline=time.monotonic() + (0.05 if late else 600.0),
            interactive=draw.random() < 0.7,
        )
        try:
            self.tickets.append(self.engine.submit(request))
        except QueueFullError:
            self.outcomes["queue full"] += 1
            time.sleep(0.05)

    def reap(self) -> None:
        """Take the finished out, and cancel one in a hundred."""
        for ticket in self.tickets:
            if self.draw.random() < 0.0005:
                ticket.cancel()
        for ticket in [ticket for ticket in self.tickets if ticket.done]:
            self.tickets.remove(ticket)
            try:
                ticket.result()
                self.outcomes["finished"] += 1
            except CancelledError:
                self.outcomes["cancelled"] += 1
            except DeadlineError:
                self.outcomes["too late"] += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 where memory stays, 1 where it grows."""
    arguments = _parser().parse_args(argv)
    require_lab(("psutil", "matplotlib"))
    report = soak(arguments.bundle, arguments.minutes * 60.0, arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report) + "\n", encoding="utf-8")
    plot = arguments.out.with_suffix(".svg")
    draw_plot(report, plot)
    growth = report["growth_mib"]
    said = ", ".join(f"{count:,} {name}" for name, count in report["outcomes"].items())
    verdict = "stays" if growth <= GROWTH_MIB_MAX else "grows"
    sys.stdout.write(
        f"memory {verdict}: {growth:+.1f} MiB from the first half to the second after the first "
        f"{100 * WARM_SHARE:.0f} %, {report['peak_mib']:.0f} MiB at most; requests: {said}\n"
        f"{arguments.out}, {plot}\n"
    )
    return 0 if growth <= GROWTH_MIB_MAX else 1


def soak(bundle: Path, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Load the engine for so long; memory by second, outcomes, and the growth between two halves of the warm part."""
    process = importlib.import_module("psutil").Process()
    size = int(json.loads((bundle / "config.json").read_text(encoding="utf-8"))["vocab_size"])
    engine = Engine(bundle, Vocabulary(np.ones(size, np.int32), np.zeros(size, np.bool_)), queue_max=QUEUE_MAX)
    load = _Load(engine, size, random.Random(seed))
    start, samples, next_sample = time.monotonic(), [], 0.0
    try:
        while (now := time.monotonic() - start) < seconds:
            if len(load.tickets) < WAITING_MAX:
                load.submit()
            else:
                time.sleep(0.01)
            load.reap()
            if now >= next_sample:
                samples.append((round(now, 1), round(process.memory_info().rss / 2**20, 1)))
                next_sample += SAMPLE_SECONDS
                if len(samples) % 60 == 0:
                    sys.stderr.write(f"{now / 60:.0f} of {seconds / 60:.0f} min, {samples[-1][1]:.0f} MiB\n")
    finally:
        engine.close()
    return {
        "form": 1,
        "seconds": seconds,
        "seed": seed,
        "samples": samples,
        "outcomes": dict(load.outcomes),
        "growth_mib": growth_mib(samples),
        "peak_mib": max(mebibytes for _, mebibytes in samples),
    }


def growth_mib(samples: Sequence[tuple[float, float]]) -> float:
    """Median of the second half less that of the first, the warm-up left out. Raises ValueError for too few samples."""
    warm = [mebibytes for _, mebibytes in samples[int(WARM_SHARE * len(samples)) :]]
    if len(warm) < 4:
        raise ValueError("a soak needs at least some seconds: give more --minutes")
    half = len(warm) // 2
    return round(float(np.median(warm[half:]) - np.median(warm[:half])), 1)


def draw_plot(report: dict[str, Any], path: Path) -> None:
    """Resident memory over the minutes of the run."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3))
    axes.plot([second / 60 for second, _ in report["samples"]], [size for _, size in report["samples"]], linewidth=1)
    axes.set(xlabel="minutes", ylabel="resident memory, MiB", ylim=(0, None), title="The engine under mixed load")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path(".adloom/bundle"), help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/soak.json"), help="plot beside it (default: %(default)s)")
    return parser
