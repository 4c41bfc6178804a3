"""
The routes of creatives: write them, look one up, and what channels there are.

Parses, has them written and kept, and answers; decides nothing about creatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response, Security
from pydantic_core import to_json

from app import streaming
from app.connection import CLIENT_CLOSED_REQUEST, ClientGoneError
from app.direct_route import DirectRoute
from app.idempotency import TAKES_KEY, keep_answer, once
from app.identity import CREATIVES_READ, CREATIVES_WRITE, Caller, identify
from app.keeping import Beside, Keep, alone, write_and_keep
from app.openapi import (
    ACCESS_PROBLEMS,
    CREATIVE_EXAMPLE,
    CREATIVES_EXAMPLE,
    REQUEST_EXAMPLES,
    STREAM_RESPONSE,
    WRITING_PROBLEMS,
    problems,
)
from app.parts import Parts, PartsOfApp
from app.photographs_route import require_photograph
from app.problem import Problem, ProblemKind, invalid
from app.schemas import (
    CREATIVE_ID_PATTERN,
    BrandColours,
    ChannelsOut,
    CreativeOut,
    CreativesOut,
    CreativesRequest,
    ProductIn,
    SkuOnly,
    limits_of,
)
from app.studio import Commission, Tell
from model.channel import channel, channels
from model.columns import ColumnPlan, column_plan
from model.creative import Creative, creative_from_dict
from model.product import Product, ProductError, product_from_row
from model.store import creatives
from model.store.creatives import KeptCreative, NewCreative

router = APIRouter(prefix="/v1", route_class=DirectRoute)

Author = Annotated[Caller, Security(identify, scopes=[CREATIVES_WRITE])]
Reader = Annotated[Caller, Security(identify, scopes=[CREATIVES_READ])]
CreativeId = Annotated[
    str,
    Path(
        pattern=CREATIVE_ID_PATTERN, description="As `POST /v1/creatives` gave it.", examples=[CREATIVE_EXAMPLE["id"]]
    ),
]
StreamQuery = Annotated[
    bool,
    Query(
        description="Answer with server-sent events while the creatives are written.",
        examples=[False],
    ),
]


@router.post(
    "/creatives",
    operation_id="writeCreatives",
    tags=["creatives"],
    summary="Write creatives for one product",
    response_description="The best creatives of every channel.",
    response_model=CreativesOut,
    responses={
        200: {
            "content": {
                "application/json": {"example": CREATIVES_EXAMPLE},
                "text/event-stream": STREAM_RESPONSE,
            }
        },
        **problems(
            *WRITING_PROBLEMS,
            ProblemKind.PRODUCT_NOT_FOUND,
            ProblemKind.PHOTOGRAPH_NOT_FOUND,
            ProblemKind.FEATURES_DOWN,
        ),
    },
    dependencies=[TAKES_KEY],
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": REQUEST_EXAMPLES}}}},
)
async def write_creatives(
    request: Request,
    order: CreativesRequest,
    caller: Author,
    parts: PartsOfApp,
    stream: StreamQuery = False,  # noqa: FBT002 -- by name, as every query
) -> Response:
    """
    Write one ad for each channel, or more with `return_candidates`.

    A product that names only its `sku` is taken from the client's newest catalogue.

    The answer is 200 and not 201: it depends on the request alone, so asking again makes nothing new. With
    `stream=true` it comes as server-sent events while it is written: `progress`, `field` for every text that has
    passed the rules, `creative` for every ad that is kept, and `done`; or `error` with a problem document.
    """
    if order.candidates > parts.settings.candidates_max:
        raise invalid(f"Ask for at most {parts.settings.candidates_max} candidates.", pointer="/candidates")
    # A sku is looked up where the work begins: a request sent again gets its answer though the product is gone.
    is_late = isinstance(order.product, SkuOnly) and not stream
    ready = None if is_late else await commission_of(order, parts, caller)

    async def write(tell: Tell = lambda _event: None, beside: Beside = alone) -> list[Creative]:
        commission = ready or await commission_of(order, parts, caller)
        if not isinstance(order.product, SkuOnly):
            await require_photograph(parts, caller, commission.product)
        return await write_and_keep(parts, caller, request, commission, order.return_candidates, tell, beside)

    def form(document: dict[str, Any]) -> dict[str, Any]:
        # As CreativeOut, which tests/app/test_openapi.py holds it to; to validate what we made ourselves takes longer.
        images = _image_links(document["id"], document["channel"], order.brand_colours)
        return {**document, "images": images}

    if stream:
        if "idempotency-key" in request.headers:
            raise invalid("A stream cannot be sent twice: leave Idempotency-Key out.", parameter="stream")
        return await streaming.stream(request, write, lambda one: form(one.as_dict()), order.return_candidates)

    async def answer() -> Response:
        answers: list[Response] = []

        def keep_beside(rows: Sequence[NewCreative]) -> Keep:
            content = to_json({"creatives": [form(row.document) for row in rows]})
            answers.append(Response(content, media_type="application/json"))
            return lambda connection: keep_answer(request, connection, answers[0])

        await write(beside=keep_beside)
        return answers[0]

    try:
        return await once(request, parts, caller, "writeCreatives", await request.body(), answer)
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


@router.get(
    "/creatives/{creative_id}",
    operation_id="getCreative",
    tags=["creatives"],
    summary="Look one creative up",
    response_description="The creative, as it was when it was written.",
    responses={
        200: {"content": {"application/json": {"example": CREATIVE_EXAMPLE}}},
        **problems(*ACCESS_PROBLEMS, ProblemKind.CREATIVE_NOT_FOUND, ProblemKind.INVALID_REQUEST),
    },
)
async def get_creative(creative_id: CreativeId, caller: Reader, parts: PartsOfApp) -> CreativeOut:
    """Creatives are kept; those of other clients are not found."""
    kept = await find_kept(parts, caller, creative_id)
    return creative_out(creative_from_dict(kept.document), None)


@router.get(
    "/channels",
    operation_id="listChannels",
    tags=["creatives"],
    summary="What each channel accepts",
    response_description="Every channel, with its limits.",
)
async def list_channels() -> ChannelsOut:
    """The limits that every creative keeps, each with the page it comes from."""
    return ChannelsOut(channels=[limits_of(spec) for spec in channels().values()])


async def commission_of(order: CreativesRequest, parts: Parts, caller: Caller) -> Commission:
    """What the studio is to write. Raises a Problem where its product is refused (422) or not found (404)."""
    sent = order.product
    product = await parts.products.find(caller.client, sent.sku) if isinstance(sent, SkuOnly) else product_of(sent)
    specs = tuple(channel(name) for name in order.channels)
    return Commission(product, specs, order.voice, order.candidates, order.seed)


def product_of(sent: ProductIn) -> Product:
    """The catalogue's own rules apply, so that the same row gives the same product from a file and over HTTP."""
    try:
        return product_from_row(_product_plan(), tuple(getattr(sent, name) for name in ProductIn.model_fields))
    except ProductError as error:
        raise invalid(f"{error.column} {error.reason}", pointer=f"/product/{error.column}") from error


