"""
The routes of training pairs: send a file of them, see what became of it, take it back.

Reads the form off the Content-Type and hands the bytes to model/pair_file.py; the next dataset takes the set in.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response, Security
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from app.idempotency import TAKES_KEY, json_answer, keep_answer, once
from app.identity import MODELS_ADMIN, Caller, identify
from app.listing import LIST_DEFAULT, Limit, looked
from app.openapi import ACCESS_PROBLEMS, ONCE_PROBLEMS, problems
from app.parts import Parts, PartsOfApp
from app.problem import Problem, ProblemKind, invalid
from app.sent_file import suffix_of
from app.strict_json import StrictJsonRoute
from model.heldout import shipped_heldout
from model.pair_file import FAULTS_MAX, Fault, PairFile, PairFileError, read_pair_file, stored_keys
from model.store import pair_sets
from model.store.objects import ObjectMissingError
from model.store.pair_sets import PairSetRow, State

BYTES_MAX = 8 * 1024 * 1024
"""Of a file: ROWS_MAX rows with descriptions as long as shops write them."""
WAITING_MAX = 10
"""Sets that wait at a time: the pairs of each are read again with every upload, and a retrain takes all of them in."""
BUSY_RETRY_SECONDS = "15"
SUFFIXES = {"text/csv": ".csv", "application/x-ndjson": ".jsonl", "application/jsonl": ".jsonl"}
SET_ID_PATTERN = "^ps_[0-9a-f]{32}$"

CSV_EXAMPLE = (
    "title,description,channel,headline 1,body,call to action,hashtags\n"
    '"Slate cheese board Moor, 30 cm","Natural slate, 30 x 20 cm. Felt feet. Wipe clean with a damp cloth.",'
    'pinterest,A slate board for cheese,"Natural slate, 30 x 20 cm, on felt feet. Wipe it clean with a damp cloth.",'
    'See the board in full,"#slate #cheeseboard #kitchen"\n'
)
JSON_LINES_EXAMPLE = (
    '{"family": "key hook", "channel": "facebook", "voice": "plain", "product": {"title": "Oak key rail Fjell, '
    '5 hooks", "description": "Oiled oak, 40 cm long, five steel hooks. Two screws included."}, "copy": {"headlines": '
    '["Five hooks on oiled oak"], "bodies": ["A 40 cm rail of oiled oak with five steel hooks. Two screws are '
    'included."], "call_to_action": "Check the length for your hall", "hashtags": ["#oak", "#hallway"]}}\n'
)
MADE_EXAMPLE: dict[str, Any] = {
    "id": "ps_4b1f6a0c9d2e4f7a8b3c5d6e7f801923",
    "state": "waiting",
    "accepted": 411,
    "refused": 1,
    "held_out": 40,
    "faults": [{"line": 7, "reason": "validity 0.50 (unsupported_number: the product does not say 50)"}],
}
LISTED_EXAMPLE: dict[str, Any] = {
    **{name: value for name, value in MADE_EXAMPLE.items() if name != "faults"},
    "state": "used",
    "learnt": 371,
    "asked_by": "shop",
    "dataset_digest": "d2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26",
    "why": "",
    "created_at": "2026-01-15T09:30:00Z",
    "used_at": "2026-01-16T02:00:00Z",
}
SET_EXAMPLE: dict[str, Any] = {**LISTED_EXAMPLE, "faults": MADE_EXAMPLE["faults"]}

router = APIRouter(prefix="/v1", tags=["pairs"], route_class=StrictJsonRoute)

Admin = Annotated[Caller, Security(identify, scopes=[MODELS_ADMIN])]
SetId = Annotated[
    str,
    PathParameter(pattern=SET_ID_PATTERN, description="As `POST /v1/pairs` gave it.", examples=[MADE_EXAMPLE["id"]]),
]


class FaultOut(BaseModel):
    """Why a row is not taken."""

    line: int = Field(description="Where the row begins; counts from 1.")
    reason: str


class _Counted(BaseModel):
    id: str = Field(pattern=SET_ID_PATTERN, description="The same for the same file.")
    state: State = Field(description="Used once a dataset has held it; dismissed where no later one will.")
    accepted: int = Field(description="Rows that were kept.")
    refused: int = Field(description="Rows that were not.")
    held_out: int = Field(description="Of those kept, pairs of the tenth of products that nothing is learnt from.")


class PairSetMadeOut(_Counted):
    """What became of the rows of a file."""

    faults: list[FaultOut] = Field(max_length=FAULTS_MAX, description="Of the first rows that were refused.")


class PairSetSummaryOut(_Counted):
    """A set as it stands. A text is empty where there is no such thing yet."""

    learnt: int = Field(description="Pairs of it in the first dataset that held it.")
    asked_by: str
    dataset_digest: str = Field(description="Of that first dataset.")
    why: str = Field(description="Why it was dismissed, or why not all of it was learnt.")
    created_at: datetime
    used_at: datetime | None


class PairSetOut(PairSetSummaryOut):
    """A set, with what was wrong with its file."""

    faults: list[FaultOut] = Field(max_length=FAULTS_MAX, description="Of the first rows that were refused.")


class PairSetsOut(BaseModel):
    """The last sets, newest first."""

    sets: list[PairSetSummaryOut]


def _text_body(example: str) -> dict[str, object]:
    return {"schema": {"type": "string"}, "examples": {"one_pair": {"summary": "One pair", "value": example}}}


_BODY = {
    "required": True,
    "content": {"text/csv": _text_body(CSV_EXAMPLE), "application/x-ndjson": _text_body(JSON_LINES_EXAMPLE)},
}
_FIND_PROBLEMS = problems(*ACCESS_PROBLEMS, ProblemKind.PAIR_SET_NOT_FOUND, ProblemKind.INVALID_REQUEST)


@router.post(
    "/pairs",
    operation_id="uploadPairs",
    summary="Send training pairs in bulk",
    status_code=202,
    response_model=PairSetMadeOut,
    response_description="The good rows are kept as one set, which the next dataset takes in; Location tells of it.",
    responses={
        202: {
            "content": {"application/json": {"example": MADE_EXAMPLE}},
            "headers": {"Location": {"description": "Of the set.", "schema": {"type": "string"}}},
        },
        **problems(
            *ACCESS_PROBLEMS,
            *ONCE_PROBLEMS,
            ProblemKind.CONFLICT,
            ProblemKind.BODY_TOO_SLOW,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.OVERLOADED,
        ),
    },
    openapi_extra={"requestBody": _BODY},
    dependencies=[TAKES_KEY],
)
async def upload_pairs(request: Request, caller: Admin, parts: PartsOfApp) -> Response:
    """
    CSV or JSON Lines in UTF-8: products, and the ads that a person would be glad to have written for them. At most
    5,000 rows and 8 MB at once.

    Every row has to keep the rules that ads keep; the others are refused with their line and the reason. The same file
    is the same set, so sending it again changes nothing, takes in again what was dismissed, and mends a set whose
    pairs were lost.
    """
    suffix = suffix_of(request, SUFFIXES, "; save a workbook as CSV")
    body = await request.body()
    set_id = "ps_" + hashlib.sha256(suffix.encode() + body).hexdigest()[:32]

    async def keep() -> Response:
        seen = await looked(parts, lambda connection: pair_sets.find(connection, set_id))
        if seen is not None and await anyio.to_thread.run_sync(_stored, parts, seen) is not None:
            known = await parts.writes.run(lambda connection: _known(request, connection, set_id))
            if known is not None:
                return known
        checked = await _checked(request, parts, body, suffix, set_id)
        content = "".join(f"{line}\n" for line in checked.lines).encode()
        row = _row(set_id, hashlib.sha256(content).hexdigest(), caller.client, checked)
        # The object first: a row without its object would be a promise that cannot be kept.
        await anyio.to_thread.run_sync(parts.objects.put, row.object_key, content)
        return await parts.writes.run(lambda connection: _kept(request, connection, row))

    return await once(request, parts, caller, "uploadPairs", body, keep)


@router.get(
    "/pairs",
    operation_id="listPairs",
    summary="List the sets of training pairs",
    response_description="The last sets, newest first.",
    responses={
        200: {"content": {"application/json": {"example": {"sets": [LISTED_EXAMPLE]}}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def list_pairs(_caller: Admin, parts: PartsOfApp, limit: Limit = LIST_DEFAULT) -> PairSetsOut:
    """Whoever sent them: a model is everybody's."""
    rows = await looked(parts, lambda connection: pair_sets.newest(connection, limit))
    return PairSetsOut(sets=[PairSetSummaryOut.model_validate(row, from_attributes=True) for row in rows])


