"""
The table of sources: which catalogues there are, whose they are, and how each is fetched.

Knows no network and no rows; an entry that is not understood is refused with its name before anything is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from model.columns import TARGETS

Kind = Literal["file", "api"]
LINK_HEADER = "link"
"""As `next`: the address stands in the Link header, relation "next" (RFC 8288)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_KEYS: Mapping[Kind, frozenset[str]] = {
    "file": frozenset({"name", "client", "kind", "url", "columns"}),
    "api": frozenset(
        "name client kind url columns items next next_parameter page_size updated_since deleted token_variable".split()
    ),
}


class SourcesError(ValueError):
    """The table cannot be used. The message names the entry and says what to do."""


@dataclass(frozen=True, slots=True)
class PageSize:
    """The query parameter that says how many items a page should have."""

    parameter: str
    items: int


@dataclass(frozen=True, slots=True)
class UpdatedSince:
    """How an API is asked for what has changed: `parameter` gets the highest value of `field` seen so far."""

    parameter: str
    field: str


@dataclass(frozen=True, slots=True)
class Source:
    """One catalogue. What is below `columns` is of APIs alone."""

    name: str
    client: str
    """Whose snapshots they become."""
    kind: Kind
    url: str
    """A file, a folder of exports or s3://bucket/key; of an API its first page."""
    columns: tuple[tuple[str, str], ...] = ()
    """Column names to `columns.TARGETS`."""
    items: tuple[str, ...] = ()
    """Members that lead from a page to its list of items."""
    next: tuple[str, ...] = ()
    """Members that lead to the next page's address, or (LINK_HEADER,); empty: there is one page."""
    next_parameter: str = ""
    """Where `next` leads to a token and not to an address: the query parameter that takes it."""
    page_size: PageSize | None = None
    updated_since: UpdatedSince | None = None
    deleted: str = ""
    token_variable: str = ""
    """Name of the environment variable that holds the bearer token; the token itself is nowhere."""


def read_sources(path: Path) -> tuple[Source, ...]:
    """Every source of the table, in its order. Raises SourcesError."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourcesError(f"{path} cannot be read: {error.strerror}; ADLOOM_SOURCES names the table") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SourcesError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(table, dict) or set(table) != {"sources"} or not isinstance(table["sources"], list):
        raise SourcesError(f"{path} has to hold one list, `sources:`")
    sources = tuple(_source(entry, place) for place, entry in enumerate(table["sources"], start=1))
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise SourcesError(f"two sources are called {name!r}: each needs a name of its own")
    return sources


def chosen(sources: Sequence[Source], names: Sequence[str]) -> tuple[Source, ...]:
    """Those with these names, in this order; all where none is named. Raises SourcesError."""
    by_name = {source.name: source for source in sources}
    for name in names:
        if name not in by_name:
            raise SourcesError(f"there is no source {name!r}; the table has {', '.join(by_name) or 'none'}")
    return tuple(by_name[name] for name in dict.fromkeys(names)) if names else tuple(sources)


def _source(entry: Any, place: int) -> Source:
    if not isinstance(entry, dict):
        raise SourcesError(f"entry {place} of the sources is no mapping of keys and values")
    where = f"source {entry.get('name', f'number {place}')!r}"
    kind: Kind | None = next((kind for kind in _KEYS if kind == entry.get("kind")), None)
    if kind is None:
        raise SourcesError(f"{where}: kind has to be file or api")
    for key in entry:
        if key not in _KEYS[kind]:
            raise SourcesError(f"{where}: unknown key {key!r}; a source of kind {kind} has {_listed(_KEYS[kind])}")
    source = Source(
        name=_text(entry, "name", where),
        client=_text(entry, "client", where),
        kind=kind,
        url=_text(entry, "url", where),
        columns=_columns(entry.get("columns"), where),
        items=_members(entry, "items", where),
        next=_members(entry, "next", where),
        next_parameter=_text(entry, "next_parameter", where, default=""),
        page_size=_page_size(entry.get("page_size"), where),
        updated_since=_updated_since(entry.get("updated_since"), where),
        deleted=_text(entry, "deleted", where, default=""),
        token_variable=_text(entry, "token_variable", where, default=""),
    )
    _check(source, where)
    return source


def _check(source: Source, where: str) -> None:
    if not _NAME.fullmatch(source.name):
        raise SourcesError(f"{where}: a name has lower-case letters, digits and hyphens, at most 63")
    scheme = urlsplit(source.url).scheme
    if source.kind == "api" and scheme not in ("http", "https"):
        raise SourcesError(f"{where}: the url of an API begins with http:// or https://")
    if source.kind == "file" and "://" in source.url and scheme != "s3":
        raise SourcesError(f"{where}: the url of a file is a path or s3://bucket/key")
    if "@" in urlsplit(source.url).netloc:
        raise SourcesError(f"{where}: no secrets in the url; name a token_variable")
    if source.token_variable and not _VARIABLE.fullmatch(source.token_variable):
        raise SourcesError(f"{where}: token_variable is the NAME of an environment variable, not the token")
    if source.next_parameter and (not source.next or source.next == (LINK_HEADER,)):
        raise SourcesError(f"{where}: next_parameter needs `next`, the place of the token in a page")
    if source.deleted and not source.updated_since:
        raise SourcesError(f"{where}: deleted makes sense with updated_since only; a whole catalogue leaves items out")


def _text(entry: Mapping[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str) or (not value and default is None):
        raise SourcesError(f"{where}: {key} has to be a text")
    return value


def _members(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    text = _text(entry, key, where, default="")
    parts = tuple(text.split(".")) if text else ()
    if not all(parts):
        raise SourcesError(f"{where}: {key} is a path of members with dots between them, such as data.products")
    return parts


def _columns(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    table = _table(value if value is not None else {}, "columns", where)
    for name, target in table.items():
        if target not in TARGETS:
            raise SourcesError(f"{where}: column {name!r} maps to {target!r}; it can be one of {', '.join(TARGETS)}")
    return tuple((str(name), str(target)) for name, target in table.items())


def _page_size(value: Any, where: str) -> PageSize | None:
    if value is None:
        return None
    table = _table(value, "page_size", where, {"parameter", "items"})
    items = table["items"]
    if not isinstance(items, int) or isinstance(items, bool) or items < 1:
        raise SourcesError(f"{where}: page_size.items has to be a whole number from 1")
    return PageSize(_text(table, "parameter", where), items)


def _updated_since(value: Any, where: str) -> UpdatedSince | None:
    if value is None:
        return None
    table = _table(value, "updated_since", where, {"parameter", "field"})
    return UpdatedSince(_text(table, "parameter", where), _text(table, "field", where))


def _table(value: Any, key: str, where: str, keys: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict) or (keys is not None and set(value) != keys):
        needed = f" of {_listed(keys)}" if keys else " of names and values"
        raise SourcesError(f"{where}: {key} has to be a mapping{needed}")
    return value


def _listed(words: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(words))
