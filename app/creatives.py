"""
The routes of creatives: write them, look one up, see its picture, and what channels there are.

Parses, calls the studio, and turns what went wrong into problems; decides nothing about creatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request, Response

from app.connection import CLIENT_CLOSED_REQUEST, ClientGoneError, while_connected
from app.openapi import CREATIVE_EXAMPLE, CREATIVES_EXAMPLE, REQUEST_EXAMPLES, picture_response, problems
from app.parts import Parts, PartsOfApp
from app.problem import Problem, ProblemKind, invalid
from app.recent import KeptCreative
from app.schemas import (
    CREATIVE_ID_PATTERN,
    SIZE_PATTERN,
    BrandColours,
    ChannelsOut,
    CreativeOut,
    CreativesOut,
    CreativesRequest,
    ImageLinks,
    ProductIn,
    limits_of,
)
from app.strict_json import StrictJsonRoute
from app.studio import Commission, DeadlineError, StudioBusyError, StudioDownError, WritingError
from model.channel import channel, channels
from model.creative import Creative
from model.layout import Brand, LayoutError
from model.product import Product, ProductError, product_from_mapping

BRAND_PATTERN = "^[0-9a-fA-F]{6}-[0-9a-fA-F]{6}-[0-9a-fA-F]{6}$"
PICTURE_MAX_AGE_SECONDS = 86_400
"""A day: the words behind an id never change, but a new version may draw them better."""
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
"""An SVG opened by its address is a document: nothing in it may run or load."""

router = APIRouter(prefix="/v1", route_class=StrictJsonRoute)

CreativeId = Annotated[
    str,
    Path(
        pattern=CREATIVE_ID_PATTERN, description="As `POST /v1/creatives` gave it.", examples=[CREATIVE_EXAMPLE["id"]]
    ),
]
SizeQuery = Annotated[
    str | None,
    Query(
        pattern=SIZE_PATTERN,
        description="One of the channel's sizes, width x height in pixels; its first where left out.",
        examples=["1080x1080"],
    ),
]
BrandQuery = Annotated[
    str | None,
    Query(
        pattern=BRAND_PATTERN,
        description="Background, foreground and accent, six hexadecimal digits each.",
        examples=["0a3d62-ffffff-f6b93b"],
    ),
]
IfNoneMatch = Annotated[str | None, Header(description="An ETag; where it still holds, the answer is 304.")]


@router.post(
    "/creatives",
    operation_id="writeCreatives",
    tags=["creatives"],
    summary="Write creatives for one product",
    response_description="The best creatives of every channel.",
    response_model=CreativesOut,
    responses={
        200: {"content": {"application/json": {"example": CREATIVES_EXAMPLE}}},
        **problems(
            ProblemKind.MALFORMED_JSON,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.GENERATION_FAILED,
            ProblemKind.OVERLOADED,
            ProblemKind.NOT_READY,
            ProblemKind.DEADLINE_EXCEEDED,
        ),
    },
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": REQUEST_EXAMPLES}}}},
)
async def write_creatives(request: Request, order: CreativesRequest, parts: PartsOfApp) -> Any:
    """
    Write one ad for each channel, or more with `return_candidates`.

    The answer is 200 and not 201: it depends on the request alone, so asking again makes nothing new.
    """
    if order.candidates > parts.settings.candidates_max:
        raise invalid(f"Ask for at most {parts.settings.candidates_max} candidates.", pointer="/candidates")
    product = _product(order.product)
    specs = tuple(channel(name) for name in order.channels)
    commission = Commission(product, specs, order.voice, order.candidates, order.seed)
    try:
        with studio_problems():
            written = await while_connected(request, parts.studio.write(commission))
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    chosen = [creative for ranked in written for creative in ranked[: order.return_candidates]]
    for creative in chosen:
        parts.recent.put(creative, product)
    return CreativesOut(creatives=[_creative_out(creative, order.brand_colours) for creative in chosen])


@router.get(
    "/creatives/{creative_id}",
    operation_id="getCreative",
    tags=["creatives"],
    summary="Look one creative up",
    response_description="The creative, as it was when it was written.",
    responses={
        200: {"content": {"application/json": {"example": CREATIVE_EXAMPLE}}},
        **problems(ProblemKind.CREATIVE_NOT_FOUND, ProblemKind.INVALID_REQUEST),
    },
)
async def get_creative(creative_id: CreativeId, parts: PartsOfApp) -> CreativeOut:
    """The service keeps the latest creatives in memory; one that is gone comes back by the request that wrote it."""
    return _creative_out(_kept(parts, creative_id).creative, None)


_PICTURE_PROBLEMS = problems(
    ProblemKind.CREATIVE_NOT_FOUND,
    ProblemKind.INVALID_REQUEST,
    ProblemKind.OVERLOADED,
    ProblemKind.DEADLINE_EXCEEDED,
)


@router.get(
    "/creatives/{creative_id}/image.svg",
    operation_id="getCreativeSvg",
    tags=["pictures"],
    summary="The picture of a creative, as SVG",
    response_class=Response,
    responses={**picture_response("image/svg+xml"), **_PICTURE_PROBLEMS},
)
async def get_creative_svg(
    creative_id: CreativeId,
    parts: PartsOfApp,
    size: SizeQuery = None,
    brand: BrandQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Text is in the file as outlines or with its font, so it looks the same everywhere."""
    return await _picture(parts, creative_id, "svg", size, brand, if_none_match)


