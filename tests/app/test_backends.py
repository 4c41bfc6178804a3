"""
One story on both sets of stores: SQLite, a folder and memory; and PostgreSQL, S3 and Redis.

The real servers are started by tests/real_parts.py; where one is missing, its half is skipped and says so.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.client_command import create_client
from app.identity import CREATIVES_READ
from app.main import create_app
from app.settings import Settings
from model.creative import Creative
from model.product import Product
from model.store import clients
from model.store.tables import Database
from model.tickets import CancelledError
from tests.app.service_client import BOWL, ServiceWriter, add_client, bearer, embedded, order, parts_of
from tests.real_parts import postgres_server, redis_server, s3_server

pytestmark = pytest.mark.anyio

WAIT_SECONDS_MAX = 60.0
FORM = {"grant_type": "client_credentials"}
ROWS = [{"sku": f"ROW-{number}", "title": f"Bowl number {number}"} for number in range(5)]


@pytest.fixture(scope="module", params=["embedded", "production"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Settings of a service on one set of stores, empty and ready."""
    settings = embedded(tmp_path_factory.mktemp("stores"))
    with ExitStack() as running:
        if request.param == "production":
            postgres, redis = running.enter_context(postgres_server()), running.enter_context(redis_server())
            s3, patch = running.enter_context(s3_server()), running.enter_context(pytest.MonkeyPatch.context())
            for name, value in s3.environment.items():
                patch.setenv(name, value)
            settings["database_url"] = postgres.new_database()
            settings["objects_url"] = f"s3://{s3.new_bucket()}/adloom"
            settings["limits_url"] = redis.url
            patch.setattr("app.request_counts.REDIS_SECONDS_MAX", 60.0)  # one that is slow is not one that is gone
        upgrade(settings["database_url"])
        yield settings | {"client_cache_seconds": 0.0, "log_flush_seconds": 0.1}


def upgrade(url: str) -> None:
    """As `adloom database upgrade`."""
    database = Database(url)
    try:
        database.upgrade()
    finally:
        database.dispose()


@asynccontextmanager
async def replica(stores: dict[str, Any], writer: ServiceWriter) -> AsyncIterator[httpx.AsyncClient]:
    """A service on these stores, which others may use too."""
    app = create_app(Settings(**stores), writer=writer)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://t") as client,
    ):
        yield client


class CancelledWriter(ServiceWriter):
    """Writes the first of the products to be cancelled, and waits for that with the others."""

    def write(
        self, product: Product, *order: Any, cancelled: Callable[[], bool] = lambda: False, **manner: Any
    ) -> tuple[Creative, ...]:
        name, _, number = product.sku.partition("-")
        while name == "CANCEL" and int(number) >= 50:
            if cancelled():
                raise CancelledError
            time.sleep(0.01)
        return super().write(product, *order, cancelled=cancelled, **manner)


@pytest.fixture(scope="module")
def writer() -> ServiceWriter:
    return CancelledWriter(seconds=0.002)


@pytest.fixture(scope="module")
async def client(stores: dict[str, Any], writer: ServiceWriter) -> AsyncIterator[httpx.AsyncClient]:
    """With a token of a client that may do everything."""
    async with replica(stores, writer) as started:
        add_client(parts_of(started))
        started.headers.update(bearer(parts_of(started)))
        yield started


