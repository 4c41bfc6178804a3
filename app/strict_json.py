"""
Request bodies: bounded in size, and JSON that means the same to every reader (I-JSON, RFC 7493).

Python's parser takes NaN, duplicate keys and lone surrogates; another system's may not, so they are refused here.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine, Mapping
from email.message import Message as HeaderMessage
from types import MappingProxyType
from typing import Any

import anyio.to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problem import Problem, ProblemKind

THREAD_BYTES_MIN = 512 * 1024
"""A larger body is parsed in a thread: it takes 10 ms a megabyte, and the loop has others to serve."""
INTEGER_DIGITS_MAX = 19
"""Enough for 64 bits. Python would refuse only at 4,300 digits, and take its time below that."""


class BodyLimit:
    """
    ASGI middleware: a body past `bytes_max` ends the request with 413 where it is read, declared length or not.
    `larger` holds other bounds by path. One that is not whole within `seconds_max` ends it with 408: a client that
    sends a byte a second would otherwise keep its place for days.

    The connection closes, because the rest of the body would otherwise have to be read first.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        bytes_max: int,
        larger: Mapping[str, int] = MappingProxyType({}),
        seconds_max: float = 60.0,
    ) -> None:
        self.app = app
        self.bytes_max = bytes_max
        self.larger = larger
        self.seconds_max = seconds_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        bytes_max, is_file = self.larger.get(scope["path"], self.bytes_max), scope["path"] in self.larger
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        too_large = not declared.isdigit() or int(declared[:INTEGER_DIGITS_MAX]) > bytes_max
        deadline_seconds = asyncio.get_running_loop().time() + self.seconds_max
        read_bytes, is_whole = 0, False

        async def bounded() -> Message:
            nonlocal read_bytes, is_whole
            if too_large:
                raise _too_large(bytes_max, is_file=is_file)
            if is_whole:
                return await receive()  # waits for the client to leave, which may take as long as the answer
            try:
                async with asyncio.timeout_at(deadline_seconds):
                    message = await receive()
            except TimeoutError:
                raise _too_slow(self.seconds_max) from None
            read_bytes += len(message.get("body", b""))
            if read_bytes > bytes_max:
                raise _too_large(bytes_max, is_file=is_file)
            is_whole = not message.get("more_body", False)
            return message

        await self.app(scope, bounded, send)


def _too_large(bytes_max: int, *, is_file: bool) -> Problem:
    instead = "make the file smaller, or send parts" if is_file else "shorten the description or send fewer attributes"
    detail = f"Send at most {bytes_max:,} bytes: {instead}."
    return Problem(ProblemKind.BODY_TOO_LARGE, detail, headers={"Connection": "close"})


def _too_slow(seconds_max: float) -> Problem:
    detail = f"Send the whole body within {seconds_max:g} s, or in smaller parts."
    return Problem(ProblemKind.BODY_TOO_SLOW, detail, headers={"Connection": "close"})


class StrictJsonRoute(APIRoute):
    """A route whose body is checked for its media type and parsed by `loads`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given our request in place of its own."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(self.strict(request))

        return handle_strictly

    def strict(self, request: Request) -> Request:
        """The request as its handler is to see it. Raises a 415 Problem for a body that is not plain JSON."""
        if isinstance(request, _StrictJsonRequest):
            return request
        if self.body_field is not None:
            _require_plain_json(request)
        return _StrictJsonRequest(request.scope, request.receive)


class _StrictJsonRequest(Request):
    _json: Any

    async def json(self) -> Any:
        """Parsed once, however often it is asked for."""
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = loads(body) if len(body) < THREAD_BYTES_MIN else await anyio.to_thread.run_sync(loads, body)
        return self._json


def _require_plain_json(request: Request) -> None:
    """Refuse other media types, other charsets, and compression: a small gzip body can hold gigabytes."""
    if request.headers.get("content-type") == "application/json" and "content-encoding" not in request.headers:
        return  # as nearly every client sends it; reading the header by the rules of mail takes its time
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
