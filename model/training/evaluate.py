"""
Score a bundle on held-out pairs beside four baselines: scores.json, an HTML report, and every ad written.

An interrupted run goes on where it was, and baselines are written once for all bundles.
Example: adloom evaluate        (a quick look: adloom evaluate --rows 24 --baselines description,template)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.bundle import Bundle, file_sha256, open_bundle
from model.heldout_samples import chosen as shown_rows
from model.heldout_samples import samples_file
from model.training.baselines import WRITERS
from model.training.lab import require_lab
from model.training.measures import TrainingText
from model.training.pairs import Pair, read_pairs
from model.training.perplexity import perplexity
from model.training.reading import join, read_sheet, write_sheet
from model.training.relevance import Embedder
from model.training.report import Sample, page, table
from model.training.scoring import Instruments, differences, score_writer
from model.training.untuned import PROMPTS, untuned_bundle, with_prompt
from model.training.written import (
    Written,
    baseline_author,
    bundle_author,
    references,
    say_on_stderr,
    write_all,
)
from model.validity import VALIDITY_VERSION
from model.writer import Writer

DATA = Path(__file__).parents[1] / "data"
HELDOUT = DATA / "heldout.jsonl"
TRAINING = DATA / "pairs.jsonl"
READING_SHEET = DATA / "reading-sheet.jsonl"
FORM = 1
SUBJECT = "bundle"
"""Name of the bundle under evaluation beside the baselines."""
BASELINES = (*WRITERS, *PROMPTS)
SAMPLES = 20
ROWS_SEED = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    names = _baselines(arguments.baselines)
    _check(arguments)
    require_lab()
    marks = read_sheet(arguments.marks)
    bundle = open_bundle(arguments.bundle)
    pairs = chosen(read_pairs(arguments.pairs), arguments.rows)
    folder = arguments.out or arguments.root / "reports" / bundle.digest[:16]
    ads = {SUBJECT: _written(SUBJECT, bundle, pairs, arguments, folder)}
    if arguments.sheet:
        lines = write_sheet(arguments.sheet, bundle.digest, ads[SUBJECT], arguments.sheet_rows)
        print(f"{lines} ads to mark in {arguments.sheet}: set sense to true or false and say why")
        return 0
    bundles = {SUBJECT: bundle} | _untuned(names, arguments, bundle.manifest.scheme)
    shared = arguments.root / "reports" / "baselines"
    ads |= {name: _baseline(name, bundles, pairs, arguments, shared) for name in names}
    corpora = {
        name: perplexity(
            name,
            each,
            pairs,
            file_sha256(arguments.pairs),
            (folder if name == SUBJECT else shared) / f"perplexity-{name}.jsonl",
            say_on_stderr,
            threads=arguments.threads,
        )
        for name, each in bundles.items()
    }
    reading = join(marks, bundle.digest, ads[SUBJECT])
    for note in reading.notes:
        say_on_stderr(note)
    scores = _scores(bundle, ads, pairs, corpora, reading.sense, arguments)
    _publish(folder, scores, ads, pairs)
    print(table(scores))
    print(f"{len(pairs)} rows; every figure in {folder / 'scores.json'}, the report in {folder / 'report.html'}")
    return 0


def chosen(pairs: list[Pair], rows: int | None) -> list[Pair]:
    """All pairs, or a fixed draw of `rows`: two bundles are compared on the same rows. Raises ValueError below one."""
    if rows is None or rows >= len(pairs):
        return pairs
    if rows < 1:
        raise ValueError("--rows takes a whole number from 1")
    return random.Random(ROWS_SEED).sample(pairs, rows)


def _check(arguments: argparse.Namespace) -> None:
    for name in ("candidates", "rows", "sheet_rows"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} takes a whole number from 1")


def _baselines(text: str) -> tuple[str, ...]:
    """The names in a comma list, in their usual order. Raises ValueError for a name that is none."""
    if text == "none":
        return ()
    asked = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in BASELINES]:
        raise ValueError(f"unknown baseline {unknown[0]!r}; choose from {', '.join(BASELINES)}, or none")
    return tuple(name for name in BASELINES if name in asked)


def _written(
    name: str, bundle: Bundle, pairs: Sequence[Pair], arguments: argparse.Namespace, folder: Path
) -> list[Written]:
    writer = Writer(bundle, threads=arguments.threads)
    author = bundle_author(name, writer, candidates=arguments.candidates, seed=arguments.seed)
    return write_all(author, pairs, file_sha256(arguments.pairs), folder / f"creatives-{name}.jsonl", say_on_stderr)


def _untuned(names: Sequence[str], arguments: argparse.Namespace, scheme: str) -> dict[str, Bundle]:
    """The bundles of those baselines that need one."""
    needed = [name for name in names if name in PROMPTS]
    if not needed:
        return {}
    base = untuned_bundle(arguments.root, arguments.untuned_bundle, scheme, _announced)
    folder = arguments.root / "reports" / "baselines" / "bundles"
    return {name: with_prompt(base, PROMPTS[name](), folder) for name in needed}


def _baseline(
    name: str, bundles: Mapping[str, Bundle], pairs: Sequence[Pair], arguments: argparse.Namespace, folder: Path
) -> list[Written]:
    if name in bundles:
        return _written(name, bundles[name], pairs, arguments, folder)
    path = folder / f"creatives-{name}.jsonl"
    return write_all(baseline_author(name), pairs, file_sha256(arguments.pairs), path, say_on_stderr)


def _scores(
    bundle: Bundle,
    ads: Mapping[str, Sequence[Written]],
    pairs: Sequence[Pair],
    perplexities: Mapping[str, float],
    sense: Mapping[str, bool],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """scores.json, form 1."""
    training = TrainingText(pair.words.joined() for pair in read_pairs(arguments.training))
    instruments = Instruments(training, Embedder(threads=arguments.threads))
    scored = {name: score_writer(each, instruments, sense if name == SUBJECT else None) for name, each in ads.items()}
    for name, value in perplexities.items():
        scored[name]["corpus"]["perplexity"] = round(value, 4)
    ours = scored.pop(SUBJECT)
    written_by_people = score_writer(references(pairs), instruments)
    return {
        "form": FORM,
        "bundle": bundle.digest,
        "base": bundle.manifest.base,
        "scheme": bundle.manifest.scheme,
        "dataset": {"pairs_sha256": file_sha256(arguments.pairs), "rows": len(read_pairs(arguments.pairs))},
        "settings": {"candidates": arguments.candidates, "seed": arguments.seed, "rows": len(pairs)},
        "validity_version": VALIDITY_VERSION,
        **ours,
        "baselines": scored,
        "references": {key: written_by_people[key] for key in ("scores", "corpus", "findings")},
        "differences": {name: differences(ours["per_row"], other["per_row"]) for name, other in scored.items()},
    }


def _publish(
    folder: Path, scores: Mapping[str, Any], ads: Mapping[str, Sequence[Written]], pairs: Sequence[Pair]
) -> None:
    """Write samples.json, then scores.json, which says that both are there, then the report; each whole or not."""
    samples = samples_file(str(scores["bundle"]), _shown(ads[SUBJECT]))
    _replace(folder / "samples.json", json.dumps(samples, indent=1, allow_nan=False) + "\n")
    _replace(folder / "scores.json", json.dumps(scores, indent=1, allow_nan=False) + "\n")
    by_pair = {name: {each.pair.id: each for each in written} for name, written in ads.items()}
    drawn = random.Random(ROWS_SEED).sample(list(pairs), min(SAMPLES, len(pairs)))
    compared = [
        Sample(pair, {name: rows[pair.id] for name, rows in by_pair.items() if pair.id in rows}) for pair in drawn
    ]
    _replace(folder / "report.html", page(scores, compared))


def _shown(ads: Sequence[Written]) -> Iterator[dict[str, Any]]:
    """The few that are looked at, in the form of samples.json."""
    by_row = {ad.pair.id: ad for ad in ads}
    for row in shown_rows(by_row):
        ad = by_row[row]
        yield {
            "row": row,
            "product": ad.pair.product.title,
            "channel": ad.pair.spec.name,
            "headlines": list(ad.words.headlines),
            "bodies": list(ad.words.bodies),
            "call_to_action": ad.words.call_to_action,
            "hashtags": list(ad.words.hashtags),
            "validity": ad.validity,
            "findings": [finding.kind for finding in ad.findings],
        }


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


@contextmanager
def _announced(name: str) -> Iterator[None]:
    started = time.perf_counter()
    say_on_stderr(f"  {name} ...")
    yield
    say_on_stderr(f"  {name}: {time.perf_counter() - started:.1f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what is scored")
    what.add_argument("--bundle", type=Path, default=Path(".adloom/bundle"), help="default: %(default)s")
    what.add_argument("--pairs", type=Path, default=HELDOUT, help="default: the frozen held-out pairs")
    what.add_argument(
        "--training", type=Path, default=TRAINING, help="pairs learnt from, to look for in what is written"
    )
    what.add_argument("--rows", type=int, help="so many rows, drawn once and always the same (default: all)")
    what.add_argument("--candidates", type=int, default=4, help="written for each row (default: %(default)s)")
    what.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    what.add_argument("--threads", type=int, default=0, help="default: one a core")
    beside = parser.add_argument_group("beside what")
    beside.add_argument("--baselines", default=",".join(BASELINES), help="comma list, or none (default: %(default)s)")
    beside.add_argument("--untuned-bundle", type=Path, help="of the untuned base (default: built once below --root)")
    reading = parser.add_argument_group("reading sheet")
    reading.add_argument("--marks", type=Path, default=READING_SHEET, help="default: model/data/reading-sheet.jsonl")
    reading.add_argument("--sheet", type=Path, help="write an empty sheet of the bundle's ads there, and stop")
    reading.add_argument("--sheet-rows", type=int, default=100, help="default: %(default)s")
    where = parser.add_argument_group("where")
    where.add_argument("--root", type=Path, default=Path(".adloom"), help="bundles and reports (default: %(default)s)")
    where.add_argument("--out", type=Path, help="folder (default: ROOT/reports/ and 16 digits of the bundle's digest)")
    return parser
