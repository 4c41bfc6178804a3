"""
Training pairs: a product, the voice asked for, and the ad that a person would be glad to have written.

Knows the file's form and what makes a pair fit to learn from; nothing of tokens or networks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.channel import ChannelSpec, channel
from model.creative import Copy
from model.feedback_rules import LEARN_VALIDITY_MIN
from model.product import Product
from model.prompt import VOICES
from model.validity import assess


class PairsError(ValueError):
    """A file of pairs that cannot be learnt from; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One example. `family` is the kind of thing: splits go by it, never by row."""

    id: str
    family: str
    voice: str
    angle: str
    trap: str
    """What in the row invites a mistake: "not waterproof", "competitor named"; empty where nothing does."""
    product: Product
    spec: ChannelSpec
    words: Copy


def read_pairs(path: Path) -> list[Pair]:
    """Every pair of a JSON Lines file. Raises PairsError with the number of the first bad line."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)  # not splitlines(): a JSON string may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise PairsError(f"{path} cannot be read: {error}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        try:
            pairs.append(pair_from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PairsError(f"{path}, line {number}: not a training pair ({error!r})") from error
    if not pairs:
        raise PairsError(f"{path} holds no pairs")
    return pairs


def pair_from_dict(table: Mapping[str, Any]) -> Pair:
    """Read one pair. Raises KeyError, TypeError or ValueError for what is missing or does not fit."""
    row, words = dict(table["product"]), table["copy"]
    attributes = tuple((str(name), str(value)) for name, value in row.pop("attributes", ()))
    said = {key: table[key] for key in ("id", "family", "voice", "angle", "trap")}
    for key, value in (said | row | {"call_to_action": words["call_to_action"]}).items():
        if not isinstance(value, str):
            raise TypeError(f"{key} should be a text, and is {value!r}")
    if table["voice"] not in VOICES:
        raise ValueError(f"voice {table['voice']!r} is none of {', '.join(VOICES)}")
    return Pair(
        id=table["id"],
        family=table["family"],
        voice=table["voice"],
        angle=table["angle"],
        trap=table["trap"],
        product=Product(sku=table["id"], attributes=attributes, **row),
        spec=channel(table["channel"]),
        words=copy_from(words),
    )


def copy_from(table: Mapping[str, Any]) -> Copy:
    """An ad's words from its JSON form. Raises KeyError, and TypeError naming the field."""
    for key in ("headlines", "bodies", "hashtags"):
        if not isinstance(table[key], list) or not all(isinstance(text, str) for text in table[key]):
            raise TypeError(f"{key} should be a list of texts, and is {table[key]!r}")
    if not isinstance(table["call_to_action"], str):
        raise TypeError(f"call_to_action should be a text, and is {table['call_to_action']!r}")
    return Copy(tuple(table["headlines"]), tuple(table["bodies"]), table["call_to_action"], tuple(table["hashtags"]))


def flaws(pair: Pair) -> list[str]:
    """Why a pair should not be learnt from, one sentence each; empty for a good one."""
    judged = assess(pair.product, pair.words, pair.spec)
    found = []
    if judged.validity < LEARN_VALIDITY_MIN:
        kinds = "; ".join(f"{finding.kind}: {finding.detail}" for finding in judged.findings)
        found.append(f"validity {judged.validity:.2f} ({kinds})")
    for limits in pair.spec.fields:
        texts = pair.words.texts(limits.name)
        long = [text for text in texts if pair.spec.length(text) > limits.chars_budget]
        found += [f"{limits.name} is longer than {limits.chars_budget}: {text}" for text in long]
    return found
