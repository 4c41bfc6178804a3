"""
The routes of retrains: ask for one, and see what became of it and of others.

Only keeps the wish: the pipelines look for it, decide and run it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from app.idempotency import TAKES_KEY, json_answer, keep_answer, once
from app.identity import MODELS_ADMIN, Caller, identify
from app.listing import LIST_DEFAULT, Limit, looked
from app.openapi import ACCESS_PROBLEMS, ONCE_PROBLEMS, problems
from app.parts import PartsOfApp
from app.problem import Problem, ProblemKind
from app.schemas import Text
from app.strict_json import StrictJsonRoute
from model.store import retrains
from model.store.retrains import NewRetrain, RetrainOpenError, State, Trigger

TASK = "ad_writer"
"""What the pipelines call the model behind this API."""
REASON_CHARS_MAX = 500
RETRAIN_ID_PATTERN = "^rt_[0-9a-f]{32}$"

RETRAIN_EXAMPLES: dict[str, Any] = {
    "new_season": {
        "summary": "The shop has changed",
        "value": {"reason": "The autumn catalogue came in: half of its categories are new to the model."},
    }
}
MADE_EXAMPLE = {"id": "rt_6a2f41a3c54c4d9b8b1f2c3d4e5f6071", "state": "waiting"}
RETRAIN_EXAMPLE: dict[str, Any] = {
    **MADE_EXAMPLE,
    "state": "promoted",
    "trigger": "manual",
    "cause": RETRAIN_EXAMPLES["new_season"]["value"],
    "asked_by": "shop",
    "why": "",
    "dataset_digest": "d2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26",
    "run_id": "4f2c9b1e0d3a4c5b8e7f6a5d4c3b2a19",
    "bundle_digest": "3b0f6f0d3e1c5f7a9d2b4c6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f20",
    "version": "8",
    "helped": True,
    "created_at": "2026-01-15T09:30:00Z",
    "started_at": "2026-01-15T10:00:00Z",
    "ended_at": "2026-01-15T11:20:00Z",
}

router = APIRouter(prefix="/v1", tags=["retrains"], route_class=StrictJsonRoute)

Admin = Annotated[Caller, Security(identify, scopes=[MODELS_ADMIN])]
RetrainId = Annotated[
    str,
    Path(pattern=RETRAIN_ID_PATTERN, description="As `POST /v1/retrains` gave it.", examples=[MADE_EXAMPLE["id"]]),
]


class RetrainRequest(BaseModel):
    """Why the model is to learn anew."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reason: Annotated[Text, Field(min_length=1, max_length=REASON_CHARS_MAX)] = Field(
        description="For whoever looks at the result; kept with the retrain."
    )


class RetrainMadeOut(BaseModel):
    """The wish is kept."""

    id: str = Field(pattern=RETRAIN_ID_PATTERN)
    state: State


class RetrainOut(RetrainMadeOut):
    """One retrain as it stands. A text is empty where there is no such thing yet."""

    trigger: Trigger = Field(description="What asked for it: manual is a person.")
    cause: dict[str, Any] = Field(description="What that rested on; for manual its `reason`.")
    asked_by: str
    why: str = Field(description="Why it ended as it did.")
    dataset_digest: str
    run_id: str
    bundle_digest: str
    version: str = Field(description="In the registry, of what it made.")
    helped: bool | None = Field(description="Judged one window after the promotion; null until then.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class RetrainsOut(BaseModel):
    """The last ones."""

    retrains: list[RetrainOut]


@router.post(
    "/retrains",
    operation_id="startRetrain",
    summary="Ask for a retrain",
    status_code=202,
    response_model=RetrainMadeOut,
    response_description="The wish is kept; Location tells what became of it.",
    responses={
        202: {
            "content": {"application/json": {"example": MADE_EXAMPLE}},
            "headers": {"Location": {"description": "Of the retrain.", "schema": {"type": "string"}}},
        },
        **problems(
            *ACCESS_PROBLEMS,
            *ONCE_PROBLEMS,
            ProblemKind.RETRAIN_OPEN,
            ProblemKind.MALFORMED_JSON,
            ProblemKind.BODY_TOO_SLOW,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
        ),
    },
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": RETRAIN_EXAMPLES}}}},
    dependencies=[TAKES_KEY],
)
async def start_retrain(request: Request, sent: RetrainRequest, caller: Admin, parts: PartsOfApp) -> Response:
    """
    One is open at a time: while a retrain waits or runs, the answer is 409 and names it.

    A retrain ends with a better model in service, or with the reason why not; budget and cooldown are the pipelines'.
    """
    new = NewRetrain(TASK, "manual", {"reason": sent.reason}, caller.client, datetime.now(UTC))

    def keep(connection: Connection) -> Response:
        row = retrains.ask(connection, new)
        made = RetrainMadeOut(id=row.id, state=row.state)
        answer = json_answer(made, 202, Location=f"/v1/retrains/{row.id}")
        keep_answer(request, connection, answer)
        return answer

    async def ask() -> Response:
        try:
            return await parts.writes.run(keep)
        except RetrainOpenError as error:
            detail = (
                f"Wait until {error.row.id} has ended, which is {error.row.state}: GET /v1/retrains/{error.row.id}."
            )
            raise Problem(ProblemKind.RETRAIN_OPEN, detail) from None

    return await once(request, parts, caller, "startRetrain", await request.body(), ask)


@router.get(
    "/retrains",
    operation_id="listRetrains",
    summary="List the retrains",
    response_description="The last retrains, the newest first.",
    responses={
        200: {"content": {"application/json": {"example": {"retrains": [RETRAIN_EXAMPLE]}}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def list_retrains(_caller: Admin, parts: PartsOfApp, limit: Limit = LIST_DEFAULT) -> RetrainsOut:
    """Whoever or whatever asked for them: a model is everybody's."""
    rows = await looked(parts, lambda connection: retrains.newest(connection, TASK, limit))
    return RetrainsOut(retrains=[RetrainOut.model_validate(row, from_attributes=True) for row in rows])


@router.get(
    "/retrains/{retrain_id}",
    operation_id="getRetrain",
    summary="See what became of a retrain",
    response_description="The retrain, with what it made.",
    responses={
        200: {"content": {"application/json": {"example": RETRAIN_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.RETRAIN_NOT_FOUND, ProblemKind.INVALID_REQUEST),
    },
)
async def get_retrain(retrain_id: RetrainId, _caller: Admin, parts: PartsOfApp) -> RetrainOut:
    """Whoever or whatever asked for it: a model is everybody's."""
    row = await looked(parts, lambda connection: retrains.find(connection, retrain_id))
    if row is None:
        raise Problem(ProblemKind.RETRAIN_NOT_FOUND, "Check the id: POST /v1/retrains gave it.")
    return RetrainOut.model_validate(row, from_attributes=True)
