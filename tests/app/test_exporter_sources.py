"""What each source of the exporter gives, and what it takes for an error."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from app.exporter_sources import FEATURES_MAX, Reading, SourceError, all_sources
from model.store.retrains import OUTCOMES, TRIGGERS
from tests.app.exporter_stores import HOUR, UPLOADED, Stores
from tests.app.service_client import service as running_service


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path)
    made.database.upgrade()
    yield made
    made.database.dispose()


def _read(stores: Stores, source: str) -> list[Reading]:
    return all_sources(stores.database, stores.ledger_path, "")[source]()


def _values(readings: list[Reading]) -> dict[str, float]:
    return {reading.metric.name: reading.value for reading in readings if reading.value or not reading.labels}


def test_without_a_drift_report_nothing_is_said_of_drift(stores: Stores) -> None:
    assert _read(stores, "drift") == []


def test_a_report_of_a_snapshot_says_nothing_of_traffic(stores: Stores) -> None:
    stores.report_drift(UPLOADED, 1.0, mode="batch")

    assert _read(stores, "drift") == []


@pytest.mark.parametrize(("share", "hurts"), [(0.0, False), (1.0, True)])
def test_the_latest_window_counts_whenever_it_was_reported(stores: Stores, share: float, hurts: bool) -> None:
    stores.report_drift(UPLOADED, share, hurts=hurts)
    stores.report_drift(UPLOADED - HOUR, 0.5)

    assert _values(_read(stores, "drift")) == {
        "adloom_drift_share_ratio": share,
        "adloom_drift_hurts": float(hurts),
        "adloom_drift_report_timestamp_seconds": UPLOADED.timestamp(),
    }


def test_each_feature_is_told_as_a_share_of_what_counts_as_drift(stores: Stores) -> None:
    features = {
        "category": (0.3, 0.2, 0.1),
        "channel": (0.1, 0.1, 0.4),
        "rare": (None, 0.1, 0.1),
        "odd": (0.2, 0.0, 0.0),
    }
    stores.report_drift(UPLOADED - HOUR, 0.0, old=(0.1, 0.1, 0.1))
    stores.report_drift(UPLOADED, 0.5, **features)
    found = {reading.labels: reading.value for reading in _read(stores, "drift") if reading.labels}

    assert found == {("category",): pytest.approx(1.5), ("channel",): pytest.approx(0.25)}


@pytest.mark.parametrize("count", [FEATURES_MAX, FEATURES_MAX + 1])
def test_of_too_many_features_those_furthest_away_are_told(stores: Stores, count: int) -> None:
    stores.report_drift(UPLOADED, 0.5, **{f"feature_{number}": (number, 1.0, 1.0) for number in range(count)})
    found = [reading.value for reading in _read(stores, "drift") if reading.labels]

    assert found == [float(number) for number in reversed(range(count))][:FEATURES_MAX]


def test_every_trigger_and_outcome_is_published_before_it_first_happens(stores: Stores) -> None:
    readings = _read(stores, "retrains")
    pairs = {reading.labels for reading in readings if reading.labels}

    assert pairs == set(product(TRIGGERS, OUTCOMES))
    assert {reading.value for reading in readings} == {0}


def test_retrains_are_counted_by_cause_and_end(stores: Stores) -> None:
    stores.retrain("drift", "promoted", UPLOADED, helped=False)
    stores.retrain("manual", "dismissed", UPLOADED + HOUR)
    stores.retrain("drift", "promoted", UPLOADED + 2 * HOUR, helped=False)
    found = {reading.labels: reading.value for reading in _read(stores, "retrains") if reading.value}

    assert found == {("drift", "promoted"): 2, ("manual", "dismissed"): 1, (): 2}


@pytest.mark.parametrize("source", ["drift", "retrains"])
def test_without_a_database_a_source_fails_and_is_not_a_quiet_zero(tmp_path: Path, source: str) -> None:
    with pytest.raises(SourceError, match="no database yet"):
        _read(Stores(tmp_path), source)


@pytest.mark.anyio
async def test_the_service_says_the_version_that_divergence_is_told_by() -> None:
    async with running_service(registry_version="7") as client:
        version = (await client.get("/version")).json()

    assert version["registry_version"] == "7"


def test_a_database_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    stores = Stores(tmp_path)

    with pytest.raises(SourceError, match="no database yet"):
        _read(stores, "catalogue")
    assert not stores.file.exists()
