"""The short way to a route: taken by ordinary requests, and never to be told from FastAPI's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from app.direct_route import _plan
from app.main import create_app
from app.settings import Settings
from tests.app.service_client import ServiceWriter, embedded, order, parts_of, service

LONG_WAY = "/v1/creatives?stream=false"
"""A request with a query is none of the ordinary ones."""


def without_ids(answer: httpx.Response) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    return {name: value for name, value in document.items() if name not in ("instance", "request_id")}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (order(), 200),
        (order(channels=["instagram", "x"], candidates=2, return_candidates=2, seed=5), 200),
        (order(brand_colours={"background": "#0a3d62", "foreground": "#ffffff", "accent": "#f6b93b"}), 200),
        (order(seed=-1, voice="loud"), 422),
        (order(product={"title": "<b></b>"}), 422),
        (order(channels=["x", "x"]), 422),
        ({}, 422),
        ([], 422),
        ("ad", 422),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_both_ways_answer_alike(body: Any, status: int) -> None:
    async with service() as client:
        short, long = [await client.post(path, json=body) for path in ("/v1/creatives", LONG_WAY)]

    assert (short.status_code, long.status_code) == (status, status)
    assert without_ids(short) == without_ids(long)


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1, "a": 2}', b"[" * 10_000, b"\\xff"])
async def test_both_ways_refuse_alike_what_is_no_json(content: bytes) -> None:
    json_type = {"Content-Type": "application/json"}
    async with service() as client:
        short, long = [
            await client.post(path, content=content, headers=json_type) for path in ("/v1/creatives", LONG_WAY)
        ]

    assert short.status_code in (400, 422)
    assert without_ids(short) == without_ids(long)


@pytest.mark.anyio
async def test_the_short_way_keeps_and_counts_as_the_long_one_does() -> None:
    async with service(limit_default="2/minute") as client:
        first = await client.post("/v1/creatives", json=order())
        second = await client.post(LONG_WAY, json=order())
        third = await client.post("/v1/creatives", json=order())
        held = parts_of(client).generations.held
        creative_id = first.json()["creatives"][0]["id"]
        found = await client.get(f"/v1/creatives/{creative_id}")

    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in (first, second)] == ["1", "0"]
    assert found.json()["id"] == creative_id
    assert held == 2
    assert json.loads(first.content) == json.loads(second.content)


def test_writing_creatives_has_a_short_way_and_looking_them_up_has_none(tmp_path: Path) -> None:
    app = create_app(Settings(**embedded(tmp_path)), writer=ServiceWriter())
    routes = {route.operation_id: route for route in app.routes if isinstance(route, APIRoute)}
    plans = {
        name: _plan(route.endpoint, route.dependant, route.body_field)
        for name, route in routes.items()
        if name in ("writeCreatives", "getCreative", "listChannels")
    }

    assert [name for name, plan in plans.items() if plan is not None] == ["writeCreatives"]
    assert len(plans) == 3
