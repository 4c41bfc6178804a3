"""
Stand-ins that satisfy the real protocols without a network or weights.

`FakeWriter` answers like `model.writer.Writer`: deterministic, within the channel's limits, best candidate first.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from model.channel import ChannelSpec, FieldSpec
from model.creative import Copy, Creative, Finding, Passport, creative_id
from model.product import Product
from model.prompt import VOICES
from model.tickets import Watch, unwatched


@dataclass(frozen=True, slots=True)
class FakeBundle:
    """What callers read of a bundle: its digest and its manifest."""

    digest: str = "f" * 64
    manifest: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({"name": "fake"}))


def _clip(text: str, chars_max: int) -> str:
    """Cut at a word boundary where there is one; never empty for a non-empty text."""
    if len(text) <= chars_max:
        return text
    return text[: chars_max + 1].rsplit(" ", 1)[0][:chars_max] or text[:chars_max]


def _texts(product: Product, spec: FieldSpec | None, variant: int) -> tuple[str, ...]:
    if spec is None:
        return ()
    said = product.title if spec.name == "headline" else product.description or product.title
    leads = {"call_to_action": "See", "hashtags": "#item"}
    if spec.name == "hashtags":
        return tuple(f"#item{variant}{number}" for number in range(spec.count_written))
    lead = leads.get(spec.name, "")
    words = [" ".join(part for part in (lead, said) if part)] * spec.count_written
    return tuple(
        _clip(f"{number + 1}. {text}" if number else text, spec.chars_budget) for number, text in enumerate(words)
    )


class FakeWriter:
    """
    Repeats the product's own words, so its creatives are grounded and depend on product, channel and seed alone.

    `findings` are attached to every creative; `seconds` are slept for every call, to be interrupted in; `fail_sku`
    makes that product raise RuntimeError. `calls` counts what was asked, as (sku, channel, voice, candidates, seed).
    """

    def __init__(
        self, *, findings: tuple[Finding, ...] = (), digest: str = "f" * 64, seconds: float = 0.0, fail_sku: str = ""
    ) -> None:
        self.bundle = FakeBundle(digest)
        self.calls: list[tuple[str, str, str, int, int]] = []
        self._findings = findings
        self._seconds = seconds
        self._fail_sku = fail_sku

    def write(
        self,
        product: Product,
        spec: ChannelSpec,
        *,
        voice: str = VOICES[0],
        candidates: int = 4,
        seed: int = 0,
        interactive: bool = True,
        cancelled: Callable[[], bool] = lambda: False,
        watch: Watch = unwatched,
    ) -> tuple[Creative, ...]:
        """`candidates` creatives with falling validity, best first."""
        self.calls.append((product.sku, spec.name, voice, candidates, seed))
        if product.sku == self._fail_sku:
            raise RuntimeError(f"the fake writer was told to fail on {product.sku}")
        if self._seconds:
            time.sleep(self._seconds)
        watch(candidates, candidates)
        return tuple(self._creative(product, spec, voice, rank, candidates, seed) for rank in range(candidates))

    def _creative(
        self, product: Product, spec: ChannelSpec, voice: str, rank: int, candidates: int, seed: int
    ) -> Creative:
        call = _texts(product, spec.field("call_to_action"), seed + rank)
        words = Copy(
            headlines=_texts(product, spec.field("headline"), seed + rank),
            bodies=_texts(product, spec.field("body"), seed + rank),
            call_to_action=call[0] if call else "",
            hashtags=_texts(product, spec.field("hashtags"), seed + rank),
        )
        passport = Passport(
            bundle_digest=self.bundle.digest,
            prompt_digest=hashlib.sha256(b"fake prompt").hexdigest(),
            product_digest=product.digest(),
            seed=seed,
            voice=voice,
            candidates=candidates,
            decoding={"temperature": 0.0, "rank": rank},
            validity_version="fake",
        )
        identity = creative_id(product.sku, spec.name, words, passport)
        validity = round(0.9 / (1 + rank), 4)
        return Creative(identity, product.sku, spec.name, words, validity, self._findings, passport)
