"""
What Feast is told of our features: two entities, two views, one Parquet source.

Feast allows an entity one join key, so that `product` has two: `client` and `sku`; no merchant reads another's.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from model.feature_rows import FACTS_FEATURES, FACTS_VIEW, TEXT_FEATURES, TEXT_VIEW

if TYPE_CHECKING:  # Feast makes files when it is imported, and takes seconds: the functions import it
    from feast import Entity, FeatureView

PROJECT = "adloom"
EVENT_TIME = "event_time"
JOIN_KEYS = ("client", "sku")
DEFINITION_TAG = "definition"
VIEWS = {TEXT_VIEW: TEXT_FEATURES, FACTS_VIEW: FACTS_FEATURES}


def entities() -> list[Entity]:
    """Client first: together they name a product."""
    from feast import Entity  # noqa: PLC0415 -- as above
    from feast.value_type import ValueType  # noqa: PLC0415 -- as above

    return [
        Entity(name="client", join_keys=["client"], value_type=ValueType.STRING, description="A merchant's name."),
        Entity(name="product", join_keys=["sku"], value_type=ValueType.STRING, description="A sku of that merchant."),
    ]


def feature_views(partitions: Path) -> list[FeatureView]:
    """Both views over the Parquet files in the folder `partitions`; a feature holds until a newer one comes."""
    from feast import FeatureView, Field, FileSource  # noqa: PLC0415 -- as above
    from feast.types import String  # noqa: PLC0415 -- as above

    source = FileSource(name="products", path=str(partitions), timestamp_field=EVENT_TIME)
    return [
        FeatureView(
            name=name,
            entities=entities(),
            schema=[Field(name=column, dtype=String) for column in (*JOIN_KEYS, *features)],
            source=source,
            ttl=timedelta(0),
            online=True,
            tags={DEFINITION_TAG: definition(partitions)},
        )
        for name, features in VIEWS.items()
    ]


def definition(partitions: Path) -> str:
    """Changes with everything above that Feast's registry keeps."""
    said = [1, PROJECT, EVENT_TIME, JOIN_KEYS, sorted(VIEWS.items()), str(partitions)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
