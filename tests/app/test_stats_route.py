"""What a client has made lately: its own alone, within the days it asks for."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import stats_route
from app.identity import CREATIVES_READ, FEEDBACK_WRITE
from model.product import Product
from model.store import batches, creatives, feedback
from model.store.batches import NewBatch, NewItem
from model.store.creatives import NewCreative
from model.store.feedback import FeedbackRow
from model.store.tables import Database
from tests.app.memory_client import RIVAL, bearer, parts_of, remembering

pytestmark = pytest.mark.anyio

ROUTERS = [stats_route.router]
BOWL = asdict(Product("BOWL", "Blue ceramic bowl"))


def written(number: int, channel: str, validity: float, *kinds: str, days: float = 1, client: str = "shop") -> Any:
    """A creative that was kept so many days ago."""
    findings = [{"kind": kind, "field": "body", "detail": ""} for kind in kinds]
    return NewCreative(
        client=client,
        id=f"cr_{number:020x}",
        sku="BOWL",
        channel=channel,
        validity=validity,
        bundle_digest="b",
        product_digest="p",
        document={"findings": findings},
        product=BOWL,
        batch_id=None,
        created_at=datetime.now(UTC) - timedelta(days=days),
    )


def given(number: int, verdict: str, state: str) -> FeedbackRow:
    at = datetime.now(UTC)
    facts: dict[str, Any] = dict.fromkeys(("reason", "why", "dataset_digest", "run_id", "served_version"), "")
    return FeedbackRow(
        id=f"fb_{number}", client="shop", creative_id=f"cr_{number:020x}", verdict=verdict, edited=None,
        state=state, holdout=False, created_at=at, updated_at=at, **facts,
    )  # type: ignore[arg-type]  # fmt: skip


def fill(database: Database) -> None:
    """Three creatives of this week and one older, and one of somebody else's; two verdicts, one batch."""
    batch = NewBatch("ba_1", "shop", {}, "inline", datetime.now(UTC))
    with database.begin() as connection:
        creatives.insert(
            connection,
            [
                written(1, "instagram", 1.0),
                written(2, "instagram", 0.5, "unsupported_number"),
                written(3, "x", 0.9, "repetition", "unsupported_number"),
                written(4, "x", 0.1, "too_long", days=20),
                written(5, "x", 0.1, "too_long", client="rival"),
            ],
        )
        feedback.insert(connection, given(1, "accept", "used"))
        feedback.insert(connection, given(2, "accept", "waiting"))
        batches.insert(connection, batch, [NewItem(BOWL)])


async def test_a_week_of_ones_own_is_counted(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        fill(parts_of(client).database)
        stats = (await client.get("/v1/stats")).json()

    assert stats["creatives"] == {
        "count": 3,
        "mean_validity": 0.8,
        "by_channel": [
            {"channel": "instagram", "count": 2, "mean_validity": 0.75},
            {"channel": "x", "count": 1, "mean_validity": 0.9},
        ],
    }
    assert stats["findings"] == {"creatives": 2, "by_kind": {"repetition": 1, "unsupported_number": 2}}
    assert stats["feedback"] == {"count": 2, "by_verdict": {"accept": 2}, "by_state": {"used": 1, "waiting": 1}}
    assert stats["batches"] == {"count": 1, "by_state": {"queued": 1}}


@pytest.mark.parametrize(("days", "count"), [(1, 0), (2, 3), (19, 3), (21, 4), (90, 4)])
async def test_as_many_days_are_counted_as_were_asked_for(tmp_path: Path, days: int, count: int) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        fill(parts_of(client).database)
        stats = (await client.get("/v1/stats", params={"days": days})).json()

    assert stats["creatives"]["count"] == count


@pytest.mark.parametrize(("days", "status"), [(0, 422), (1, 200), (90, 200), (91, 422), ("week", 422)])
async def test_days_have_their_bounds(tmp_path: Path, days: object, status: int) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get("/v1/stats", params={"days": str(days)})

    assert answer.status_code == status


async def test_a_client_that_made_nothing_gets_zeros_and_another_clients_do_not_count(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        empty = (await client.get("/v1/stats")).json()
        fill(parts_of(client).database)
        theirs = (await client.get("/v1/stats", headers=RIVAL)).json()

    assert (empty["creatives"]["count"], empty["creatives"]["mean_validity"]) == (0, None)
    assert (empty["feedback"]["count"], empty["batches"]["by_state"]) == (0, {})
    assert (theirs["creatives"]["count"], theirs["batches"]["count"]) == (1, 0)


async def test_the_scope_to_read_creatives_is_needed(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        statuses = [
            (await client.get("/v1/stats", headers=bearer("shop", scope))).status_code
            for scope in (CREATIVES_READ, FEEDBACK_WRITE)
        ]

    assert statuses == [200, 403]
