"""
The changes that an API reports, merged into the catalogue that they change.

Knows no network and no stores: the catalogue comes as canonical lines, the changes as a file of JSON Lines. Memory
grows with the number of skus that changed and not with the catalogue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from model.catalogue import RowError, lone_outcomes
from model.columns import column_plan
from model.line_rows import Layout, RawRow, RowRun
from model.product import Product, ProductError, field_text, product_from_dict
from pipelines.ingest.intake import Intake, quarantine_line
from pipelines.ingest.parts import CHUNK_ROWS, Columns, Part, part_of
from pipelines.ingest.quality import Figures, figures_of, reason_kind

GONE = -1
_NOT_DELETED = (None, False, "", "0", "false", "no")


@dataclass(frozen=True, slots=True)
class Change:
    """The last word on one sku."""

    place: int
    byte: int
    """Where its new line begins in the file of changes; GONE where the product is no more."""


@dataclass(slots=True)
class _Changes:
    """What was read so far. rows == accepted + rejected + merged."""

    by_sku: dict[str, Change] = field(default_factory=dict)
    rows: int = 0
    rejected: int = 0
    merged: int = 0
    """Changes that a later one of the same sku replaced."""
    reasons: Figures = field(default_factory=Figures)

    def note(self, sku: str, change: Change) -> None:
        earlier = self.by_sku.get(sku)
        self.merged += earlier is not None
        if earlier is None or earlier.place < change.place:
            self.by_sku[sku] = change


def merge(
    base: Iterable[bytes], changes: Path, columns: Columns, deleted: str, lines: Path, quarantine: Path
) -> Intake:
    """
    The catalogue `base` with its changes, as canonical lines in its order, what is new at the end.

    A change that is no product goes to quarantine and leaves the product as it was. `deleted` names the field that
    says that an item is gone; empty where there is none.
    """
    changed_lines = lines.with_suffix(".changed")
    with changed_lines.open("w+b") as changed:
        with quarantine.open("wb") as bad:
            found = _read(changes, columns, deleted, changed, bad)
        with lines.open("wb") as good:
            figures, digest = _write(_merged(base, found.by_sku, changed), good)
    changed_lines.unlink()
    figures.add(found.reasons)
    return Intake(
        rows=found.rows,
        accepted=len(found.by_sku),
        rejected=found.rejected,
        merged=found.merged,
        digest=digest,
        figures=figures,
    )


def _read(changes: Path, columns: Columns, deleted: str, changed: IO[bytes], bad: IO[bytes]) -> _Changes:
    found = _Changes()
    rows = _present(RowRun(changes, Layout("jsonl")), columns, deleted, found, bad)
    outcomes = lone_outcomes(rows, dict(columns))
    while chunk := list(islice(outcomes, CHUNK_ROWS)):
        named = [(place, _with_sku(place, outcome)) for place, outcome in chunk]
        part = part_of(named, (), columns)
        found.rows += part.rows
        _reject(found, part, bad)
        for sku, place, line in zip(part.skus, part.places, part.lines, strict=True):
            found.note(sku, Change(place, changed.tell()))
            changed.write(line)
    return found


def _present(
    rows: Iterable[RawRow], columns: Columns, deleted: str, found: _Changes, bad: IO[bytes]
) -> Iterator[RawRow]:
    """Those that are not deleted; the others are noted on the way."""
    for row in rows:
        if row.problem or not deleted or dict(zip(row.names, row.values, strict=True)).get(deleted) in _NOT_DELETED:
            yield row
            continue
        found.rows += 1
        sku = _sku(row, columns)
        if sku:
            found.note(sku, Change(row.place, GONE))
        else:
            error = RowError(row.place, "sku", "is missing: nobody can say which product is gone", str(row.values))
            _reject(found, Part(rejected=[error]), bad)


def _sku(row: RawRow, columns: Columns) -> str:
    try:
        return field_text(column_plan(row.names, dict(columns)), row.values, "sku")
    except ProductError:
        return ""


def _with_sku(place: int, outcome: Product | RowError) -> Product | RowError:
    if isinstance(outcome, Product) and outcome.sku.startswith("row-"):
        return RowError(place, "sku", "is missing: a change needs the sku of what it changes", outcome.canonical())
    return outcome


def _reject(found: _Changes, part: Part, bad: IO[bytes]) -> None:
    found.rejected += len(part.rejected)
    found.reasons.reasons.update(reason_kind(error.column, error.reason) for error in part.rejected)
    bad.writelines(map(quarantine_line, part.rejected))


def _merged(base: Iterable[bytes], by_sku: dict[str, Change], changed: IO[bytes]) -> Iterator[bytes]:
    applied: set[str] = set()
    for line in base:
        sku = json.loads(line)["sku"]
        change = by_sku.get(sku)
        if change is None:
            yield line + b"\n"
        else:
            applied.add(sku)
            yield from _line_of(change, changed)
    for sku, change in by_sku.items():
        if sku not in applied:
            yield from _line_of(change, changed)


def _line_of(change: Change, changed: IO[bytes]) -> Iterator[bytes]:
    if change.byte != GONE:
        changed.seek(change.byte)
        yield changed.readline()


def _write(lines: Iterator[bytes], good: IO[bytes]) -> tuple[Figures, str]:
    figures, digest = Figures(), hashlib.sha256()
    while chunk := list(islice(lines, CHUNK_ROWS)):
        tables: list[dict[str, Any]] = list(map(json.loads, chunk))
        figures.add(figures_of([product_from_dict(table) for table in tables]))
        content = b"".join(chunk)
        digest.update(content)
        good.write(content)
    return figures, digest.hexdigest()
