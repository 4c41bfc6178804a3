"""
The routes of rollbacks: ask for one, see how far it and others are, take back one that nobody has begun.

Only keeps the wish: the pipelines carry it out, where Git, registry and promotion ledger are at hand.
"""

from __future__ import annotations

import logging
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
from app.retrains_route import TASK
from app.schemas import Text
from app.strict_json import StrictJsonRoute
from app.versions_route import VERSION_PATTERN
from model.store import rollbacks
from model.store.rollbacks import NewRollback, RollbackOpenError, RollbackRow, State

REASON_CHARS_MAX = 500
ROLLBACK_ID_PATTERN = "^rb_[0-9a-f]{32}$"

ROLLBACK_EXAMPLES: dict[str, Any] = {
    "odd_ads": {
        "summary": "Back to version 7",
        "value": {"to": "7", "reason": "Since this morning ads for kettles promise a guarantee that no product has."},
    }
}
MADE_EXAMPLE = {"id": "rb_0b7d35a1c92e4f6f8a40d1e2f3a4b5c6", "state": "waiting"}
ROLLBACK_EXAMPLE: dict[str, Any] = {
    **MADE_EXAMPLE,
    "state": "done",
    "from": "8",
    "to": "7",
    "reason": ROLLBACK_EXAMPLES["odd_ads"]["value"]["reason"],
    "asked_by": "shop",
    "environment": "prod",
    "why": "Git, registry and service say model 7",
    "created_at": "2026-01-15T09:30:00Z",
    "started_at": "2026-01-15T09:33:10Z",
    "ended_at": "2026-01-15T09:36:42Z",
}
WITHDRAWN_EXAMPLE: dict[str, Any] = {
    **ROLLBACK_EXAMPLE,
    "state": "withdrawn",
    **dict.fromkeys(("from", "environment", "why"), ""),
    "started_at": None,
    "ended_at": "2026-01-15T09:31:05Z",
}

log = logging.getLogger("adloom.rollbacks")
router = APIRouter(prefix="/v1", tags=["rollbacks"], route_class=StrictJsonRoute)

Admin = Annotated[Caller, Security(identify, scopes=[MODELS_ADMIN])]
RollbackId = Annotated[
    str,
    Path(pattern=ROLLBACK_ID_PATTERN, description="As `POST /v1/rollbacks` gave it.", examples=[MADE_EXAMPLE["id"]]),
]


