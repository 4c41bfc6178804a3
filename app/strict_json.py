"""
Request bodies: bounded in size, and JSON that means the same to every reader (I-JSON, RFC 7493).

Python's parser takes NaN, duplicate keys and lone surrogates; another system's may not, so they are refused here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from email.message import Message as HeaderMessage
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problem import Problem, ProblemKind

INTEGER_DIGITS_MAX = 19
"""Enough for 64 bits. Python would refuse only at 4,300 digits, and take its time below that."""


class BodyLimit:
    """
    ASGI middleware: a body past `bytes_max` ends the request with 413 where it is read, declared length or not.

    The connection closes, because the rest of the body would otherwise have to be read first.
    """

    def __init__(self, app: ASGIApp, *, bytes_max: int) -> None:
        self.app = app
        self.bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = not declared.isdigit() or int(declared[:INTEGER_DIGITS_MAX]) > self.bytes_max
        read_bytes = 0

        async def bounded() -> Message:
            nonlocal read_bytes
            if too_large:
                raise self._problem()
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self.bytes_max:
                raise self._problem()
            return message

        await self.app(scope, bounded, send)

    def _problem(self) -> Problem:
        detail = f"Send at most {self.bytes_max:,} bytes: shorten the description or send fewer attributes."
        return Problem(ProblemKind.BODY_TOO_LARGE, detail, headers={"Connection": "close"})


class StrictJsonRoute(APIRoute):
    """A route whose body is checked for its media type and parsed by `loads`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given our request in place of its own."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            if self.body_field is not None:
                _require_plain_json(request)
            return await handle(_StrictJsonRequest(request.scope, request.receive))

        return handle_strictly


class _StrictJsonRequest(Request):
    async def json(self) -> Any:
        return loads(await self.body())


def _require_plain_json(request: Request) -> None:
    """Refuse other media types, other charsets, and compression: a small gzip body can hold gigabytes."""
    header = HeaderMessage()
    header["content-type"] = request.headers.get("content-type", "")
    is_json = header.get_content_type() == "application/json"
    is_utf8 = str(header.get_param("charset", "utf-8")).lower() in ("utf-8", "utf8")
    if not is_json or not is_utf8 or request.headers.get("content-encoding", "identity") != "identity":
        detail = "Send uncompressed JSON in UTF-8 with the header Content-Type: application/json."
        raise Problem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, detail)


def loads(body: bytes) -> Any:
    """Parse, or raise a 400 Problem that says where and why; the body itself is not repeated."""
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_refuse_constant,
        )
        if "\\u" in text:
            _refuse_lone_surrogates(value)
    except UnicodeDecodeError as error:
        raise _malformed(f"Byte {error.start} is not valid UTF-8: encode the body as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"Line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise _malformed("Arrays and objects are nested too deeply: a request needs four levels.") from None
    return value


def _malformed(detail: str) -> Problem:
    return Problem(ProblemKind.MALFORMED_JSON, detail)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("An object holds the same key twice: readers differ on which one counts, so send one.")
    return members


def _integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS_MAX:
        raise _malformed(f"An integer has more than {INTEGER_DIGITS_MAX} digits: send a smaller one.")
    return int(digits)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _malformed("A number is too large for a 64-bit float: send a smaller one.")
    return number


def _refuse_constant(name: str) -> float:
    raise _malformed(f"{name} is not JSON: send a number or leave the member out.")


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _malformed("A \\u escape is half of a surrogate pair: send both halves or the character.") from None