@router.get(
    "/pairs/{set_id}",
    operation_id="getPairs",
    summary="See what became of a set of training pairs",
    response_description="The set, with the dataset that it became part of.",
    responses={200: {"content": {"application/json": {"example": SET_EXAMPLE}}}, **_FIND_PROBLEMS},
)
async def get_pairs(set_id: SetId, _caller: Admin, parts: PartsOfApp) -> PairSetOut:
    """Whoever sent it."""
    return _out(await looked(parts, lambda connection: pair_sets.find(connection, set_id)))


@router.delete(
    "/pairs/{set_id}",
    operation_id="dismissPairs",
    summary="Take a set of training pairs back",
    response_description="The set, which no dataset begun from now on holds.",
    responses={
        200: {"content": {"application/json": {"example": SET_EXAMPLE | {"state": "dismissed"}}}},
        **_FIND_PROBLEMS,
    },
)
async def dismiss_pairs(set_id: SetId, caller: Admin, parts: PartsOfApp) -> PairSetOut:
    """
    What has learnt from it stays as it is: a model that should forget is rolled back, or trained again. A dataset that
    is being put together just then may still hold it, and is named in the set if it is the first.
    """

    def dismiss(connection: Connection) -> PairSetRow | None:
        pair_sets.dismiss(connection, set_id, f"taken back by {caller.client}", also_used=True)
        return pair_sets.find(connection, set_id)

    return _out(await parts.writes.run(dismiss))


