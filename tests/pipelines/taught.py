"""
Creatives that a client gave feedback on, made of the curated pairs: products and ads that keep every rule.

Knows the rows of the store and no dataset.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import model
from model.creative import Creative, Passport
from model.store import creatives, feedback
from model.store.creatives import KeptCreative, NewCreative
from model.store.feedback import FeedbackRow
from model.training.pairs import pair_from_dict

DATA = Path(str(model.__file__)).parent / "data"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
SHOP = "shop"


def curated(count=None, channel="instagram"):
    """Pairs of the package that go to one channel, as they stand in the file."""
    with (DATA / "pairs.jsonl").open(encoding="utf-8") as file:
        return [line.strip() for line in file if f'"channel":"{channel}"' in line][:count]


def heldout():
    """The first row that models are measured on."""
    with (DATA / "heldout.jsonl").open(encoding="utf-8") as file:
        return pair_from_dict(json.loads(file.readline()))


def own(place=0, **changes):
    """Product, words and channel of a curated pair under a title of the shop's own; `changes` are the product's."""
    pair = pair_from_dict(json.loads(curated()[place]))
    product = replace(pair.product, sku=f"SKU-{place}", **changes)
    return product, pair.words, pair.spec.name


def kept(creative_id="cr_1", *, place=0, words=None, **changes):
    """A creative as the service keeps it, for `own` product and its ad."""
    product, ours, channel = own(place, **changes)
    passport = Passport("b" * 64, "p" * 64, "d" * 64, 7, 4, {"temperature": 0.8}, "1", voice="playful")
    creative = Creative(creative_id, product.sku, channel, words or ours, 1.0, (), passport)
    document, table = (json.loads(json.dumps(each)) for each in (creative.as_dict(), asdict(product)))
    return KeptCreative(SHOP, document, table, None, NOON)


def edited(words):
    """Words as a client sends them."""
    return {
        "headlines": list(words.headlines),
        "descriptions": list(words.bodies),
        "call_to_action": words.call_to_action,
        "hashtags": list(words.hashtags),
    }


def verdict(feedback_id="fb_1", creative_id="cr_1", minutes=0, **given):
    """A row that waits, given so many minutes after noon."""
    at = NOON + timedelta(minutes=minutes)
    row = FeedbackRow(
        feedback_id,
        SHOP,
        creative_id,
        "accept",
        None,
        "",
        "waiting",
        "",
        False,
        "",
        "",
        "",
        created_at=at,
        updated_at=at,
    )
    return replace(row, **given)


def keep(database, creative, *rows):
    """Put a creative and what was said of it into the database."""
    document = creative.document
    new = NewCreative(
        client=SHOP,
        id=document["id"],
        sku=document["sku"],
        channel=document["channel"],
        validity=document["validity"],
        bundle_digest="b" * 64,
        product_digest="d" * 64,
        document=document,
        product=creative.product,
        batch_id=None,
        created_at=NOON,
    )
    with database.begin() as connection:
        creatives.insert(connection, [new])
        for row in rows:
            feedback.insert(connection, row)


def found(database, feedback_id):
    """The row as it stands."""
    with database.connect() as connection:
        return feedback.find(connection, SHOP, feedback_id)
