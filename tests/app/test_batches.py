"""Batches over HTTP: taken at once, counted, paged, downloaded while they run, cancelled, and private."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import batches as batch_routes
from app import catalogue_route
from app.batches import batch_out
from app.identity import CREATIVES_READ, CREATIVES_WRITE
from app.problem import ProblemKind
from model.channel import channel
from model.kept_rows import kept_rows
from model.product import product_from_dict
from model.store import batches, creatives
from model.store.batches import BatchRow
from tests.app.memory_client import RIVAL, bearer, parts_of, remembering
from tests.fakes import FakeWriter

pytestmark = pytest.mark.anyio

ROUTERS = [batch_routes.router, catalogue_route.router]
KEY = {"Idempotency-Key": "order-42"}


def order(count: int = 3, **changes: Any) -> dict[str, Any]:
    """A valid request for `count` products."""
    products = [{"sku": f"BOWL-{number}", "title": f"Blue ceramic bowl {number}"} for number in range(count)]
    return {"products": products, "channels": ["instagram"], **changes}


async def created(client: httpx.AsyncClient, **changes: Any) -> str:
    """The id of a new batch."""
    answer = await client.post("/v1/batches", json=order(**changes))
    assert answer.status_code == 202, answer.text
    batch_id: str = answer.json()["id"]
    return batch_id


async def write(client: httpx.AsyncClient, batch_id: str, *places: int) -> None:
    """As the worker does it: creative and item in one transaction."""
    parts = parts_of(client)
    with parts.database.begin() as connection:
        for item in batches.results(connection, batch_id, -1, 1000):
            if item.place in places:
                product = product_from_dict(item.product)
                written = FakeWriter().write(product, channel("instagram"))[:1]
                batches.finish_item(connection, batch_id, item.place, "done", [each.id for each in written])
                creatives.insert(connection, kept_rows("shop", product, written, batch_id))


async def state_of(client: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    """As `GET /v1/batches/{id}` has it, after checking that it adds up."""
    answer = await client.get(f"/v1/batches/{batch_id}")
    state: dict[str, Any] = answer.json()

    assert answer.status_code == 200
    assert state["written"] + state["failed"] + state["waiting"] + state["cancelled"] == state["products"]
    return state


async def results_of(client: httpx.AsyncClient, batch_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/batches/{batch_id}/results")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.text.endswith("\n") or answer.text == ""
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_batch_is_taken_at_once_and_the_worker_is_woken(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/batches", json=order(seed=7, candidates=2, voice="playful"))
        batch_id = answer.json()["id"]
        state = await state_of(client, batch_id)
        with parts_of(client).database.connect() as connection:
            row = batches.find(connection, "shop", batch_id)
        woken = parts_of(client).batches.woken

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/batches/{batch_id}"
    assert answer.json() == {"id": batch_id, "state": "queued", "products": 3, "failed": 0}
    assert (state["waiting"], state["progress"], state["finished_at"], state["estimated_seconds_left"]) == (
        3,
        0,
        None,
        None,
    )
    assert row is not None
    assert row.settings == {
        "channels": ["instagram"], "voice": "playful", "candidates": 2, "return_candidates": 1, "seed": 7, "refused": 0,
    }  # fmt: skip
    assert woken == 1


async def test_rows_that_are_no_products_become_failed_items_and_the_rest_go_on(tmp_path: Path) -> None:
    rows = [
        {"sku": "GOOD", "title": "Blue ceramic bowl"},
        {"sku": "DEAR", "title": "Bowl", "price": "cheap"},
        {"sku": "NAMELESS"},
        {"sku": "ODD", "title": 4},
        {"sku": "nul\u0000", "title": "Bowl", "colour": "red"},
        {"sku": ["x"], "title": "Bowl"},
        {"title": "Grey stone vase"},
    ]
    async with remembering(tmp_path, ROUTERS) as client:
        batch_id = await created(client, products=rows)
        state = await state_of(client, batch_id)
        results = await results_of(client, batch_id)

    assert (state["products"], state["failed"], state["waiting"]) == (7, 5, 2)
    assert [(line["place"], line["sku"], line["error"].partition(":")[0]) for line in results] == [
        (1, "DEAR", "price"), (2, "NAMELESS", "title"), (3, "ODD", "title"), (4, "", "sku"), (5, "", "sku"),
    ]  # fmt: skip
    assert "not a price" in results[0]["error"]
    assert all(line["state"] == "failed" and line["creatives"] == [] for line in results)


async def test_a_batch_of_nothing_but_bad_rows_is_done_at_once(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        state = await state_of(client, await created(client, products=[{"sku": "NAMELESS"}]))

    assert (state["state"], state["failed"], state["progress"]) == ("done", 1, 1)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"products": []}, "#/products"),
        ({"products": None}, "#"),
        ({"snapshot": "a" * 64}, "#"),
        ({"products": None, "snapshot": "../etc/passwd"}, "#/snapshot"),
        ({"products": ["BOWL"]}, "#/products/0"),
        ({"channels": []}, "#/channels"),
        ({"channels": ["x", "x"]}, "#"),
        ({"candidates": 2, "return_candidates": 3}, "#"),
        ({"candidates": 9}, "#/candidates"),
        ({"unknown": 1}, "#/unknown"),
        ({"count": 4}, "#/products"),
    ],
    ids=str,
)
async def test_a_wrong_request_is_422_and_nothing_is_kept(
    changes: dict[str, Any], pointer: str, tmp_path: Path
) -> None:
    async with remembering(tmp_path, ROUTERS, batch_products_max=3, candidates_max=8) as client:
        answer = await client.post("/v1/batches", json=order(**changes))
        listed = (await client.get("/v1/batches")).json()["batches"]

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert listed == []


async def test_as_many_products_as_the_settings_say_are_taken(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS, batch_products_max=3) as client:
        answer = await client.post("/v1/batches", json=order(3))

    assert answer.status_code == 202


async def test_a_batch_can_be_made_of_a_snapshot(tmp_path: Path) -> None:
    rows = "sku,title\nBOWL,Blue ceramic bowl\nVASE,Grey stone vase\nBAD,\n"
    async with remembering(tmp_path, ROUTERS) as client:
        csv = {"Content-Type": "text/csv"}
        digest = (await client.post("/v1/catalogue", content=rows, headers=csv)).json()["digest"]
        batch_id = await created(client, products=None, snapshot=digest)
        state = await state_of(client, batch_id)
        with parts_of(client).database.connect() as connection:
            items = batches.next_items(connection, batch_id, 10)
        theirs = await client.post("/v1/batches", json=order(products=None, snapshot=digest), headers=RIVAL)

    assert (state["products"], state["waiting"], state["snapshot"]) == (2, 2, digest)
    assert [product_from_dict(item.product).sku for item in items] == ["BOWL", "VASE"]
    assert (theirs.status_code, theirs.json()["type"]) == (404, ProblemKind.SNAPSHOT_NOT_FOUND.type)


async def test_a_snapshot_larger_than_a_batch_is_422(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS, batch_products_max=1) as client:
        rows = "title\nBlue ceramic bowl\nGrey stone vase\n"
        csv = {"Content-Type": "text/csv"}
        digest = (await client.post("/v1/catalogue", content=rows, headers=csv)).json()["digest"]
        answer = await client.post("/v1/batches", json=order(products=None, snapshot=digest))

    assert answer.status_code == 422
    assert "2 products" in answer.json()["detail"]


async def test_results_can_be_read_while_the_batch_runs_in_the_order_of_the_products(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        batch_id = await created(client, count=130)
        none_yet = await results_of(client, batch_id)
        await write(client, batch_id, 2, 0, 101)
        some = await results_of(client, batch_id)
        state = await state_of(client, batch_id)
        await write(client, batch_id, *range(130))
        all_of_them = await results_of(client, batch_id)
        done = await state_of(client, batch_id)

    assert none_yet == []
    assert [(line["place"], line["sku"]) for line in some] == [(0, "BOWL-0"), (2, "BOWL-2"), (101, "BOWL-101")]
    assert some[1]["creatives"][0]["headline"] == "Blue ceramic bowl 2"
    assert (state["written"], state["waiting"], state["progress"]) == (3, 127, 0.0231)
    assert [line["place"] for line in all_of_them] == list(range(130))
    assert (done["state"], done["progress"], done["estimated_seconds_left"]) == ("done", 1, 0)
    assert done["finished_at"] is not None


async def test_results_behind_a_place_leave_out_what_was_read_before(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        batch_id = await created(client, count=4)
        await write(client, batch_id, 0, 1, 3)
        answers = [await client.get(f"/v1/batches/{batch_id}/results", params={"after": after}) for after in (-1, 0, 3)]
        refused = [
            await client.get(f"/v1/batches/{batch_id}/results", params={"after": after}) for after in (-2, 10_001)
        ]

    places = [[json.loads(line)["place"] for line in answer.text.splitlines()] for answer in answers]
    assert places == [[0, 1, 3], [1, 3], []]
    assert [answer.status_code for answer in refused] == [422, 422]


async def test_a_cancelled_batch_keeps_what_is_finished(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        batch_id = await created(client)
        await write(client, batch_id, 1)
        answer = await client.delete(f"/v1/batches/{batch_id}")
        again = await client.delete(f"/v1/batches/{batch_id}")
        results = await results_of(client, batch_id)

    assert (answer.status_code, again.status_code) == (200, 200)
    assert answer.json() == again.json()
    assert (answer.json()["state"], answer.json()["written"], answer.json()["cancelled"]) == ("cancelled", 1, 2)
    assert [line["state"] for line in results] == ["cancelled", "done", "cancelled"]


async def test_batches_are_listed_newest_first_page_by_page(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        made = [await created(client) for _ in range(5)]
        await client.post("/v1/batches", json=order(), headers=RIVAL)
        listed, cursor, sizes = [], None, []
        while cursor is not None or not sizes:
            page = (
                await client.get("/v1/batches", params={"count": 2} | ({"cursor": cursor} if cursor else {}))
            ).json()
            listed += [batch["id"] for batch in page["batches"]]
            sizes.append(len(page["batches"]))
            cursor = page["next_cursor"]

    assert listed == made[::-1]
    assert sizes == [2, 2, 1]


def cursor(*members: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "", "e30=", "ÿ", "W" * 150, "[" * 200, "W" * 201, cursor(1, 2), cursor("2026-01-15", "ba_" + "0" * 32),
        cursor("2026-01-15T09:30:00+00:00", "ba_\x00"), cursor("0001-01-01T00:00:00+14:00", "ba_" + "0" * 32),
        cursor("2026-01-15T09:30:00", "ba_" + "0" * 32),
    ],
)  # fmt: skip
async def test_a_cursor_that_we_did_not_make_is_422(cursor: str, tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get("/v1/batches", params={"cursor": cursor})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "cursor"


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("GET", "/results"), ("DELETE", "")])
async def test_the_batch_of_another_client_is_not_found(method: str, suffix: str, tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        batch_id = await created(client)
        theirs = await client.request(method, f"/v1/batches/{batch_id}{suffix}", headers=RIVAL)
        nobodys = await client.request(method, f"/v1/batches/ba_{'0' * 32}{suffix}")
        state = await state_of(client, batch_id)

    assert [theirs.status_code, nobodys.status_code] == [404, 404]
    assert theirs.json()["type"] == nobodys.json()["type"] == ProblemKind.BATCH_NOT_FOUND.type
    assert theirs.json()["detail"] == nobodys.json()["detail"]
    assert state["state"] == "queued"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("POST", "", CREATIVES_WRITE), ("GET", "", CREATIVES_READ), ("GET", "/{id}", CREATIVES_READ),
     ("GET", "/{id}/results", CREATIVES_READ), ("DELETE", "/{id}", CREATIVES_WRITE)],
)  # fmt: skip
async def test_every_route_wants_its_scope(method: str, path: str, scope: str, tmp_path: Path) -> None:
    other = {CREATIVES_READ: CREATIVES_WRITE, CREATIVES_WRITE: CREATIVES_READ}[scope]
    async with remembering(tmp_path, ROUTERS) as client:
        address = "/v1/batches" + path.format(id=await created(client))
        body = {"json": order()} if method == "POST" else {}
        refused = await client.request(method, address, headers=bearer("shop", other), **body)
        taken = await client.request(method, address, headers=bearer("shop", scope), **body)

    assert refused.status_code == 403
    assert scope in refused.headers["www-authenticate"]
    assert taken.is_success


async def test_a_client_with_too_many_unfinished_batches_has_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_routes, "OPEN_BATCHES_MAX", 2)
    async with remembering(tmp_path, ROUTERS) as client:
        first, _ = [await created(client) for _ in range(2)]
        refused = await client.post("/v1/batches", json=order())
        theirs = await client.post("/v1/batches", json=order(), headers=RIVAL)
        await client.delete(f"/v1/batches/{first}")
        taken = await client.post("/v1/batches", json=order())

    assert (refused.status_code, theirs.status_code, taken.status_code) == (429, 202, 202)
    assert refused.headers["retry-after"] == "60"


async def test_a_batch_sent_twice_with_one_key_is_one_batch(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answers = [await client.post("/v1/batches", json=order(), headers=KEY) for _ in range(2)]
        other = await client.post("/v1/batches", json=order(2), headers=KEY)
        listed = (await client.get("/v1/batches")).json()["batches"]

    assert answers[0].content == answers[1].content
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert other.status_code == 422
    assert len(listed) == 1


def test_the_rest_is_estimated_by_the_pace_of_what_was_written() -> None:
    made_at = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    row = BatchRow(
        "ba_" + "0" * 32, "shop", "running", {"refused": 4}, 20, 8, 6, "inline",
        made_at, made_at + timedelta(seconds=50), "host", None,
    )  # fmt: skip

    # 8 written and 2 failed at work in 50 s: 5 s each; 6 are left, and 10 s have passed since the last.
    assert batch_out(row, made_at + timedelta(seconds=60)).estimated_seconds_left == 20.0
    assert batch_out(row, made_at + timedelta(seconds=600)).estimated_seconds_left == 0.0
