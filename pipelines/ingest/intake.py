"""
One file, every row of it: good ones as canonical lines in a file, the others in quarantine, and figures over both.

Knows neither sources nor stores, and decides nothing about the file as a whole: see `verdict`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from model.catalogue import FirstPlaces, RowError, has_groups, open_catalogue, taken
from model.columns import column_plan
from model.product import product_from_dict
from model.rows import RowSource
from pipelines.ingest.parts import Columns, Part, parts_of
from pipelines.ingest.quality import Figures, reason_kind

RAW_CHARS_MAX = 500
WORKERS = 2
"""Two cores are what a small machine has; on one they cost little."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a file. rows == accepted + rejected + merged."""

    rows: int
    accepted: int
    rejected: int
    merged: int
    digest: str
    """sha256 over the lines, hex."""
    figures: Figures
    """Of the whole catalogue: `figures.products` is its size, also where only changes to it were taken in."""


def take_in(path: Path, columns: Columns, lines: Path, quarantine: Path, *, workers: int = WORKERS) -> Intake:
    """Check every row of `path`. Raises CatalogueError, whose message calls the file by its path, or OSError."""
    source = open_catalogue(path, dict(columns))
    parts = parts_of(source, path, columns, is_alone=not has_groups(source), workers=workers)
    with lines.open("wb") as good, quarantine.open("wb") as bad:
        return _taken_in(parts, _Duplicates(source, columns), good, bad)


class _Duplicates:
    """Takes out of a part what stood in an earlier row, in whichever part that was."""

    def __init__(self, source: RowSource, columns: Columns) -> None:
        self._seen = FirstPlaces(source.place_unit)
        self._column = column_plan(source.header or (), dict(columns)).name_of("sku")

    def remove(self, part: Part) -> None:
        again: dict[int, RowError] = {}
        for index, (sku, place) in enumerate(zip(part.skus, part.places, strict=True)):
            if first := self._seen.add(sku, place):
                again[index] = taken(sku, self._column, place, first, self._seen.unit)
        if not again:
            return
        for index, error in again.items():
            part.figures.subtract(product_from_dict(json.loads(part.lines[index])))
            part.figures.reasons[reason_kind(error.column, error.reason)] += 1
        part.lines = [line for index, line in enumerate(part.lines) if index not in again]
        part.rejected = sorted([*part.rejected, *again.values()], key=lambda error: error.line)


def _taken_in(parts: Iterable[Part], duplicates: _Duplicates, good: IO[bytes], bad: IO[bytes]) -> Intake:
    rows = accepted = rejected = merged = 0
    figures, digest = Figures(), hashlib.sha256()
    for part in parts:
        duplicates.remove(part)
        content = b"".join(part.lines)
        digest.update(content)
        good.write(content)
        bad.writelines(map(quarantine_line, part.rejected))
        figures.add(part.figures)
        rows += part.rows
        accepted += len(part.lines)
        rejected += len(part.rejected)
        merged += part.merged
    return Intake(rows, accepted, rejected, merged, digest.hexdigest(), figures)


def quarantine_line(error: RowError) -> bytes:
    """One line of a quarantine: where, why, and the beginning of what stood there."""
    shown = {"line": error.line, "column": error.column, "reason": error.reason, "raw": error.text[:RAW_CHARS_MAX]}
    return f"{json.dumps(shown, ensure_ascii=False)}\n".encode(errors="backslashreplace")