@router.get(
    "/creatives/{creative_id}/image.png",
    operation_id="getCreativePng",
    tags=["pictures"],
    summary="The picture of a creative, as PNG",
    response_class=Response,
    responses={**picture_response("image/png"), **_PICTURE_PROBLEMS},
)
async def get_creative_png(
    creative_id: CreativeId,
    parts: PartsOfApp,
    size: SizeQuery = None,
    brand: BrandQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The same drawing as the SVG, in the exact pixels of the channel."""
    return await _picture(parts, creative_id, "png", size, brand, if_none_match)


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


@contextmanager
def studio_problems() -> Iterator[None]:
    """Turn what can go wrong behind the routes into its problem."""
    try:
        yield
    except StudioBusyError as error:
        wait = {"Retry-After": str(error.retry_after_seconds)}
        detail = f"Try again in {error.retry_after_seconds} s, or send fewer requests at once."
        raise Problem(ProblemKind.OVERLOADED, detail, headers=wait) from error
    except DeadlineError as error:
        detail = "Ask for fewer channels or candidates in one request, or try again when the service is less busy."
        raise Problem(ProblemKind.DEADLINE_EXCEEDED, detail) from error
    except StudioDownError as error:
        detail = "The writer has stopped and the service will be restarted: try again in a while."
        raise Problem(ProblemKind.NOT_READY, detail, headers={"Retry-After": "30"}) from error
    except WritingError as error:
        detail = "Change the product or the seed and try again; if it stays, report the request id."
        raise Problem(ProblemKind.GENERATION_FAILED, detail) from error


def _product(sent: ProductIn) -> Product:
    """The catalogue's own rules apply, so that the same row gives the same product from a file and over HTTP."""
    try:
        return product_from_mapping(sent.model_dump())
    except ProductError as error:
        raise invalid(f"{error.column} {error.reason}", pointer=f"/product/{error.column}") from error


def _creative_out(creative: Creative, colours: BrandColours | None) -> CreativeOut:
    images = _image_links(creative, colours)
    return CreativeOut.model_validate({**creative.as_dict(), "images": images})


def _image_links(creative: Creative, colours: BrandColours | None) -> list[ImageLinks]:
    """The colours travel in the link: they are no part of the creative, and two brands may share one."""
    path = f"/v1/creatives/{quote(creative.id)}/image"
    brand = f"&brand={_brand_text(colours)}" if colours else ""
    sizes = [f"{width}x{height}" for width, height in channel(creative.channel).images]
    return [
        ImageLinks(size=size, svg=f"{path}.svg?size={size}{brand}", png=f"{path}.png?size={size}{brand}")
        for size in sizes
    ]


def _brand_text(colours: BrandColours) -> str:
    return "-".join(colour.removeprefix("#").lower() for colour in colours.model_dump().values())


def _kept(parts: Parts, creative_id: str) -> KeptCreative:
    kept = parts.recent.get(creative_id)
    if kept is None:
        detail = (
            "Send the request that wrote it again: the same product, channel, voice, candidates and seed give "
            "the same id. "
            f"Only the latest {parts.settings.creatives_kept_max:,} creatives are kept, and none over a restart."
        )
        raise Problem(ProblemKind.CREATIVE_NOT_FOUND, detail)
    return kept


async def _picture(
    parts: Parts, creative_id: str, form: str, size_text: str | None, brand_text: str | None, known_etags: str | None
) -> Response:
    kept = _kept(parts, creative_id)
    size = _size(kept.creative.channel, size_text)
    brand = Brand(*(f"#{colour}" for colour in brand_text.split("-"))) if brand_text else None
    with studio_problems():
        try:
            drawing = await parts.pictures.drawing(kept, size, brand)
        except LayoutError as error:
            raise invalid(str(error), parameter="brand" if brand else "size") from error
        etag = drawing.etag(form)
        headers = {
            "ETag": etag,
            "Cache-Control": f"private, max-age={PICTURE_MAX_AGE_SECONDS}",
            "Content-Security-Policy": PICTURE_POLICY,
        }
        if _matches(known_etags, etag):
            return Response(status_code=304, headers=headers)
        if form == "svg":
            return Response(drawing.svg, headers=headers, media_type="image/svg+xml")
        return Response(await parts.pictures.png(drawing), headers=headers, media_type="image/png")


def _size(channel_name: str, text: str | None) -> tuple[int, int]:
    sizes = {f"{width}x{height}": (width, height) for width, height in channel(channel_name).images}
    if text is None:
        return next(iter(sizes.values()))
    if text not in sizes:
        raise invalid(f"The pictures of {channel_name} come in {' and '.join(sizes)}.", parameter="size")
    return sizes[text]


def _matches(known_etags: str | None, etag: str) -> bool:
    """RFC 9110 If-None-Match: a list of tags, weak ones too, or *."""
    tags = [tag.strip().removeprefix("W/") for tag in (known_etags or "").split(",")]
    return etag in tags or "*" in tags
