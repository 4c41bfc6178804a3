"""
A few ads that a version wrote for held-out products when it was evaluated: samples.json, to be looked at.

Knows which rows are taken and the file's form. The rule is the same for every version, so that two of them can stand
side by side; nothing here writes an ad.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from model.submission import finite

FORM = 1
SAMPLES_MAX = 12
TEXT_CHARS_MAX = 1_000
"""Longer than any field of any channel, and than any title that a product may have."""
TEXTS_MAX = 30
"""In a list: twice as many as the headlines of a Google ad."""


class SamplesError(ValueError):
    """A file that is no samples.json of this form."""


def chosen(rows: Iterable[str]) -> list[str]:
    """
    The ids of those rows that are shown, in the order in which they are.

    Those with the smallest digests: which others there are does not matter to whether a row is among the first.
    """
    return sorted(set(rows), key=lambda row: (hashlib.sha256(row.encode()).digest(), row))[:SAMPLES_MAX]


def samples_file(bundle_digest: str, samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """samples.json, form 1."""
    return {"form": FORM, "bundle": bundle_digest, "samples": [dict(sample) for sample in samples]}


def read_samples(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The samples of a samples.json, no text in them longer than is shown. Raises SamplesError for another form."""
    try:
        if table["form"] != FORM:
            raise SamplesError(f"samples.json is of form {table['form']!r} instead of {FORM}: evaluate it again")
        return [_sample(each) for each in table["samples"][:SAMPLES_MAX]]
    except (KeyError, TypeError, AttributeError) as error:
        raise SamplesError(f"samples.json does not hold what it should ({error!r}): evaluate it again") from error


def shown(text: str) -> str:
    """A text that every store keeps and every encoder takes: no NUL, no half of a surrogate pair, not too long."""
    whole = text.replace("\0", "").encode("utf-8", "replace").decode()
    return whole if len(whole) <= TEXT_CHARS_MAX else whole[: TEXT_CHARS_MAX - 1] + "…"


def _sample(table: Mapping[str, Any]) -> dict[str, Any]:
    validity = finite(table["validity"])
    if validity is None:
        raise TypeError("validity is no number")
    texts = {name: shown(str(table[name])) for name in ("row", "product", "channel")}
    lists = {name: _texts(table[name]) for name in ("headlines", "bodies")}
    words = {"call_to_action": shown(str(table["call_to_action"])), "hashtags": _texts(table["hashtags"])}
    return {**texts, **lists, **words, "validity": validity, "findings": _texts(table["findings"])}


def _texts(given: Any) -> list[str]:
    if not isinstance(given, list):
        raise TypeError(f"{given!r} is no list")
    return [shown(str(text)) for text in given[:TEXTS_MAX]]