async def _checked(request: Request, parts: Parts, body: bytes, suffix: str, set_id: str) -> PairFile:
    """The file's good rows. One file at a time: it is the work of a core, and ads are written beside it."""
    state = request.app.state
    if not hasattr(state, "pairs_turn"):
        state.pairs_turn = asyncio.Lock()
    if state.pairs_turn.locked():
        detail = f"Another file of pairs is being checked: send this one again in {BUSY_RETRY_SECONDS} s."
        raise Problem(ProblemKind.OVERLOADED, detail, headers={"Retry-After": BUSY_RETRY_SECONDS})
    async with state.pairs_turn:
        checked = await anyio.to_thread.run_sync(_read, parts, body, suffix, set_id)
    if not checked.lines:
        errors = [{"pointer": "#", "detail": f"line {fault.line}: {fault.reason}"} for fault in checked.faults]
        detail = "No row is a pair to learn from: see errors, correct them and send the file again."
        raise Problem(
            ProblemKind.INVALID_REQUEST, detail, errors=errors or [{"pointer": "#", "detail": "There are no rows."}]
        )
    return checked


def _read(parts: Parts, body: bytes, suffix: str, set_id: str) -> PairFile:
    """Through a file, because rows are read from one. Raises a 409 or 422 Problem without its path."""
    known = _waiting_keys(parts, set_id)
    with tempfile.TemporaryDirectory(prefix="adloom-pairs-") as folder:
        path = Path(folder, f"pairs{suffix}")
        path.write_bytes(body)
        try:
            return read_pair_file(path, set_id, shipped_heldout(), known)
        except PairFileError as error:
            raise invalid(f"The file {error}.", pointer="") from None


def _waiting_keys(parts: Parts, set_id: str) -> Mapping[str, str]:
    """The set of every pair that waits, by the pair's key; empty for a set that has its place already."""
    with parts.database.connect() as connection:
        rows = _room(connection, set_id)
    known: dict[str, str] = {}
    for row in rows:
        # Where they are lost, whoever builds the next dataset is told of it.
        if (content := _stored(parts, row)) is not None:
            known |= dict.fromkeys(stored_keys(content), row.id)
    return known


def _room(connection: Connection, set_id: str) -> Sequence[PairSetRow]:
    """The sets beside which this one begins to wait; none where it does not. Raises a 409 Problem for want of room."""
    if not _begins_to_wait(pair_sets.find(connection, set_id)):
        return ()
    rows = pair_sets.waiting(connection)
    if len(rows) >= WAITING_MAX:
        detail = f"{len(rows)} sets wait already: ask for a retrain, or take one back with DELETE /v1/pairs/{{set_id}}."
        raise Problem(ProblemKind.CONFLICT, detail)
    return rows


def _begins_to_wait(row: PairSetRow | None) -> bool:
    """What is taken in is new, or was dismissed before a dataset held it."""
    return row is None or (row.state == "dismissed" and not row.dataset_digest)


def _stored(parts: Parts, row: PairSetRow) -> bytes | None:
    """Its pairs; None where they are gone from the object store, or were changed."""
    try:
        content = parts.objects.get(row.object_key)
    except ObjectMissingError:
        return None
    return content if hashlib.sha256(content).hexdigest() == row.content_digest else None


def _row(set_id: str, content_digest: str, client: str, checked: PairFile) -> PairSetRow:
    return PairSetRow(
        id=set_id,
        content_digest=content_digest,
        asked_by=client,
        state="waiting",
        why="",
        dataset_digest="",
        accepted=len(checked.lines),
        refused=checked.refused,
        held_out=checked.held_out,
        learnt=0,
        faults=[_fault(fault) for fault in checked.faults],
        created_at=datetime.now(UTC),
        used_at=None,
    )


def _fault(fault: Fault) -> dict[str, Any]:
    return {"line": fault.line, "reason": fault.reason}


def _known(request: Request, connection: Connection, set_id: str) -> Response | None:
    """The answer for a file that was sent before; None where its set would begin to wait, which needs a check."""
    if _begins_to_wait(pair_sets.find(connection, set_id)):
        return None
    pair_sets.revive(connection, set_id)
    row = pair_sets.find(connection, set_id)
    return None if row is None else _answer(request, connection, row)


def _kept(request: Request, connection: Connection, row: PairSetRow) -> Response:
    """Row and answer in one transaction. What is known of the set stands, but for what its file holds."""
    _room(connection, row.id)
    if not pair_sets.insert(connection, row):
        pair_sets.renew(connection, row)
        pair_sets.revive(connection, row.id)
    return _answer(request, connection, pair_sets.find(connection, row.id) or row)


def _answer(request: Request, connection: Connection, row: PairSetRow) -> Response:
    made = PairSetMadeOut.model_validate(row, from_attributes=True)
    answer = json_answer(made, 202, Location=f"/v1/pairs/{row.id}")
    keep_answer(request, connection, answer)
    return answer


def _out(row: PairSetRow | None) -> PairSetOut:
    if row is None:
        raise Problem(ProblemKind.PAIR_SET_NOT_FOUND, "Check the id: GET /v1/pairs lists the last ones.")
    return PairSetOut.model_validate(row, from_attributes=True)
