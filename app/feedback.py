"""
The routes of feedback: say what became of a creative, and ask what became of that.

Finds the creative and keeps the verdict; what may teach anything is decided by model/feedback_rules.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response, Security
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.creatives import CreativeId, find_kept
from app.feedback_schemas import FEEDBACK_ID_PATTERN, FeedbackMadeOut, FeedbackOut, FeedbackRequest
from app.idempotency import TAKES_KEY, json_answer, keep_answer, once
from app.identity import CREATIVES_READ, FEEDBACK_WRITE, Caller, identify
from app.openapi import ACCESS_PROBLEMS, CREATIVE_EXAMPLE, ONCE_PROBLEMS, problems
from app.parts import PartsOfApp
from app.problem import ERRORS_SHOWN_MAX, Problem, ProblemKind, invalid
from app.strict_json import StrictJsonRoute
from model.channel import channel
from model.creative import Copy, Finding, creative_from_dict
from model.feedback_rules import VERDICTS_A_DAY_MAX, edit_refusals, holds_orders, is_held_out
from model.product import product_from_dict
from model.store import feedback
from model.store.creatives import KeptCreative
from model.store.feedback import FeedbackRow

WHY_ORDERS = "Its text addresses whoever writes the ads: nothing is learnt from that."
WHY_REPLACED = "A later verdict on the same creative took its place."
FIELDS_AS_SENT = {"headline": "headlines", "body": "descriptions"}
"""Of findings whose field is called otherwise in a request."""

FEEDBACK_EXAMPLES: dict[str, Any] = {
    "accept": {"summary": "It may run as it is", "value": {"verdict": "accept"}},
    "edit": {
        "summary": "It may run with these words",
        "value": {
            "verdict": "edit",
            "edited": {
                "headlines": ["Pour at the degree you set"],
                "descriptions": ["A gooseneck kettle in brushed steel that holds 1.2 l and steps by 1 degree."],
                "call_to_action": "Check that the 15 cm base fits",
                "hashtags": ["#kettle", "#gooseneck", "#kitchen"],
            },
        },
    },
    "reject": {
        "summary": "It must not run",
        "value": {"verdict": "reject", "reason": "Says nothing of the temperature steps, our main point."},
    },
}
MADE_EXAMPLE = {"id": "fb_6a2f41a3c54c4d9b8b1f2c3d4e5f6071", "state": "waiting"}
FEEDBACK_EXAMPLE = {
    **MADE_EXAMPLE,
    "state": "used",
    "creative_id": CREATIVE_EXAMPLE["id"],
    "verdict": "accept",
    "why": "",
    "hold_out": False,
    "dataset_digest": "d2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26",
    "run_id": "4f2c9b1e0d3a4c5b8e7f6a5d4c3b2a19",
    "served_version": "7",
    "created_at": "2026-01-15T09:30:00Z",
    "updated_at": "2026-01-22T02:10:00Z",
}

router = APIRouter(prefix="/v1", tags=["feedback"], route_class=StrictJsonRoute)

Critic = Annotated[Caller, Security(identify, scopes=[FEEDBACK_WRITE])]
Reader = Annotated[Caller, Security(identify, scopes=[CREATIVES_READ])]
FeedbackId = Annotated[
    str,
    Path(
        pattern=FEEDBACK_ID_PATTERN, description="As the answer to the verdict gave it.", examples=[MADE_EXAMPLE["id"]]
    ),
]


@router.post(
    "/creatives/{creative_id}/feedback",
    operation_id="giveFeedback",
    summary="Accept, edit or reject a creative",
    status_code=201,
    response_model=FeedbackMadeOut,
    response_description="The verdict is kept.",
    responses={
        201: {"content": {"application/json": {"example": MADE_EXAMPLE}}},
        **problems(
            *ACCESS_PROBLEMS,
            *ONCE_PROBLEMS,
            ProblemKind.MALFORMED_JSON,
            ProblemKind.BODY_TOO_SLOW,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.CREATIVE_NOT_FOUND,
        ),
    },
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": FEEDBACK_EXAMPLES}}}},
    dependencies=[TAKES_KEY],
)
async def give_feedback(
    request: Request, creative_id: CreativeId, sent: FeedbackRequest, caller: Critic, parts: PartsOfApp
) -> Response:
    """
    A later verdict on the same creative takes the place of one that has not been used yet.

    An edited ad has to keep the rules that every creative keeps; where it does not, `errors` names the findings and
    nothing is kept.
    """

    async def keep() -> Response:
        kept = await find_kept(parts, caller, creative_id)
        if sent.edited is not None:
            await anyio.to_thread.run_sync(_check_edit, kept, sent.edited.copy_of_ad())
        row = _new_row(caller, creative_id, sent, kept)
        try:
            answer = await parts.writes.run(lambda connection: _kept(request, connection, row))
        except IntegrityError:  # another replica kept the client's verdict on it just now: this one replaces that
            answer = await parts.writes.run(lambda connection: _kept(request, connection, row))
        parts.metrics.feedback(sent.verdict)
        return answer

    return await once(request, parts, caller, "giveFeedback", await request.body(), keep)


@router.get(
    "/feedback/{feedback_id}",
    operation_id="getFeedback",
    summary="See what became of feedback",
    response_description="The verdict, and where it was used.",
    responses={
        200: {"content": {"application/json": {"example": FEEDBACK_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.FEEDBACK_NOT_FOUND, ProblemKind.INVALID_REQUEST),
    },
)
async def get_feedback(feedback_id: FeedbackId, caller: Reader, parts: PartsOfApp) -> FeedbackOut:
    """Waiting; used in a dataset and a training run, and served since a version; or excluded, and why."""

    def find() -> FeedbackRow | None:
        with parts.database.connect() as connection:
            return feedback.find(connection, caller.client, feedback_id)

    row = await anyio.to_thread.run_sync(find)
    if row is None:
        raise Problem(ProblemKind.FEEDBACK_NOT_FOUND, "Check the id: the answer to the feedback gave it.")
    return FeedbackOut(
        id=row.id,
        state=row.state,
        creative_id=row.creative_id,
        verdict=row.verdict,
        why=row.why,
        hold_out=row.holdout,
        dataset_digest=row.dataset_digest,
        run_id=row.run_id,
        served_version=row.served_version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _check_edit(kept: KeptCreative, words: Copy) -> None:
    """Raises a 422 Problem that names what is wrong with the edited ad."""
    creative = creative_from_dict(kept.document)
    if words == creative.copy:
        raise invalid("The edited ad is the creative as it is: make the verdict accept.", pointer="/edited")
    found = edit_refusals(product_from_dict(kept.product), words, channel(creative.channel))
    if found:
        detail = "The edited ad breaks rules that every creative keeps: see errors, change it and send it again."
        errors = [_error(finding) for finding in found[:ERRORS_SHOWN_MAX]]
        raise Problem(ProblemKind.INVALID_REQUEST, detail, errors=errors)


def _error(finding: Finding) -> dict[str, str]:
    field = FIELDS_AS_SENT.get(finding.field, finding.field)
    pointer = "#/edited" if field == "creative" else f"#/edited/{field}"
    return {"pointer": pointer, "detail": f"{finding.kind}: {finding.detail}"[:300]}


def _new_row(caller: Caller, creative_id: str, sent: FeedbackRequest, kept: KeptCreative) -> FeedbackRow:
    now = datetime.now(UTC)
    edited = sent.edited.model_dump() if sent.edited else None
    reason = (sent.reason or "").strip()
    has_orders = holds_orders((*_texts(sent), reason))
    return FeedbackRow(
        id=f"fb_{uuid.uuid4().hex}",
        client=caller.client,
        creative_id=creative_id,
        verdict=sent.verdict,
        edited=edited,
        reason=reason,
        state="excluded" if has_orders else "waiting",
        why=WHY_ORDERS if has_orders else "",
        holdout=is_held_out(kept.document["passport"]["product_digest"]),
        dataset_digest="",
        run_id="",
        served_version="",
        created_at=now,
        updated_at=now,
    )


def _texts(sent: FeedbackRequest) -> Sequence[str]:
    if sent.edited is None:
        return ()
    return (*sent.edited.headlines, *sent.edited.descriptions, sent.edited.call_to_action, *sent.edited.hashtags)


def _kept(request: Request, connection: Connection, row: FeedbackRow) -> Response:
    """Verdict and answer in one transaction. Raises a 429 Problem, or IntegrityError: another replica was first."""
    mine = [each for each in feedback.of_creative(connection, row.creative_id) if each.client == row.client]
    waiting = next((each for each in mine if each.state == "waiting"), None)
    if mine and _says_the_same(mine[-1], row):
        row = mine[-1]
    elif waiting is not None and row.state == "waiting" and _replaced(connection, waiting, row):
        row = replace(row, id=waiting.id)
    else:
        _require_room(connection, row)
        if waiting is not None:  # where a dataset has taken it meanwhile, it is no longer ours to exclude
            feedback.exclude(connection, [waiting], WHY_REPLACED, at=row.updated_at)
        feedback.insert(connection, row)
    made = FeedbackMadeOut(id=row.id, state=row.state)
    answer = json_answer(made, 201, Location=f"/v1/feedback/{row.id}")
    keep_answer(request, connection, answer)
    return answer


def _replaced(connection: Connection, waiting: FeedbackRow, row: FeedbackRow) -> bool:
    """False where a dataset has taken the waiting verdict since it was read: the new one then stands beside it."""
    return feedback.replace(connection, replace(row, id=waiting.id))


def _says_the_same(one: FeedbackRow, other: FeedbackRow) -> bool:
    """Said twice counts once, even where the first has been used: repetition is no argument."""
    return (one.verdict, one.edited, one.reason) == (other.verdict, other.edited, other.reason)


def _require_room(connection: Connection, row: FeedbackRow) -> None:
    midnight = row.created_at.replace(hour=0, minute=0, second=0, microsecond=0)
    if feedback.count_since(connection, row.client, midnight) < VERDICTS_A_DAY_MAX:
        return
    wait_seconds = int((midnight + timedelta(days=1) - row.created_at).total_seconds()) + 1
    detail = f"A client gives at most {VERDICTS_A_DAY_MAX:,} verdicts a day (UTC): send the others tomorrow."
    raise Problem(ProblemKind.RATE_LIMITED, detail, headers={"Retry-After": str(wait_seconds)})
