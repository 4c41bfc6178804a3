"""
The reading sheet: whether an ad makes sense for its product, marked by a reader and never by a rule.

A mark belongs to one bundle, one pair and the words that were read; on other words it counts for nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.training.written import Written

SHEET_SEED = 0
"""Every bundle's sheet draws the same rows."""


class SheetError(ValueError):
    """A reading sheet that cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One line: `sense` is None where nobody has read the ad yet."""

    bundle: str
    pair: str
    creative: str
    words: str
    """Digest of the words, empty in a line that names only the creative's id."""
    sense: bool | None
    why: str

    def belongs_to(self, written: Written) -> bool:
        """Whether these are the words that were read."""
        if self.words:
            return self.words == written.words_digest()
        return self.creative == written.creative


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sheet says about one bundle's ads."""

    sense: dict[str, bool]
    """By pair id."""
    notes: tuple[str, ...]
    """What was passed over, a sentence each."""


def read_sheet(path: Path) -> list[Mark]:
    """Every line; none where there is no file. Raises SheetError with the number of the first bad line."""
    if not path.exists():
        return []
    marks = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            marks.append(_mark(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise SheetError(f"{path}, line {number}: not a mark of the reading sheet ({error!r})") from error
    return marks


def join(marks: Sequence[Mark], bundle: str, written: Sequence[Written]) -> Reading:
    """The marks of this bundle on exactly the words that it wrote. Raises SheetError where two marks disagree."""
    rows = {each.pair.id: each for each in written}
    ours = [mark for mark in marks if mark.bundle == bundle]
    read = [mark for mark in ours if mark.sense is not None]
    here = [mark for mark in read if mark.pair in rows]
    fitting = [mark for mark in here if mark.belongs_to(rows[mark.pair])]
    sense: dict[str, bool] = {}
    for mark in fitting:
        if sense.setdefault(mark.pair, bool(mark.sense)) != mark.sense:
            raise SheetError(f"the reading sheet marks {mark.pair} as sense and as nonsense; keep one of the two lines")
    counts = {
        "are of other bundles": len(marks) - len(ours),
        "hold no answer yet": len(ours) - len(read),
        "are of rows that were not scored": len(read) - len(here),
        "are of other words than this bundle writes now, and count for nothing": len(here) - len(fitting),
    }
    notes = [f"reading sheet: {count} of {len(marks)} marks {what}" for what, count in counts.items() if count]
    return Reading(sense, tuple(notes))


def write_sheet(path: Path, bundle: str, written: Sequence[Written], rows: int) -> int:
    """
    A sheet to mark: product row and ad beside each other, `sense` null. Returns how many lines it has.

    Raises SheetError where the file exists: marks are made by hand and are not written over.
    """
    if rows < 1:
        raise SheetError("--sheet-rows takes a whole number from 1")
    drawn = random.Random(SHEET_SEED).sample(list(written), min(rows, len(written)))
    lines = [json.dumps(_line(bundle, each), ensure_ascii=False) + "\n" for each in drawn]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(lines)
    except FileExistsError:
        raise SheetError(f"{path} exists and may hold marks; name another file") from None
    return len(lines)


def _mark(table: dict[str, Any]) -> Mark:
    sense = table["sense"]
    if sense is not None and not isinstance(sense, bool):
        raise TypeError(f"sense should be true, false or null, and is {sense!r}")
    said = {key: table[key] for key in ("bundle", "pair", "creative")}
    said |= {key: table.get(key, "") for key in ("words", "why")}
    for key, value in said.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} should be a text, and is {value!r}")
    return Mark(**said, sense=sense)


def _line(bundle: str, written: Written) -> dict[str, Any]:
    product = {key: value for key, value in asdict(written.pair.product).items() if value and key != "sku"}
    said = {key: value for key, value in asdict(written.words).items() if value}
    return {
        "bundle": bundle,
        "pair": written.pair.id,
        "creative": written.creative,
        "words": written.words_digest(),
        "channel": written.pair.spec.name,
        "product": product,
        "ad": said,
        "sense": None,
        "why": "",
    }
