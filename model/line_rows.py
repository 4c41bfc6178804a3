"""
Rows of files that are read line by line, CSV and JSON Lines, from any place between two rows to any other.

Knows nothing about products and does not tell formats apart: `rows` does. A row that cannot be taken apart is handed
on with its problem, and the next one follows.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

Format = Literal["csv", "json", "jsonl", "yaml"]

ROW_CHARS_MAX = 4 * 1024 * 1024
"""A longer row is refused, so that memory stays bounded whatever the file holds."""
ROW_LINES_MAX, ROW_LINES_MIN = 2_000_000, 50
"""Lines that one CSV row may run over; the limit falls from the first to the second in a file full of open quotes."""
TEXT_CHARS_MAX, TEXT_LINES_MAX = 500, 5
"""What is shown of a row that cannot be read."""
BAD_BYTE = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is no UTF-8
_NOT_UTF8 = "holds bytes that are not UTF-8; save the file as UTF-8"
SEPARATOR_NOTE = re.compile(r"sep=([,;\t])[\r\n]")
"""First line that Excel writes and hides."""


class RawRow(NamedTuple):
    """One row as it stands. With a `problem` it has no values."""

    place: int
    """Line of the file where the row begins, or for JSON the number of the item; both count from 1."""
    names: tuple[str, ...]
    values: Sequence[Any]
    problem: str = ""
    text: str = ""
    """With a problem, the beginning of what stands there."""


class Position(NamedTuple):
    """Between two rows of a file: everything that how the next one is read depends on, beside the layout."""

    byte: int = 0
    line: int = 0
    """Lines before it."""
    row_lines_max: int = ROW_LINES_MAX


class Layout(NamedTuple):
    """How the rows of a file that is read line by line are written."""

    format: Format
    names: tuple[str, ...] = ()
    """Of the columns; for JSON Lines none."""
    separator: str = ""


class _RowTooLongError(Exception):
    """The lines held for one row passed a limit."""


class _Lines:
    """
    Lines for csv.reader that remember which of them the current row took.

    A quote that is never closed takes in the lines that follow. `give_back` returns all but the first, so that the
    mistake costs one line. Each time that takes long, the next row may take half as many lines: otherwise a file of
    open quotes would be read once for each of its lines.
    """

    def __init__(self, stream: TextIO, start: Position) -> None:
        self._stream = stream
        self._returned: deque[str] = deque()
        self._chars = 0
        self._row_lines_max = start.row_lines_max
        self.row: list[str] = []
        self.number = start.line
        self.byte = start.byte

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._stream.readline(ROW_CHARS_MAX)
        if not line:
            raise StopIteration
        self.number += 1
        self.byte += _bytes_of(line)
        self.row.append(line)
        self._chars += len(line)
        if self._chars >= ROW_CHARS_MAX:
            self._skip_rest(line)
            raise _RowTooLongError
        if len(self.row) > self._row_lines_max:
            raise _RowTooLongError
        return line

    def _skip_rest(self, line: str) -> None:
        while line and not line.endswith(("\n", "\r")):
            line = self._stream.readline(ROW_CHARS_MAX)
            self.byte += _bytes_of(line)

    def begin_row(self) -> int:
        """Forget the lines of the row before; the number of the line that comes next."""
        self.row.clear()
        self._chars = 0
        return self.number + 1

    def give_back(self) -> None:
        again = self.row[1:]
        self._returned.extendleft(reversed(again))
        self.number -= len(again)
        self.byte -= sum(map(_bytes_of, again))
        if len(again) > ROW_LINES_MIN:
            self._row_lines_max = max(ROW_LINES_MIN, self._row_lines_max // 2)

    @property
    def position(self) -> Position:
        """After the lines that were taken and not given back."""
        return Position(self.byte, self.number, self._row_lines_max)


class RowRun:
    """
    The rows that begin from `start` on and before `byte_stop`, once; the last one may end after it.

    Two runs give what one over both gives if the second starts where the first ended, at its `position`.
    """

    def __init__(self, path: Path, layout: Layout, start: Position | None = None, byte_stop: int | None = None) -> None:
        self._path = path
        self._layout = layout
        self._byte_stop = sys.maxsize if byte_stop is None else byte_stop
        self._start = start or Position()
        self._lines: _Lines | None = None

    @property
    def position(self) -> Position:
        """Before the row that comes next."""
        return self._lines.position if self._lines else self._start

    def __iter__(self) -> Iterator[RawRow]:
        with self._path.open("rb") as file:
            start = self._start
            if start.byte == 0 and file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
                start = start._replace(byte=len(codecs.BOM_UTF8))
            file.seek(start.byte)
            # Bytes that are no UTF-8 come as lone surrogates, so that they cost their own row only.
            with io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="") as stream:
                self._lines = _Lines(stream, start)
                read = _csv_rows if self._layout.format == "csv" else _json_lines
                yield from read(self._lines, self._layout, self._byte_stop)


def _csv_rows(lines: _Lines, layout: Layout, byte_stop: int) -> Iterator[RawRow]:
    """Where the layout has no names, the header first, with its names and no values. Empty lines are no rows."""
    # The limit is one for the whole process; raising it is the only way to take long cells in.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_CHARS_MAX))
    names = layout.names
    reader = csv.reader(lines, delimiter=layout.separator, strict=True)
    while lines.byte < byte_stop:
        place = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _RowTooLongError) as error:
            problem, text = _quote_problem(error, lines), _beginning(lines)
            lines.give_back()
            yield RawRow(place, names, (), problem, text)
            continue
        if not cells or (not names and SEPARATOR_NOTE.match(lines.row[0])):
            continue
        if any(map(_has_bad_byte, lines.row)):
            yield RawRow(place, names, (), _NOT_UTF8, _beginning(lines))
        elif not names:
            names = tuple(cells)
            yield RawRow(place, names, ())
        else:
            yield _csv_row(place, names, cells, lines)


def _beginning(lines: _Lines) -> str:
    return "".join(line[:TEXT_CHARS_MAX] for line in lines.row[:TEXT_LINES_MAX])[:TEXT_CHARS_MAX]


def _csv_row(place: int, names: tuple[str, ...], cells: list[str], lines: _Lines) -> RawRow:
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()  # separators at the end of a line, which some exports add, hold nothing
    if len(cells) == len(names):
        return RawRow(place, names, cells)
    problem = f"has {len(cells)} fields where the header has {len(names)}"
    if len(lines.row) > 1:
        problem += f"; it runs over {len(lines.row)} lines, so a quote may be missing"
    return RawRow(place, names, (), problem, _beginning(lines))


def _quote_problem(error: Exception, lines: _Lines) -> str:
    if isinstance(error, _RowTooLongError) and len(lines.row) == 1:
        return f"is longer than {ROW_CHARS_MAX:,} characters"
    if isinstance(error, _RowTooLongError) or "end of data" in str(error):
        return "opens a quote that is never closed"
    return "has a quote in the wrong place; write a quote inside a quoted field twice"


def _bytes_of(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode(errors="surrogateescape"))


def _has_bad_byte(line: str) -> bool:
    return not line.isascii() and BAD_BYTE.search(line) is not None


def mapping_row(place: int, item: Any) -> RawRow:
    if not isinstance(item, dict):
        return RawRow(place, (), (), "is no object with named fields")
    return RawRow(place, tuple(map(str, item)), tuple(item.values()))


def _json_lines(lines: _Lines, _layout: Layout, byte_stop: int) -> Iterator[RawRow]:
    while lines.byte < byte_stop:
        place = lines.begin_row()
        try:
            line = next(lines)
        except StopIteration:
            return
        except _RowTooLongError:
            yield RawRow(place, (), (), f"is longer than {ROW_CHARS_MAX:,} characters", _beginning(lines))
            continue
        if line.strip():
            row = _json_line(place, line)
            yield row._replace(text=_beginning(lines)) if row.problem else row


def _json_line(place: int, line: str) -> RawRow:
    if _has_bad_byte(line):
        return RawRow(place, (), (), _NOT_UTF8)
    try:
        return mapping_row(place, parse_json(line))
    except json.JSONDecodeError as error:
        return RawRow(place, (), (), f"is not valid JSON: {error.msg} at character {error.pos + 1}")
    except RecursionError:
        return RawRow(place, (), (), "is nested too deeply")


def parse_json(text: str) -> Any:
    """Numbers stay as they are written ("10.00"), because a price is text; NaN and infinities stay floats."""
    return json.loads(text, parse_float=str, parse_int=str)
