"""W3C Trace Context, level 1, as this service reads it; with OpenTelemetry, and without."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from starlette.datastructures import Headers

from app.trace_context import TraceParent, Tracing, traceparent, tracestate

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SOUND = f"00-{TRACE}-{PARENT}-01"


def headers(*pairs: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.encode(), value.encode()) for name, value in pairs])


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (SOUND, 1),
        (f"00-{TRACE}-{PARENT}-00", 0),
        (f"00-{TRACE}-{PARENT}-ff", 255),
        (f"01-{TRACE}-{PARENT}-01", 1),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-holds", 1),
        (f"cc-{TRACE}-{PARENT}-01-", 1),
    ],
)
def test_a_sound_header_names_the_caller(header: str, flags: int) -> None:
    assert traceparent([header]) == TraceParent(TRACE, PARENT, flags)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        SOUND.upper(),
        f" {SOUND}",
        f"{SOUND} ",
        f"{SOUND}-more",
        f"{SOUND}-",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}a-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-0g",
        f"01-{TRACE}-{PARENT}-01.more",
        f"00-{'٤' * 32}-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
    ],
)
def test_any_other_header_is_as_if_there_were_none(header: str) -> None:
    assert traceparent([header]) is None


def test_two_headers_are_as_if_there_were_none() -> None:
    assert traceparent([SOUND, SOUND]) is None
    assert traceparent([]) is None


@pytest.mark.parametrize(
    ("given", "members"),
    [
        (["congo=t61rcWkgMzE"], ("congo=t61rcWkgMzE",)),
        (["a=1, b=2", "c=3"], ("a=1", "b=2", "c=3")),
        (["a=1,,b=2,"], ("a=1", "b=2")),
        (["fw529a3039@dt=FfD-_*/= x"], ()),
        (["0tenant@sys-tem=a b!~"], ("0tenant@sys-tem=a b!~",)),
        ([",".join(f"k{n}=v" for n in range(32))], tuple(f"k{n}=v" for n in range(32))),
        ([",".join(f"k{n}=v" for n in range(33))], ()),
        (["a=1,a=2"], ()),
        (["A=1"], ()),
        (["a"], ()),
        (["a="], ()),
        (["a=é"], ()),
        (["1a=1"], ()),
        ([f"a={'v' * 256}"], (f"a={'v' * 256}",)),
        ([f"a={'v' * 257}"], ()),
    ],
)
def test_a_tracestate_is_taken_whole_or_not_at_all(given: list[str], members: tuple[str, ...]) -> None:
    assert tracestate(given) == members


def test_a_request_joins_its_callers_trace_with_a_span_of_its_own() -> None:
    with Tracing().request(headers(("traceparent", SOUND))) as span:
        pass

    assert span.trace_id == TRACE
    assert len(span.span_id) == 16
    assert span.span_id != PARENT


@pytest.mark.parametrize("pairs", [(), (("traceparent", "nonsense"),)])
def test_a_request_without_a_sound_caller_begins_a_trace(pairs: tuple[tuple[str, str], ...]) -> None:
    ids = set()
    for _ in range(2):
        with Tracing().request(headers(*pairs)) as span:
            ids.add(span.trace_id)
            found = traceparent([f"00-{span.trace_id}-{span.span_id}-00"])
            assert found is not None

    assert len(ids) == 2


def test_without_opentelemetry_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # an import of it raises ModuleNotFoundError
    with Tracing().request(headers(("traceparent", SOUND))) as span:
        span.answered("GET", "/version", 500)

    assert span.trace_id == TRACE


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """What a configured OpenTelemetry has exported."""
    trace = pytest.importorskip("opentelemetry.trace")
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    kept = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # the public setter works once in a process
    exported: list = []
    kept.export = lambda batch: exported.extend(batch) or export.SpanExportResult.SUCCESS
    yield exported
    provider.shutdown()


def test_with_opentelemetry_each_request_is_one_server_span_below_its_caller(spans: list) -> None:
    given = headers(("traceparent", SOUND), ("tracestate", "congo=t61rcWkgMzE"))
    with Tracing().request(given) as span:
        span.answered("GET", "/v1/creatives/{creative_id}", 404)
    (exported,) = spans

    assert (f"{exported.context.trace_id:032x}", f"{exported.context.span_id:016x}") == (TRACE, span.span_id)
    assert f"{exported.parent.span_id:016x}" == PARENT
    assert exported.parent.is_remote
    assert exported.context.trace_state.to_header() == "congo=t61rcWkgMzE"
    assert exported.kind.name == "SERVER"
    assert exported.name == "GET /v1/creatives/{creative_id}"
    assert dict(exported.attributes) == {
        "http.request.method": "GET",
        "http.route": "/v1/creatives/{creative_id}",
        "http.response.status_code": 404,
    }
    assert exported.status.status_code.name == "UNSET"


def test_an_answer_of_500_makes_the_span_an_error(spans: list) -> None:
    with Tracing().request(headers()) as span:
        span.answered("GET", "", 500)

    assert spans[0].status.status_code.name == "ERROR"
    assert (spans[0].name, spans[0].parent) == ("GET", None)


def test_a_broken_caller_begins_a_trace_even_inside_another_span(spans: list) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    broken = headers(("traceparent", "nonsense"))
    with trace.get_tracer("test").start_as_current_span("outer") as outer, Tracing().request(broken):
        current = trace.get_current_span().get_span_context().trace_id
    (inner,) = [span for span in spans if span.name == "request"]

    assert inner.parent is None
    assert inner.context.trace_id == current != outer.get_span_context().trace_id
