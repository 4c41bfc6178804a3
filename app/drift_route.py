"""
The routes of drift: what was said of each window of traffic, and Evidently's page of it.

Judges nothing: the pipelines compare, keep a row of each window, and put the page into the object store.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Response, Security
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from app.identity import MODELS_ADMIN, Caller, identify
from app.listing import LIST_DEFAULT, Limit, looked
from app.openapi import ACCESS_PROBLEMS, problems
from app.parts import Parts, PartsOfApp
from app.picture_routes import IfNoneMatch, is_current
from app.problem import Problem, ProblemKind
from app.strict_json import StrictJsonRoute
from model.store import drift_reports
from model.store.drift_reports import DriftReport, Mode, Verdict
from model.store.objects import ObjectMissingError

REPORT_ID_PATTERN = "^dr_[0-9a-f]{20,32}$"
PAGE_MAX_AGE_SECONDS = 86_400
"""A page is written once; a day later its report may have expired, and then it is gone."""
PAGE_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; connect-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""
Evidently's page is one file of other people's script: it draws, and gets at nothing.

The sandbox takes it out of every origin, so that cookies, storage and the documents around it are closed to it; the
rest leaves it no address to load from or send to. It may stand in a frame of the origin that serves it, that is of a
page which passes it on; that page's own frame-src keeps the frame from being led elsewhere.
"""
REPORT_EXAMPLE: dict[str, Any] = {
    "id": "dr_0670fe6ee9322ecf01e02c47b4853e56",
    "mode": "online",
    "window_start": "2026-01-15T11:00:00Z",
    "window_end": "2026-01-15T12:00:00Z",
    "rows": 900,
    "verdict": "drift",
    "why": "description_chars is 1.462 away, where 0.285 passes (mean 175.8, now 252.7)",
    "share": 0.0588,
    "hurts": True,
    "validity": {"current": 0.89, "reference": 0.952, "margin": 0.03},
    "features": [
        {
            "name": "description_chars",
            "method": "wasserstein",
            "distance": 1.462,
            "threshold": 0.285,
            "drifted": True,
        },
        {"name": "channel", "method": "jensenshannon", "distance": 0.004, "threshold": 0.1, "drifted": False},
    ],
    "has_page": True,
    "created_at": "2026-01-15T12:15:09Z",
}

router = APIRouter(prefix="/v1", tags=["drift"], route_class=StrictJsonRoute)

Admin = Annotated[Caller, Security(identify, scopes=[MODELS_ADMIN])]
ReportId = Annotated[
    str,
    Path(pattern=REPORT_ID_PATTERN, description="As `GET /v1/drift` lists it.", examples=[REPORT_EXAMPLE["id"]]),
]
ModeQuery = Annotated[
    Mode | None,
    Query(description="Windows of traffic (online), or catalogues (batch); both where left out.", examples=["online"]),
]


class DriftValidityOut(BaseModel):
    """Mean validity of the ads; null where it was not known, as of a catalogue."""

    current: float | None
    reference: float | None = Field(description="Of the ordinary traffic that the window is compared with.")
    margin: float | None = Field(description="It may fall by so much before it hurts.")


class DriftFeatureOut(BaseModel):
    """One column of what came in, or of what went out."""

    name: str
    method: str = Field(description="Wasserstein in standard deviations of the reference, or Jensen-Shannon.")
    distance: float | None = Field(description="Null where too few rows say anything.")
    threshold: float = Field(description="From here on it has drifted: what matters, and what chance does not reach.")
    drifted: bool


class DriftReportOut(BaseModel):
    """What was said of one window."""

    id: str = Field(pattern=REPORT_ID_PATTERN)
    mode: Mode
    window_start: datetime
    window_end: datetime
    rows: int = Field(description="Ads, or products where the window holds no ads.")
    verdict: Verdict = Field(description="too_few is neither drift nor its absence.")
    why: str
    share: float = Field(description="Drifted features among those with enough rows.")
    hurts: bool = Field(description="Whether validity fell by more than its margin, beyond chance.")
    validity: DriftValidityOut
    features: list[DriftFeatureOut]
    has_page: bool = Field(description="Whether `GET /v1/drift/{report_id}/page` has one, unless it has just expired.")
    created_at: datetime


class DriftReportsOut(BaseModel):
    """The latest window first."""

    reports: list[DriftReportOut]


