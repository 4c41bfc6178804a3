"""
Products from the files that shops export: every row becomes a product, part of one, or a `RowError`.

A bad row never stops the rest. What a file looks like inside is the business of `rows`, what a row means of `product`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.columns import ColumnMappingError, ColumnPlan, column_key, column_plan
from model.line_rows import TEXT_CHARS_MAX
from model.product import (
    ATTRIBUTE_CHARS_MAX,
    Product,
    ProductError,
    field_text,
    option_name,
    option_value,
    product_from_row,
)
from model.rows import CatalogueError, RawRow, RowSource, open_rows

__all__ = ["Catalogue", "CatalogueError", "RowError", "iter_rows", "read_catalogue"]

COLUMNS_SHOWN_MAX = 20
"""Of a row that is no product, and of each at most its beginning."""


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one row is no product."""

    line: int
    """Line of the file where the row begins; for JSON, the number of the item in the list. Both count from 1."""
    column: str
    """As the file writes it; empty where the row as a whole is wrong."""
    reason: str
    text: str = field(default="", compare=False)
    """The beginning of the row, for whoever has to find out; in CSV the cells with a separator of ours."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A whole file. Always: len(products) + len(rejected) + merged == rows."""

    products: tuple[Product, ...]
    rejected: tuple[RowError, ...]
    rows: int
    """Rows in the file without its header and empty lines, counted where they are read."""
    merged: int = 0
    """Rows that became part of the product above them: Shopify writes further variants and pictures so."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The row went into the product above it."""


Outcome = Product | RowError | Merged


def iter_rows(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[Product | RowError]:
    """
    Products and errors of a file, as they are read; CSV and JSON Lines of any length take little memory.

    `columns` maps column names to `columns.TARGETS`. A product with several rows comes after its last row. Raises
    CatalogueError, most often at the call, and while iterating only if the file stops being readable.
    """
    source = _opened(path, columns)
    return (outcome for _, outcome in _outcomes(source, source.rows, columns) if not isinstance(outcome, Merged))


def open_catalogue(path: Path, columns: Mapping[str, str] | None = None) -> RowSource:
    """The file with its header looked at, for `outcomes` or `lone_outcomes`. Raises CatalogueError."""
    return _opened(path, columns)


def has_groups(source: RowSource) -> bool:
    """Whether a row may go into the product above it; where it may not, `lone_outcomes` will do."""
    return source.format == "csv" and bool(column_plan(source.header or ()).fields["handle"])


def outcomes(source: RowSource, columns: Mapping[str, str] | None = None) -> Iterator[tuple[int, Outcome]]:
    """As `iter_rows`, each with the place where its row begins, and one for each row of the file."""
    return _outcomes(source, source.rows, columns)


def lone_outcomes(
    rows: Iterable[RawRow], columns: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Product | RowError]]:
    """For any run of rows that stand for themselves, each with its place. Whether a sku stood before is not seen."""
    for row in rows:
        if row.problem:
            yield row.place, RowError(row.place, "", row.problem, row.text)
            continue
        yield row.place, _product(column_plan(row.names, columns), row)


def taken(sku: str, column: str, place: int, first: int, unit: str) -> RowError:
    """The error of the row at `place`, whose sku stood at `first` before."""
    return RowError(place, column, f"{sku} stands already in {unit} {first}", sku)


def read_catalogue(path: Path, columns: Mapping[str, str] | None = None) -> Catalogue:
    """The whole file in memory; see `iter_rows` for one that is larger."""
    source = _opened(path, columns)
    rows = _Counted(source.rows)
    products: list[Product] = []
    rejected: list[RowError] = []
    merged = 0
    for _, outcome in _outcomes(source, rows, columns):
        if isinstance(outcome, Product):
            products.append(outcome)
        elif isinstance(outcome, RowError):
            rejected.append(outcome)
        else:
            merged += 1
    return Catalogue(tuple(products), tuple(rejected), rows.count, merged)


