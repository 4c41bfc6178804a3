"""
What one choice in training changes: the raw words of several adapters for the same held-out products, judged.

Raw: one candidate, no digit masked, nothing cut, mended or ranked, so that the model is judged and not the rules.
Example: adloom ablate with=.adloom/runs/a/adapter without=.adloom/runs/b/adapter --out out/ablation.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.attachment import loose, row_clauses
from model.bundle import Bundle
from model.creative import Copy
from model.drafting import Written, split_sentences
from model.prompt import tuned_prompt
from model.training import measures
from model.training.build import build
from model.training.evaluate import chosen
from model.training.intervals import interval, paired_difference
from model.training.pairs import Pair, read_pairs
from model.training.weights import ADAPTER_FILE, Weights, embedded_weights
from model.validity import GROUNDING, STRUCTURAL, assess
from model.writer import Writer

HELDOUT = Path(__file__).parents[1] / "data" / "heldout.jsonl"
SCORES = ("grounded", "attached", "structural", "validity", "rouge_l", "chrf", "likelihood")
"""Means over rows: no unsupported word; every fact joined as the row joins it; accepted by the channel as it is."""
SEED = 0


class AblationError(ValueError):
    """The adapters are not named as they should be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    adapters = dict(_named(text) for text in arguments.adapters)
    pairs = chosen(read_pairs(arguments.pairs), arguments.rows)
    scored = {}
    for name, folder in adapters.items():
        sys.stderr.write(f"{name}: build" + "\n")
        bundle = build(arguments.root, _weights(folder), tuned_prompt(), "int8-weight", _step, point=False)
        scored[name] = _scored(name, bundle, pairs)
    report = compare(scored, len(pairs))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    return 0


def compare(scored: dict[str, dict[str, dict[str, float]]], rows: int) -> dict[str, Any]:
    """Means with 95 % intervals, and each adapter's paired difference to the first; `scored` by name, score and row."""
    first = next(iter(scored.values()))
    return {
        "form": 1,
        "rows": rows,
        "seed": SEED,
        "adapters": {
            name: {
                "scores": {score: interval(list(rows.values())).as_json() for score, rows in scores.items()},
                "less_first": {
                    score: paired_difference(rows, first[score]).as_json() for score, rows in scores.items()
                },
            }
            for name, scores in scored.items()
        },
    }


def table(report: dict[str, Any]) -> str:
    """The means as a table of text; * where the difference to the first is none by chance, 95 in 100."""
    lines = [f"{'':14}" + "".join(f"{score:>13}" for score in SCORES)]
    for name, part in report["adapters"].items():
        cells = []
        for score in SCORES:
            difference = part["less_first"][score]
            sure = "*" if difference["low"] > 0 or difference["high"] < 0 else " "
            cells.append(f"{part['scores'][score]['mean']:12.3f}{sure}")
        lines.append(f"{name:14}" + "".join(cells))
    return "\n".join(lines)


def _scored(name: str, bundle: Bundle, pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    writer = Writer(bundle)
    scores: dict[str, dict[str, float]] = {score: {} for score in SCORES}
    try:
        for number, pair in enumerate(pairs, start=1):
            (raw, likelihood), *_ = writer.raw(pair.product, pair.spec, voice=pair.voice, rows=1, seed=SEED)
            words = as_copy(raw)
            for score, value in {**judged(pair, words), "likelihood": likelihood}.items():
                scores[score][pair.id] = value
            if number % 25 == 0:
                sys.stderr.write(f"{name}: {number} of {len(pairs)} rows" + "\n")
    finally:
        writer.close()
    return scores


def judged(pair: Pair, words: Copy) -> dict[str, float]:
    """The scores of one raw copy."""
    assessment = assess(pair.product, words, pair.spec)
    kinds = {finding.kind for finding in assessment.findings}
    row = row_clauses(pair.product)
    joined = [
        (field, sentence)
        for field in ("headline", "body", "call_to_action")
        for text in words.texts(field)
        for sentence in split_sentences(text)
    ]
    reference, text = pair.words.joined(), words.joined()
    return {
        "grounded": float(not kinds & GROUNDING),
        "attached": float(not any(any(loose(row, sentence, field)) for field, sentence in joined)),
        "structural": float(not kinds & STRUCTURAL),
        "validity": assessment.validity,
        "rouge_l": measures.rouge_l([text], [reference])[0],
        "chrf": measures.chrf([text], [reference])[0],
    }


def as_copy(raw: Written) -> Copy:
    """What the model wrote, as it stands."""
    texts = {name: tuple(text.strip() for text, _ in written if text.strip()) for name, written in raw.items()}
    tags = tuple(word for text in texts.get("hashtags", ()) for word in text.split() if word.startswith("#"))
    call = texts.get("call_to_action", ())
    return Copy(texts.get("headline", ()), texts.get("body", ()), call[0] if call else "", tags)


def _named(text: str) -> tuple[str, Path]:
    name, found, folder = text.partition("=")
    is_trained = any((Path(folder) / file).is_file() for file in (ADAPTER_FILE, "config.json"))
    if not found or not name.isidentifier() or not is_trained:
        raise AblationError(f"{text!r} is not NAME=FOLDER of an adapter, or a whole model, that `adloom train` made")
    return name, Path(folder)


def _weights(folder: Path) -> Weights:
    return embedded_weights(str(folder)) if (folder / ADAPTER_FILE).is_file() else Weights(str(folder))


@contextmanager
def _step(_name: str) -> Iterator[None]:
    """Building says what it does step by step; here one line an adapter is enough."""
    yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("adapters", nargs="+", metavar="NAME=FOLDER", help="the first is what others are compared with")
    parser.add_argument("--pairs", type=Path, default=HELDOUT, help="held-out pairs (default: the frozen ones)")
    parser.add_argument("--rows", type=int, help="so many, drawn once and always the same (default: all)")
    parser.add_argument("--root", type=Path, default=Path(".adloom"), help="holds the bundles (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/ablation.json"), help="default: %(default)s")
    return parser
