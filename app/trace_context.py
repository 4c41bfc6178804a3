"""
Where a request stands in a distributed trace: W3C Trace Context, level 1, and OpenTelemetry where it is set up.

Knows HTTP headers and no routes. Answers carry no trace header: level 1 has none.
"""

from __future__ import annotations

import importlib
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
INVALID_VERSION = "ff"
SAMPLED = 0x01
_KEY = r"(?:[a-z][-a-z0-9_*/]{0,255}|[a-z0-9][-a-z0-9_*/]{0,240}@[a-z][-a-z0-9_*/]{0,13})"
_VALUE = r"[ !-+\--<>-~]{0,255}[!-+\--<>-~]"
TRACESTATE_MEMBER = re.compile(f"{_KEY}={_VALUE}")
TRACESTATE_MEMBERS_MAX = 32
SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class TraceParent:
    """Who called, as the header `traceparent` says it; ids are lower-case hexadecimal."""

    trace_id: str
    parent_id: str
    flags: int


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """What this service does for one request: a span of its own in the caller's trace, or in a new one."""

    trace_id: str
    span_id: str
    _span: Any = None
    """OpenTelemetry's, where one is recorded."""

    def answered(self, method: str, route: str, status: int) -> None:
        """Name the span by what OpenTelemetry's conventions for HTTP servers ask for; status 0 for no answer."""
        if self._span is None:
            return
        self._span.update_name(f"{method} {route}".strip())
        known = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        self._span.set_attributes({name: value for name, value in known.items() if value})
        if status >= SERVER_ERROR:  # what a client did wrong is no error of the server's span
            self._span.set_status(importlib.import_module("opentelemetry.trace").StatusCode.ERROR)


class Tracing:
    """Gives each request its span. Looks for OpenTelemetry once, and for its provider at each request."""

    def __init__(self) -> None:
        self._api = _opentelemetry()

    @contextmanager
    def request(self, headers: Headers) -> Iterator[RequestSpan]:
        """The span of one request; where OpenTelemetry records it, the current one until the end."""
        caller = traceparent(headers.getlist("traceparent"))
        tracer = self._tracer()
        if tracer is None:
            yield RequestSpan(caller.trace_id if caller else secrets.token_hex(16), secrets.token_hex(8))
            return
        context, kind = self._context(caller, headers), self._api.SpanKind.SERVER
        with tracer.start_as_current_span("request", context=context, kind=kind) as span:
            ids = span.get_span_context()
            yield RequestSpan(self._api.format_trace_id(ids.trace_id), self._api.format_span_id(ids.span_id), span)

    def _tracer(self) -> Any:
        """None where nobody has set a provider up."""
        if self._api is None:
            return None
        provider = self._api.get_tracer_provider()
        if isinstance(provider, self._api.ProxyTracerProvider | self._api.NoOpTracerProvider):
            return None
        return provider.get_tracer("adloom")

    def _context(self, caller: TraceParent | None, headers: Headers) -> Any:
        """OpenTelemetry's form of the caller; an empty one begins a trace, whatever span may be current here."""
        empty = importlib.import_module("opentelemetry.context").Context()
        if caller is None:
            return empty
        api = self._api
        members = tracestate(headers.getlist("tracestate"))
        parent = api.SpanContext(
            trace_id=int(caller.trace_id, 16),
            span_id=int(caller.parent_id, 16),
            is_remote=True,
            trace_flags=api.TraceFlags(caller.flags & SAMPLED),
            trace_state=api.TraceState([tuple(member.split("=", 1)) for member in members]),
        )
        return api.set_span_in_context(api.NonRecordingSpan(parent), empty)


def traceparent(given: Sequence[str]) -> TraceParent | None:
    """
    The caller, or None where the header is absent, sent twice, or not as the specification wants it.

    A version above 00 may go on after the flags, with a dash; version 00 may not, and ff is none.
    """
    found = TRACEPARENT.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == INVALID_VERSION or (version == "00" and more):
        return None
    if not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return TraceParent(trace_id, parent_id, int(flags, 16))


def tracestate(given: Sequence[str]) -> tuple[str, ...]:
    """Every `key=value`, in order; none at all where one is malformed or a key comes twice."""
    members = tuple(member for header in given for each in header.split(",") if (member := each.strip(" \t")))
    keys = {member.partition("=")[0] for member in members}
    is_sound = len(keys) == len(members) <= TRACESTATE_MEMBERS_MAX
    return members if is_sound and all(map(TRACESTATE_MEMBER.fullmatch, members)) else ()


def _opentelemetry() -> Any:
    """The API's module; None where it is not installed."""
    try:
        return importlib.import_module("opentelemetry.trace")
    except ImportError:
        return None
