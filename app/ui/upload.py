"""
The catalogue that a session has uploaded, as far as the page itself reads it: to show rows, to draw, to send a part.

The service reads the file for good and says what is wrong with it; here a row that cannot be read is left out.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

ROWS_MAX = 10_000
"""Kept to show and to draw, as many as the service takes in one batch."""
ROWS_CHARS_MAX = 4_000_000
"""Of all rows kept together; with KEPT_BYTES_MAX what one session may take of this process's memory."""
KEPT_BYTES_MAX = 4 * 1024 * 1024
"""
Of a file once it is packed, which makes exports four times smaller.

A larger one is not kept, and a part of it cannot be sent again: then the whole is.
"""
PACKING_LEVEL = 1
"""The fastest: a higher one takes seconds for a tenth less."""
COLUMNS_KNOWN_MAX = 4_096
CELL_CHARS_MAX = 6_000
COLUMN_CHARS_MAX = 200
CELL_LIMIT = 2**31 - 1
"""Of csv, one for the whole process; its own would end the file at a cell that the service takes."""

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        field: tuple(name.strip() for name in names.split(","))
        for field, names in {
            "sku": "sku, id, handle, url handle, product id, item id, item number, article number, asin, variant sku",
            "title": "title, product title, product name, name, item name, product",
            "description": "description, product description, body (html), body html, long description, body, desc, "
            "short description",
            "category": "category, categories, product type, type, product category, google product category",
            "brand": "brand, brand name, vendor, manufacturer",
            "price": "price, variant price, regular price, list price, unit price",
        }.items()
    }
)
"""As model/columns.py reads them, best first; tests/ui/test_upload.py holds the two together."""
SUFFIX_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".txt": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
}
PACKED = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")
"""How archives and compressed files begin; Excel's .xlsx is one of them."""

_TAG = re.compile(r"<[^>]{0,2000}>")
SEPARATOR_NOTE = re.compile(r"sep=([,;\t])(?:\r\n?|\n)")
"""First line that Excel writes and hides, as the service knows it."""
_BAD_BYTE = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is no UTF-8


class UploadError(ValueError):
    """The file cannot be a catalogue; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One file, with the service's answer to it. `packed` is empty where it was too large to keep."""

    name: str
    packed: bytes
    media_type: str
    rows: tuple[dict[str, str], ...]
    answer: dict[str, Any]

    @property
    def content(self) -> bytes:
        """As it was sent; empty where it is not kept."""
        return zlib.decompress(self.packed) if self.packed else b""

    def part(self, skus: Collection[str]) -> bytes:
        """The same file with the rows of these products alone; empty where that cannot be told."""
        content = self.content
        try:
            if self.media_type == "text/csv":
                return _csv_part(content, skus)
            return _json_part(content, skus, is_list=self.media_type == "application/json")
        except (ValueError, csv.Error, RecursionError):
            return b""


def open_upload(name: str, content: bytes, media_type: str, answer: dict[str, Any]) -> Upload:
    """Read and packed as far as it may be kept. Takes a second for 10,000 products: not for an event loop."""
    packed = zlib.compress(content, PACKING_LEVEL)
    kept = packed if len(packed) <= KEPT_BYTES_MAX else b""
    return Upload(name, kept, media_type, read_rows(content, media_type), answer)


def media_type_of(name: str, start: bytes) -> str:
    """By the ending of its name. Raises UploadError for archives, and for endings that no catalogue has."""
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    if start.startswith(PACKED) or suffix in (".zip", ".gz", ".xlsx", ".xls"):
        raise UploadError(
            "This is a packed file or a workbook, and it was not opened. Unpack it, or save the sheet as CSV, and "
            "drop that."
        )
    if suffix not in SUFFIX_TYPES:
        raise UploadError("Drop a file that ends in .csv, .json or .jsonl: the export of a shop usually does.")
    return SUFFIX_TYPES[suffix]


