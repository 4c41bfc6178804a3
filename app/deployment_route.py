"""
The route of what is deployed: what Git, registry and this service say, side by side, and whether they agree.

Looks up nothing itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Security
from pydantic import BaseModel, Field

from app.identity import MODELS_ADMIN, Caller, identify
from app.openapi import ACCESS_PROBLEMS, problems
from app.parts import PartsOfApp
from app.strict_json import StrictJsonRoute
from model.truth import Side, comparable, disagreements

DEPLOYMENT_EXAMPLE: dict[str, Any] = {
    "sides": [
        {"name": "Git", "version": "8", "image": f"sha256:{'3b0f6f0d3e1c5f7a' * 4}", "trouble": ""},
        {"name": "registry", "version": "8", "image": "", "trouble": ""},
        {"name": "service", "version": "7", "image": f"sha256:{'9c1185a5c5e9fc54' * 4}", "trouble": ""},
    ],
    "agree": False,
    "disagreements": [
        "Git says model 8, service says model 7",
        "registry says model 8, service says model 7",
    ],
}

router = APIRouter(prefix="/v1", tags=["operation"], route_class=StrictJsonRoute)

Admin = Annotated[Caller, Security(identify, scopes=[MODELS_ADMIN])]


class SideOut(BaseModel):
    """One place. A text is empty where it says nothing of it."""

    name: Literal["Git", "registry", "service"]
    version: str = Field(description="Of the model, as the registry counts.")
    image: str = Field(description="Digest of the service's image, with its sha256: prefix.")
    trouble: str = Field(description="Why nothing is known, for people.")


class DeploymentOut(BaseModel):
    """What is deployed where."""

    sides: list[SideOut]
    agree: bool | None = Field(
        description="Whether any two that say something say the same; null where fewer than two say anything."
    )
    disagreements: list[str] = Field(description="A sentence for each two that differ.")


@router.get(
    "/deployment",
    operation_id="getDeployment",
    summary="See what is deployed where",
    response_description="What each place says, and whether they agree.",
    responses={200: {"content": {"application/json": {"example": DEPLOYMENT_EXAMPLE}}}, **problems(*ACCESS_PROBLEMS)},
)
async def get_deployment(_caller: Admin, parts: PartsOfApp) -> DeploymentOut:
    """
    What Git tells this environment to run, the registry's champion, and what answers here.

    While a release is on its way they differ for some minutes. What Git says may be half a minute old.
    """
    sides = await parts.deployment.sides()
    found = disagreements(sides)
    return DeploymentOut(
        sides=[_side_out(side) for side in sides],
        agree=not found if comparable(sides) else None,
        disagreements=list(found),
    )


def _side_out(side: Side) -> SideOut:
    version = "" if side.version is None else str(side.version)
    return SideOut.model_validate({"name": side.name, "version": version, "image": side.image, "trouble": side.trouble})
