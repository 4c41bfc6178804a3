"""
The routes of the registry: which versions there are, how good they are, and how one came to be champion.

Knows what was last told of the registry and its ledger (`model.publication`), and asks neither.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Security
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from app.identity import MODELS_ADMIN, Caller, identify
from app.listing import LIST_DEFAULT, Limit, looked
from app.openapi import ACCESS_PROBLEMS, problems
from app.parts import PartsOfApp
from app.problem import Problem, ProblemKind
from app.retrains_route import TASK
from app.strict_json import StrictJsonRoute
from model.store import model_versions

VERSION_PATTERN = "^[1-9][0-9]{0,8}$"

VERSION_EXAMPLE: dict[str, Any] = {
    "version": "8",
    "aliases": ["candidate"],
    "created_at": "2026-01-15T11:05:00Z",
    "bundle_digest": "3b0f6f0d3e1c5f7a9d2b4c6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f20",
    "dataset_digest": "d2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26",
    "git_commit": "0d004c4b6b4e8f1d2c3a495867a1b0c9d8e7f6a5",
    "run_id": "4f2c9b1e0d3a4c5b8e7f6a5d4c3b2a19",
    "certificate": "passed",
    "scores": {
        "validity": {"mean": 0.971, "low": 0.962, "high": 0.979},
        "grounded": {"mean": 0.987, "low": 0.967, "high": 1.0},
    },
    "gate": {"passed": False, "reasons": ["The candidate is better on none of validity, grounded."]},
}
SAMPLE_EXAMPLE: dict[str, Any] = {
    "row": "h0042",
    "product": "Gooseneck kettle Loch, 1.2 l",
    "channel": "instagram",
    "headlines": ["Set it to the degree"],
    "bodies": ["A gooseneck kettle in brushed steel: 1.2 l, 1,000 W, 1-degree steps from 40 to 100 °C."],
    "call_to_action": "See the kettle",
    "hashtags": ["#kettle"],
    "validity": 1.0,
    "findings": [],
}
VERSIONS_EXAMPLE = {"published_at": "2026-01-15T11:20:05Z", "versions": [VERSION_EXAMPLE]}
FULL_EXAMPLE = {**VERSION_EXAMPLE, "card": "# adloom-smollm2-135m\n", "samples": [SAMPLE_EXAMPLE]}
HISTORY_EXAMPLE = {
    "entries": [
        {
            "time": "2026-01-15T11:20:00Z",
            "who": "adloom-pipelines",
            "action": "promote",
            "state": "done",
            "from": "7",
            "to": "8",
            "why": "retrain rt_6a2f41a3c54c4d9b8b1f2c3d4e5f6071",
            "note": "",
        }
    ]
}

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=StrictJsonRoute)

Admin = Annotated[Caller, Security(identify, scopes=[MODELS_ADMIN])]
Number = Annotated[
    str, Path(pattern=VERSION_PATTERN, description="As `GET /v1/models/versions` lists it.", examples=["8"])
]


class ScoreOut(BaseModel):
    """A score over the held-out rows."""

    mean: float
    low: float | None = Field(description="With `high` the 95 % interval; null for a score without one.")
    high: float | None


class GateOut(BaseModel):
    """What the gate said of a version last."""

    passed: bool
    reasons: list[str] = Field(description="One sentence each.")


class ModelVersionOut(BaseModel):
    """One version of the model. A text is empty where the fact is not known."""

    version: str
    aliases: list[str] = Field(description="`champion`: it is to serve; `candidate`: it was made last.")
    created_at: datetime
    bundle_digest: str
    dataset_digest: str
    git_commit: str = Field(description="Of the code that registered it.")
    run_id: str
    certificate: str = Field(description="Whether its quantization passed: `passed` or `failed`.")
    scores: dict[str, ScoreOut] = Field(description="By name; the model card says what each of them is.")
    gate: GateOut | None = Field(description="Null where it was not put before the gate.")


class SampleOut(BaseModel):
    """An ad that this version wrote when it was evaluated, as it wrote it."""

    row: str = Field(description="Id of the held-out product, the same in every version.")
    product: str = Field(description="Its title.")
    channel: str
    headlines: list[str]
    bodies: list[str]
    call_to_action: str
    hashtags: list[str]
    validity: float
    findings: list[str] = Field(description="Kinds.")


class ModelVersionInFullOut(ModelVersionOut):
    """A version with its card and a few of its ads."""

    card: str = Field(description="The model card, Markdown.")
    samples: list[SampleOut] = Field(
        description="At most 12, by one rule for every version: of two versions those of the same `row` are comparable."
    )


class ModelVersionsOut(BaseModel):
    """Versions, and how old what is told of them is."""

    published_at: datetime | None = Field(description="When the registry was last looked at; null before that.")
    versions: list[ModelVersionOut]


class LedgerLineOut(BaseModel):
    """One line of the promotion ledger."""

    time: datetime
    who: str
    action: str = Field(description="`promote`, `rollback`, `reversal` of an environment, `refused` or `mended`.")
    state: str = Field(description="`intent` before the champion changes, `done` after it, or `undone`.")
    source: str = Field(alias="from", description="Champion before; empty where there was none.")
    target: str = Field(alias="to", description="Champion after, or asked for.")
    why: str
    note: str = Field(description="Why it was refused, or what the program has to add.")


class HistoryOut(BaseModel):
    """How champions came and went."""

    entries: list[LedgerLineOut]


@router.get(
    "/versions",
    operation_id="listModelVersions",
    summary="List the versions of the model",
    response_description="The versions, the newest first.",
    responses={
        200: {"content": {"application/json": {"example": VERSIONS_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def list_model_versions(_caller: Admin, parts: PartsOfApp, limit: Limit = LIST_DEFAULT) -> ModelVersionsOut:
    """As whoever changed the registry last told it; empty where there is no registry, or nobody has told."""

    def look(connection: Connection) -> ModelVersionsOut:
        rows = model_versions.listed(connection, TASK, limit)
        versions = [ModelVersionOut.model_validate(row, from_attributes=True) for row in rows]
        return ModelVersionsOut(published_at=model_versions.published_at(connection, TASK), versions=versions)

    return await looked(parts, look)


@router.get(
    "/versions/{model_version}",
    operation_id="getModelVersion",
    summary="See one version with its card and samples",
    response_description="The version.",
    responses={
        200: {"content": {"application/json": {"example": FULL_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.VERSION_NOT_FOUND, ProblemKind.INVALID_REQUEST),
    },
)
async def get_model_version(model_version: Number, _caller: Admin, parts: PartsOfApp) -> ModelVersionInFullOut:
    """The samples of two versions are of the same held-out products, where both were evaluated on them."""
    row = await looked(parts, lambda connection: model_versions.find(connection, TASK, int(model_version)))
    if row is None:
        raise Problem(ProblemKind.VERSION_NOT_FOUND, "Check the number: GET /v1/models/versions lists them.")
    return ModelVersionInFullOut.model_validate(row, from_attributes=True)


@router.get(
    "/history",
    operation_id="getModelHistory",
    summary="See how champions came and went",
    response_description="Lines of the promotion ledger, the newest first.",
    responses={
        200: {"content": {"application/json": {"example": HISTORY_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.INVALID_REQUEST),
    },
)
async def get_model_history(_caller: Admin, parts: PartsOfApp, limit: Limit = LIST_DEFAULT) -> HistoryOut:
    """Every attempt stands there, the refused ones with their reason; a change is an `intent` and a `done`."""
    rows = await looked(parts, lambda connection: model_versions.history(connection, TASK, limit))
    return HistoryOut(entries=[LedgerLineOut.model_validate(row, from_attributes=True, by_name=True) for row in rows])
