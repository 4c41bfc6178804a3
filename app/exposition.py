"""
A registry as the text of a scrape, byte for byte what prometheus_client writes, at a fraction of its cost.

Knows no metric by name. What it does not know how to write (exemplars, times, odd names) the library writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

OPENMETRICS = "application/openmetrics-text"
END_OF_OPENMETRICS = b"# EOF\n"
ALIKE = (UNDERSCORES, ALLOWUTF8)
"""Ways of escaping that leave an ordinary name as it is."""
PLAIN_BELOW = 1e6
"""From here on the library writes numbers with exponents as Go does; below, Python's way is Go's."""
APART = ("_created", "_gsum", "_gcount")
"""In the older format these samples stand in a family of their own, behind the others."""
_go_number: Callable[[float], str] = floatToGoString
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
"""Narrower than what a metric may be called: a colon is written differently by the two formats."""

Known = tuple[str, dict[str, str], str]
"""A series as it was last written: its name, its labels, and all of its line that stands before the value."""


class Collects(Protocol):
    """A registry, or what is left of one under `name[]`."""

    def collect(self) -> Iterable[Metric]:
        """Every family, as it is now."""
        ...


Encode = Callable[[Collects], bytes]


class Exposition:
    """
    Writes scrapes of one registry. Thread-safe.

    Names and labels of a series are nine tenths of its line and never change, and prometheus_client puts them together
    anew each time. Here they are kept from one scrape to the next, by their place in the family: as many as the last
    scrape had series, however many there have ever been.
    """

    def __init__(self, registry: Collects) -> None:
        self._registry = registry
        self._known: dict[str, list[Known]] = {}

    @property
    def series_kept(self) -> int:
        """How many it remembers."""
        return sum(map(len, self._known.values()))

    def answer(self, accept: str = "") -> tuple[bytes, str]:
        """What a scraper with this Accept header gets, and its media type; the library decides which format that is."""
        encode, media_type = _encoder(accept)
        if getattr(encode, "keywords", {}).get("escaping", UNDERSCORES) not in ALIKE:
            return encode(self._registry), media_type
        end = END_OF_OPENMETRICS if media_type.startswith(OPENMETRICS) else b""
        return b"".join(self._families(encode, end)) + end, media_type

    def _families(self, encode: Encode, end: bytes) -> Iterator[bytes]:
        """Each without the `end` of a scrape; `encode` is the library's, for headings and for what is not ordinary."""
        before, now = self._known, {}
        for family in self._registry.collect():
            known, lines = _lines(family, before.get(family.name, []))
            now[family.name] = known
            head = encode(_Only(family if lines is None else _heading(family))).removesuffix(end)
            yield head + "".join(lines or ()).encode("utf-8")
        self._known = now


def _encoder(accept: str) -> tuple[Encode, str]:
    """As the library chooses it, which raises on a version that is no number."""
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):
        encode, media_type = choose_encoder("")
    return encode, media_type


class _Only:
    """A registry of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> tuple[Metric]:
        return (self._family,)


def _heading(family: Metric) -> Metric:
    return Metric(family.name, family.documentation, family.type, family.unit)


def _lines(family: Metric, before: list[Known]) -> tuple[list[Known], list[str] | None]:
    """What is known of the samples now, and their lines; no lines where the library has to write them."""
    now: list[Known] = []
    lines: list[str] = []
    places = len(before)
    # The loop of the whole scrape: a call or an attribute in it is paid for by every series.
    for place, sample in enumerate(family.samples):
        name, labels, value, timestamp, exemplar, native = sample
        known = before[place] if place < places else None
        if known is None or known[1] != labels or known[0] != name:
            if not _is_ordinary(family, sample):
                return [], None
            known = (name, dict(labels), _start_of_line(name, labels))
        if timestamp is not None or exemplar or native or value is None:
            return [], None
        now.append(known)
        lines.append(f"{known[2]}{repr(float(value)) if 0 <= value < PLAIN_BELOW else _go_number(value)}\n")
    return now, lines


def _is_ordinary(family: Metric, sample: Sample) -> bool:
    """Whether both formats write it alike, and without looking at its name twice."""
    return (
        all(_NAME.match(name) for name in (sample.name, *sample.labels))
        and sample.name.removeprefix(family.name) not in APART
    )


def _start_of_line(name: str, labels: dict[str, str]) -> str:
    if not labels:
        return f"{name} "
    pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(labels.items()))
    return f"{name}{{{pairs}}} "


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