@cache
def _product_plan() -> ColumnPlan:
    """The same for every product that is sent: its members are the columns."""
    return column_plan(ProductIn.model_fields)


def creative_out(creative: Creative, colours: BrandColours | None) -> CreativeOut:
    images = _image_links(creative.id, creative.channel, colours)
    return CreativeOut.model_validate({**creative.as_dict(), "images": images})


def _image_links(creative_id: str, channel_name: str, colours: BrandColours | None) -> list[dict[str, str]]:
    """As ImageLinks. The colours travel in the link: they are no part of the creative, and two brands may share one."""
    path = f"/v1/creatives/{quote(creative_id)}/image"
    brand = f"&brand={_brand_text(colours)}" if colours else ""
    sizes = [f"{width}x{height}" for width, height in channel(channel_name).images]
    return [
        {"size": size, "svg": f"{path}.svg?size={size}{brand}", "png": f"{path}.png?size={size}{brand}"}
        for size in sizes
    ]


def _brand_text(colours: BrandColours) -> str:
    return "-".join(colour.removeprefix("#").lower() for colour in colours.model_dump().values())


async def find_kept(parts: Parts, caller: Caller, creative_id: str) -> KeptCreative:
    """The caller's creative, or a 404 Problem that does not tell whether another client has it. Raises StoreError."""

    def find() -> KeptCreative | None:
        with parts.database.connect() as connection:
            return creatives.find(connection, caller.client, creative_id)

    kept = await anyio.to_thread.run_sync(find)
    if kept is None:
        detail = (
            "Send the request that wrote it again: the same product, channel, voice, candidates and seed give "
            "the same id."
        )
        raise Problem(ProblemKind.CREATIVE_NOT_FOUND, detail)
    return kept
