"""
What sets of pairs teach: which of their pairs go into a dataset, and why the others do not.

Ad-only, as `lessons` is for feedback. Changes no row.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from model.heldout import HeldOut
from model.pair import pair_from_dict
from model.pair_file import refusal
from model.store.objects import ObjectMissingError, ObjectStore
from model.store.pair_sets import PairSetRow

SHARE_OF_CURATED_MAX = 1.0
"""Pairs of sets in a dataset, for each curated one: whatever is sent, half of what people wrote with care stays."""
NOTHING_LEFT = "none of its pairs is new and may be learnt from"


@dataclass(frozen=True, slots=True)
class SetLesson:
    """What one set adds to a dataset, in the order of its file."""

    row: PairSetRow
    lines: tuple[str, ...]
    is_whole: bool
    """Every pair was looked at; False where there was no room for more."""

    @property
    def why(self) -> str:
        """Why not all that was accepted is learnt; empty where it is."""
        if len(self.lines) == self.row.accepted - self.row.held_out:
            return ""
        if self.is_whole:
            return "the others repeat what is learnt already, or may not be learnt from any more"
        return "drawn from it, because pairs of sets are at most as many as the curated ones"


@dataclass(slots=True)
class _Drawn:
    """A set whose turn comes again and again, until it has nothing more to give."""

    row: PairSetRow
    rest: Iterator[tuple[int, str]]
    taken: list[tuple[int, str]] = field(default_factory=list)
    is_whole: bool = False

    def give(self) -> bool:
        """True where it gave one pair more."""
        found = next(self.rest, None)
        if found is None:
            self.is_whole = True
            return False
        self.taken.append(found)
        return True

    def lesson(self) -> SetLesson:
        return SetLesson(self.row, tuple(line for _, line in sorted(self.taken)), self.is_whole)


def pair_keys(lines: Iterable[str]) -> set[str]:
    """What the pairs of a dataset's lines teach. Raises ValueError for a line that is none."""
    try:
        return {pair_from_dict(json.loads(line)).key() for line in lines}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a line of the curated pairs is not a training pair ({error!r})") from None


def set_lessons(
    rows: Sequence[PairSetRow], objects: ObjectStore, held: HeldOut, taken: set[str], pairs_max: int
) -> list[SetLesson]:
    """
    At most `pairs_max` pairs of all sets, without those whose key is in `taken`, to which their keys are added.

    The sets take turns, so that a large one leaves room for the small ones; which of its pairs come first is drawn by
    their content, the same at all times. They lie in a file meanwhile: in memory are one set and what was drawn.
    Raises ValueError where the pairs of a set are gone or were changed.
    """
    with tempfile.TemporaryFile() as file:
        drawn = [_Drawn(row, _good_pairs(file, _put_down(file, _content(objects, row)), held, taken)) for row in rows]
        turns, room = deque(drawn), pairs_max
        while turns and room:
            each = turns.popleft()
            if each.give():
                room -= 1
                turns.append(each)
    return [each.lesson() for each in drawn]


def _put_down(file: IO[bytes], content: bytes) -> array[int]:
    """Write a set's lines at the end of the file; where each begins, in the order in which they are drawn."""
    drawn: list[tuple[bytes, int]] = []
    for line in content.removesuffix(b"\n").split(b"\n"):
        drawn.append((hashlib.sha256(line).digest(), file.tell()))
        file.write(line + b"\n")
    return array("Q", (place for _, place in sorted(drawn)))


def _good_pairs(file: IO[bytes], places: Iterable[int], held: HeldOut, taken: set[str]) -> Iterator[tuple[int, str]]:
    """(place in the file, line), judged one by one as they are asked for: it takes milliseconds each."""
    for place in places:
        file.seek(place)
        line = file.readline().decode().removesuffix("\n")
        table = json.loads(line)
        if table.get("held_out"):
            continue
        pair = pair_from_dict(table)
        if (key := pair.key()) in taken or refusal(pair, held):
            continue
        taken.add(key)
        yield place, line


def _content(objects: ObjectStore, row: PairSetRow) -> bytes:
    try:
        content = objects.get(row.object_key)
    except ObjectMissingError:
        content = b""
    if hashlib.sha256(content).hexdigest() != row.content_digest:
        raise ValueError(
            f"the pairs of {row.id} are gone from the object store, or were changed: "
            f"restore {row.object_key}, send its file again, or take the set back with DELETE /v1/pairs/{row.id}"
        )
    return content
