"""
Products as they were known when something was said of them: training sets that do not see the future.

Reads history alone; what is online now does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from model.feature_rows import FEATURES, REFERENCES
from model.store.objects import ObjectStore
from pipelines.features.partitions import copy_partitions, first_seen
from pipelines.features.store import feature_errors, partitions
from pipelines.settings import PipelineSettings

if TYPE_CHECKING:
    from feast import FeatureStore

TIME = "event_timestamp"
"""Feast's name for the time of a label."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A label: whose product, and when it was said."""

    client: str
    sku: str
    time: datetime


def training_rows(
    store: FeatureStore, objects: ObjectStore, settings: PipelineSettings, asked: Iterable[Asked]
) -> pd.DataFrame:
    """
    One row for each label, in the order asked, with the features of the newest snapshot that was not later.

    Features are None where the product was not known yet, or not any more. Raises StoreError, and ValueError for a time
    without a zone.
    """
    labels = list(asked)
    if any(label.time.tzinfo is None for label in labels):
        raise ValueError("a label's time needs a zone: use datetime.now(UTC)")
    columns = ["client", "sku", TIME, *FEATURES]
    folder = partitions(settings)
    features = pd.DataFrame(None, index=range(len(labels)), columns=list(FEATURES), dtype=object)
    with feature_errors():
        is_empty = not labels or not copy_partitions(objects, folder)
        first = {} if is_empty else first_seen(folder, {label.sku for label in labels})
        if known := _known(labels, first):
            entity = _frame([labels[place] for place in known], known)
            found = store.get_historical_features(entity_df=entity, features=list(REFERENCES)).to_df()
            features.update(found.set_index("place")[list(FEATURES)])
    features = features.astype(object).where(features["title"].fillna("").astype(bool), None)
    return _frame(labels, range(len(labels))).join(features)[columns]


def _known(labels: Sequence[Asked], first: Mapping[tuple[str, str], datetime]) -> list[int]:
    """Places of the labels that something was known for: Dask fails over rows that find no partner."""
    return [
        place
        for place, label in enumerate(labels)
        if (seen := first.get((label.client, label.sku))) is not None and seen <= label.time
    ]


def _frame(labels: Sequence[Asked], places: Iterable[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "client": [label.client for label in labels],
            "sku": [label.sku for label in labels],
            TIME: pd.to_datetime([label.time for label in labels], utc=True),
            "place": list(places),
        }
    )