class _Counted:
    """Counts what passes, so that the sum in `Catalogue` compares two things that were counted apart."""

    def __init__(self, rows: Iterator[RawRow]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[RawRow]:
        for row in self._rows:
            self.count += 1
            yield row


def _opened(path: Path, columns: Mapping[str, str] | None) -> RowSource:
    source = open_rows(Path(path))
    try:
        plan = column_plan(source.header or (), columns)
    except ColumnMappingError as error:
        raise CatalogueError(f"{path}: {error}") from None
    if not source.header:
        return source
    listed = ", ".join(name for name in source.header if name.strip())[:500]
    keys = set(map(column_key, source.header))
    for name in columns or ():
        if column_key(name) not in keys:
            raise CatalogueError(f"{path} has no column {name!r}, which the mapping names; it has: {listed}")
    if not plan.fields["title"]:
        raise CatalogueError(
            f"{path} has no title column; it has: {listed}. Call one of them title or name, or map one to title"
        )
    return source


def _outcomes(
    source: RowSource, rows: _Counted | Iterator[RawRow], columns: Mapping[str, str] | None
) -> Iterator[tuple[int, Outcome]]:
    """One outcome for each row with its place, in whatever order they become known."""
    seen = FirstPlaces(source.place_unit)
    group: _Group | None = None
    for row in rows:
        if row.problem:
            yield row.place, RowError(row.place, "", row.problem, row.text)
            continue
        plan = column_plan(row.names, columns)
        handle = _cell(plan, row, "handle") if source.format == "csv" else ""
        if group and handle == group.handle and not _cell(plan, row, "title"):
            yield row.place, group.add(row)
            continue
        if group:
            yield from group.whole()
        outcome = _read(plan, row, seen)
        group = _Group(plan, row, handle, outcome) if handle else None
        if not group or isinstance(outcome, RowError):
            yield row.place, outcome
    if group:
        yield from group.whole()


def _cell(plan: ColumnPlan, row: RawRow, field: str) -> str:
    """The first filled cell of a field as it stands, without white space around it."""
    cells = (str(row.values[position]).strip() for position in plan.fields[field])
    return next(filter(None, cells), "")


def _read(plan: ColumnPlan, row: RawRow, seen: FirstPlaces) -> Product | RowError:
    product = _product(plan, row)
    if isinstance(product, Product) and (first := seen.add(product.sku, row.place)):
        return taken(product.sku, plan.name_of("sku"), row.place, first, seen.unit)
    return product


def _product(plan: ColumnPlan, row: RawRow) -> Product | RowError:
    try:
        return product_from_row(plan, row.values)
    except ProductError as error:
        return RowError(row.place, error.column, error.reason, _beginning(row))


def _beginning(row: RawRow) -> str:
    return ", ".join(str(value)[:TEXT_CHARS_MAX] for value in row.values[:COLUMNS_SHOWN_MAX])[:TEXT_CHARS_MAX]


class _Group:
    """A product and the rows below it that have its handle and no title: its further variants and pictures."""

    def __init__(self, plan: ColumnPlan, row: RawRow, handle: str, outcome: Product | RowError) -> None:
        self.handle = handle
        self.product = outcome if isinstance(outcome, Product) else None
        self._plan = plan
        self._place = row.place
        self._facts = {name: [value] for name, value in self.product.attributes} if self.product else {}
        self._options: list[tuple[str, int]] = []
        if self.product:
            self._options = [(option_name(plan, row.values, name), value) for name, value in plan.options]

    def add(self, row: RawRow) -> Merged | RowError:
        """Take a row in. The price and all texts stay those of the first row."""
        if not self.product:
            reason = f"belongs to the product of line {self._place}, which was rejected"
            return RowError(row.place, "", reason, _beginning(row))
        try:
            for name, position in self._options:
                self._add_value(name, option_value(self._plan, row.values, position))
            image = self.product.image or field_text(self._plan, row.values, "image")
        except ProductError as error:
            return RowError(row.place, error.column, error.reason, _beginning(row))
        self.product = replace(self.product, image=image) if image != self.product.image else self.product
        return Merged()

    def _add_value(self, name: str, value: str) -> None:
        """An attribute lists each value once, and as many as its limit holds."""
        values = self._facts.setdefault(name, []) if value else []
        if value and value not in values and len(", ".join((*values, value))) <= ATTRIBUTE_CHARS_MAX:
            values.append(value)

    def whole(self) -> Iterator[tuple[int, Product]]:
        """The product with what its rows added, unless it was rejected."""
        if self.product:
            attributes = tuple((name, ", ".join(values)) for name, values in self._facts.items())
            yield self._place, replace(self.product, attributes=attributes)


class FirstPlaces:
    """
    Where each sku stood first: 64-bit hashes and places in open addressing, no texts.

    A dict of the same costs about three times the memory, which counts at millions of rows.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._count = 0
        self._hashes = array("Q", bytes(8 * 1024))
        self._places = array("Q", bytes(8 * 1024))

    def add(self, sku: str, place: int) -> int:
        """The place where `sku` stood before; 0, and remembered, where it is new."""
        key = hash(sku) % 2**64 or 1
        slot = self._slot(key)
        if self._hashes[slot]:
            return self._places[slot]
        self._hashes[slot], self._places[slot] = key, place
        self._count += 1
        if 3 * self._count > 2 * len(self._hashes):
            self._grow()
        return 0

    def _slot(self, key: int) -> int:
        mask = len(self._hashes) - 1
        slot = key & mask
        while self._hashes[slot] not in (0, key):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        held = zip(self._hashes, self._places, strict=True)
        self._hashes = array("Q", bytes(16 * len(self._hashes)))
        self._places = array("Q", bytes(16 * len(self._places)))
        for key, place in held:
            if key:
                slot = self._slot(key)
                self._hashes[slot], self._places[slot] = key, place
