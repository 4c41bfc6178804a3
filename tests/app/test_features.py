"""Requests that name only a sku: from the newest catalogues, from a real Feast server, and from servers that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.features import KEPT_SECONDS, ServedProducts
from app.problem import Problem, ProblemKind
from model.feature_rows import REFERENCES, feature_row
from model.product import Product
from model.store.objects import ObjectStore
from model.store.tables import Database
from tests.app.service_client import add_client, bearer, embedded, parts_of, service
from tests.pipelines.catalogues import SECOND, THIRD, bowl, put_snapshot
from tests.real_parts import free_port, wait_until

pytestmark = pytest.mark.anyio
VASE = bowl("Grey stone vase", "VASE")


def by_sku(sku: str, **changes: Any) -> dict[str, Any]:
    return {"product": {"sku": sku}, "channels": ["instagram"], **changes}


def whole(product: Product) -> dict[str, Any]:
    sent = product.as_dict() | {"attributes": dict(product.attributes)}
    return {"product": sent, "channels": ["instagram"]}


def stores(folder: Path) -> tuple[Database, ObjectStore]:
    places = embedded(folder)
    database = Database(places["database_url"])
    database.upgrade()
    return database, ObjectStore(places["objects_url"])


async def test_a_sku_alone_gives_the_very_creative_that_the_whole_product_gives(tmp_path: Path) -> None:
    put_snapshot(*stores(tmp_path), [bowl(), VASE])
    async with service(**embedded(tmp_path)) as client:
        short = await client.post("/v1/creatives", json=by_sku("VASE"))
        long = await client.post("/v1/creatives", json=whole(VASE))

    assert short.status_code == 200
    assert short.json() == long.json()
    assert short.json()["creatives"][0]["passport"]["product_digest"] == VASE.digest()


async def test_another_clients_sku_and_an_unknown_one_are_not_found_alike(tmp_path: Path) -> None:
    put_snapshot(*stores(tmp_path), [bowl()], client="other")
    put_snapshot(*stores(tmp_path), [VASE])
    async with service(**embedded(tmp_path)) as client:
        answers = [await client.post("/v1/creatives", json=by_sku(sku)) for sku in ("BOWL", "NONE")]
        own = await client.post("/v1/creatives", json=by_sku("VASE"))

    assert [answer.status_code for answer in answers] == [404, 404]
    assert [answer.json()["type"] for answer in answers] == [ProblemKind.PRODUCT_NOT_FOUND.type] * 2
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert own.status_code == 200


async def test_a_newer_catalogue_takes_the_place_of_the_old_one_of_its_source_alone(tmp_path: Path) -> None:
    put_snapshot(*stores(tmp_path), [bowl(), bowl("Old cup", "CUP")], source="de")
    put_snapshot(*stores(tmp_path), [VASE], source="uk", at=SECOND)
    put_snapshot(*stores(tmp_path), [bowl("New bowl")], source="de", at=THIRD)
    async with service(**embedded(tmp_path)) as client:
        found = {sku: await client.post("/v1/creatives", json=by_sku(sku)) for sku in ("BOWL", "VASE", "CUP")}

    assert {sku: answer.status_code for sku, answer in found.items()} == {"BOWL": 200, "VASE": 200, "CUP": 404}
    digest = found["BOWL"].json()["creatives"][0]["passport"]["product_digest"]
    assert digest == bowl("New bowl").digest()


@pytest.mark.parametrize(
    ("product", "pointer"),
    [
        ({"sku": ""}, "#/product/title"),
        ({"sku": "BOWL", "description": "Holds 0.5 l."}, "#/product/title"),
        ({"sku": "BOWL", "title": ""}, "#/product/title"),
        ({"sku": 5}, "#/product/sku"),
        ({"sku": "x" * 256}, "#/product/sku"),
        ({"sku": "a\u0000b"}, "#/product/sku"),
        ({}, "#/product/title"),
        ("BOWL", "#/product"),
    ],
)
async def test_what_is_neither_a_product_nor_a_sku_is_refused_at_its_member(
    product: Any, pointer: str, tmp_path: Path
) -> None:
    async with service(**embedded(tmp_path)) as client:
        answer = await client.post("/v1/creatives", json={"product": product, "channels": ["instagram"]})

    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_a_request_sent_again_gets_its_answer_though_the_product_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.catalogue_index.CURRENT_SECONDS", 0.0)
    database, objects = stores(tmp_path)
    put_snapshot(database, objects, [bowl()])
    key = {"Idempotency-Key": '"once"'}
    async with service(**embedded(tmp_path)) as client:
        first = await client.post("/v1/creatives", json=by_sku("BOWL"), headers=key)
        put_snapshot(database, objects, [VASE], at=SECOND)
        again = await client.post("/v1/creatives", json=by_sku("BOWL"), headers=key)
        fresh = await client.post("/v1/creatives", json=by_sku("BOWL"))

    assert first.status_code == 200
    assert again.content == first.content
    assert fresh.status_code == 404


async def test_a_stream_for_an_unknown_sku_never_begins(tmp_path: Path) -> None:
    async with service(**embedded(tmp_path)) as client:
        answer = await client.post("/v1/creatives?stream=true", json=by_sku("NONE"))

    assert answer.status_code == 404
    assert answer.json()["type"] == ProblemKind.PRODUCT_NOT_FOUND.type


async def test_a_catalogue_whose_object_is_gone_is_a_store_that_is_down(tmp_path: Path) -> None:
    snapshot = put_snapshot(*stores(tmp_path), [bowl()])
    (tmp_path / "objects" / snapshot.object_key).unlink()
    async with service(**embedded(tmp_path)) as client:
        answer = await client.post("/v1/creatives", json=by_sku("BOWL"))

    assert answer.status_code == 503
    assert answer.json()["type"] == ProblemKind.STORE_DOWN.type


Answer = Callable[[httpx.Request], httpx.Response]


def answering(row: dict[str, str | None]) -> httpx.Response:
    """As Feast's server answers."""
    results = [{"values": [row[name.split(":")[1]]], "statuses": ["PRESENT"]} for name in REFERENCES]
    names = [name.split(":")[1] for name in REFERENCES]
    return httpx.Response(200, json={"metadata": {"feature_names": names}, "results": results})