@router.get(
    "/drift",
    operation_id="listDriftReports",
    summary="List the latest drift reports",
    response_description="The latest window first.",
    responses={
        200: {"content": {"application/json": {"example": {"reports": [REPORT_EXAMPLE]}}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def list_drift_reports(
    _caller: Admin, parts: PartsOfApp, mode: ModeQuery = None, limit: Limit = LIST_DEFAULT
) -> DriftReportsOut:
    """A window stands here twice where the reference was made anew in between."""
    rows = await looked(parts, lambda connection: drift_reports.recent(connection, mode, limit))
    return DriftReportsOut(reports=[_report_out(row) for row in rows])


@router.get(
    "/drift/{report_id}",
    operation_id="getDriftReport",
    summary="See what was said of one window",
    response_description="The report.",
    responses={
        200: {"content": {"application/json": {"example": REPORT_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.DRIFT_REPORT_NOT_FOUND, ProblemKind.INVALID_REQUEST),
    },
)
async def get_drift_report(report_id: ReportId, _caller: Admin, parts: PartsOfApp) -> DriftReportOut:
    """Reports stay; only their pages expire."""
    return _report_out(await _find(parts, report_id))


@router.get(
    "/drift/{report_id}/page",
    operation_id="getDriftPage",
    summary="Evidently's page of one window",
    response_class=Response,
    responses={
        200: {
            "description": "The page, some 4 MB of HTML with its scripts. It may be kept for a day.",
            "content": {"text/html": {"schema": {"type": "string"}}},
            "headers": {
                "ETag": {"description": "Of the page.", "schema": {"type": "string"}},
                "Content-Security-Policy": {
                    "description": "What the page may do: draw, in no origin, and reach nothing. Pass it on with it.",
                    "schema": {"type": "string"},
                },
            },
        },
        304: {"description": "The page has not changed since the ETag was given."},
        **problems(
            *ACCESS_PROBLEMS,
            ProblemKind.DRIFT_REPORT_NOT_FOUND,
            ProblemKind.DRIFT_PAGE_NOT_FOUND,
            ProblemKind.INVALID_REQUEST,
        ),
    },
)
async def get_drift_page(
    report_id: ReportId, _caller: Admin, parts: PartsOfApp, if_none_match: IfNoneMatch = None
) -> Response:
    """Show it in a frame with `sandbox="allow-scripts"`, from the origin that serves it."""
    row = await _find(parts, report_id)
    if not row.page_key:
        raise _no_page(row)
    etag = f'"{row.id}"'
    headers = {
        "ETag": etag,
        "Cache-Control": f"private, max-age={PAGE_MAX_AGE_SECONDS}",
        "Content-Security-Policy": PAGE_POLICY,
    }
    if is_current(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    size_bytes, chunks = await anyio.to_thread.run_sync(_opened, parts, row)
    return StreamingResponse(chunks, headers=headers | {"Content-Length": str(size_bytes)}, media_type="text/html")


async def _find(parts: Parts, report_id: str) -> DriftReport:
    row = await looked(parts, lambda connection: drift_reports.find(connection, report_id))
    if row is None:
        raise Problem(ProblemKind.DRIFT_REPORT_NOT_FOUND, "Check the id: GET /v1/drift lists them.")
    return row


def _opened(parts: Parts, row: DriftReport) -> tuple[int, Iterator[bytes]]:
    """Its parts are read while they are sent, so that no page is ever in memory as a whole."""
    try:
        return parts.objects.open_chunks(row.page_key)
    except ObjectMissingError:
        raise _no_page(row) from None


def _no_page(row: DriftReport) -> Problem:
    if row.verdict == "too_few":
        return Problem(ProblemKind.DRIFT_PAGE_NOT_FOUND, "Too few rows were in the window to draw anything.")
    detail = f"It has expired, and its figures stay: GET /v1/drift/{row.id}."
    return Problem(ProblemKind.DRIFT_PAGE_NOT_FOUND, detail)


def _report_out(row: DriftReport) -> DriftReportOut:
    validity = row.columns.get("validity") or {}
    return DriftReportOut(
        id=row.id,
        mode=row.mode,
        window_start=row.window_start,
        window_end=row.window_end,
        rows=row.rows,
        verdict=row.verdict,
        why=row.why,
        share=row.share,
        hurts=row.hurts,
        validity=DriftValidityOut(
            current=validity.get("window"),
            reference=validity.get("reference"),
            margin=row.columns.get("validity_margin"),
        ),
        features=[_feature_out(column) for column in row.columns.get("measured", ())],
        has_page=bool(row.page_key),
        created_at=row.created_at,
    )


def _feature_out(column: dict[str, Any]) -> DriftFeatureOut:
    return DriftFeatureOut(
        name=column["name"],
        method=column["method"],
        distance=column["distance"],
        threshold=drift_reports.threshold(column),
        drifted=column["verdict"] == "drift",
    )
