"""
Training pairs that an owner of the model sends in bulk: which rows of the file may be learnt from, why not the rest.

A pair has to keep the rules that feedback has to keep. Knows no HTTP, no database and no network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.feedback_rules import holds_orders, is_held_out
from model.heldout import HeldOut, Telling
from model.pair import Pair, flaws, pair_from_dict, pair_line
from model.pair_rows import PairColumnsError, PairRowError, pair_from_cells, pair_from_object, sheet_plan
from model.rows import SAMPLE_BYTES, CatalogueError, RawRow, RowSource, open_rows

ROWS_MAX = 5_000
"""Some three times the curated pairs: more than people write in a month, and checked within half a minute."""
FAULTS_MAX = 100
"""Enough to see what is wrong with a file; the count is always of all."""
CHECK_SECONDS_MAX = 45.0
"""Of one file, beside everything else that a request does within its minute. Rows of long descriptions take longest."""
REASON_CHARS_MAX = 300
FLAWS_SHOWN_MAX = 3
ORDERS = "the product or its ad addresses the writer: a model would learn to obey"

_YAML_STARTS = ("- ", "---\n", "products:\n")
"""Of a format that the reader of rows knows, and that takes a stranger's file too long."""


class PairFileError(ValueError):
    """The file as a whole cannot be taken. The message begins with what it is, and says what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one row is not taken."""

    line: int
    """Of the file, where the row begins; counts from 1."""
    reason: str


@dataclass(frozen=True, slots=True)
class PairFile:
    """A whole file. Its rows are `lines` and `refused`."""

    lines: tuple[str, ...]
    """In the form of model/data/pairs.jsonl, in the file's order; held-out ones have one member more."""
    held_out: int
    refused: int
    faults: tuple[Fault, ...]
    """The first ones."""


def refusal(pair: Pair, held: HeldOut) -> str:
    """Why a pair must not be learnt from; empty for a good one. Takes milliseconds, more for a long description."""
    words = pair.words
    if holds_orders((pair.product.facts(), *words.headlines, *words.bodies, words.call_to_action, *words.hashtags)):
        return ORDERS
    product = pair.product
    if repeated := held.repeated_by(Telling(pair.id, pair.family, product.title, product.description, words.joined())):
        return f"repeats {repeated}, which models are measured on"
    return "; ".join(flaws(pair)[:FLAWS_SHOWN_MAX])


def read_pair_file(
    path: Path,
    set_id: str,
    held: HeldOut,
    known: Mapping[str, str],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> PairFile:
    """
    Read and judge every row; `set_id` stands before the ids of its pairs, `known` says by key which set has a pair.

    CSV or JSON Lines, told apart by their content. Raises PairFileError.
    """
    judged = _Judged(set_id, held, known)
    deadline_seconds = clock() + CHECK_SECONDS_MAX
    source = _opened(path)
    try:
        read = _reader(source)
        for count, raw in enumerate(source.rows, start=1):
            if count > ROWS_MAX:
                raise PairFileError(f"has more than {ROWS_MAX:,} rows: send it in parts")
            if clock() > deadline_seconds:
                raise PairFileError(f"takes too long to check, of which {count - 1:,} rows were: send it in parts")
            judged.take(raw, read)
    except CatalogueError as error:
        raise _without_path(error, path) from None
    return PairFile(tuple(judged.lines), judged.held_out, judged.refused, tuple(judged.faults))


def _opened(path: Path) -> RowSource:
    with path.open("rb") as file:
        start = file.read(SAMPLE_BYTES).decode("utf-8-sig", "replace").lstrip()
    if not start:
        raise PairFileError("is empty: it needs at least one pair")
    if start.startswith(_YAML_STARTS):
        raise PairFileError("is YAML: send the pairs as CSV or JSON Lines")
    try:
        source = open_rows(path)
    except CatalogueError as error:
        raise _without_path(error, path) from None
    if source.layout is None:
        raise PairFileError("is one piece of JSON: write every pair on a line of its own (JSON Lines)")
    return source


def _without_path(error: CatalogueError, path: Path) -> PairFileError:
    return PairFileError(str(error).removeprefix(f"{path} ")[:REASON_CHARS_MAX])


def _reader(source: RowSource) -> Callable[[RawRow, str], Pair]:
    """What makes a pair of a row, under a name."""
    if source.header is None:
        return lambda raw, name: pair_from_object(dict(zip(raw.names, raw.values, strict=True)), name)
    try:
        plan = sheet_plan(source.header)
    except PairColumnsError as error:
        raise PairFileError(str(error)) from None
    return lambda raw, name: pair_from_cells(plan, raw.values, name)


@dataclass(slots=True)
class _Judged:
    """What became of the rows so far."""

    set_id: str
    held: HeldOut
    known: Mapping[str, str]
    lines: list[str] = field(default_factory=list)
    held_out: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)
    _keys: dict[str, int] = field(default_factory=dict)
    _ids: dict[str, int] = field(default_factory=dict)

    def take(self, raw: RawRow, read: Callable[[RawRow, str], Pair]) -> None:
        """One row more."""
        pair, reason = _read_row(raw, read)
        if pair is not None:
            reason = self._repeats(pair) or refusal(pair, self.held)
        if pair is None or reason:
            self.refused += 1
            if len(self.faults) < FAULTS_MAX:
                self.faults.append(Fault(raw.place, reason[:REASON_CHARS_MAX]))
            return
        self._keys[pair.key()] = self._ids[pair.id] = raw.place
        self._keep(pair)

    def _repeats(self, pair: Pair) -> str:
        if line := self._ids.get(pair.id):
            return f"has the id of line {line}: give it another, or none"
        if line := self._keys.get(pair.key()):
            return f"says the same as line {line}"
        if other := self.known.get(pair.key()):
            return f"is in the set {other} already, which waits"
        return ""

    def _keep(self, pair: Pair) -> None:
        """With the set before its id, so that a pair of a dataset leads back to where it came from."""
        table = json.loads(pair_line(pair))
        table["id"] = f"{self.set_id}.{pair.id}"
        if is_held_out(pair.product.digest()):
            table["held_out"] = True
            self.held_out += 1
        self.lines.append(json.dumps(table, ensure_ascii=False, separators=(",", ":")))


def _read_row(raw: RawRow, read: Callable[[RawRow, str], Pair]) -> tuple[Pair | None, str]:
    """The pair, or why there is none."""
    if raw.problem:
        return None, raw.problem
    try:
        return read(raw, f"line-{raw.place}"), ""
    except PairRowError as error:
        return None, str(error)


def stored_keys(content: bytes) -> list[str]:
    """What the pairs of a set teach, from the object that holds them."""
    return [pair_from_dict(json.loads(line)).key() for line in content.decode().split("\n") if line]
