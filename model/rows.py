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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from model.line_rows import (
    BAD_BYTE,
    ROW_CHARS_MAX,
    SEPARATOR_NOTE,
    Format,
    Layout,
    Position,
    RawRow,
    RowRun,
    mapping_row,
    parse_json,
)
from model.yaml_items import YamlError, yaml_items

__all__ = ["ROW_CHARS_MAX", "CatalogueError", "RawRow", "RowSource", "open_rows", "parse_json"]

SAMPLE_BYTES = 64 * 1024
"""The format, the encoding and the separator are told from this much of the file; the header has to fit in."""
WHOLE_BYTES_MAX: Mapping[str, int] = {"json": 256 * 1024 * 1024, "yaml": 32 * 1024 * 1024}
"""JSON and YAML are read whole; CSV and JSON Lines are streamed and may have any size."""
SEPARATORS = (",", ";", "\t")

_GOES_ON = re.compile(r"\[\s*\n\s*\{|\{\s*\n\s*\"|\[\{[^\n]*(?:,[ \r]*\n|\Z)|\[\{[^\n]*\n\s*\Z")
"""Start of JSON that is no JSON Lines although it is called so: an array or an object over several lines."""
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


@dataclass(frozen=True, slots=True)
class RowSource:
    """An opened file: its rows once, in order."""

    format: Format
    header: tuple[str, ...] | None
    """Every column name in the file; None for JSON Lines, which are not known before they are read."""
    rows: Iterator[RawRow]
    layout: Layout | None = None
    """None for a file that is read whole."""
    start: Position | None = None
    """Of the first row, in a file that has a layout."""

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
        layout = Layout(kind)
        return RowSource(kind, None, iter(RowRun(path, layout)), layout, Position())
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
    bad = BAD_BYTE.search(text)
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


def _csv_source(path: Path, text: str) -> RowSource:
    separator = _separator(text)
    run = RowRun(path, Layout("csv", (), separator))
    rows = iter(run)
    header = next(rows, None)
    if header is None or header.problem:
        _refuse(path, f"has no readable header line: it {header.problem if header else 'is empty'}")
    return RowSource("csv", header.names, rows, Layout("csv", header.names, separator), run.position)


def _separator(text: str) -> str:
    """The one that splits most rows of the sample like the header, and the header into most columns."""
    if noted := SEPARATOR_NOTE.match(text):
        return noted[1]

    def merit(separator: str) -> tuple[float, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        widths = [len(row) for row, _ in zip(reader, range(50), strict=False) if row]
        return (widths.count(widths[0]) / len(widths) if widths[0] > 1 else 0.0), widths[0]

    return max(SEPARATORS, key=merit)


# JSON and YAML


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
    return [mapping_row(place, item) for place, item in enumerate(items, start=1)]


def _yaml_rows(path: Path) -> list[RawRow]:
    text = _whole(path, "yaml")
    try:
        items = yaml_items(text)
    except YamlError as error:
        _refuse(path, str(error))
    return [
        RawRow(place, (), (), item.args[0]) if isinstance(item, YamlError) else mapping_row(place, item)
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
