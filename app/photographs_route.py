"""
The route of photographs: a merchant's own picture in, a reference out that a product names as its `image`.

Draws nothing; model/photograph.py judges the bytes, and the client's own part of the object store keeps them.
"""

from __future__ import annotations

from email.message import Message
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response, Security
from pydantic import BaseModel, Field

from app.idempotency import TAKES_KEY, json_answer, once
from app.identity import CREATIVES_WRITE, Caller, identify
from app.keeping import studio_problem
from app.openapi import ACCESS_PROBLEMS, ONCE_PROBLEMS, problems
from app.parts import Parts, PartsOfApp
from app.problem import Problem, ProblemKind, invalid
from app.strict_json import StrictJsonRoute
from app.studio import DeadlineError, StudioBusyError
from model.photograph import FORMATS, PhotographError
from model.product import Product
from model.store import photographs
from model.store.photographs import REFERENCE_PATTERN

BYTES_MAX = 8 * 1024 * 1024
"""What a telephone takes of a product has 2 to 6 MB."""
MEDIA_TYPES = tuple(f"image/{form.lower()}" for form in FORMATS)
PHOTOGRAPH_EXAMPLE = {"image": "ph_6a2f41a3c54c4d9b8b1f2c3d4e5f6071"}
PHOTOGRAPH_HEADER = "Adloom-Photograph"
"""Of a picture: `missing` where its product names a photograph that is kept no longer."""

router = APIRouter(prefix="/v1", tags=["pictures"], route_class=StrictJsonRoute)

Author = Annotated[Caller, Security(identify, scopes=[CREATIVES_WRITE])]

_PICTURE: dict[str, Any] = {
    "schema": {"type": "string", "format": "binary"},
    "examples": {"a_file": {"summary": "The bytes of a file", "externalValue": "https://shop.example/puddle.jpg"}},
}


class PhotographOut(BaseModel):
    """The photograph is kept."""

    image: str = Field(
        pattern=REFERENCE_PATTERN,
        description="To be sent as `product.image`. Made from the bytes: the same file has the same one.",
    )


@router.post(
    "/photographs",
    operation_id="sendPhotograph",
    summary="Send a photograph of a product",
    status_code=201,
    response_model=PhotographOut,
    response_description="The reference that products name.",
    responses={
        201: {"content": {"application/json": {"example": PHOTOGRAPH_EXAMPLE}}},
        **problems(
            *ACCESS_PROBLEMS,
            *ONCE_PROBLEMS,
            ProblemKind.BODY_TOO_SLOW,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.OVERLOADED,
            ProblemKind.DEADLINE_EXCEEDED,
        ),
    },
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES, _PICTURE)}},
    dependencies=[TAKES_KEY],
)
async def send_photograph(request: Request, caller: Author, parts: PartsOfApp) -> Response:
    """
    PNG, JPEG or WebP of up to 8 MB and 40 megapixels, at least 100 pixels each way.

    It is turned upright, made small and stripped of places, cameras and comments before it is kept, and only you can
    have ads drawn with it. Once it has expired, pictures are drawn without; send the file again to have it back.
    """
    _require_picture(request)
    body = await request.body()

    async def keep() -> Response:
        try:
            small = await parts.pictures.photograph(body)
        except PhotographError as error:
            raise invalid(f"This picture cannot be used: {error}.", pointer="") from None
        except (StudioBusyError, DeadlineError) as error:
            raise studio_problem(error) from error
        reference = photographs.reference_of(body)
        await anyio.to_thread.run_sync(photographs.keep, parts.objects, caller.client, reference, small)
        return json_answer(PhotographOut(image=reference), 201)

    return await once(request, parts, caller, "sendPhotograph", body, keep)


async def require_photograph(parts: Parts, caller: Caller, product: Product) -> None:
    """A 404 Problem where the product names a photograph that this client does not have. Raises StoreError."""
    if not photographs.is_reference(product.image):
        return
    if not await anyio.to_thread.run_sync(photographs.is_kept, parts.objects, caller.client, product.image):
        raise Problem(ProblemKind.PHOTOGRAPH_NOT_FOUND, "Send the file again with POST /v1/photographs, or no image.")


async def photograph_of(parts: Parts, caller: Caller, product: Product) -> bytes | None:
    """What is kept of the photograph that the product names; None where it names none, or none is kept."""
    if not photographs.is_reference(product.image):
        return None
    return await anyio.to_thread.run_sync(photographs.find, parts.objects, caller.client, product.image)


def _require_picture(request: Request) -> None:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    is_picture = bool(header["content-type"]) and header.get_content_type() in MEDIA_TYPES
    if not is_picture or request.headers.get("content-encoding", "identity") != "identity":
        detail = f"Send the bytes of one picture with a Content-Type of {', '.join(MEDIA_TYPES)}."
        raise Problem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, detail)
