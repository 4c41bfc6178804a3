"""Rows for the tests of the store, with what a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, datetime

from model.store.batches import NewBatch, NewItem
from model.store.clients import Client
from model.store.creatives import NewCreative
from model.store.feedback import FeedbackRow

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def new_client(name="shop", **given):
    return Client(
        **{
            "name": name,
            "secret_hash": "$argon2id$...",
            "scopes": frozenset({"creatives:write", "creatives:read"}),
            "limits": {},
            "created_at": NOON,
            "secret_at": NOON,
        }
        | given
    )


def new_creative(creative_id="cr_1", client="shop", **given):
    return NewCreative(
        **{
            "client": client,
            "id": creative_id,
            "sku": "BOWL",
            "channel": "instagram",
            "validity": 0.875,
            "bundle_digest": "b" * 64,
            "product_digest": "p" * 64,
            "document": {"id": creative_id, "headline": "Eine Schüssel 🥣", "findings": []},
            "product": {"sku": "BOWL", "title": "Bowl", "attributes": [["Colour", "fog"]]},
            "batch_id": None,
            "created_at": NOON,
        }
        | given
    )


def new_feedback(feedback_id="fb_1", creative_id="cr_1", client="shop", **given):
    return FeedbackRow(
        **{
            "id": feedback_id,
            "client": client,
            "creative_id": creative_id,
            "verdict": "accept",
            "edited": None,
            "reason": "",
            "state": "waiting",
            "why": "",
            "holdout": False,
            "dataset_digest": "",
            "run_id": "",
            "served_version": "",
            "created_at": NOON,
            "updated_at": NOON,
        }
        | given
    )


def new_batch(batch_id="ba_1", client="shop", **given):
    asked = {"channels": ["x"], "seed": 7}
    return NewBatch(
        **{"id": batch_id, "client": client, "settings": asked, "source": "inline", "created_at": NOON} | given
    )


def new_items(count, *, refused=()):
    return [
        NewItem({"sku": f"S{place}", "title": "Bowl"}, "no title" if place in refused else "") for place in range(count)
    ]
