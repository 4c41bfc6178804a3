"""
One JSON line on standard error for each request, and the ids that tie it to the answer and to the caller's trace.

Also the last line of defence: what nothing below caught becomes a problem document here, and its trace a log line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problem import Problem, ProblemKind, problem_response
from app.trace_context import RequestSpan, Tracing

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What we take from a client: safe in a header, a log line and a URN."""
PATH_CHARS_MAX = 200
CLIENT_CHARS_MAX = 100
NO_SNIFFING = (b"x-content-type-options", b"nosniff")

Observe = Callable[[str, str, int, float], None]
"""Told of each request when it has ended: method, route template, status, seconds."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
_request_fields: ContextVar[Mapping[str, str]] = ContextVar("request_fields", default=_NOTHING)
"""What every line says that is logged while a request is served, whoever logs it."""

log = logging.getLogger("adloom.request")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; what stands in `extra={"fields": {...}}` becomes members."""

    def format(self, record: logging.LogRecord) -> str:
        """ASCII only, so that no character in a path can break or recolour a line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_request_fields.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging() -> None:
    """Send every logger of the process to standard error as JSON; for `adloom serve`, never on import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # What no line says need not be found out for each, as the logging documentation has it under "Optimization".
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def unobserved(_method: str, _route: str, _status: int, _seconds: float) -> None:
    """For an app whose requests nobody counts."""


class RequestLog:
    """
    ASGI middleware: gives the request its ids, times it, logs it, and answers what went wrong unforeseen.

    The outermost one, so that refusals of every other layer are logged and carry the id too. `observe` is told of
    each request, and must neither block nor raise.
    """

    def __init__(self, app: ASGIApp, *, observe: Observe = unobserved) -> None:
        self.app = app
        self._observe = observe
        self._tracing = Tracing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        with self._tracing.request(headers) as span:
            fields = {"request_id": request_id, "trace_id": span.trace_id, "span_id": span.span_id}
            token = _request_fields.set(fields)
            try:
                await self._serve(scope, receive, send, span)
            finally:
                _request_fields.reset(token)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, span: RequestSpan) -> None:
        request_id: str = scope["state"]["request_id"]
        started_seconds = time.perf_counter()
        status = 0  # stays 0 where the client left before an answer began

        async def send_stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), NO_SNIFFING]
            await send(message)

        try:
            await self.app(scope, receive, send_stamped)
        except Exception:
            log.exception("unforeseen error", extra={"fields": {"request_id": request_id}})
            if status:
                raise  # half an answer is out: only a closed connection can tell the client
            await problem_response(_unforeseen(request_id), request_id)(scope, receive, send_stamped)
        finally:
            took_seconds = time.perf_counter() - started_seconds
            _write_line(scope, span, status, took_seconds)
            self._observe(scope["method"], _route(scope), status, took_seconds)
            span.answered(scope["method"], _route(scope), status)


def _request_id(headers: Headers) -> str:
    """The client's X-Request-ID where it is sane, else a new one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID_PATTERN.fullmatch(given) else uuid.uuid4().hex


def _unforeseen(request_id: str) -> Problem:
    detail = f"This is our fault, not yours. Try again; if it stays, report the request id {request_id}."
    return Problem(ProblemKind.INTERNAL_ERROR, detail)


def _route(scope: Scope) -> str:
    """The template that the router matched; empty where none did."""
    return getattr(scope.get("route"), "path", "")


def _write_line(scope: Scope, span: RequestSpan, status: int, duration_seconds: float) -> None:
    """No query, no headers, no body and no address: what a merchant sends stays out of the log."""
    caller = scope["state"].get("caller")  # put there where the token was good
    fields = {
        "request_id": scope["state"]["request_id"],
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "client": getattr(caller, "client", "")[:CLIENT_CHARS_MAX],
        "method": scope["method"],
        "route": _route(scope),
        "path": scope["path"][:PATH_CHARS_MAX],
        "status": status,
        "duration_seconds": round(duration_seconds, 6),
    }
    log.info("request", extra={"fields": fields})
