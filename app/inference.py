"""
The Open Inference Protocol (V2, REST) for clients that speak it: health, metadata, and creatives as tensors.

Each product goes the way of `POST /v1/creatives`. Errors are problem documents with the protocol's `error` beside.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Annotated, Any, cast

from fastapi import APIRouter, FastAPI, Path, Request, Response, Security
from fastapi.exceptions import WebSocketRequestValidationError
from pydantic import BaseModel, Field

from app.connection import CLIENT_CLOSED_REQUEST, ClientGoneError
from app.health import SERVICE, get_liveness, get_readiness, package_version
from app.idempotency import TAKES_KEY, once
from app.identity import CREATIVES_WRITE, Caller, identify
from app.inference_examples import INFER_REQUEST_EXAMPLES, INFER_RESPONSE_EXAMPLE
from app.keeping import write_and_keep
from app.openapi import WRITING_PROBLEMS, problems
from app.parts import Parts, PartsOfApp
from app.problem import MEDIA_TYPE, Problem, ProblemKind
from app.strict_json import StrictJsonRoute
from app.studio import Commission
from app.tensors import (
    InferRequest,
    InferResponse,
    TensorMetadata,
    commissions,
    input_metadata,
    output_metadata,
    output_tensors,
    refuse_binary_body,
)
from model.creative import Creative

MODEL = "adloom-writer"
UNREGISTERED = "0"
"""Version of a bundle that comes from no registry: versions of the registry begin at 1."""
PLATFORM = "onnx_onnxv1"
PREFIX = "/v2"
BINARY_HEADER = "inference-header-content-length"

Handler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]


class InferenceRoute(StrictJsonRoute):
    """A route that refuses binary tensors by name: the strict route would complain of the media type alone."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The strict route's handler behind the check."""
        handle = super().get_route_handler()

        async def handle_json_alone(request: Request) -> Response:
            if BINARY_HEADER in request.headers:
                raise refuse_binary_body()
            return await handle(request)

        return handle_json_alone


class ServerMetadata(BaseModel):
    """What answers here."""

    name: str
    version: str
    extensions: list[str] = Field(description="None: binary tensors, for instance, are not taken.")


class Liveness(BaseModel):
    """A probe that passed."""

    live: bool


class Readiness(BaseModel):
    """A probe that passed. The protocol's pages differ on the member's name, so both are there."""

    live: bool
    ready: bool


