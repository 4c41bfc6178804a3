"""
The one place where the prompt's form and the order of fields live.

A prompt travels inside its bundle as prompt.json, so that an old bundle goes on writing the way it was made to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from model.channel import ChannelSpec, channel
from model.creative import Copy
from model.orders import without_orders
from model.product import Product

VOICES = ("plain", "playful", "premium")
"""Brand voices that training pairs are written in; the first is the default."""
DESCRIPTION_CHARS_MAX = 700
"""What the model reads of a description, cut on a word: about 170 tokens. The rules read all of it."""
FACT_CHARS_MAX = 80
"""The same for a title, category or attribute."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt form: what stands before every product, and the label that opens each field."""

    version: str
    preamble: str
    """Ends with a line break, or is empty. Prefilled once, shared by all requests."""
    labels: Mapping[str, str]
    """Field name of `channel.FIELD_NAMES` to its label, without the colon."""
    voiced: bool = False
    """The prompt names the voice asked for; an untuned model would not know what to do with it."""

    def product(self, product: Product, spec: ChannelSpec, voice: str = VOICES[0]) -> str:
        """The part of the prompt that differs by request; ends where the first label is fed."""
        lines = [f"Product: {_cut(product.title, FACT_CHARS_MAX)}"]
        if product.category:
            lines.append(f"Category: {_cut(product.category, FACT_CHARS_MAX)}")
        details = [_cut(without_orders(product.description), DESCRIPTION_CHARS_MAX)]
        details += [f"{name}: {_cut(value, FACT_CHARS_MAX)}." for name, value in product.attributes[:4]]
        if any(details):
            lines.append(f"Details: {' '.join(filter(None, details))}")
        lines.append(f"Ad for: {spec.title}" + (f", {voice}" if self.voiced else ""))
        return "\n".join(lines) + "\n"

    def label(self, field: str, *, first: bool) -> str:
        """What is fed before a field: the label, on a new line unless it is the answer's first."""
        lead = "" if first else "\n"
        # A hashtag is begun for the model, so that it cannot write prose there.
        return f"{lead}{self.labels[field]}:" + (" #" if field == "hashtags" else "")

    def answer(self, words: Copy, spec: ChannelSpec) -> str:
        """A finished creative in the form that the model is to continue: what a shot shows, and training teaches."""
        return "\n".join(label + content for label, content in self.answer_parts(words, spec)) + "\n"

    def answer_parts(self, words: Copy, spec: ChannelSpec) -> list[tuple[str, str]]:
        """The same as (label, content) by line: the writer feeds the one, the model writes the other."""
        parts = []
        for limits in spec.fields:
            texts = words.texts(limits.name)
            if limits.name == "hashtags" and texts:
                texts = (" ".join(texts).removeprefix("#"),)
            label = self.label(limits.name, first=True)
            parts += [(label, text if limits.name == "hashtags" else f" {text}") for text in texts]
        return parts

    def digest(self) -> str:
        """sha256 over form and limits, hex."""
        limits = [DESCRIPTION_CHARS_MAX, FACT_CHARS_MAX]
        return hashlib.sha256(json.dumps([self.as_dict(), limits], sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """JSON form, as prompt.json holds it."""
        return asdict(self)


def few_shot_prompt(shots: int = 2) -> Prompt:
    """The prompt of the untuned base model: an instruction and `shots` finished examples from data/shots.json."""
    labels = {"headline": "Headline", "body": "Text", "call_to_action": "Next", "hashtags": "Tags"}
    bare = Prompt("few-shot-1", "", labels)
    examples: Sequence[Mapping[str, Any]] = json.loads(
        files("model").joinpath("data/shots.json").read_text(encoding="utf-8")
    )
    if not 0 < shots <= len(examples):
        raise ValueError(f"shots must lie between 1 and {len(examples)}")
    parts = ["Short ads that say only what the product's details say.\n\n"]
    for example in examples[:shots]:
        spec = channel(example["channel"])
        words = example["copy"]
        parts.append(bare.product(Product(sku="", **example["product"]), spec))
        parts.append(bare.answer(_copy(words), spec) + "\n")
    return Prompt(bare.version, "".join(parts), labels)


def tuned_prompt() -> Prompt:
    """The prompt of a tuned model: no examples, for it has learnt the form, and the voice by name."""
    labels = {"headline": "Headline", "body": "Text", "call_to_action": "Next", "hashtags": "Tags"}
    return Prompt("tuned-1", "", labels, voiced=True)


def prompt_from_dict(table: Mapping[str, Any]) -> Prompt:
    """Read what `as_dict` wrote."""
    return Prompt(
        str(table["version"]), str(table["preamble"]), dict(table["labels"]), bool(table.get("voiced", False))
    )


def _copy(table: Mapping[str, Any]) -> Copy:
    return Copy(tuple(table["headlines"]), tuple(table["bodies"]), table["call_to_action"], tuple(table["hashtags"]))


def _cut(text: str, chars_max: int) -> str:
    folded = " ".join(text.split())
    if len(folded) <= chars_max:
        return folded
    head, _, _ = folded[: chars_max + 1].rpartition(" ")
    return head or folded[:chars_max]
