"""
A product as the feature store holds it: one text a feature, in two views, and the digest that proves them whole.

Knows no Feast: who writes the rows and who reads them agree here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from model.product import Product

TEXT_VIEW = "product_text"
FACTS_VIEW = "product_facts"
TEXT_FEATURES = ("title", "description")
FACTS_FEATURES = ("category", "brand", "price", "image", "attributes", "digest")
FEATURES = (*TEXT_FEATURES, *FACTS_FEATURES)
REFERENCES = (*(f"{TEXT_VIEW}:{name}" for name in TEXT_FEATURES), *(f"{FACTS_VIEW}:{name}" for name in FACTS_FEATURES))
"""As a feature server wants them."""
GONE: Mapping[str, str] = dict.fromkeys(FEATURES, "")
"""A product that the catalogue no longer has: no product is without a title."""


class TornRowError(ValueError):
    """The features are not of one product: they were read while a newer catalogue was being published."""


def feature_row(product: Product) -> dict[str, str]:
    """The features by name. The currency is a part of the price, as it is in a product."""
    texts = {name: getattr(product, name) for name in (*TEXT_FEATURES, *FACTS_FEATURES[:4])}
    return {**texts, "attributes": json.dumps(product.attributes, ensure_ascii=False), "digest": product.digest()}


def product_from_row(sku: str, row: Mapping[str, str | None]) -> Product | None:
    """
    The very product that the row was made from; None where there is none, or none any more.

    Raises TornRowError where title, facts and digest do not belong together.
    """
    if not any(row.get(name) for name in FEATURES):
        return None
    try:
        texts = {name: str(row[name] or "") for name in FEATURES}
        pairs = tuple((str(name), str(value)) for name, value in json.loads(texts["attributes"]))
    except (KeyError, ValueError, TypeError) as error:
        raise TornRowError("the features of a product are incomplete") from error
    given = texts.pop("digest")
    product = Product(sku, **{**texts, "attributes": pairs})  # type: ignore[arg-type]  # the names are a product's
    if product.digest() != given:
        raise TornRowError("the features of a product are of two catalogues")
    return product