async def finished(client: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    """The batch once it is neither queued nor running."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            told: dict[str, Any] = (await client.get(f"/v1/batches/{batch_id}")).json()
            if told["state"] not in {"queued", "running"}:
                return told
            await asyncio.sleep(0.02)


async def written(client: httpx.AsyncClient, sku: str) -> dict[str, Any]:
    """A creative for a product of its own."""
    answer = await client.post("/v1/creatives", json=order(product={"sku": sku}))
    creative: dict[str, Any] = answer.json()["creatives"][0]
    return creative


async def test_a_secret_becomes_a_token_and_a_wrong_one_does_not(client: httpx.AsyncClient) -> None:
    secret = create_client(parts_of(client).database, "token-shop", [CREATIVES_READ])
    transport = client._transport
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as stranger:
        right = await stranger.post("/v1/token", data={**FORM, "client_id": "token-shop", "client_secret": secret})
        wrong = await stranger.post("/v1/token", data={**FORM, "client_id": "token-shop", "client_secret": "guess"})
        token = {"Authorization": f"Bearer {right.json()['access_token']}"}
        allowed = await stranger.get("/v1/batches", headers=token)
        forbidden = await stranger.post("/v1/creatives", headers=token, json=order())

    assert (right.status_code, wrong.status_code) == (200, 401)
    assert (allowed.status_code, forbidden.status_code) == (200, 403)


async def test_a_creative_is_found_by_its_client_and_drawn_and_by_nobody_else(client: httpx.AsyncClient) -> None:
    creative = await written(client, "FOUND")
    found = await client.get(f"/v1/creatives/{creative['id']}")
    picture = await client.get(creative["images"][0]["png"])
    add_client(parts_of(client), "stranger")
    elsewhere = bearer(parts_of(client), "stranger")
    not_found = [
        await client.get(path, headers=elsewhere)
        for path in (f"/v1/creatives/{creative['id']}", creative["images"][0]["svg"])
    ]

    assert found.json() == creative
    assert picture.content.startswith(b"\x89PNG")
    assert [answer.status_code for answer in not_found] == [404, 404]


@pytest.mark.parametrize(
    "text", ["Schüssel 🥣 für 4", "קערה", "a\u2028b\tc\r\nd", "'; DROP TABLE creatives; --", "\\u0000 %s %%"]
)
async def test_any_text_comes_back_as_it_was_sent(client: httpx.AsyncClient, text: str) -> None:
    product = {**BOWL, "sku": text, "category": text}
    batch = (await client.post("/v1/batches", json={"products": [product], "channels": ["x"], "candidates": 1})).json()
    await finished(client, batch["id"])
    line = json.loads((await client.get(f"/v1/batches/{batch['id']}/results")).text)
    direct = await client.post("/v1/creatives", json={"product": product, "channels": ["x"], "candidates": 1})

    assert line["state"] == "done"
    assert line["sku"] == direct.json()["creatives"][0]["sku"]
    assert line["creatives"][0]["id"] == direct.json()["creatives"][0]["id"]


async def test_a_key_gives_the_first_answer_again_and_refuses_another_body(
    client: httpx.AsyncClient, writer: ServiceWriter
) -> None:
    sent, key = order(product={"sku": "KEYED"}), {"Idempotency-Key": "keyed-1"}
    first = await client.post("/v1/creatives", json=sent, headers=key)
    calls = len(writer.calls)
    again = await client.post("/v1/creatives", json=sent, headers=key)
    other = await client.post("/v1/creatives", json=order(product={"sku": "OTHER"}), headers=key)

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 422)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(writer.calls) == calls


async def test_ten_at_once_with_one_key_are_written_once(client: httpx.AsyncClient, writer: ServiceWriter) -> None:
    sent, key = order(product={"sku": "AT-ONCE"}), {"Idempotency-Key": "at-once"}
    calls = len(writer.calls)
    answers = await asyncio.gather(*(client.post("/v1/creatives", json=sent, headers=key) for _ in range(10)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert [sku for sku, *_ in writer.calls[calls:]] == ["AT-ONCE"]


async def test_a_batch_is_written_and_its_results_are_those_of_its_products(client: httpx.AsyncClient) -> None:
    order_of_batch = {"products": [*ROWS, {"title": ""}], "channels": ["x", "instagram"], "candidates": 1}
    made = await client.post("/v1/batches", json=order_of_batch, headers={"Idempotency-Key": "batch-1"})
    again = await client.post("/v1/batches", json=order_of_batch, headers={"Idempotency-Key": "batch-1"})
    told = await finished(client, made.json()["id"])
    lines = [json.loads(line) for line in (await client.get(f"{made.headers['location']}/results")).text.splitlines()]
    one = await client.get(f"/v1/creatives/{lines[0]['creatives'][1]['id']}")
    listed = (await client.get("/v1/batches", params={"count": 100})).json()["batches"]

    assert (made.status_code, again.json()["id"]) == (202, made.json()["id"])
    assert (told["state"], told["written"], told["failed"], told["progress"]) == ("done", 5, 1, 1.0)
    assert [(line["place"], line["state"], len(line["creatives"])) for line in lines] == [
        *((place, "done", 2) for place in range(5)),
        (5, "failed", 0),
    ]
    assert (one.json()["sku"], one.json()["channel"]) == ("ROW-0", "instagram")
    assert [batch["id"] for batch in listed].count(told["id"]) == 1


async def test_a_cancelled_batch_keeps_what_is_finished_and_its_counts_add_up(client: httpx.AsyncClient) -> None:
    rows = [{"sku": f"CANCEL-{number}", "title": f"Bowl number {number}"} for number in range(400)]
    made = (await client.post("/v1/batches", json={"products": rows, "channels": ["x"], "candidates": 1})).json()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not (await client.get(f"/v1/batches/{made['id']}")).json()["written"]:
            await asyncio.sleep(0.01)
    cancelled = (await client.delete(f"/v1/batches/{made['id']}")).json()
    lines = (await client.get(f"/v1/batches/{made['id']}/results")).text.splitlines()
    later = (await client.get(f"/v1/batches/{made['id']}")).json()

    assert cancelled["state"] == "cancelled"
    assert cancelled["written"] > 0
    assert cancelled["cancelled"] > 0
    assert cancelled["written"] + cancelled["cancelled"] == 400
    assert (later["written"], later["cancelled"]) == (cancelled["written"], cancelled["cancelled"])
    assert sum(json.loads(line)["state"] == "done" for line in lines) == cancelled["written"]


async def test_a_catalogue_is_kept_once_and_can_be_written_as_a_batch(client: httpx.AsyncClient) -> None:
    uploads = [await client.post("/v1/catalogue", json=[*ROWS, {"sku": "BAD"}]) for _ in range(2)]
    kept = uploads[0].json()
    found = await client.get(f"/v1/catalogue/{kept['digest']}")
    made = await client.post("/v1/batches", json={"snapshot": kept["digest"], "channels": ["x"], "candidates": 1})
    told = await finished(client, made.json()["id"])

    assert [answer.status_code for answer in uploads] == [201, 201]
    assert (kept["products"], kept["rejected"], kept["rows"]) == (5, 1, 6)
    assert uploads[1].json() == kept
    assert found.json()["created_at"] == kept["created_at"]
    assert (told["state"], told["written"], told["snapshot"]) == ("done", 5, kept["digest"])
    assert f"catalogue/{kept['digest']}.jsonl" in parts_of(client).objects.list("catalogue/")


async def test_a_verdict_is_kept_and_a_later_one_takes_its_place(client: httpx.AsyncClient) -> None:
    creative = await written(client, "JUDGED")
    path = f"/v1/creatives/{creative['id']}/feedback"
    accepted = await client.post(path, json={"verdict": "accept"})
    repeated = await client.post(path, json={"verdict": "accept"})
    rejected = await client.post(path, json={"verdict": "reject", "reason": "It says nothing of the size."})
    wrong = await client.post(path, json={"verdict": "edit", "edited": {"headlines": ["Only 9.99 today!"]}})
    found = (await client.get(f"/v1/feedback/{rejected.json()['id']}")).json()

    assert [answer.status_code for answer in (accepted, repeated, rejected, wrong)] == [201, 201, 201, 422]
    assert accepted.json()["id"] == repeated.json()["id"] == rejected.json()["id"]
    assert (found["verdict"], found["state"], found["creative_id"]) == ("reject", "waiting", creative["id"])


async def test_a_clients_own_limit_is_told_and_kept(client: httpx.AsyncClient) -> None:
    add_client(parts_of(client), "limited", listBatches="3/hour")
    headers = bearer(parts_of(client), "limited")
    answers = [await client.get("/v1/batches", headers=headers) for _ in range(4)]
    refused = answers[-1]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert (await client.get("/v1/batches")).status_code == 200


async def test_a_revoked_client_is_refused_with_the_token_it_has(client: httpx.AsyncClient) -> None:
    parts = parts_of(client)
    add_client(parts, "leaving")
    headers = bearer(parts, "leaving")
    before = await client.get("/v1/batches", headers=headers)
    with parts.database.begin() as connection:
        clients.revoke(connection, "leaving", datetime.now(UTC))
    after = await client.get("/v1/batches", headers=headers)

    assert (before.status_code, after.status_code) == (200, 401)
    assert 'error="invalid_token"' in after.headers["www-authenticate"]


async def test_every_generation_is_in_the_log_and_no_token_is(client: httpx.AsyncClient) -> None:
    ids = [(await written(client, f"LOGGED-{number}"))["id"] for number in range(3)]
    parts = parts_of(client)
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while parts.generations.held:
            await asyncio.sleep(0.02)
    keys = await asyncio.to_thread(parts.objects.list, "generations/")
    text = "".join([(await asyncio.to_thread(parts.objects.get, key)).decode() for key in keys])
    rows = [json.loads(line) for line in text.splitlines()]

    assert all(key.startswith("generations/date=") for key in keys)
    assert [row["creative_id"] for row in rows if row["product"]["sku"].startswith("LOGGED-")] == ids
    assert client.headers["authorization"].split()[1] not in text


async def test_after_all_this_the_service_is_ready_and_no_store_has_failed(client: httpx.AsyncClient) -> None:
    ready = await client.get("/readyz")
    counted = (await client.get("/metrics")).text

    assert ready.status_code == 200
    assert 'adloom_store_errors_total{part="database"} 0.0' in counted
    assert "adloom_generation_log_dropped_total 0.0" in counted


async def test_two_replicas_share_what_one_of_them_was_told(client: httpx.AsyncClient, stores: dict[str, Any]) -> None:
    add_client(parts_of(client), "shared", writeCreatives="4/hour")
    headers = bearer(parts_of(client), "shared")
    keyed, other_writer = {**headers, "Idempotency-Key": "shared-1"}, ServiceWriter()
    async with replica(stores, other_writer) as other:
        first = await client.post("/v1/creatives", json=order(product={"sku": "SHARED"}), headers=keyed)
        again = await other.post("/v1/creatives", json=order(product={"sku": "SHARED"}), headers=keyed)
        found = await other.get(f"/v1/creatives/{first.json()['creatives'][0]['id']}", headers=headers)
        left = (await other.post("/v1/creatives", json=order(), headers=headers)).headers["ratelimit-remaining"]

    assert again.content == first.content
    assert found.status_code == 200
    assert "SHARED" not in [sku for sku, *_ in other_writer.calls]
    # In memory each counts for itself, which is what memory:// says; in Redis they count together.
    assert left == ("1" if "limits_url" in stores else "2")