class RollbackRequest(BaseModel):
    """Which version is to come back, and why."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    to: str | None = Field(
        default=None,
        pattern=VERSION_PATTERN,
        description="A version that was in service before; the one before the present one where left out.",
    )
    reason: Annotated[Text, Field(min_length=1, max_length=REASON_CHARS_MAX)] = Field(
        description="Stands in the promotion ledger and in the commit, beside who asked."
    )


class RollbackMadeOut(BaseModel):
    """The wish is kept."""

    id: str = Field(pattern=ROLLBACK_ID_PATTERN)
    state: State


class RollbackOut(RollbackMadeOut):
    """One rollback as it stands. A text is empty where there is no such thing yet."""

    source: str = Field(alias="from", description="The version that it goes back from; empty until that is known.")
    target: str = Field(alias="to", description="The version that it goes back to; empty until that is known.")
    reason: str
    asked_by: str
    environment: str = Field(
        description="Which one goes back; empty until it runs, and where only the registry's champion goes back."
    )
    why: str = Field(description="How far it is, or what it waits for; once it has ended, why so.")
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


class RollbacksOut(BaseModel):
    """The last ones."""

    rollbacks: list[RollbackOut]


_FIND_PROBLEMS = problems(*ACCESS_PROBLEMS, ProblemKind.ROLLBACK_NOT_FOUND, ProblemKind.INVALID_REQUEST)


@router.post(
    "/rollbacks",
    operation_id="startRollback",
    summary="Ask for a rollback",
    status_code=202,
    response_model=RollbackMadeOut,
    response_description="The wish is kept; Location tells what became of it.",
    responses={
        202: {
            "content": {"application/json": {"example": MADE_EXAMPLE}},
            "headers": {"Location": {"description": "Of the rollback.", "schema": {"type": "string"}}},
        },
        **problems(
            *ACCESS_PROBLEMS,
            *ONCE_PROBLEMS,
            ProblemKind.ROLLBACK_OPEN,
            ProblemKind.MALFORMED_JSON,
            ProblemKind.BODY_TOO_SLOW,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
        ),
    },
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": ROLLBACK_EXAMPLES}}}},
    dependencies=[TAKES_KEY],
)
async def start_rollback(request: Request, sent: RollbackRequest, caller: Admin, parts: PartsOfApp) -> Response:
    """
    One is open at a time: while one waits or runs, the answer is 409 and names it. It begins within five minutes.

    A retrain that runs goes on. What it makes is compared with the version that is back by then; where that changes in
    the middle of the comparison, its candidate is refused.
    """
    new = NewRollback(TASK, sent.to or "", sent.reason, caller.client, datetime.now(UTC))

    def keep(connection: Connection) -> Response:
        row = rollbacks.ask(connection, new)
        answer = json_answer(RollbackMadeOut(id=row.id, state=row.state), 202, Location=f"/v1/rollbacks/{row.id}")
        keep_answer(request, connection, answer)
        return answer

    async def ask() -> Response:
        try:
            answer = await parts.writes.run(keep)
        except RollbackOpenError as error:
            detail = (
                f"Wait until {error.row.id} has ended, which is {error.row.state}: GET /v1/rollbacks/{error.row.id}."
            )
            raise Problem(ProblemKind.ROLLBACK_OPEN, detail) from None
        _audit("rollback asked for", new.id, caller, to=new.target)
        return answer

    return await once(request, parts, caller, "startRollback", await request.body(), ask)


@router.get(
    "/rollbacks",
    operation_id="listRollbacks",
    summary="List the rollbacks that were asked for",
    response_description="The last rollbacks, the newest first.",
    responses={
        200: {"content": {"application/json": {"example": {"rollbacks": [ROLLBACK_EXAMPLE]}}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def list_rollbacks(_caller: Admin, parts: PartsOfApp, limit: Limit = LIST_DEFAULT) -> RollbacksOut:
    """
    Whoever asked for them: a model is everybody's.

    A rollback by `adloom rollback` asks nobody: it stands in `GET /v1/models/history`, as these do once they are done.
    """
    rows = await looked(parts, lambda connection: rollbacks.newest(connection, TASK, limit))
    return RollbacksOut(rollbacks=[_out(row) for row in rows])


@router.get(
    "/rollbacks/{rollback_id}",
    operation_id="getRollback",
    summary="See how far a rollback is",
    response_description="The rollback as it stands now.",
    responses={200: {"content": {"application/json": {"example": ROLLBACK_EXAMPLE}}}, **_FIND_PROBLEMS},
)
async def get_rollback(rollback_id: RollbackId, _caller: Admin, parts: PartsOfApp) -> RollbackOut:
    """Whoever asked for it: a model is everybody's."""
    return _out(await looked(parts, lambda connection: rollbacks.find(connection, rollback_id)))


@router.delete(
    "/rollbacks/{rollback_id}",
    operation_id="withdrawRollback",
    summary="Take back a rollback that has not begun",
    response_description="The rollback, withdrawn.",
    responses={
        200: {"content": {"application/json": {"example": WITHDRAWN_EXAMPLE}}},
        **_FIND_PROBLEMS,
        **problems(ProblemKind.ROLLBACK_BEGUN),
    },
)
async def withdraw_rollback(rollback_id: RollbackId, caller: Admin, parts: PartsOfApp) -> RollbackOut:
    """
    Whoever asked for it. Once it runs it is not stopped half way, and the answer is 409.

    Where it waits for a pull request, its `why` names that; closing it unmerged ends the rollback as refused, and
    another can be asked for.
    """

    def end(connection: Connection) -> tuple[bool, RollbackRow | None]:
        changed = rollbacks.withdraw(connection, rollback_id, datetime.now(UTC))
        return changed, rollbacks.find(connection, rollback_id)

    changed, row = await parts.writes.run(end)
    found = _out(row)
    if found.state != "withdrawn":
        raise Problem(ProblemKind.ROLLBACK_BEGUN, f"It is {found.state}: GET /v1/rollbacks/{rollback_id} says more.")
    if changed:
        _audit("rollback withdrawn", rollback_id, caller, to=found.target)
    return found


def _out(row: RollbackRow | None) -> RollbackOut:
    """Raises a Problem where there is none."""
    if row is None:
        raise Problem(ProblemKind.ROLLBACK_NOT_FOUND, "Check the id: POST /v1/rollbacks gave it.")
    shown = {field.alias or name: getattr(row, name) for name, field in RollbackOut.model_fields.items()}
    return RollbackOut.model_validate(shown)


def _audit(what: str, rollback_id: str, caller: Caller, *, to: str) -> None:
    """The request's own id stands in every line that is logged while it is served."""
    log.info("%s", what, extra={"fields": {"rollback": rollback_id, "client": caller.client, "to": to}})
