"""
The raw rows of a file, each with the place where it stands: CSV, JSON, JSON Lines and YAML.

Knows nothing about products; a row that cannot be taken apart is handed on with its problem, and the next one follows.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, TextIO

from model.yaml_items import YamlError, yaml_items

Format = Literal["csv", "json", "jsonl", "yaml"]

SAMPLE_BYTES = 64 * 1024
"""The format, the encoding and the separator are told from this much of the file; the header has to fit in."""
ROW_CHARS_MAX = 4 * 1024 * 1024
"""A longer row is refused, so that memory stays bounded whatever the file holds."""
ROW_LINES_MAX, ROW_LINES_MIN = 2_000_000, 50
"""Lines that one CSV row may run over; the limit falls from the first to the second in a file full of open quotes."""
WHOLE_BYTES_MAX: Mapping[str, int] = {"json": 256 * 1024 * 1024, "yaml": 32 * 1024 * 1024}
"""JSON and YAML are read whole; CSV and JSON Lines are streamed and may have any size."""
SEPARATORS = (",", ";", "\t")

_BAD_BYTE = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is no UTF-8
_NOT_UTF8 = "holds bytes that are not UTF-8; save the file as UTF-8"
_GOES_ON = re.compile(r"\[\s*\n\s*\{|\{\s*\n\s*\"|\[\{[^\n]*(?:,[ \r]*\n|\Z)|\[\{[^\n]*\n\s*\Z")
"""Start of JSON that is no JSON Lines although it is called so: an array or an object over several lines."""
_SEPARATOR_NOTE = re.compile(r"sep=([,;\t])[\r\n]")
"""First line that Excel writes and hides."""
_MAGIC = (
    (b"PK\x03\x04", "is a ZIP archive or an Excel workbook: open it and save it as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook: open it and save it as CSV (UTF-8)"),
    (b"\x1f\x8b", "is compressed: unpack it first"),
    (b"%PDF", "is a PDF: export the products as CSV or JSON"),
    (b"PAR1", "is a Parquet file: export it as CSV or JSON Lines"),
    (b"\xff\xfe", "is encoded as UTF-16: save it again as UTF-8"),
    (b"\xfe\xff", "is encoded as UTF-16: save it again as UTF-8"),
)


class CatalogueError(ValueError):
    """The file as a whole cannot be read. The message names it and says what to do."""


class RawRow(NamedTuple):
    """One row as it stands. With a `problem` it has no values."""

    place: int
    """Line of the file where the row begins, or for JSON the number of the item; both count from 1."""
    names: tuple[str, ...]
    values: Sequence[Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RowSource:
    """An opened file: its rows once, in order."""

    format: Format
    header: tuple[str, ...] | None
    """Every column name in the file; None for JSON Lines, which are not known before they are read."""
    rows: Iterator[RawRow]

    @property
    def place_unit(self) -> str:
        """What `RawRow.place` counts."""
        return "item" if self.format == "json" else "line"


def open_rows(path: Path) -> RowSource:
    """Tell the format and read up to the first row. Raises CatalogueError where there is nothing to read."""
    try:
        with path.open("rb") as stream:
            sample = stream.read(SAMPLE_BYTES)
    except FileNotFoundError:
        _refuse(path, "does not exist: check the path")
    except IsADirectoryError:
        _refuse(path, "is a folder: name one file in it")
    except OSError as error:
        _refuse(path, f"cannot be opened: {error.strerror}")
    text = _sample_text(path, sample)
    kind = _format(path, text)
    if kind == "csv":
        return _csv_source(path, text)
    if kind == "jsonl":
        return RowSource(kind, None, _json_lines(path))
    rows = _json_items(path) if kind == "json" else _yaml_rows(path)
    return RowSource(kind, tuple(dict.fromkeys(name for row in rows for name in row.names)), iter(rows))


def _refuse(path: Path, reason: str) -> NoReturn:
    raise CatalogueError(f"{path} {reason}") from None


def _sample_text(path: Path, sample: bytes) -> str:
    for magic, reason in _MAGIC:
        if sample.startswith(magic):
            _refuse(path, reason)
    if b"\x00" in sample:
        _refuse(path, "is binary or UTF-16, not text: save it as CSV or JSON in UTF-8")
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
    text = decoder.decode(sample, final=len(sample) < SAMPLE_BYTES)
    if not text.strip():
        _refuse(path, "is empty: it needs a header and at least one product")
    bad = _BAD_BYTE.search(text)
    if bad and not re.search("[\u0080-\ud7ff\ue000-\U0010ffff]", text):
        line = text.count("\n", 0, bad.start()) + 1
        _refuse(path, f"is not UTF-8 (first seen in line {line}), perhaps Latin-1 or Windows-1252: save it as UTF-8")
    if text.lstrip().startswith("<"):
        _refuse(path, "is XML or HTML: export the products as CSV or JSON")
    return text


def _format(path: Path, text: str) -> Format:
    """By content; the name only decides between formats that look alike."""
    suffix = path.suffix.lower()
    start = text.lstrip()
    if suffix in {".yaml", ".yml"} or start.startswith(("- ", "---\n", "products:\n")):
        return "yaml"
    first, _, rest = start.partition("\n")
    if start.startswith(("{", "[")):
        return "jsonl" if _is_json_lines(first, rest, suffix) else "json"
    if suffix in {".jsonl", ".ndjson"}:
        return "jsonl"
    return "json" if suffix == ".json" else "csv"


def _is_json_lines(first: str, rest: str, suffix: str) -> bool:
    if suffix in {".jsonl", ".ndjson"}:
        return not _GOES_ON.match(f"{first}\n{rest}")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False  # spread over lines, or cut off by the sample
    return isinstance(value, dict) and not isinstance(value.get("products"), list)


# CSV


class _RowTooLongError(Exception):
    """The lines held for one row passed a limit."""


class _Lines:
    """
    Lines for csv.reader that remember which of them the current row took.

    A quote that is never closed takes in the lines that follow. `give_back` returns all but the first, so that the
    mistake costs one line. Each time that takes long, the next row may take half as many lines: otherwise a file of
    open quotes would be read once for each of its lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._returned: deque[str] = deque()
        self._chars = 0
        self._row_lines_max = ROW_LINES_MAX
        self.row: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._stream.readline(ROW_CHARS_MAX)
        if not line:
            raise StopIteration
        self.number += 1
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

    def begin_row(self) -> int:
        """Forget the lines of the row before; the number of the line that comes next."""
        self.row.clear()
        self._chars = 0
        return self.number + 1

    def give_back(self) -> None:
        again = self.row[1:]
        self._returned.extendleft(reversed(again))
        self.number -= len(again)
        if len(again) > ROW_LINES_MIN:
            self._row_lines_max = max(ROW_LINES_MIN, self._row_lines_max // 2)


def _csv_source(path: Path, text: str) -> RowSource:
    rows = _csv_rows(path, _separator(text))
    header = next(rows, None)
    if header is None or header.problem:
        _refuse(path, f"has no readable header line: it {header.problem if header else 'is empty'}")
    return RowSource("csv", header.names, rows)


def _separator(text: str) -> str:
    """The one that splits most rows of the sample like the header, and the header into most columns."""
    if noted := _SEPARATOR_NOTE.match(text):
        return noted[1]

    def merit(separator: str) -> tuple[float, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        widths = [len(row) for row, _ in zip(reader, range(50), strict=False) if row]
        return (widths.count(widths[0]) / len(widths) if widths[0] > 1 else 0.0), widths[0]

    return max(SEPARATORS, key=merit)


def _csv_rows(path: Path, separator: str) -> Iterator[RawRow]:
    """The header first, with its names and no values; then the rows. Empty lines are no rows."""
    # The limit is one for the whole process; raising it is the only way to take long cells in.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_CHARS_MAX))
    names: tuple[str, ...] = ()
    with _text_stream(path) as stream:
        lines = _Lines(stream)
        reader = csv.reader(lines, delimiter=separator, strict=True)
        while True:
            place = lines.begin_row()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _RowTooLongError) as error:
                yield RawRow(place, names, (), _quote_problem(error, lines))
                lines.give_back()
                continue
            if not cells or (not names and _SEPARATOR_NOTE.match(lines.row[0])):
                continue
            if any(map(_has_bad_byte, lines.row)):
                yield RawRow(place, names, (), _NOT_UTF8)
            elif not names:
                names = tuple(cells)
                yield RawRow(place, names, ())
            else:
                yield _csv_row(place, names, cells, len(lines.row))


def _csv_row(place: int, names: tuple[str, ...], cells: list[str], lines: int) -> RawRow:
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()  # separators at the end of a line, which some exports add, hold nothing
    if len(cells) == len(names):
        return RawRow(place, names, cells)
    problem = f"has {len(cells)} fields where the header has {len(names)}"
    if lines > 1:
        problem += f"; it runs to line {place + lines - 1}, so a quote may be missing"
    return RawRow(place, names, (), problem)


def _quote_problem(error: Exception, lines: _Lines) -> str:
    if isinstance(error, _RowTooLongError) and len(lines.row) == 1:
        return f"is longer than {ROW_CHARS_MAX:,} characters"
    if isinstance(error, _RowTooLongError) or "end of data" in str(error):
        return "opens a quote that is never closed"
    return "has a quote in the wrong place; write a quote inside a quoted field twice"


def _text_stream(path: Path) -> TextIO:
    """Bytes that are no UTF-8 come as lone surrogates, so that they cost their own row only."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _has_bad_byte(line: str) -> bool:
    return not line.isascii() and _BAD_BYTE.search(line) is not None


# JSON and YAML


def _mapping_row(place: int, item: Any) -> RawRow:
    if not isinstance(item, dict):
        return RawRow(place, (), (), "is no object with named fields")
    return RawRow(place, tuple(map(str, item)), tuple(item.values()))


def _json_lines(path: Path) -> Iterator[RawRow]:
    with _text_stream(path) as stream:
        lines = _Lines(stream)
        while True:
            place = lines.begin_row()
            try:
                line = next(lines)
            except StopIteration:
                return
            except _RowTooLongError:
                yield RawRow(place, (), (), f"is longer than {ROW_CHARS_MAX:,} characters")
                continue
            if line.strip():
                yield _json_line(place, line)


def _json_line(place: int, line: str) -> RawRow:
    if _has_bad_byte(line):
        return RawRow(place, (), (), _NOT_UTF8)
    try:
        return _mapping_row(place, parse_json(line))
    except json.JSONDecodeError as error:
        return RawRow(place, (), (), f"is not valid JSON: {error.msg} at character {error.pos + 1}")
    except RecursionError:
        return RawRow(place, (), (), "is nested too deeply")


def parse_json(text: str) -> Any:
    """Numbers stay as they are written ("10.00"), because a price is text; NaN and infinities stay floats."""
    return json.loads(text, parse_float=str, parse_int=str)


def _json_items(path: Path) -> list[RawRow]:
    try:
        items = parse_json(_whole(path, "json"))
    except json.JSONDecodeError as error:
        place = f"at character {error.pos + 1} (line {error.lineno}, column {error.colno})"
        _refuse(path, f"is not complete, valid JSON: {error.msg} {place}; nothing was read")
    except RecursionError:
        _refuse(path, "is nested too deeply to be a list of products")
    if isinstance(items, dict):
        items = items["products"] if isinstance(items.get("products"), list) else [items]
    if not isinstance(items, list):
        _refuse(path, 'holds no products: it has to be a list of objects, or {"products": [...]}')
    return [_mapping_row(place, item) for place, item in enumerate(items, start=1)]


def _yaml_rows(path: Path) -> list[RawRow]:
    text = _whole(path, "yaml")
    try:
        items = yaml_items(text)
    except YamlError as error:
        _refuse(path, str(error))
    return [
        RawRow(place, (), (), item.args[0]) if isinstance(item, YamlError) else _mapping_row(place, item)
        for place, item in items
    ]


def _whole(path: Path, kind: Format) -> str:
    size, limit = path.stat().st_size, WHOLE_BYTES_MAX[kind]
    if size > limit:
        _refuse(
            path, f"has {size:,} bytes; {kind.upper()} may have {limit:,}: use CSV or JSON Lines, which have no limit"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(path, f"is not UTF-8 at byte {error.start + 1}: save it as UTF-8")
