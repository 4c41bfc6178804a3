"""What is kept of a creative: by client, before the answer, and in the log of generations."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from app.problem import ProblemKind
from tests.app.service_client import BOWL, add_client, bearer, embedded, order, parts_of, service

pytestmark = pytest.mark.anyio


def logged(folder: Path) -> list[dict[str, object]]:
    """Every line of the generation log."""
    files = sorted(folder.glob("objects/generations/**/*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


async def written(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/creatives", json=order())
    assert answer.status_code == 200
    return str(answer.json()["creatives"][0]["id"])


async def test_a_creative_is_there_after_a_restart(tmp_path: Path) -> None:
    async with service(**embedded(tmp_path)) as client:
        creative_id = await written(client)
        before = await client.get(f"/v1/creatives/{creative_id}")
        headers = dict(client.headers)
    from app.main import create_app
    from app.settings import Settings
    from tests.app.service_client import ServiceWriter

    app = create_app(Settings(**embedded(tmp_path)), writer=ServiceWriter())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as client,
    ):
        after = await client.get(f"/v1/creatives/{creative_id}")

    assert before.status_code == 200
    assert after.json() == before.json()


async def test_another_clients_creative_is_not_found_and_neither_is_its_picture() -> None:
    async with service() as client:
        creative_id = await written(client)
        add_client(parts_of(client), "other")
        headers = bearer(parts_of(client), "other")
        paths = [f"/v1/creatives/{creative_id}", f"/v1/creatives/{creative_id}/image.svg"]
        theirs = [await client.get(path, headers=headers) for path in paths]
        ours = [await client.get(path) for path in paths]

    assert [answer.status_code for answer in theirs] == [404, 404]
    assert [answer.status_code for answer in ours] == [200, 200]


async def test_two_clients_that_write_the_same_each_have_it() -> None:
    async with service() as client:
        first = await written(client)
        add_client(parts_of(client), "other")
        headers = bearer(parts_of(client), "other")
        answer = await client.post("/v1/creatives", json=order(), headers=headers)
        second = str(answer.json()["creatives"][0]["id"])
        found = await client.get(f"/v1/creatives/{second}", headers=headers)

    assert second == first
    assert found.status_code == 200


async def test_nothing_is_acknowledged_that_the_database_does_not_have() -> None:
    async with service() as client:
        parts_of(client).writes.close()
        answer = await client.post("/v1/creatives", json=order())

    assert answer.status_code == 503
    assert answer.json()["type"] == ProblemKind.STORE_DOWN.type
    assert int(answer.headers["retry-after"]) >= 1


async def test_every_generation_is_a_line_of_the_log_without_the_token(tmp_path: Path) -> None:
    async with service(**embedded(tmp_path)) as client:
        await client.post("/v1/creatives", json=order(channels=["instagram", "x"]), headers={"X-Request-ID": "r-1"})
        token = client.headers["authorization"].removeprefix("Bearer ")
    lines = logged(tmp_path)

    assert [line["channel"] for line in lines] == ["instagram", "x"]
    assert {line["request_id"] for line in lines} == {"r-1"}
    assert {line["client"] for line in lines} == {"shop"}
    assert lines[0]["product"]["title"] == BOWL["title"]  # type: ignore[index]
    assert token not in json.dumps(lines)


async def test_an_object_store_that_is_away_does_not_keep_creatives_from_being_written(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    (tmp_path / "objects").write_text("a file where a folder should be", encoding="utf-8")
    async with service(**settings) as client:
        creative_id = await written(client)
        ready = await client.get("/readyz")
        found = await client.get(f"/v1/creatives/{creative_id}")

    assert (ready.status_code, found.status_code) == (200, 200)
