"""
What feedback teaches: accepted and edited ads as training pairs, and why the others teach nothing.

Ad-only. Knows no dataset file and changes no row; the pairs have the form of model/data/pairs.jsonl.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model.channel import channel
from model.creative import Copy, creative_from_dict
from model.feedback_rules import LEARN_VALIDITY_MIN, holds_orders
from model.heldout import HeldOut, Telling
from model.pair import Pair, pair_line, title_family
from model.product import product_from_dict
from model.store.creatives import KeptCreative
from model.store.feedback import FeedbackRow
from model.validity import assess

REJECTED = "a rejected ad teaches nothing by itself: it counts in the rates that decide on a retrain"
ORDERS = "the product or its ad addresses the writer: a model would learn to obey"
UNKNOWN = "the creative is not kept any more"


@dataclass(frozen=True, slots=True)
class Lesson:
    """One line for a dataset, or why there is none."""

    row: FeedbackRow
    line: str
    why: str
    """Empty where there is a line."""


def lesson(row: FeedbackRow, kept: KeptCreative | None, held: HeldOut) -> Lesson:
    """The training pair that one verdict makes; none that would make held-out rows known."""
    if row.verdict == "reject":
        return Lesson(row, "", REJECTED)
    if kept is None:
        return Lesson(row, "", UNKNOWN)
    creative, product = creative_from_dict(kept.document), product_from_dict(kept.product)
    words = creative.copy if row.edited is None else _edited(row.edited)
    if holds_orders((product.facts(), *words.headlines, *words.bodies, words.call_to_action, *words.hashtags)):
        return Lesson(row, "", ORDERS)
    judged = assess(product, words, channel(creative.channel))
    if judged.validity < LEARN_VALIDITY_MIN:
        kinds = ", ".join(sorted({finding.kind for finding in judged.findings}))
        return Lesson(row, "", f"validity {judged.validity:.2f}, below {LEARN_VALIDITY_MIN}: {kinds}")
    # One product is never on both sides of a split, and neither are two rows with the same words.
    family = title_family(product.title)
    if repeated := held.repeated_by(Telling(row.id, family, product.title, product.description, words.joined())):
        return Lesson(row, "", f"repeats {repeated}, which models are measured on")
    pair = Pair(row.id, family, creative.passport.voice, "feedback", "", product, channel(creative.channel), words)
    return Lesson(row, pair_line(pair), "")


def _edited(table: dict[str, Any]) -> Copy:
    """The words as the client sent them; see EditedIn of the service."""
    return Copy(
        tuple(table["headlines"]), tuple(table["descriptions"]), table["call_to_action"], tuple(table["hashtags"])
    )
