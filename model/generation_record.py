"""
One line of the generation log: what came in, what went out, and how it was judged.

Knows no store and no request. No secrets and no tokens: of the client only its name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from model.creative import Creative
from model.product import Product

LOG_FORM = 1


def generation(
    client: str,
    product: Product,
    creative: Creative,
    took_seconds: float,
    request_id: str = "",
    batch_id: str = "",
    *,
    at: datetime | None = None,
) -> dict[str, Any]:
    """The record, as of `at` or of now; `took_seconds` is the whole request's."""
    passport = creative.passport
    return {
        "form": LOG_FORM,
        "time": (at or datetime.now(UTC)).isoformat(timespec="milliseconds"),
        "client": client,
        "request_id": request_id,
        "batch_id": batch_id,
        "creative_id": creative.id,
        "product": {"digest": passport.product_digest, **product.as_dict()},
        "channel": creative.channel,
        "voice": passport.voice,
        "candidates": passport.candidates,
        "seed": passport.seed,
        "headlines": list(creative.copy.headlines),
        "descriptions": list(creative.copy.bodies),
        "call_to_action": creative.copy.call_to_action,
        "hashtags": list(creative.copy.hashtags),
        "validity": creative.validity,
        "findings": [finding.kind for finding in creative.findings],
        "repairs": len(creative.repairs),
        "bundle_digest": passport.bundle_digest,
        "registry_version": passport.registry_version,
        "git_commit": passport.git_commit,
        "seconds": round(took_seconds, 4),
    }
