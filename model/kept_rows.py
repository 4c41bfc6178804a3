"""Creatives as the store keeps them. Knows no route and no worker, so that whoever writes keeps them alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from model.creative import Creative
from model.product import Product
from model.store.creatives import NewCreative


def kept_rows(
    client: str,
    product: Product,
    chosen: Sequence[Creative],
    batch_id: str | None = None,
    *,
    at: datetime | None = None,
) -> list[NewCreative]:
    """What the store keeps of creatives written for one product, as of `at` or of now."""
    created_at = at or datetime.now(UTC)
    return [
        NewCreative(
            client=client,
            id=creative.id,
            sku=creative.sku,
            channel=creative.channel,
            validity=creative.validity,
            bundle_digest=creative.passport.bundle_digest,
            product_digest=creative.passport.product_digest,
            document=creative.as_dict(),
            product=product.as_dict(),
            batch_id=batch_id,
            created_at=created_at,
        )
        for creative in chosen
    ]
