"""
A training pair: a product, the voice asked for, and the ad that a person would be glad to have written.

Knows a pair's JSON form and what makes it fit to learn from; nothing of files, tokens or networks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.channel import ChannelSpec, channel
from model.creative import Copy
from model.feedback_rules import LEARN_VALIDITY_MIN
from model.product import Product
from model.prompt import VOICES
from model.validity import assess


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

    def as_dict(self) -> dict[str, Any]:
        """JSON form, as `pair_from_dict` reads it. Without the sku: what a shop calls a product teaches nothing."""
        return {
            "id": self.id,
            "family": self.family,
            "channel": self.spec.name,
            "voice": self.voice,
            "angle": self.angle,
            "trap": self.trap,
            "product": {name: value for name, value in self.product.as_dict().items() if name != "sku" and value},
            "copy": {
                "headlines": list(self.words.headlines),
                "bodies": list(self.words.bodies),
                "call_to_action": self.words.call_to_action,
                "hashtags": list(self.words.hashtags),
            },
        }

    def key(self) -> str:
        """The same for pairs that teach the same: product and ad word for word on one channel, in any capitals."""
        product, words = self.product, self.words
        said = [self.spec.name, product.title, product.description, words.headlines, words.bodies]
        text = json.dumps([*said, words.call_to_action, words.hashtags], ensure_ascii=False).casefold()
        return hashlib.sha256(text.encode()).hexdigest()[:32]


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


def pair_line(pair: Pair) -> str:
    """One line of a file of pairs, without its end; the same pair gives the same line."""
    return json.dumps(pair.as_dict(), ensure_ascii=False, separators=(",", ":"))


def title_family(title: str) -> str:
    """The family of a product that nobody has put into one: two ads for it are never on both sides of a split."""
    return f"product {hashlib.sha256(title.lower().encode()).hexdigest()[:12]}"


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
