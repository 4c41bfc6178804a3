"""
Errors of the page as problem documents (RFC 9457), in the form of the API's own, so that scripts show both alike; and
what such a document of the API says.
"""

from __future__ import annotations

import json

import httpx
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
UNREADABLE = "The service gave an answer that this page does not understand."


def problem(status: int, kind: str, detail: str) -> Response:
    """`detail` says what happened and what to do; `kind` is stable, for scripts."""
    document = {"type": f"urn:adloom:ui:{kind}", "status": status, "detail": detail}
    return Response(json.dumps(document), status, media_type=MEDIA_TYPE)


def service_down() -> Response:
    """The API does not answer."""
    return problem(503, "service-down", "The Adloom service does not answer at the moment. Nothing is lost: try again.")


def detail_of(answer: httpx.Response) -> str:
    """What the API says is wrong, in its words."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return UNREADABLE
