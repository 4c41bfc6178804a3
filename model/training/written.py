"""
Ads written for held-out pairs, kept line by line: a run that is cut off goes on, and baselines are written once.

Knows who writes only as a function; scoring.py says what the ads are worth.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from model.bundle import file_sha256
from model.creative import Copy, Creative, Finding, Passport, creative_id
from model.decoder import EngineError
from model.orders import without_orders
from model.training.baselines import WRITERS
from model.training.pairs import Pair
from model.validity import VALIDITY_VERSION, assess
from model.writer import Writer

BUNDLE_CODE = (
    "attachment.py", "channel.py", "creative.py", "decoder.py", "drafting.py", "engine.py", "grounding.py",
    "language.py", "lexicon.py", "orders.py", "product.py", "prompt.py", "quantities.py", "ranking.py",
    "reversal.py", "sampling.py", "tally.py", "tickets.py", "validity.py", "wording.py", "writer.py",
    "data/channels.toml", "data/lexicon.toml", "data/ranking.json",
)  # fmt: skip
"""Files of `model` that decide what a bundle writes: when one changes, or goes, kept ads are of no use."""
BASELINE_CODE = (
    "attachment.py", "channel.py", "drafting.py", "orders.py", "product.py", "training/baselines.py",
    "data/channels.toml",
)  # fmt: skip
PROGRESS_ROWS = 10

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: a name for tables and files, an identity for the cache, and the writing itself."""

    name: str
    identity: str
    """Bundle digest, or baseline name; with the code's digest it decides every word."""
    write: Callable[[Pair], Creative]


@dataclass(frozen=True, slots=True)
class Written:
    """One ad for one pair, judged by today's rules."""

    pair: Pair
    creative: str
    """Its id."""
    words: Copy
    repairs: tuple[str, ...]
    validity: float
    findings: tuple[Finding, ...]
    seconds: float
    """Wall clock of the writing, with all candidates; as measured when the ad was first written."""

    def words_digest(self) -> str:
        """16 hex digits over the words alone: what a reader's mark belongs to."""
        return hashlib.sha256(json.dumps(asdict(self.words), ensure_ascii=False).encode()).hexdigest()[:16]


def bundle_author(name: str, writer: Writer, *, candidates: int, seed: int) -> Author:
    """The best of `candidates` ads of an open bundle."""

    def write(pair: Pair) -> Creative:
        return writer.write(pair.product, pair.spec, voice=pair.voice, candidates=candidates, seed=seed)[0]

    code = _code_digest(BUNDLE_CODE)
    return Author(name, json.dumps([writer.bundle.digest, code, candidates, seed, VALIDITY_VERSION]), write)


def baseline_author(name: str) -> Author:
    """One of `baselines.WRITERS`. Raises KeyError for another name."""
    make, identity = WRITERS[name], json.dumps([name, _code_digest(BASELINE_CODE)])

    def write(pair: Pair) -> Creative:
        words = make(pair.product, pair.spec)
        passport = Passport(f"baseline {identity}", "", pair.product.digest(), 0, 1, {}, VALIDITY_VERSION, pair.voice)
        identifier = creative_id(pair.product.sku, pair.spec.name, words, passport)
        return Creative(identifier, pair.product.sku, pair.spec.name, words, *_judged(pair, words), passport)

    return Author(name, identity, write)


def write_all(author: Author, pairs: Sequence[Pair], pairs_sha256: str, path: Path, say: Say) -> list[Written]:
    """
    One ad a pair, in the order of `pairs`; those that `path` holds are read there, and each new one is added at once.

    A pair that the author cannot write for is reported and left out, so that it is tried again next time.
    Raises ValueError when nothing at all could be written.
    """
    lines = Lines(path, json.dumps([author.identity, pairs_sha256]))
    todo = [pair for pair in pairs if lines.get(pair.id) is None]
    if len(todo) < len(pairs):
        say(f"  {author.name}: {len(pairs) - len(todo)} of {len(pairs)} rows are in {path} already")
    started = time.perf_counter()
    for done, pair in enumerate(todo, start=1):
        before = time.perf_counter()
        try:
            creative = author.write(pair)
        except EngineError as error:
            say(f"  {author.name}: row {pair.id} could not be written: {error}")
            continue
        lines.add(pair.id, {"creative": creative.as_dict(), "seconds": round(time.perf_counter() - before, 6)})
        if done % PROGRESS_ROWS == 0 or done == len(todo):
            left = (time.perf_counter() - started) / done * (len(todo) - done)
            say(f"  {author.name}: {done}/{len(todo)} rows, {left:.0f} s left")
    kept = [(pair, line) for pair in pairs if (line := lines.get(pair.id)) is not None]
    if not kept:
        raise ValueError(f"nothing to score: {author.name} wrote no ad for any of {len(pairs)} rows")
    return [_read(pair, line) for pair, line in kept]


def references(pairs: Sequence[Pair]) -> list[Written]:
    """The ads that people wrote for the pairs, judged like any other."""
    return [Written(pair, "", pair.words, (), *_judged(pair, pair.words), 0.0) for pair in pairs]


class Lines:
    """
    A JSON Lines file of results by pair, under the key of what made them; lines of other keys stay where they are.

    A line that was cut off or is none of ours is passed over, and so its pair is done again.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._known: dict[str, Mapping[str, Any]] = {}
        for line in path.read_bytes().split(b"\n") if path.is_file() else ():
            try:
                table = json.loads(line)
                if table["key"] == self._key:
                    self._known.setdefault(str(table["pair"]), table)
            except (ValueError, KeyError, TypeError):
                continue

    def get(self, pair: str) -> Mapping[str, Any] | None:
        """The line of one pair, or None."""
        return self._known.get(pair)

    def add(self, pair: str, fields: Mapping[str, Any]) -> None:
        """Append one line in a single write; nothing but a cut-off line can be lost."""
        table = {"key": self._key, "pair": pair, **fields}
        line = json.dumps(table, ensure_ascii=False).encode() + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+", buffering=0) as file:
            if size := file.seek(0, os.SEEK_END):
                file.seek(size - 1)
                if file.read(1) != b"\n":  # a killed run stopped in the middle of a line
                    line = b"\n" + line
            file.write(line)
        self._known[pair] = table


def say_on_stderr(line: str) -> None:
    """Progress goes beside the table, not into it."""
    print(line, file=sys.stderr, flush=True)


def _read(pair: Pair, line: Mapping[str, Any]) -> Written:
    creative = line["creative"]
    words = Copy(
        tuple(creative["headlines"]),
        tuple(creative["descriptions"]),
        creative["call_to_action"],
        tuple(creative["hashtags"]),
    )
    judged = _judged(pair, words)
    return Written(pair, creative["id"], words, tuple(creative["repairs"]), *judged, float(line["seconds"]))


def _judged(pair: Pair, words: Copy) -> tuple[float, tuple[Finding, ...]]:
    # As the writer does: nobody may lean on a sentence that gives orders.
    product = replace(pair.product, description=without_orders(pair.product.description))
    judged = assess(product, words, pair.spec)
    return judged.validity, judged.findings


@cache
def _code_digest(names: tuple[str, ...]) -> str:
    room = Path(__file__).parents[1]
    digests = [file_sha256(room / name) if (room / name).is_file() else "" for name in names]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()
