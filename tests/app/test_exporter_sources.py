"""What each source of the exporter gives, and what it takes for an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.exporter_sources import Reading, SourceError, all_sources
from tests.app.exporter_stores import Stores, answering_version
from tests.app.service_client import service as running_service


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path)
    made.database.upgrade()
    yield made
    made.database.dispose()


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, str]]]:
    with answering_version() as found:
        yield found


def _read(stores: Stores, source: str, service: str = "") -> list[Reading]:
    return all_sources(stores.database, stores.objects, stores.ledger_path, service)[source]()


@pytest.mark.parametrize(
    ("share", "timestamp"),
    [
        (1.1, "2026-01-15T13:00:00Z"),
        (-0.1, "2026-01-15T13:00:00Z"),
        (float("nan"), "2026-01-15T13:00:00Z"),
        (True, "2026-01-15T13:00:00Z"),
        ("0.5", "2026-01-15T13:00:00Z"),
        (None, "2026-01-15T13:00:00Z"),
        (0.5, "2026-01-15T13:00:00"),
        (0.5, "yesterday"),
        (0.5, 1768482000),
    ],
)
def test_a_drift_report_of_another_form_is_an_error_and_no_value(stores: Stores, share: Any, timestamp: Any) -> None:
    stores.report_drift("2026-01-15", share, timestamp)

    with pytest.raises(SourceError, match="the newest drift report"):
        _read(stores, "drift")


@pytest.mark.parametrize("share", [0, 1])
def test_a_drift_share_may_be_nothing_or_all(stores: Stores, share: int) -> None:
    stores.report_drift("2026-01-15", share)

    assert _read(stores, "drift")[0].value == share


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000])
def test_an_object_that_is_no_json_object_is_an_error(stores: Stores, content: bytes) -> None:
    stores.objects.put("drift/2026-01-15.json", content)
    stores.objects.put("retrains/1.json", content)

    for source in ("drift", "retrains"):
        with pytest.raises(SourceError, match="no JSON"):
            _read(stores, source)


@pytest.mark.parametrize(("trigger", "outcome"), [("boredom", "promoted"), ("drift", "perfect")])
def test_a_retrain_with_an_unknown_label_is_an_error(stores: Stores, trigger: str, outcome: str) -> None:
    stores.retrain("one", trigger, outcome)

    with pytest.raises(SourceError, match="a retrain needs a trigger"):
        _read(stores, "retrains")


@pytest.mark.parametrize(("champion", "runs", "expected"), [(7, "7", [0]), (7, "8", [1]), (7, "", []), (None, "7", [])])
def test_divergence_is_told_only_where_both_sides_are_known(
    stores: Stores, service: tuple[str, dict[str, str]], champion: int | None, runs: str, expected: list[int]
) -> None:
    address, version = service
    version["registry_version"] = runs
    if champion is not None:
        stores.promote(champion)

    assert [reading.value for reading in _read(stores, "service", address)] == expected


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
