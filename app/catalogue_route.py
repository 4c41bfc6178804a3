"""
The routes of catalogues: upload one as the shop exports it, and look a snapshot up.

Reads the form off the Content-Type and hands the bytes to model/catalogue.py; decides nothing about rows.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Request, Response, Security
from fastapi import Path as PathParameter
from sqlalchemy import Connection

from app.batch_schemas import SNAPSHOT_DIGEST_PATTERN, CatalogueOut, RejectedRowOut, SnapshotOut
from app.idempotency import TAKES_KEY, json_answer, keep_answer, once
from app.identity import CATALOGUE_WRITE, Caller, identify
from app.listing import looked
from app.openapi import ACCESS_PROBLEMS, ONCE_PROBLEMS, problems
from app.parts import Parts, PartsOfApp
from app.problem import Problem, ProblemKind, invalid
from app.sent_file import suffix_of
from app.strict_json import StrictJsonRoute, loads
from model.catalogue import Catalogue, CatalogueError, RowError, read_catalogue
from model.rows import SAMPLE_BYTES
from model.store import snapshots
from model.store.snapshots import Snapshot

SUFFIXES = {
    "text/csv": ".csv",
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
}
REJECTED_SHOWN_MAX = 100
"""Enough to see what is wrong with an export; the count is always of all."""
YAML_STARTS = ("- ", "---\n", "products:\n")
"""A file on the disk may be YAML; over the network it is refused, because its aliases grow without end."""

SNAPSHOT_EXAMPLE = {
    "digest": "84be3f2c8d75bc0a01f8ff2a2cb5e9e7c2a87b8a4d3b6d4df2df6cb5e02ad3a1",
    "products": 2,
    "rejected": 1,
    "created_at": "2026-01-15T09:30:00Z",
}
CATALOGUE_EXAMPLE = {
    **SNAPSHOT_EXAMPLE,
    "rows": 3,
    "merged": 0,
    "rejected_rows": [
        {"line": 4, "column": "price", "reason": "is not a price: cheap; write it like 24.90 or 24,90 EUR"}
    ],
}
CSV_EXAMPLE = (
    "sku,title,description,price\n"
    'LOCH-12,"Gooseneck kettle Loch, 1.2 l","Brushed steel, 1,000 W.",79.00 EUR\n'
    "PUDDLE,Dog raincoat Puddle,Water-repellent.,34.00 EUR\n"
    "BOWL,Blue ceramic bowl,Holds 0.5 l.,cheap\n"
)
JSON_EXAMPLE = [{"sku": "BOWL", "title": "Blue ceramic bowl", "description": "Holds 0.5 l."}]
JSON_LINES_EXAMPLE = '{"sku": "BOWL", "title": "Blue ceramic bowl"}\n{"sku": "VASE", "title": "Grey stone vase"}\n'

router = APIRouter(prefix="/v1", tags=["batches"], route_class=StrictJsonRoute)

Stocker = Annotated[Caller, Security(identify, scopes=[CATALOGUE_WRITE])]
SnapshotId = Annotated[
    str,
    PathParameter(
        pattern=SNAPSHOT_DIGEST_PATTERN,
        description="As `POST /v1/catalogue` gave it.",
        examples=[SNAPSHOT_EXAMPLE["digest"]],
    ),
]


def _text_body(example: str) -> dict[str, object]:
    return {"schema": {"type": "string"}, "examples": {"some_rows": {"summary": "A few rows", "value": example}}}


_BODY = {
    "required": True,
    "content": {
        "text/csv": _text_body(CSV_EXAMPLE),
        "application/json": {
            "schema": {"type": "array", "items": {"type": "object"}},
            "examples": {"some_rows": {"summary": "One row", "value": JSON_EXAMPLE}},
        },
        "application/x-ndjson": _text_body(JSON_LINES_EXAMPLE),
    },
}


@router.post(
    "/catalogue",
    operation_id="uploadCatalogue",
    summary="Upload a catalogue",
    status_code=201,
    response_model=CatalogueOut,
    response_description="The snapshot of its good rows, and what is wrong with the others.",
    responses={
        201: {"content": {"application/json": {"example": CATALOGUE_EXAMPLE}}},
        **problems(
            *ACCESS_PROBLEMS,
            *ONCE_PROBLEMS,
            ProblemKind.MALFORMED_JSON,
            ProblemKind.BODY_TOO_SLOW,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
        ),
    },
    openapi_extra={"requestBody": _BODY},
    dependencies=[TAKES_KEY],
)
async def upload_catalogue(request: Request, caller: Stocker, parts: PartsOfApp) -> Response:
    """
    CSV, JSON or JSON Lines in UTF-8, with the column names that shops export.

    The snapshot is named by the digest of its products, so uploading the same rows again changes nothing.
    """
    suffix = suffix_of(request, SUFFIXES)
    body = await request.body()

    async def keep() -> Response:
        catalogue = await anyio.to_thread.run_sync(_read, body, suffix)
        lines = await anyio.to_thread.run_sync(_lines, catalogue)
        digest = hashlib.sha256(lines).hexdigest()
        key = f"catalogue/{digest}.jsonl"
        # The object first: a row without its object would be a promise that cannot be kept.
        await anyio.to_thread.run_sync(parts.objects.put, key, lines)
        snapshot = Snapshot(
            digest=digest,
            client=caller.client,
            rows=len(catalogue.products),
            rejected=len(catalogue.rejected),
            object_key=key,
            created_at=datetime.now(UTC),
        )
        return await parts.writes.run(lambda connection: _kept(request, connection, snapshot, catalogue))

    return await once(request, parts, caller, "uploadCatalogue", body, keep)


@router.get(
    "/catalogue/{digest}",
    operation_id="getCatalogue",
    summary="Look a snapshot up",
    response_description="The snapshot.",
    responses={
        200: {"content": {"application/json": {"example": SNAPSHOT_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.SNAPSHOT_NOT_FOUND, ProblemKind.INVALID_REQUEST),
    },
)
async def get_catalogue(digest: SnapshotId, caller: Stocker, parts: PartsOfApp) -> SnapshotOut:
    """Those of other clients are not found, even where they hold the same rows."""
    return _snapshot_out(await find_snapshot(parts, caller, digest))


async def find_snapshot(parts: Parts, caller: Caller, digest: str) -> Snapshot:
    """The caller's snapshot, or a 404 Problem. Raises StoreError."""
    snapshot = await looked(parts, lambda connection: snapshots.find(connection, caller.client, digest))
    if snapshot is None:
        raise Problem(ProblemKind.SNAPSHOT_NOT_FOUND, "Upload the catalogue again: POST /v1/catalogue.")
    return snapshot