class ModelMetadata(BaseModel):
    """The model, and the tensors it takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReadiness(BaseModel):
    """A probe of the model that passed."""

    name: str
    ready: bool


router = APIRouter(prefix=PREFIX, route_class=InferenceRoute, tags=["inference"])
probes = APIRouter(prefix=PREFIX, tags=["inference"])
"""Open, like `/healthz`: neither a token nor a limit may keep a probe out."""

Author = Annotated[Caller, Security(identify, scopes=[CREATIVES_WRITE])]
ModelName = Annotated[str, Path(max_length=100, description=f"`{MODEL}`.", examples=[MODEL])]
ModelVersion = Annotated[
    str,
    Path(
        max_length=100,
        description=f"As the registry counts; `{UNREGISTERED}` for a bundle that comes from none.",
        examples=[UNREGISTERED],
    ),
]
_PROBE_PROBLEMS = problems(ProblemKind.NOT_READY, ProblemKind.STORE_DOWN)
_MODEL_PROBLEMS = problems(ProblemKind.MODEL_NOT_FOUND, ProblemKind.INVALID_REQUEST)
_INFER: dict[str, Any] = {
    "summary": "Write creatives for some products",
    "response_description": "The best creative for each product, member by member.",
    "response_model": InferResponse,
    "dependencies": [TAKES_KEY],
    "responses": {
        200: {"content": {"application/json": {"example": INFER_RESPONSE_EXAMPLE}}},
        **problems(
            *WRITING_PROBLEMS,
            ProblemKind.MODEL_NOT_FOUND,
        ),
    },
    "openapi_extra": {"requestBody": {"content": {"application/json": {"examples": INFER_REQUEST_EXAMPLES}}}},
}


@probes.get("", operation_id="getInferenceServer", summary="What answers the protocol here")
async def get_server() -> ServerMetadata:
    """Name and version of the server; it has no extensions."""
    return ServerMetadata(name=SERVICE, version=package_version(), extensions=[])


@probes.get(
    "/health/live", operation_id="getInferenceLiveness", summary="Is the server alive", responses=_PROBE_PROBLEMS
)
async def get_live(parts: PartsOfApp) -> Liveness:
    """As `/healthz`."""
    await get_liveness(parts)
    return Liveness(live=True)


@probes.get(
    "/health/ready", operation_id="getInferenceReadiness", summary="Is the server ready", responses=_PROBE_PROBLEMS
)
async def get_ready(parts: PartsOfApp) -> Readiness:
    """As `/readyz`."""
    await get_readiness(parts)
    return Readiness(live=True, ready=True)


@router.get(
    "/models/{model}", operation_id="getInferenceModel", summary="What the model takes", responses=_MODEL_PROBLEMS
)
async def get_model(model: ModelName, parts: PartsOfApp) -> ModelMetadata:
    """Its inputs and outputs; -1 is the number of products of a request."""
    return _metadata(parts, model, None)


@router.get(
    "/models/{model}/versions/{version}",
    operation_id="getInferenceModelVersion",
    summary="What this version of the model takes",
    responses=_MODEL_PROBLEMS,
)
async def get_model_version(model: ModelName, version: ModelVersion, parts: PartsOfApp) -> ModelMetadata:
    """One version is served at a time; any other is not found."""
    return _metadata(parts, model, version)


@probes.get(
    "/models/{model}/ready",
    operation_id="getInferenceModelReadiness",
    summary="Is the model ready",
    responses={**_MODEL_PROBLEMS, **_PROBE_PROBLEMS},
)
async def get_model_ready(model: ModelName, parts: PartsOfApp) -> ModelReadiness:
    """As `/readyz`: a server that is up has loaded its model."""
    return await _readiness(parts, model, None)


@probes.get(
    "/models/{model}/versions/{version}/ready",
    operation_id="getInferenceModelVersionReadiness",
    summary="Is this version of the model ready",
    responses={**_MODEL_PROBLEMS, **_PROBE_PROBLEMS},
)
async def get_model_version_ready(model: ModelName, version: ModelVersion, parts: PartsOfApp) -> ModelReadiness:
    """One version is served at a time; any other is not found."""
    return await _readiness(parts, model, version)


@router.post("/models/{model}/infer", operation_id="infer", **_INFER)
async def infer(request: Request, model: ModelName, order: InferRequest, caller: Author, parts: PartsOfApp) -> Any:
    """Each product gets one ad for its channel, kept and logged as `POST /v1/creatives` does it."""
    return await _infer(request, parts, caller, order, _version(parts, model, None))


@router.post("/models/{model}/versions/{version}/infer", operation_id="inferVersion", **_INFER)
async def infer_version(
    request: Request,
    model: ModelName,
    version: ModelVersion,
    order: InferRequest,
    caller: Author,
    parts: PartsOfApp,
) -> Any:
    """As without a version; one that is not served is not found."""
    return await _infer(request, parts, caller, order, _version(parts, model, version))


def install(app: FastAPI) -> None:
    """
    Add the probes, and put the protocol's `error` into every problem document below /v2.

    After all handlers have been added; `router` is the app's to add, behind its limits.
    """
    app.include_router(probes)
    for kind, handler in list(app.exception_handlers.items()):
        if kind is not WebSocketRequestValidationError:
            app.add_exception_handler(kind, _with_error(cast(Handler, handler)))


def _with_error(handler: Handler) -> Handler:
    @wraps(handler)
    async def answer(request: Request, error: Exception) -> Response:
        response = await handler(request, error)
        path = request.url.path
        if response.media_type != MEDIA_TYPE or not (path == PREFIX or path.startswith(f"{PREFIX}/")):
            return response
        document = json.loads(bytes(response.body))
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        content = json.dumps({"error": document["detail"], **document})
        return Response(content, response.status_code, headers, MEDIA_TYPE)

    return answer


def _version(parts: Parts, model: str, wanted: str | None) -> str:
    """The version that is served. Raises a 404 Problem for any other model or version."""
    served = parts.settings.registry_version or UNREGISTERED
    if model != MODEL:
        raise Problem(ProblemKind.MODEL_NOT_FOUND, f"This service serves the model {MODEL}.")
    if wanted not in (None, served):
        detail = f"This service serves version {served}: ask for that one, or leave the version out."
        raise Problem(ProblemKind.MODEL_NOT_FOUND, detail)
    return served


def _metadata(parts: Parts, model: str, wanted: str | None) -> ModelMetadata:
    return ModelMetadata(
        name=MODEL,
        versions=[_version(parts, model, wanted)],
        platform=PLATFORM,
        inputs=input_metadata(),
        outputs=output_metadata(),
    )


async def _readiness(parts: Parts, model: str, wanted: str | None) -> ModelReadiness:
    _version(parts, model, wanted)
    await get_readiness(parts)
    return ModelReadiness(name=MODEL, ready=True)


async def _infer(request: Request, parts: Parts, caller: Caller, order: InferRequest, version: str) -> Response:
    asked = commissions(order, parts.settings.candidates_max)

    async def answer() -> Response:
        written = await _write_all(parts, caller, request, asked)
        found = InferResponse(
            model_name=MODEL,
            model_version=version,
            id=request.state.request_id if order.id is None else order.id,
            outputs=output_tensors(order, written),
        )
        return Response(found.model_dump_json(), media_type="application/json")

    try:
        return await once(request, parts, caller, "infer", await request.body(), answer)
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _write_all(parts: Parts, caller: Caller, request: Request, asked: Sequence[Commission]) -> list[Creative]:
    """
    All, or the first error; then the rest is cancelled, and what was kept by then stays kept.

    As many at once as the studio has writers: more would only fill the queue that others wait in. The deadline is
    that of one request.
    """
    places, failed = asyncio.Semaphore(parts.settings.writers), asyncio.Event()

    async def write(commission: Commission) -> Creative:
        async with places:
            if failed.is_set():  # the place was freed by the failure, before anybody could cancel this
                raise asyncio.CancelledError
            try:
                (creative,) = await write_and_keep(parts, caller, request, commission, 1)
            except BaseException:
                failed.set()
                raise
            return creative

    tasks = [asyncio.ensure_future(write(commission)) for commission in asked]
    try:
        async with asyncio.timeout(parts.settings.request_timeout_seconds):
            return await asyncio.gather(*tasks)
    except TimeoutError:
        detail = "Send fewer products in one request, or ask for fewer candidates."
        raise Problem(ProblemKind.DEADLINE_EXCEEDED, detail) from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
