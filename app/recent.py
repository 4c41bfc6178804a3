"""
The creatives written lately, in memory: what GET finds until creatives are kept in a database.

Knows no HTTP. The least recently used go first; a lost one comes back, with the same id, when it is written again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from model.creative import Creative
from model.product import Product


@dataclass(frozen=True, slots=True)
class KeptCreative:
    """A creative and the product it was written for: a picture shows words of both."""

    creative: Creative
    product: Product


class RecentCreatives:
    """At most `kept_max` creatives by id. For one event loop: nothing here is locked."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._by_id: OrderedDict[str, KeptCreative] = OrderedDict()

    def put(self, creative: Creative, product: Product) -> None:
        """Keep it as the most recent one. The same id means the same words, so replacing changes nothing."""
        self._by_id[creative.id] = KeptCreative(creative, product)
        self._by_id.move_to_end(creative.id)
        while len(self._by_id) > self._kept_max:
            self._by_id.popitem(last=False)

    def get(self, creative_id: str) -> KeptCreative | None:
        """The creative, or None where it was never written here or has been dropped since."""
        kept = self._by_id.get(creative_id)
        if kept is not None:
            self._by_id.move_to_end(creative_id)
        return kept
