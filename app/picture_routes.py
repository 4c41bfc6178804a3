"""
The routes of pictures: a creative as SVG and PNG, in the sizes of its channel and the colours of a brand.

Draws nothing itself; what a picture shows was kept with the creative.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from app.creatives import CreativeId, Reader, find_kept
from app.identity import Caller
from app.keeping import studio_problem
from app.openapi import ACCESS_PROBLEMS, picture_response, problems
from app.parts import Parts, PartsOfApp
from app.photographs_route import PHOTOGRAPH_HEADER, photograph_of
from app.problem import ProblemKind, invalid
from app.schemas import SIZE_PATTERN
from app.strict_json import StrictJsonRoute
from app.studio import DeadlineError, StudioBusyError
from model.channel import channel
from model.creative import creative_from_dict
from model.layout import Brand, LayoutError
from model.product import product_from_dict
from model.store.photographs import is_reference

BRAND_PATTERN = "^[0-9a-fA-F]{6}-[0-9a-fA-F]{6}-[0-9a-fA-F]{6}$"
PICTURE_MAX_AGE_SECONDS = 86_400
"""A day: the words behind an id never change, but a new version may draw them better."""
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
"""An SVG opened by its address is a document: nothing in it may run or load."""

router = APIRouter(prefix="/v1", route_class=StrictJsonRoute)

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


_PICTURE_PROBLEMS = problems(
    *ACCESS_PROBLEMS,
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
    caller: Reader,
    parts: PartsOfApp,
    size: SizeQuery = None,
    brand: BrandQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Text is in the file as outlines or with its font, so it looks the same everywhere."""
    return await _picture(parts, caller, creative_id, "svg", size, brand, if_none_match)


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
    caller: Reader,
    parts: PartsOfApp,
    size: SizeQuery = None,
    brand: BrandQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The same drawing as the SVG, in the exact pixels of the channel."""
    return await _picture(parts, caller, creative_id, "png", size, brand, if_none_match)


async def _picture(
    parts: Parts,
    caller: Caller,
    creative_id: str,
    form: str,
    size_text: str | None,
    brand_text: str | None,
    known_etags: str | None,
) -> Response:
    kept = await find_kept(parts, caller, creative_id)
    creative, product = creative_from_dict(kept.document), product_from_dict(kept.product)
    size = _size(creative.channel, size_text)
    brand = Brand(*(f"#{colour}" for colour in brand_text.split("-"))) if brand_text else None
    photograph = await photograph_of(parts, caller, product)
    try:
        drawing = await parts.pictures.drawing(creative, product, size, brand, photograph)
        etag = drawing.etag(form)
        headers = {
            "ETag": etag,
            "Cache-Control": f"private, max-age={PICTURE_MAX_AGE_SECONDS}",
            "Content-Security-Policy": PICTURE_POLICY,
        }
        if photograph is None and is_reference(product.image):
            headers |= {PHOTOGRAPH_HEADER: "missing", "Cache-Control": "private, no-cache"}
        if is_current(known_etags, etag):
            return Response(status_code=304, headers=headers)
        if form == "svg":
            return Response(drawing.svg, headers=headers, media_type="image/svg+xml")
        return Response(await parts.pictures.png(drawing), headers=headers, media_type="image/png")
    except LayoutError as error:
        raise invalid(str(error), parameter="brand" if brand else "size") from error
    except (StudioBusyError, DeadlineError) as error:
        raise studio_problem(error) from error


def _size(channel_name: str, text: str | None) -> tuple[int, int]:
    sizes = {f"{width}x{height}": (width, height) for width, height in channel(channel_name).images}
    if text is None:
        return next(iter(sizes.values()))
    if text not in sizes:
        raise invalid(f"The pictures of {channel_name} come in {' and '.join(sizes)}.", parameter="size")
    return sizes[text]


def is_current(known_etags: str | None, etag: str) -> bool:
    """RFC 9110 If-None-Match: a list of tags, weak ones too, or *."""
    tags = [tag.strip().removeprefix("W/") for tag in (known_etags or "").split(",")]
    return etag in tags or "*" in tags