def _read(body: bytes, suffix: str) -> Catalogue:
    """Through a file, because the catalogue is read from one. Raises a 400 or 422 Problem without its path."""
    if suffix == ".json":
        loads(body.removeprefix(codecs.BOM_UTF8))  # as strictly as every other body; a file may be laxer
    if body[:SAMPLE_BYTES].decode("utf-8-sig", "replace").lstrip().startswith(YAML_STARTS):
        raise invalid("The catalogue is YAML: send it as CSV, JSON or JSON Lines.", pointer="")
    with tempfile.TemporaryDirectory(prefix="adloom-catalogue-") as folder:
        path = Path(folder, f"catalogue{suffix}")
        path.write_bytes(body)
        try:
            catalogue = read_catalogue(path)
        except CatalogueError as error:
            raise invalid(str(error).replace(str(path), "The catalogue")[:500], pointer="") from None
    if not catalogue.products:
        raise _without_products(catalogue.rejected)
    return catalogue


def _without_products(rejected: tuple[RowError, ...]) -> Problem:
    detail = "No row of the catalogue is a product: see errors, correct them and send it again."
    errors = [{"pointer": "#", "detail": f"{_place(row)}: {row.reason}"[:500]} for row in rejected[:REJECTED_SHOWN_MAX]]
    return Problem(
        ProblemKind.INVALID_REQUEST, detail, errors=errors or [{"pointer": "#", "detail": "There are none."}]
    )


def _place(row: RowError) -> str:
    return f"row at {row.line}, {row.column[:100]}" if row.column else f"row at {row.line}"


def _lines(catalogue: Catalogue) -> bytes:
    """Canonical: the same products give the same bytes, and these the digest."""
    rows = (json.dumps(product.as_dict(), sort_keys=True, ensure_ascii=False) for product in catalogue.products)
    return "".join(f"{row}\n" for row in rows).encode()


def _kept(request: Request, connection: Connection, snapshot: Snapshot, catalogue: Catalogue) -> Response:
    """Row and answer in one transaction. Of rows uploaded before the first row stands."""
    snapshots.insert(connection, snapshot)
    first = snapshots.find(connection, snapshot.client, snapshot.digest) or snapshot
    answer = json_answer(_catalogue_out(first, catalogue), 201, Location=f"/v1/catalogue/{snapshot.digest}")
    keep_answer(request, connection, answer)
    return answer


def _snapshot_out(snapshot: Snapshot) -> SnapshotOut:
    return SnapshotOut(
        digest=snapshot.digest,
        products=snapshot.rows,
        rejected=snapshot.rejected,
        created_at=snapshot.created_at,
    )


def _catalogue_out(snapshot: Snapshot, catalogue: Catalogue) -> CatalogueOut:
    shown = catalogue.rejected[:REJECTED_SHOWN_MAX]
    return CatalogueOut(
        digest=snapshot.digest,
        products=len(catalogue.products),
        rejected=len(catalogue.rejected),
        created_at=snapshot.created_at,
        rows=catalogue.rows,
        merged=catalogue.merged,
        rejected_rows=[RejectedRowOut(line=row.line, column=row.column, reason=row.reason) for row in shown],
    )
