"""
The routes of batches: have many products written, see how far it is, read the results, cancel.

Only takes batches in and tells of them; app/batch_worker.py works on them, in this process or in another.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response, Security
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from sqlalchemy import Connection

from app.batch_schemas import (
    BATCH_ID_PATTERN,
    AfterQuery,
    BatchesOut,
    BatchMadeOut,
    BatchOut,
    BatchRequest,
    ItemResultOut,
)
from app.catalogue_route import find_snapshot
from app.idempotency import TAKES_KEY, json_answer, keep_answer, once
from app.identity import CREATIVES_READ, CREATIVES_WRITE, Caller, identify
from app.openapi import ACCESS_PROBLEMS, CREATIVE_EXAMPLE, ONCE_PROBLEMS, problems
from app.parts import Parts, PartsOfApp
from app.problem import Problem, ProblemKind, invalid
from app.schemas import ProductIn
from app.strict_json import StrictJsonRoute
from model.product import ProductError, product_from_mapping
from model.store import batches, creatives
from model.store.batches import BatchItem, BatchRow, NewBatch, NewItem
from model.store.objects import ObjectMissingError

PAGE_ITEMS_MAX, PAGE_CREATIVES_MAX = 500, 4_000
"""Read at a time: a few MB at most, and no connection is held while a slow client reads."""
OPEN_BATCHES_MAX = 100
"""
Of the client's latest batches, not all may be unfinished: one that sends batches in a loop is stopped before the disk
is full. 100 batches of 10,000 products are days of work.
"""
OPEN_RETRY_SECONDS = 60
ERROR_CHARS_MAX = 500
CURSOR_CHARS_MAX = 200
JSON_LINES = "application/x-ndjson"
INLINE = "inline"

BATCH_ID_EXAMPLE = "ba_0b6f1f7f5b0c4a0f8a3ce0a1f6f4f0f3"
BATCH_EXAMPLES: dict[str, Any] = {
    "two_products": {
        "summary": "Two products for two channels",
        "value": {
            "products": [
                {"sku": "BOWL", "title": "Blue ceramic bowl", "description": "Holds 0.5 l."},
                {"sku": "VASE", "title": "Grey stone vase", "price": "49.00 EUR"},
            ],
            "channels": ["instagram", "google_rsa"],
            "candidates": 2,
        },
    }
}
MADE_EXAMPLE = {"id": BATCH_ID_EXAMPLE, "state": "queued", "products": 2, "failed": 0}
CURSOR_EXAMPLE = "WyIyMDI2LTAxLTE1VDA5OjMwOjAwKzAwOjAwIiwgImJhXzBiNmYxZjdmNWIwYzRhMGY4YTNjZTBhMWY2ZjRmMGYzIl0="
BATCH_EXAMPLE = {  # one that is done: FastAPI leaves nulls out of examples
    **MADE_EXAMPLE,
    "state": "done",
    "written": 2,
    "waiting": 0,
    "cancelled": 0,
    "progress": 1.0,
    "snapshot": "",
    "created_at": "2026-01-15T09:30:00Z",
    "started_at": "2026-01-15T09:30:01Z",
    "finished_at": "2026-01-15T09:30:05Z",
    "estimated_seconds_left": 0.0,
}
LISTED_EXAMPLE = {"batches": [BATCH_EXAMPLE], "next_cursor": CURSOR_EXAMPLE}
RESULT_EXAMPLE = {"place": 0, "sku": "LOCH-12", "state": "done", "error": ""}

router = APIRouter(prefix="/v1", tags=["batches"], route_class=StrictJsonRoute)

Author = Annotated[Caller, Security(identify, scopes=[CREATIVES_WRITE])]
Reader = Annotated[Caller, Security(identify, scopes=[CREATIVES_READ])]
BatchId = Annotated[
    str,
    Path(pattern=BATCH_ID_PATTERN, description="As `POST /v1/batches` gave it.", examples=[BATCH_ID_EXAMPLE]),
]
CountQuery = Annotated[int, Query(ge=1, le=100, description="Batches of one page.", examples=[20])]
CursorQuery = Annotated[
    str | None,
    Query(
        max_length=CURSOR_CHARS_MAX,
        description="`next_cursor` of the page before.",
        examples=[CURSOR_EXAMPLE],
    ),
]
_FIND_PROBLEMS = problems(*ACCESS_PROBLEMS, ProblemKind.BATCH_NOT_FOUND, ProblemKind.INVALID_REQUEST)


@router.post(
    "/batches",
    operation_id="createBatch",
    summary="Have many products written",
    status_code=202,
    response_model=BatchMadeOut,
    response_description="The batch is kept and will be worked on; Location tells how far it is.",
    responses={
        202: {
            "content": {"application/json": {"example": MADE_EXAMPLE}},
            "headers": {"Location": {"description": "Of the batch.", "schema": {"type": "string"}}},
        },
        **problems(
            *ACCESS_PROBLEMS,
            *ONCE_PROBLEMS,
            ProblemKind.MALFORMED_JSON,
            ProblemKind.BODY_TOO_SLOW,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.SNAPSHOT_NOT_FOUND,
        ),
    },
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": BATCH_EXAMPLES}}}},
    dependencies=[TAKES_KEY],
)
async def create_batch(request: Request, order: BatchRequest, caller: Author, parts: PartsOfApp) -> Response:
    """
    Products come inline or from a catalogue snapshot; each is written for all channels, in the background.

    A row that is no product becomes a failed item with its reason, and the rest go on.
    """
    if order.candidates > parts.settings.candidates_max:
        raise invalid(f"Ask for at most {parts.settings.candidates_max} candidates.", pointer="/candidates")

    async def queue() -> Response:
        items = await _items(parts, caller, order)
        batch = _new_batch(caller, order, refused=sum(bool(item.error) for item in items))

        def keep(connection: Connection) -> Response:
            _require_room(connection, caller.client)
            row = batches.insert(connection, batch, items)
            made = BatchMadeOut(id=row.id, state=row.state, products=row.products, failed=row.rejected)
            answer = json_answer(made, 202, Location=f"/v1/batches/{row.id}")
            keep_answer(request, connection, answer)
            return answer

        answer = await parts.writes.run(keep)
        parts.batches.wake()
        return answer

    return await once(request, parts, caller, "createBatch", await request.body(), queue)


@router.get(
    "/batches",
    operation_id="listBatches",
    summary="List batches",
    response_description="One page, newest first.",
    responses={
        200: {"content": {"application/json": {"example": LISTED_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def list_batches(
    caller: Reader, parts: PartsOfApp, count: CountQuery = 20, cursor: CursorQuery = None
) -> BatchesOut:
    """Your own, whether they are done or not."""
    before = _read_cursor(cursor) if cursor is not None else None

    def read() -> list[BatchRow]:
        with parts.database.connect() as connection:
            return batches.listed(connection, caller.client, count + 1, before)

    rows = await anyio.to_thread.run_sync(read)
    page = rows[:count]
    next_cursor = _cursor(page[-1]) if len(rows) > count else None
    return BatchesOut(batches=[batch_out(row, datetime.now(UTC)) for row in page], next_cursor=next_cursor)


@router.get(
    "/batches/{batch_id}",
    operation_id="getBatch",
    summary="See how far a batch is",
    response_description="Its state and counts.",
    responses={200: {"content": {"application/json": {"example": BATCH_EXAMPLE}}}, **_FIND_PROBLEMS},
)
async def get_batch(batch_id: BatchId, caller: Reader, parts: PartsOfApp) -> BatchOut:
    """The counts always add up to the products."""
    return batch_out(await _found(parts, caller, batch_id), datetime.now(UTC))


@router.get(
    "/batches/{batch_id}/results",
    operation_id="getBatchResults",
    summary="Download the results",
    response_class=StreamingResponse,
    response_description="One JSON object a line, for every product that is finished, in the order of the products.",
    responses={
        200: {
            "content": {
                JSON_LINES: {
                    "schema": {"type": "string"},
                    "example": json.dumps({**RESULT_EXAMPLE, "creatives": [CREATIVE_EXAMPLE]}) + "\n",
                }
            }
        },
        **_FIND_PROBLEMS,
    },
)
async def get_batch_results(batch_id: BatchId, caller: Reader, parts: PartsOfApp, after: AfterQuery = -1) -> Response:
    """
    While the batch runs, the products that are finished so far; with `after`, those behind a place alone.

    Each line has `place` (of the product, from 0), `sku`, `state` (done, failed or cancelled), `creatives` and `error`.
    """
    row = await _found(parts, caller, batch_id)
    headers = {"Content-Disposition": f'attachment; filename="{batch_id}.jsonl"', "Cache-Control": "no-store"}
    return StreamingResponse(_result_lines(parts, row, after), headers=headers, media_type=JSON_LINES)


@router.delete(
    "/batches/{batch_id}",
    operation_id="cancelBatch",
    summary="Cancel a batch",
    response_description="The batch as it stands now.",
    responses={200: {"content": {"application/json": {"example": BATCH_EXAMPLE}}}, **_FIND_PROBLEMS},
)
async def cancel_batch(batch_id: BatchId, caller: Author, parts: PartsOfApp) -> BatchOut:
    """What is finished stays; a batch that has ended stays as it is."""
    row = await parts.writes.run(lambda connection: batches.cancel(connection, caller.client, batch_id))
    if row is None:
        raise _not_found()
    return batch_out(row, datetime.now(UTC))


def _require_room(connection: Connection, client: str) -> None:
    latest = batches.listed(connection, client, OPEN_BATCHES_MAX)
    if sum(row.state in ("queued", "running") for row in latest) >= OPEN_BATCHES_MAX:
        detail = f"{OPEN_BATCHES_MAX} batches are unfinished: wait until one is done, or cancel one."
        raise Problem(ProblemKind.RATE_LIMITED, detail, headers={"Retry-After": str(OPEN_RETRY_SECONDS)})


async def _items(parts: Parts, caller: Caller, order: BatchRequest) -> list[NewItem]:
    """The rows as items, judged in a thread: thousands of rows take seconds."""
    products_max = parts.settings.batch_products_max
    if order.products is not None:
        if len(order.products) > products_max:
            raise invalid(f"Send at most {products_max:,} products in one batch.", pointer="/products")
        return await anyio.to_thread.run_sync(lambda rows: [_item(row) for row in rows], order.products)
    snapshot = await find_snapshot(parts, caller, order.snapshot or "")
    if snapshot.rows > products_max:
        detail = (
            f"The snapshot holds {snapshot.rows:,} products, and a batch at most {products_max:,}: upload it in parts."
        )
        raise invalid(detail, pointer="/snapshot")
    try:
        lines = await anyio.to_thread.run_sync(parts.objects.get, snapshot.object_key)
    except ObjectMissingError:
        raise Problem(ProblemKind.SNAPSHOT_NOT_FOUND, "Upload the catalogue again: POST /v1/catalogue.") from None
    return [NewItem(json.loads(line)) for line in lines.splitlines()]


def _item(row: Mapping[str, Any]) -> NewItem:
    """The rules of `POST /v1/creatives` for one product; of a row that breaks one, only what names it is kept."""
    try:
        product = product_from_mapping(ProductIn.model_validate(row).model_dump())
        return NewItem(product.as_dict())
    except ProductError as error:
        return NewItem({"sku": _sku(row)}, f"{error.column}: {error.reason}"[:ERROR_CHARS_MAX])
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        column = "/".join(str(step) for step in first["loc"])[:100]
        reason = str(first["msg"]).removeprefix("Value error, ")
        return NewItem({"sku": _sku(row)}, f"{column}: {reason}"[:ERROR_CHARS_MAX])


def _sku(row: Mapping[str, Any]) -> str:
    """Of a row that may hold anything; empty where it is not fit to be kept."""
    sku = row.get("sku", "")
    return sku if isinstance(sku, str) and len(sku) <= 255 and sku.isprintable() else ""


def _new_batch(caller: Caller, order: BatchRequest, *, refused: int) -> NewBatch:
    """`refused` stands in the settings, because the pace is judged by the others."""
    settings = order.model_dump(include={"channels", "voice", "candidates", "return_candidates", "seed"})
    return NewBatch(
        id=f"ba_{uuid.uuid4().hex}",
        client=caller.client,
        settings={**settings, "refused": refused},
        source=order.snapshot or INLINE,
        created_at=datetime.now(UTC),
    )


def batch_out(row: BatchRow, now: datetime) -> BatchOut:
    """Public form of a batch; its counts add up to its products."""
    is_open = row.state in ("queued", "running")
    left = row.products - row.written - row.rejected
    return BatchOut(
        id=row.id,
        state=row.state,
        products=row.products,
        failed=row.rejected,
        written=row.written,
        waiting=left if is_open else 0,
        cancelled=0 if is_open else left,
        progress=1.0 if not is_open else round((row.products - left) / row.products, 4),
        snapshot="" if row.source == INLINE else row.source,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=None if is_open else row.updated_at,
        estimated_seconds_left=_seconds_left(row, left, now) if is_open else 0.0,
    )


def _seconds_left(row: BatchRow, left: int, now: datetime) -> float | None:
    """By the mean pace since it was first worked on, waiting for others included; None before the first product."""
    finished = row.products - left - int(row.settings.get("refused", 0))
    if finished <= 0:
        return None
    pace_seconds = (row.updated_at - (row.started_at or row.created_at)).total_seconds() / finished
    return round(max(0.0, pace_seconds * left - (now - row.updated_at).total_seconds()), 1)


async def _found(parts: Parts, caller: Caller, batch_id: str) -> BatchRow:
    def find() -> BatchRow | None:
        with parts.database.connect() as connection:
            return batches.find(connection, caller.client, batch_id)

    row = await anyio.to_thread.run_sync(find)
    if row is None:
        raise _not_found()
    return row


def _not_found() -> Problem:
    return Problem(ProblemKind.BATCH_NOT_FOUND, "Check the id: POST /v1/batches gave it, GET /v1/batches lists them.")


def _result_lines(parts: Parts, row: BatchRow, place: int) -> Iterator[str]:
    """Page by page, each in a short transaction of its own. Starlette runs this in a thread."""
    creatives_an_item = len(row.settings["channels"]) * row.settings["return_candidates"]
    page = max(1, min(PAGE_ITEMS_MAX, PAGE_CREATIVES_MAX // creatives_an_item))
    while True:
        with parts.database.connect() as connection:
            items = batches.results(connection, row.id, place, page)
            ids = [creative_id for item in items for creative_id in item.creatives]
            kept = creatives.find_many(connection, row.client, ids)
        if not items:
            return
        place = items[-1].place
        documents = {creative_id: creative.document for creative_id, creative in kept.items()}
        yield "".join(_result_line(item, documents) for item in items if item.state != "waiting")


def _result_line(item: BatchItem, documents: Mapping[str, dict[str, Any]]) -> str:
    written = [documents[creative_id] for creative_id in item.creatives]
    line = ItemResultOut.model_construct(
        place=item.place, sku=item.product["sku"], state=item.state, creatives=written, error=item.error
    )
    return json.dumps(line.__dict__, ensure_ascii=False) + "\n"


def _cursor(row: BatchRow) -> str:
    text = json.dumps([row.created_at.isoformat(), row.id])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    """Raises a 422 Problem for anything that `_cursor` cannot have made."""
    try:
        at, batch_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        created_at = datetime.fromisoformat(at)
        is_ours = re.fullmatch(BATCH_ID_PATTERN, batch_id) and created_at.utcoffset() == timedelta(0)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _wrong_cursor() from None
    if not is_ours:
        raise _wrong_cursor()
    return created_at, batch_id


def _wrong_cursor() -> Problem:
    return invalid("Send `next_cursor` as the page before gave it, or none for the first page.", parameter="cursor")
