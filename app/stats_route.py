"""
The route of statistics: what the calling client has made lately, and what became of it.

Counts nothing itself: model/store/client_stats.py asks the database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field

from app.identity import CREATIVES_READ, Caller, identify
from app.openapi import ACCESS_PROBLEMS, problems
from app.parts import PartsOfApp
from app.problem import ProblemKind
from app.strict_json import StrictJsonRoute
from model.store import client_stats
from model.store.client_stats import DOCUMENTS_MAX, ROWS_MAX, ChannelCount
from model.store.tables import Database

DAYS, DAYS_MAX = 7, 90

STATS_EXAMPLE: dict[str, Any] = {
    "since": "2026-01-08T09:30:00Z",
    "until": "2026-01-15T09:30:00Z",
    "creatives": {
        "count": 412,
        "mean_validity": 0.97,
        "by_channel": [
            {"channel": "google_rsa", "count": 112, "mean_validity": 0.94},
            {"channel": "instagram", "count": 300, "mean_validity": 0.98},
        ],
    },
    "findings": {"creatives": 31, "by_kind": {"unsupported_number": 27, "repetition": 6}},
    "feedback": {"count": 12, "by_verdict": {"accept": 9, "reject": 3}, "by_state": {"waiting": 10, "used": 2}},
    "batches": {"count": 2, "by_state": {"done": 2}},
}

router = APIRouter(prefix="/v1", tags=["operation"], route_class=StrictJsonRoute)

Reader = Annotated[Caller, Security(identify, scopes=[CREATIVES_READ])]
DaysQuery = Annotated[int, Query(ge=1, le=DAYS_MAX, description="How far back from now.", examples=[DAYS])]


class ChannelStatsOut(BaseModel):
    """Creatives of one channel."""

    channel: str
    count: int
    mean_validity: float = Field(ge=0, le=1)


class CreativeStatsOut(BaseModel):
    """Creatives that were written and kept."""

    count: int = Field(description=f"Of more than {ROWS_MAX:,}, these.")
    mean_validity: float | None = Field(ge=0, le=1, description="Null where there is none.")
    by_channel: list[ChannelStatsOut]


class FindingStatsOut(BaseModel):
    """What is wrong with those that are not perfect."""

    creatives: int = Field(description=f"That were looked at: the newest, at most {DOCUMENTS_MAX:,}.")
    by_kind: dict[str, int]


class FeedbackStatsOut(BaseModel):
    """Verdicts, and what became of them."""

    count: int
    by_verdict: dict[str, int]
    by_state: dict[str, int]


class BatchStatsOut(BaseModel):
    """Batches that were sent."""

    count: int
    by_state: dict[str, int]


class StatsOut(BaseModel):
    """The calling client's own; what has not occurred is left out of the counts by name."""

    since: datetime
    until: datetime
    creatives: CreativeStatsOut
    findings: FindingStatsOut
    feedback: FeedbackStatsOut
    batches: BatchStatsOut


@router.get(
    "/stats",
    operation_id="getStats",
    summary="See what you have made lately",
    response_description="Counts of the last days.",
    responses={
        200: {"content": {"application/json": {"example": STATS_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def get_stats(caller: Reader, parts: PartsOfApp, days: DaysQuery = DAYS) -> StatsOut:
    """A creative counts when it was first kept: one that is asked for again is the same."""
    until = datetime.now(UTC)
    return await anyio.to_thread.run_sync(_stats, parts.database, caller.client, until - timedelta(days=days), until)


def _stats(database: Database, client: str, since: datetime, until: datetime) -> StatsOut:
    with database.connect() as connection:
        by_channel = client_stats.channel_counts(connection, client, since)
        found = client_stats.findings(connection, client, since)
        verdicts = client_stats.feedback_counts(connection, client, since)
        states = client_stats.batch_counts(connection, client, since)
    return StatsOut(
        since=since,
        until=until,
        creatives=_creatives_out(by_channel),
        findings=FindingStatsOut(creatives=found.creatives, by_kind=found.by_kind),
        feedback=FeedbackStatsOut(
            count=sum(verdicts.values()), by_verdict=_summed(verdicts, 0), by_state=_summed(verdicts, 1)
        ),
        batches=BatchStatsOut(count=sum(states.values()), by_state=states),
    )


def _creatives_out(by_channel: list[ChannelCount]) -> CreativeStatsOut:
    count = sum(each.count for each in by_channel)
    total = sum(each.count * each.mean_validity for each in by_channel)
    return CreativeStatsOut(
        count=count,
        mean_validity=round(total / count, 4) if count else None,
        by_channel=[
            ChannelStatsOut(channel=each.channel, count=each.count, mean_validity=round(each.mean_validity, 4))
            for each in by_channel
        ],
    )


def _summed(counts: dict[tuple[str, str], int], place: int) -> dict[str, int]:
    """Over the other half of each pair."""
    names = sorted({pair[place] for pair in counts})
    return {name: sum(count for pair, count in counts.items() if pair[place] == name) for name in names}
