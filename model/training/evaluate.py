"""
Score a bundle on held-out pairs: what share of its ads is valid, grounded, and left as the model wrote it.

Example: adloom evaluate --rows 48 --out out/scores.json
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.bundle import file_sha256
from model.creative import Creative
from model.training.pairs import VALIDITY_MIN, Pair, read_pairs
from model.validity import GROUNDING, STRUCTURAL, VALIDITY_VERSION
from model.writer import Writer, open_writer

HELDOUT = Path(__file__).parents[1] / "data" / "heldout.jsonl"
RESAMPLES = 2000
"""Bootstrap resamples: the ends of a 95 % interval then move by less than the last digit printed."""


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over rows and its 95 % interval by percentile bootstrap over rows."""

    mean: float
    low: float
    high: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation, print a table and write every figure to a JSON file."""
    arguments = _parser().parse_args(argv)
    writer = open_writer(arguments.bundle, threads=arguments.threads)
    pairs = _chosen(read_pairs(arguments.pairs), arguments.rows)
    started = time.perf_counter()
    creatives = _write_all(writer, pairs, arguments.candidates, arguments.seed)
    seconds = time.perf_counter() - started
    scores = score(creatives)
    report = {
        "bundle": writer.bundle.digest,
        "base": writer.bundle.manifest.base,
        "pairs_sha256": file_sha256(arguments.pairs),
        "rows": len(pairs),
        "candidates": arguments.candidates,
        "seed": arguments.seed,
        "validity_version": VALIDITY_VERSION,
        "scores": {name: as_json(value) for name, value in scores.items()},
        "findings": dict(Counter(finding.kind for creative in creatives for finding in creative.findings)),
        "creatives_per_second": round(len(creatives) / seconds, 3),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, value in scores.items():
        print(f"{name:32} {value.mean:6.3f}   95 % interval {value.low:.3f} to {value.high:.3f}")
    print(f"{len(pairs)} rows in {seconds:.0f} s; every figure in {arguments.out}")
    return 0


def score(creatives: Sequence[Creative]) -> dict[str, Score]:
    """Means over the creatives given, one a row. Raises ValueError for none."""
    if not creatives:
        raise ValueError("nothing to score: no creatives")
    columns: dict[str, list[float]] = {
        "validity": [creative.validity for creative in creatives],
        f"validity at least {VALIDITY_MIN}": [float(creative.validity >= VALIDITY_MIN) for creative in creatives],
        "grounded": [float(not _kinds(creative) & GROUNDING) for creative in creatives],
        "structurally valid": [float(not _kinds(creative) & STRUCTURAL) for creative in creatives],
        "left as the model wrote it": [float(not creative.repairs) for creative in creatives],
    }
    draw = np.random.default_rng(0)
    rows = draw.integers(0, len(creatives), (RESAMPLES, len(creatives)))
    scores = {}
    for name, values in columns.items():
        column = np.array(values)
        low, high = np.percentile(column[rows].mean(axis=1), [2.5, 97.5])
        scores[name] = Score(float(column.mean()), float(low), float(high))
    return scores


def as_json(value: Score) -> dict[str, float]:
    """JSON form, four decimals."""
    return {"mean": round(value.mean, 4), "low": round(value.low, 4), "high": round(value.high, 4)}


def _chosen(pairs: list[Pair], rows: int | None) -> list[Pair]:
    """All pairs, or a fixed sample: two bundles are compared on the same rows."""
    if rows is None or rows >= len(pairs):
        return pairs
    if rows < 1:
        raise ValueError("--rows takes a whole number from 1")
    return random.Random(0).sample(pairs, rows)


def _kinds(creative: Creative) -> set[str]:
    return {finding.kind for finding in creative.findings}


def _write_all(writer: Writer, pairs: Sequence[Pair], candidates: int, seed: int) -> list[Creative]:
    creatives = []
    started = time.perf_counter()
    for done, pair in enumerate(pairs, start=1):
        ranked = writer.write(pair.product, pair.spec, voice=pair.voice, candidates=candidates, seed=seed)
        creatives.append(ranked[0])
        if done % 10 == 0:
            left = (time.perf_counter() - started) / done * (len(pairs) - done)
            print(f"  {done}/{len(pairs)} rows, {left:.0f} s left", file=sys.stderr, flush=True)
    return creatives


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path(".adloom/bundle"), help="default: %(default)s")
    parser.add_argument("--pairs", type=Path, default=HELDOUT, help="default: the frozen held-out pairs")
    parser.add_argument("--rows", type=int, help="so many rows, drawn once and always the same (default: all)")
    parser.add_argument("--candidates", type=int, default=4, help="written for each row (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    parser.add_argument("--out", type=Path, default=Path("out/scores.json"), help="default: %(default)s")
    return parser
