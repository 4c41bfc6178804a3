"""
A file as parts that processes read at the same time, with the outcome that one reader of the whole would have.

Where a part should begin is a guess, for a line break may stand inside a quoted cell. A part counts only if the one
before it really ended there; otherwise it is read again from where that did.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import pandera.pandas as pa

from model.catalogue import Merged, Outcome, RowError, lone_outcomes, outcomes
from model.columns import column_plan
from model.line_rows import Layout, Position, RowRun
from model.product import Product
from model.rows import RowSource
from pipelines.ingest.quality import Figures, broken_rules, figures_of, reason_kind, schema

PART_BYTES = 4 * 1024 * 1024
"""Some 15,000 rows: long enough that handing it over costs nothing, short enough that a dozen fit into memory."""
GUESS_BYTES_MAX = 256 * 1024
"""How far a break that stands outside of quotes is looked for; after that any line break will do."""
CHUNK_ROWS = 10_000
"""Of a file that is read whole or by one reader."""

Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PartTask:
    """What a reader is asked for."""

    path: Path
    layout: Layout
    columns: Columns
    start: Position
    byte_stop: int


@dataclass(slots=True)
class Part:
    """What became of the rows of one run. rows == len(places) + len(rejected) + merged."""

    rows: int = 0
    merged: int = 0
    rejected: list[RowError] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Of the rows that became products; the three lists below go with it."""
    skus: list[str] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    """Canonical JSON with its line end."""
    figures: Figures = field(default_factory=Figures)
    """Of the products and the rejected."""


def parts_of(source: RowSource, path: Path, columns: Columns, *, is_alone: bool, workers: int) -> Iterator[Part]:
    """
    The parts of a catalogue, in order. `is_alone` says that every row stands for itself.

    Only then several processes read; a sku that stands twice is then not seen here, and otherwise it is rejected.
    Raises RuntimeError where a process was ended from outside.
    """
    if source.layout is None or source.start is None or not is_alone:
        yield from _chunks(source, columns)
        return
    whole = PartTask(path, source.layout, columns, source.start, path.stat().st_size)
    if workers < 2 or whole.byte_stop <= PART_BYTES:
        yield from _in_turn(whole)
        return
    with _readers(workers) as pool:
        yield from _at_once(whole, pool, ahead=workers + 2)


def read_part(task: PartTask) -> tuple[Part, Position]:
    """One run of rows and where it ended."""
    run = RowRun(task.path, task.layout, task.start, task.byte_stop)
    part = part_of(lone_outcomes(run, dict(task.columns)), task.layout.names, task.columns)
    return part, run.position


def _chunks(source: RowSource, columns: Columns) -> Iterator[Part]:
    found = outcomes(source, dict(columns))
    while chunk := list(islice(found, CHUNK_ROWS)):
        yield part_of(chunk, source.header or (), columns)


def _in_turn(whole: PartTask) -> Iterator[Part]:
    task = whole
    while task.start.byte < whole.byte_stop:
        part, end = read_part(replace(task, byte_stop=min(task.start.byte + PART_BYTES, whole.byte_stop)))
        yield part
        task = replace(task, start=end)


def _at_once(whole: PartTask, pool: ProcessPoolExecutor, ahead: int) -> Iterator[Part]:
    """At most `ahead` parts are under way or wait to be taken, so that memory does not grow with the file."""
    guesses = pairwise(_boundaries(whole.path, whole.start.byte, whole.byte_stop))
    waiting: deque[tuple[PartTask, Future[tuple[Part, Position]]]] = deque()
    position = whole.start
    try:
        while True:
            for start, stop in islice(guesses, ahead - len(waiting)):
                task = replace(whole, start=Position(start, 0), byte_stop=stop)
                waiting.append((task, pool.submit(read_part, task)))
            if not waiting:
                return
            task, future = waiting.popleft()
            if position.byte >= task.byte_stop:
                future.cancel()  # the row before ran over the whole of it
                continue
            actual = position._replace(line=0)
            part, end = future.result() if task.start == actual else read_part(replace(task, start=actual))
            yield _moved(part, position.line)
            position = end._replace(line=position.line + end.line)
    except BrokenProcessPool:
        raise RuntimeError("a process that read the catalogue was ended from outside, perhaps for memory") from None
    finally:
        for _, future in waiting:
            future.cancel()


def _boundaries(path: Path, start: int, stop: int) -> Iterator[int]:
    """Bytes where a row probably begins, from `start` to `stop`, some PART_BYTES apart."""
    yield start
    with path.open("rb") as file:
        while stop - start > PART_BYTES:
            file.seek(start)
            quotes = file.read(PART_BYTES).count(b'"')
            after = file.read(GUESS_BYTES_MAX)
            start += PART_BYTES + _row_start(after, quotes)
            if start < stop:
                yield start
    yield stop


def _row_start(text: bytes, quotes: int) -> int:
    """The first line break after an even number of quotes, or the first at all; past the text where there is none."""
    first = place = 0
    while found := text.find(b"\n", place) + 1:
        quotes += text.count(b'"', place, found)
        if quotes % 2 == 0:
            return found
        first, place = first or found, found
    return first or len(text)


def _moved(part: Part, lines: int) -> Part:
    """A reader counts lines from where it began."""
    part.places = [place + lines for place in part.places]
    part.rejected = [replace(error, line=error.line + lines) for error in part.rejected]
    return part


def part_of(
    found: Iterator[tuple[int, Outcome]] | Sequence[tuple[int, Outcome]], names: Sequence[str], columns: Columns
) -> Part:
    """What became of these rows; `names` are those of the file's columns, for the reasons."""
    part = Part()
    products: list[Product] = []
    for place, outcome in found:
        part.rows += 1
        if isinstance(outcome, Product):
            products.append(outcome)
            part.places.append(place)
        elif isinstance(outcome, Merged):
            part.merged += 1
        else:
            part.rejected.append(outcome)
    products = _without_broken(part, products, names, columns)
    part.skus = [product.sku for product in products]
    part.lines = [f"{product.canonical()}\n".encode() for product in products]
    part.figures = figures_of(products)
    part.figures.reasons.update(reason_kind(error.column, error.reason) for error in part.rejected)
    return part


def _without_broken(part: Part, products: list[Product], names: Sequence[str], columns: Columns) -> list[Product]:
    broken = broken_rules(_rules(), products)
    if not broken:
        return products
    plan = column_plan(names, dict(columns))
    for place, (name, reason) in sorted(broken.items()):
        error = RowError(part.places[place], plan.name_of(name), reason, products[place].canonical())
        part.rejected.append(error)
    part.rejected.sort(key=lambda error: error.line)
    part.places = [line for place, line in enumerate(part.places) if place not in broken]
    return [product for place, product in enumerate(products) if place not in broken]


@cache
def _rules() -> pa.DataFrameSchema:
    return schema()


@contextmanager
def _readers(count: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_leave_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_with_parent() -> None:
    """A reader whose parent was killed would wait for work for ever: it holds both ends of the queue."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
