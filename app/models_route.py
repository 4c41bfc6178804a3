"""
The route of models: the one that this service serves, with every digest that a passport names.

Knows what was loaded, and asks no registry.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Security
from pydantic import BaseModel, Field

from app.identity import CREATIVES_READ, Caller, identify
from app.inference import MODEL, UNREGISTERED
from app.openapi import ACCESS_PROBLEMS, problems
from app.parts import PartsOfApp
from app.strict_json import StrictJsonRoute
from model.channel import channels
from model.prompt import VOICES
from model.validity import VALIDITY_VERSION

MODELS_EXAMPLE: dict[str, Any] = {
    "models": [
        {
            "name": MODEL,
            "version": "7",
            "bundle": "adloom-smollm2-135m",
            "bundle_digest": "3b0f6f0d3e1c5f7a9d2b4c6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f20",
            "base": "SmolLM2-135M-Instruct",
            "scheme": "int8_block32",
            "prompt_digest": "9c1185a5c5e9fc54612808977ee8f548b2258d31c3a1d0e6f7b8a9c0d1e2f304",
            "dataset_digest": "d2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26",
            "git_commit": "0d004c4b6b4e8f1d2c3a495867a1b0c9d8e7f6a5",
            "image_digest": "",
            "validity_version": VALIDITY_VERSION,
            "channels": list(channels()),
            "voices": list(VOICES),
            "candidates_max": 32,
        }
    ]
}

router = APIRouter(prefix="/v1", tags=["operation"], route_class=StrictJsonRoute)

Reader = Annotated[Caller, Security(identify, scopes=[CREATIVES_READ])]


class ModelOut(BaseModel):
    """What writes here. A text is empty where the fact is not known."""

    name: str = Field(description="As in `/v2/models/{name}`.")
    version: str = Field(description=f"As the registry counts; {UNREGISTERED} for a bundle that comes from none.")
    bundle: str = Field(description="What the bundle calls itself.")
    bundle_digest: str = Field(description="Of weights, prompt and scheme; stands in every passport.")
    base: str = Field(description="The language model that it was made from.")
    scheme: str = Field(description="How its weights are quantized.")
    prompt_digest: str
    dataset_digest: str = Field(description="Of the pairs that it learnt from.")
    git_commit: str = Field(description="Of the code that serves it.")
    image_digest: str
    validity_version: str = Field(description="Of the rules that its creatives are scored by.")
    channels: list[str] = Field(description="That it writes for; `GET /v1/channels` has their limits.")
    voices: list[str]
    candidates_max: int = Field(description="That one request may ask for.")


class ModelsOut(BaseModel):
    """Every model that is served; for now there is one."""

    models: list[ModelOut]


@router.get(
    "/models",
    operation_id="listModels",
    summary="See which model writes",
    response_description="The models that are served.",
    responses={200: {"content": {"application/json": {"example": MODELS_EXAMPLE}}}, **problems(*ACCESS_PROBLEMS)},
)
async def list_models(_caller: Reader, parts: PartsOfApp) -> ModelsOut:
    """A new version comes with a new release of the service, never while it runs."""
    settings, manifest = parts.settings, parts.studio.manifest
    model = ModelOut(
        name=MODEL,
        version=settings.registry_version or UNREGISTERED,
        bundle=manifest.name if manifest else "",
        bundle_digest=parts.studio.bundle_digest,
        base=manifest.base if manifest else "",
        scheme=manifest.scheme if manifest else "",
        prompt_digest=manifest.prompt_digest if manifest else "",
        dataset_digest=manifest.dataset_digest if manifest else "",
        git_commit=settings.git_commit,
        image_digest=settings.image_digest,
        validity_version=VALIDITY_VERSION,
        channels=list(channels()),
        voices=list(VOICES),
        candidates_max=settings.candidates_max,
    )
    return ModelsOut(models=[model])