class Server:
    """Answers what it is given, in turn; the last one again and again."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content)

    def products(self, clock: Callable[[], float] = lambda: 0.0) -> ServedProducts:
        return ServedProducts("http://features", transport=httpx.MockTransport(self), clock=clock)


async def test_a_feature_server_is_asked_for_the_clients_sku_and_not_again_for_a_while() -> None:
    now = [0.0]
    server = Server(answering(feature_row(bowl())))
    products = server.products(lambda: now[0])
    found = [await products.find("shop", "BOWL") for _ in range(3)]
    now[0] = KEPT_SECONDS
    await products.find("shop", "BOWL")
    await products.find("other", "BOWL")

    assert found == [bowl()] * 3
    assert [each["entities"] for each in server.asked] == [
        {"client": ["shop"], "sku": ["BOWL"]},
        {"client": ["shop"], "sku": ["BOWL"]},
        {"client": ["other"], "sku": ["BOWL"]},
    ]


async def test_a_row_that_is_torn_is_read_again_and_never_given() -> None:
    torn = feature_row(bowl()) | {"title": "Title of tomorrow"}
    mended = await Server(answering(torn), answering(feature_row(bowl()))).products().find("shop", "BOWL")
    with pytest.raises(Problem) as refused:
        await Server(answering(torn)).products().find("shop", "BOWL")

    assert mended == bowl()
    assert refused.value.kind is ProblemKind.FEATURES_DOWN


@pytest.mark.parametrize("row", [dict.fromkeys(feature_row(bowl()), None), dict.fromkeys(feature_row(bowl()), "")])
async def test_a_product_that_is_unknown_or_gone_is_not_found(row: dict[str, str | None]) -> None:
    with pytest.raises(Problem) as refused:
        await Server(answering(row)).products().find("shop", "BOWL")

    assert refused.value.kind is ProblemKind.PRODUCT_NOT_FOUND


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, content=b"secret"),
        httpx.Response(404),
        httpx.Response(200, content=b"no JSON"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"metadata": {"feature_names": ["title"]}, "results": []}),
        httpx.Response(200, json={"metadata": None, "results": None}),
        httpx.ConnectError("refused at 10.0.0.1"),
        httpx.ReadTimeout("too slow"),
    ],
)
async def test_a_feature_server_that_fails_is_a_problem_without_its_words(answer: Any) -> None:
    with pytest.raises(Problem) as refused:
        await Server(answer).products().find("shop", "BOWL")

    assert refused.value.kind is ProblemKind.FEATURES_DOWN
    assert refused.value.headers == {"Retry-After": "5"}
    assert "secret" not in refused.value.detail
    assert "10.0.0.1" not in refused.value.detail


async def test_a_feature_server_that_never_answers_is_left_within_a_second(tmp_path: Path) -> None:
    import asyncio

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    products = ServedProducts(f"http://127.0.0.1:{port}")
    started = asyncio.get_running_loop().time()
    with pytest.raises(Problem) as refused:
        await products.find("shop", "BOWL")
    took = asyncio.get_running_loop().time() - started
    await products.close()
    server.close()
    await server.wait_closed()

    assert refused.value.kind is ProblemKind.FEATURES_DOWN
    assert took < 2


def test_an_address_that_is_no_http_is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        ServedProducts("features:6566")


@contextmanager
def feature_server(folder: Path) -> Iterator[str]:
    """`adloom features` as a process of its own, on the stores of `folder`."""
    port = free_port()
    places = embedded(folder)
    environment = {
        **os.environ,
        "ADLOOM_DATABASE_URL": places["database_url"],
        "ADLOOM_OBJECTS_URL": places["objects_url"],
        "ADLOOM_FEATURES": str(folder / "features"),
    }
    publish = "import sys; from pipelines.steps.publish_features import main; sys.exit(main([]))"
    serve = f"import sys; from pipelines.features.server import main; sys.exit(main(['--port', '{port}']))"
    subprocess.run([sys.executable, "-c", publish], env=environment, check=True, capture_output=True, timeout=120)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", serve], env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_up(port) or process.poll() is not None, "the feature server to answer")
        assert process.poll() is None, (folder / "server.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15)


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.proof
async def test_the_service_reads_what_a_real_feature_server_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("feast", reason="needs Feast: pip install 'adloom[pipelines]'")
    monkeypatch.setattr("app.features.TIMEOUT_SECONDS", 30.0)  # a machine that runs tests may be slow
    put_snapshot(*stores(tmp_path), [bowl(), bowl("Old cup", "CUP")])
    put_snapshot(*stores(tmp_path), [bowl("Their bowl")], client="other")
    with feature_server(tmp_path) as url:
        async with service(**embedded(tmp_path), features_url=url) as client:
            parts = parts_of(client)
            add_client(parts, "other")
            short = await client.post("/v1/creatives", json=by_sku("BOWL"))
            long = await client.post("/v1/creatives", json=whole(bowl()))
            theirs = await client.post("/v1/creatives", json=by_sku("BOWL"), headers=bearer(parts, "other"))
            none = await client.post("/v1/creatives", json=by_sku("NONE"))
        async with httpx.AsyncClient(base_url=url, timeout=60) as direct:
            writes = await direct.post("/push", json={})
    async with service(features_url=url) as client:
        down = await client.post("/v1/creatives", json=by_sku("BOWL"))

    assert short.json() == long.json()
    assert theirs.json()["creatives"][0]["passport"]["product_digest"] == bowl("Their bowl").digest()
    assert none.json()["type"] == ProblemKind.PRODUCT_NOT_FOUND.type
    assert writes.status_code == 404
    assert down.status_code == 503
    assert down.json()["type"] == ProblemKind.FEATURES_DOWN.type