def read_rows(content: bytes, media_type: str) -> tuple[dict[str, str], ...]:
    """
    The first products with the fields of NAMES, as text without markup: ROWS_MAX and ROWS_CHARS_MAX at most.

    Rows without a title are left out: variants of the product above them, or rows that the service refuses.
    """
    try:
        records = _csv_records(content) if media_type == "text/csv" else _json_records(content)
    except (ValueError, csv.Error, RecursionError):
        return ()
    rows: list[dict[str, str]] = []
    chars = 0
    for record in records:
        keyed = _keyed(record)
        row = {field: _plain(_value(keyed, field)) for field in NAMES}
        chars += sum(map(len, row.values()))
        if len(rows) == ROWS_MAX or chars > ROWS_CHARS_MAX:
            break
        if row["title"]:
            rows.append(row)
    return tuple(rows)


def _plain(text: str) -> str:
    """Without halves of characters, which a shop that cuts texts leaves behind and nobody can send."""
    whole = text[:CELL_CHARS_MAX].encode(errors="ignore").decode()
    return " ".join(_TAG.sub(" ", whole).split())


def _keyed(record: Mapping[str, Any]) -> dict[str, Any]:
    return {_column_key(str(name)): value for name, value in record.items()}


def _value(keyed: Mapping[str, Any], field: str) -> str:
    """Of the first column of that field that is filled."""
    for name in NAMES[field]:
        value = keyed.get(name)
        if isinstance(value, str | int | float) and str(value).strip():
            return str(value).strip()
    return ""


@lru_cache(maxsize=COLUMNS_KNOWN_MAX)
def _column_key(name: str) -> str:
    """Case, underscores, hyphens and camel case do not matter. A file has the same few columns in every row."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name[:COLUMN_CHARS_MAX])
    return " ".join(re.sub(r"[_\-]+", " ", spaced).lower().split())


def _table(content: bytes) -> tuple[list[str], list[list[str]], str]:
    """Header, records and delimiter."""
    text = content.decode("utf-8-sig", "surrogateescape")
    csv.field_size_limit(CELL_LIMIT)
    if note := SEPARATOR_NOTE.match(text):
        text = text[note.end() :]
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = next(reader, [])
    return header, [record for record in reader if any(record) and not _BAD_BYTE.search("".join(record))], delimiter


def _csv_records(content: bytes) -> list[dict[str, Any]]:
    header, records, _ = _table(content)
    return [dict(zip(header, record, strict=False)) for record in records]


def _csv_part(content: bytes, skus: Collection[str]) -> bytes:
    header, records, delimiter = _table(content)
    keys = [_column_key(name) for name in header]
    wanted = [record for record in records if _value(dict(zip(keys, record, strict=False)), "sku") in skus]
    if not wanted:
        return b""
    part = io.StringIO(newline="")
    csv.writer(part, delimiter=delimiter).writerows([header, *wanted])
    return part.getvalue().encode()


def _json_records(content: bytes) -> list[dict[str, Any]]:
    """A list, an object that holds one as its products, or one object a line."""
    text = content.decode("utf-8-sig", "surrogateescape").strip()
    try:
        read = _parsed(text)
    except (ValueError, RecursionError):
        read = list(_json_lines(text))
    if isinstance(read, dict):
        products = read.get("products")
        read = products if isinstance(products, list) else [read]
    return [record for record in read if isinstance(record, dict)] if isinstance(read, list) else []


def _json_lines(text: str) -> Iterator[Any]:
    for line in io.StringIO(text, newline=""):
        if not _BAD_BYTE.search(line):
            with suppress(ValueError, RecursionError):
                yield _parsed(line)


def _json_part(content: bytes, skus: Collection[str], *, is_list: bool) -> bytes:
    records = [record for record in _json_records(content) if _value(_keyed(record), "sku") in skus]
    if is_list:
        return json.dumps(records, ensure_ascii=False).encode() if records else b""
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records).encode()


def _parsed(text: str) -> Any:
    """Numbers as they are written, as the service reads them: a price is text."""
    return json.loads(text, parse_float=str, parse_int=str)
