"""
What keeps feedback from poisoning the training data: limits, the rules for an edited text, and the hold-out share.

Knows no database and no HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from model.channel import ChannelSpec
from model.creative import Copy, Finding
from model.orders import without_orders
from model.product import Product
from model.validity import assess

VERDICTS_A_DAY_MAX = 1_000
"""Of one client: two a minute through a working day, more than people give and too few to outweigh everybody else."""
HOLDOUT_SHARE = 0.1
"""Of all products. Their feedback measures whether training on the rest has helped."""
EDIT_VALIDITY_MIN = 0.8
"""Three light findings pass; one invented fact (0.5), a copied description (0.6) or a broken text (0.08) does not."""

LEARN_VALIDITY_MIN = 0.9
"""What the score marks lower would teach what the writer then has to throw away."""


def is_held_out(product_digest: str) -> bool:
    """The same for a product at all times and on every machine, so none is ever on both sides."""
    drawn = hashlib.sha256(f"feedback hold-out {product_digest}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") < HOLDOUT_SHARE * 2**64


def edit_refusals(product: Product, words: Copy, spec: ChannelSpec) -> tuple[Finding, ...]:
    """What has to change before an edited ad may teach anything; empty where it may."""
    judged = assess(product, words, spec)
    return () if judged.validity >= EDIT_VALIDITY_MIN else judged.findings


def holds_orders(texts: Iterable[str]) -> bool:
    """Whether one of the texts addresses the writer: it could teach a model to obey what stands in a product."""
    return any(without_orders(text) != text for text in texts)
