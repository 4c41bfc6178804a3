"""One JSON line for each request: who, where, how long, and the ids that tie it to answer and trace."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.middleware import Middleware

from app import problem
from app.identity import Caller
from app.request_log import JsonFormatter, Observe, RequestLog, unobserved
from tests.app.service_client import CLIENT, order, service

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class LogLines:
    """What has been logged, in the form that is written, parsed."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def of(self, logger: str) -> list[dict[str, Any]]:
        """The lines of one logger so far."""
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in found if line["logger"] == logger]


@pytest.fixture
def lines() -> Iterator[LogLines]:
    kept, root = LogLines(), logging.getLogger()
    handler, level = logging.StreamHandler(kept.stream), root.level
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield kept
    root.setLevel(level)
    root.removeHandler(handler)


@asynccontextmanager
async def logged(observe: Observe = unobserved) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that does little, and logs all of it."""
    app = FastAPI(middleware=[Middleware(RequestLog, observe=observe)])
    problem.install(app)

    @app.get("/things/{thing}")
    async def look_up(request: Request, thing: str) -> str:
        if thing == "signed":
            request.state.caller = Caller("shop", frozenset({"creatives:read"}))
        if thing == "broken":
            raise RuntimeError("hunter2")
        logging.getLogger("inner").info("looked up")
        return thing

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        yield client


async def test_a_line_names_request_client_route_and_trace(lines: LogLines) -> None:
    async with logged() as client:
        given = {"X-Request-ID": "order-42", "traceparent": TRACEPARENT, "Authorization": "Bearer hunter2"}
        answer = await client.get("/things/signed?token=hunter2", headers=given)
    (line,) = lines.of("adloom.request")

    assert (line["request_id"], line["client"], line["trace_id"]) == ("order-42", "shop", TRACE)
    assert (line["method"], line["route"], line["path"]) == ("GET", "/things/{thing}", "/things/signed")
    assert line["status"] == 200
    assert line["duration_seconds"] > 0
    assert len(line["span_id"]) == 16
    assert line["span_id"] not in TRACEPARENT
    assert "hunter2" not in json.dumps(line)
    assert answer.headers["x-request-id"] == "order-42"
    assert "traceparent" not in answer.headers


async def test_the_service_logs_the_name_behind_a_token_and_never_the_token(lines: LogLines) -> None:
    async with service() as client:
        await client.post("/v1/creatives", json=order())
        token = client.headers["authorization"].split()[1]
        await client.get("/v1/creatives/cr_0", headers={"Authorization": f"Bearer {token[:-2]}"})
    good, forged = lines.of("adloom.request")

    assert (good["client"], good["route"], good["status"]) == (CLIENT, "/v1/creatives", 200)
    assert (forged["client"], forged["route"], forged["status"]) == ("", "/v1/creatives/{creative_id}", 401)
    assert token[-30:-2] not in lines.stream.getvalue()


async def test_who_has_not_proved_a_name_has_none_in_the_log(lines: LogLines) -> None:
    async with logged() as client:
        await client.get("/things/plain", headers={"traceparent": "nonsense"})
        await client.get("/nowhere")
    first, second = lines.of("adloom.request")

    assert (first["client"], first["route"]) == ("", "/things/{thing}")
    assert (second["client"], second["route"], second["status"]) == ("", "", 404)
    assert len(first["trace_id"]) == 32
    assert first["trace_id"] not in (TRACE, second["trace_id"])


async def test_whatever_is_logged_on_the_way_carries_the_same_ids(lines: LogLines) -> None:
    async with logged() as client:
        await client.get("/things/plain", headers={"X-Request-ID": "order-42", "traceparent": TRACEPARENT})
    logging.getLogger("inner").info("afterwards")
    (own,) = lines.of("adloom.request")
    inside, afterwards = lines.of("inner")

    assert [inside[name] for name in ("request_id", "trace_id", "span_id")] == ["order-42", TRACE, own["span_id"]]
    assert "request_id" not in afterwards


async def test_an_unforeseen_error_is_logged_with_the_ids_and_answered_without_its_text(lines: LogLines) -> None:
    async with logged() as client:
        answer = await client.get("/things/broken", headers={"X-Request-ID": "order-42", "traceparent": TRACEPARENT})
    trouble, line = lines.of("adloom.request")

    assert (answer.status_code, line["status"]) == (500, 500)
    assert (trouble["request_id"], trouble["trace_id"]) == ("order-42", TRACE)
    assert "hunter2" in trouble["exception"]
    assert "hunter2" not in answer.text


async def test_the_observer_is_told_method_template_status_and_seconds() -> None:
    told: list[tuple[str, str, int, float]] = []
    async with logged(lambda *request: told.append(request)) as client:
        await client.get("/things/plain")
        await client.post("/things/plain")
        await client.get("/nowhere")
        await client.get("/things/broken")

    assert [request[:3] for request in told] == [
        ("GET", "/things/{thing}", 200),
        ("POST", "/things/{thing}", 405),
        ("GET", "", 404),
        ("GET", "/things/{thing}", 500),
    ]
    assert all(0 < seconds < 10 for *_, seconds in told)
