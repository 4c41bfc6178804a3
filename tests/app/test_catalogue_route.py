"""A catalogue over HTTP: every form, every way to be wrong, named by its content, and nobody else's to see."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from app import catalogue_route
from app.catalogue_route import CSV_EXAMPLE, JSON_EXAMPLE, JSON_LINES_EXAMPLE, REJECTED_SHOWN_MAX
from app.identity import CATALOGUE_WRITE, CREATIVES_WRITE
from app.problem import ProblemKind
from tests.app.memory_client import RIVAL, bearer, gate_before, parts_of, remembering
from tests.app.service_client import WAIT_SECONDS_MAX

pytestmark = pytest.mark.anyio

ROUTERS = [catalogue_route.router]
CSV = {"Content-Type": "text/csv"}
KEY = {"Idempotency-Key": "order-42"}
ROWS = "sku,title,price\nBOWL,Blue ceramic bowl,24.90 EUR\nVASE,Grey stone vase,cheap\n"


async def test_a_snapshot_holds_the_good_rows_and_the_answer_tells_of_the_others(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/catalogue", content=ROWS, headers=CSV)
        made = answer.json()
        found = await client.get(f"/v1/catalogue/{made['digest']}")
        kept = parts_of(client).objects.get(f"catalogue/{made['digest']}.jsonl")

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/catalogue/{made['digest']}"
    assert (made["rows"], made["products"], made["rejected"], made["merged"]) == (2, 1, 1, 0)
    assert made["rejected_rows"] == [
        {"line": 3, "column": "price", "reason": "is not a price: cheap; write it like 24.90 or 24,90 EUR"}
    ]
    assert found.json() == {name: made[name] for name in ("digest", "products", "rejected", "created_at")}
    assert [json.loads(line)["sku"] for line in kept.splitlines()] == ["BOWL"]


async def test_the_same_rows_have_the_same_digest_in_every_form(tmp_path: Path) -> None:
    row = {"sku": "BOWL", "title": "Blue ceramic bowl"}
    sent = {
        "text/csv; charset=UTF-8": "sku,title\nBOWL,Blue ceramic bowl\n",
        "application/json": json.dumps([row]),
        "application/x-ndjson": json.dumps(row) + "\n",
        "application/jsonl": json.dumps(row) + "\n",
    }
    async with remembering(tmp_path, ROUTERS) as client:
        answers = [
            await client.post("/v1/catalogue", content=body, headers={"Content-Type": media_type})
            for media_type, body in sent.items()
        ]

    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["digest"] for answer in answers}) == 1
    assert len({answer.json()["created_at"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'[{"title": "Bowl", "title": "Vase"}]',
        b'[{"title": "Bowl", "price": NaN}]',
        b'[{"title": "Bowl", "price": 1e400}]',
        b'[{"title": "Bowl", "price": ' + b"1" * 20 + b"}]",
        b'[{"title": "Bowl \xff"}]',
        b'[{"title": "Bowl \\ud800"}]',
        b"[" * 10_000,
        b'[{"title": "Bowl"}',
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_json_that_readers_differ_on_is_400_and_nothing_is_kept(body: bytes, tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/catalogue", content=body, headers={"Content-Type": "application/json"})
        kept = list((tmp_path / "objects").glob("catalogue/*"))

    assert answer.status_code == 400
    assert answer.json()["type"] == ProblemKind.MALFORMED_JSON.type
    assert kept == []


@pytest.mark.parametrize(
    "body", [b'[{"title": "Bowl", "stock": ' + b"1" * 19 + b"}]", b'\xef\xbb\xbf[{"title": "Bowl"}]']
)
async def test_json_with_a_large_number_or_a_mark_of_its_encoding_is_taken(body: bytes, tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/catalogue", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["products"]) == (201, 1)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [("text/csv", CSV_EXAMPLE), ("application/json", json.dumps(JSON_EXAMPLE)),
     ("application/x-ndjson", JSON_LINES_EXAMPLE)],
)  # fmt: skip
async def test_the_documented_examples_are_taken(media_type: str, body: str, tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/catalogue", content=body, headers={"Content-Type": media_type})

    assert answer.status_code == 201
    assert answer.json()["products"] >= 1


async def test_the_first_rejected_rows_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    rows = "sku,title,price\n" + "".join(f"BOWL-{number},Bowl,cheap\n" for number in range(REJECTED_SHOWN_MAX + 1))
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/catalogue", content=f"{rows}GOOD,Bowl,1.00\n", headers=CSV)

    assert answer.json()["rejected"] == REJECTED_SHOWN_MAX + 1
    assert [row["line"] for row in answer.json()["rejected_rows"]] == list(range(2, REJECTED_SHOWN_MAX + 2))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"colour,size\nred,4\n", "title"),
        (b"title,price\nBowl,cheap\n", "No row"),
        (b"title\n", "No row"),
        (b"\x1f\x8b\x08\x00", "compressed"),
        (b"PK\x03\x04zip", "ZIP"),
        (b"title\nB\xfchl\n", "UTF-8"),
        (b"- title: Bowl\n", "YAML"),
        (b"\xef\xbb\xbf" + b"\n" * 100 + b"---\n- title: Bowl\n", "YAML"),
        (b"products:\n- title: Bowl\n", "YAML"),
        (b"[" * 10_000, ""),
        (b'[{"title": "Bowl", "price": NaN}', ""),
    ],
    ids=lambda value: repr(value[:16]) if isinstance(value, bytes) else "",
)
async def test_a_body_that_is_no_catalogue_is_422_and_gives_no_path_away(
    body: bytes, says: str, tmp_path: Path
) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/catalogue", content=body, headers=CSV)
        stored = parts_of(client).objects.list("catalogue")

    assert answer.status_code == 422
    assert answer.json()["type"] == ProblemKind.INVALID_REQUEST.type
    assert says in answer.json()["detail"]
    assert not any(leak in answer.text for leak in ("/tmp", "adloom-catalogue", ".csv", "Traceback"))
    assert stored == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Type": "application/pdf"}, {"Content-Type": "text/csv; charset=latin-1"},
     {**CSV, "Content-Encoding": "gzip"}, {"Content-Type": "application/yaml"}],
    ids=str,
)  # fmt: skip
async def test_another_form_or_a_compressed_body_is_415(headers: dict[str, str], tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.post("/v1/catalogue", content=gzip.compress(ROWS.encode()), headers=headers)

    assert answer.status_code == 415
    assert "text/csv" in answer.json()["detail"]


async def test_a_snapshot_of_another_client_is_not_found_even_with_the_same_rows(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        digest = (await client.post("/v1/catalogue", content=ROWS, headers=CSV)).json()["digest"]
        before = await client.get(f"/v1/catalogue/{digest}", headers=RIVAL)
        await client.post("/v1/catalogue", content=ROWS, headers=CSV | RIVAL)
        after = await client.get(f"/v1/catalogue/{digest}", headers=RIVAL)

    assert (before.status_code, before.json()["type"]) == (404, ProblemKind.SNAPSHOT_NOT_FOUND.type)
    assert after.status_code == 200


@pytest.mark.parametrize("digest", ["..%2f..%2fetc%2fpasswd", "A" * 64, "a" * 63, "a' OR '1'='1"])
async def test_a_digest_that_is_none_is_422(digest: str, tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get(f"/v1/catalogue/{digest}")

    assert answer.status_code in (404, 422)
    assert "passwd" not in answer.text


async def test_the_scope_is_catalogue_write(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        refused = await client.post("/v1/catalogue", content=ROWS, headers=CSV | bearer("shop", CREATIVES_WRITE))
        taken = await client.post("/v1/catalogue", content=ROWS, headers=CSV | bearer("shop", CATALOGUE_WRITE))

    assert (refused.status_code, taken.status_code) == (403, 201)


async def test_a_key_gives_the_first_answer_again(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answers = [await client.post("/v1/catalogue", content=ROWS, headers=CSV | KEY) for _ in range(2)]
        other = await client.post("/v1/catalogue", content=ROWS + "CUP,Cup,1.00\n", headers=CSV | KEY)

    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert other.json()["type"] == ProblemKind.KEY_REUSED.type


async def test_an_object_store_that_cannot_be_written_is_503_and_no_row_is_kept(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        digest = (await client.post("/v1/catalogue", content=ROWS, headers=CSV | RIVAL)).json()["digest"]
        folder = tmp_path / "objects"
        folder.rename(tmp_path / "away")
        folder.write_text("a file stands where the folder was")
        refused = await client.post("/v1/catalogue", content=ROWS, headers=CSV)
        missing = await client.get(f"/v1/catalogue/{digest}")
        folder.unlink()
        (tmp_path / "away").rename(folder)
        taken = await client.post("/v1/catalogue", content=ROWS, headers=CSV)

    assert (refused.status_code, missing.status_code, taken.status_code) == (503, 404, 201)
    assert refused.json()["type"] == ProblemKind.STORE_DOWN.type
    assert str(tmp_path) not in refused.text


async def test_a_large_catalogue_does_not_keep_others_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "sku,title,description\n" + "".join(
        f"B-{n},Blue ceramic bowl {n},{'Holds 0.5 l. ' * 20}\n" for n in range(5_000)
    )
    others = []
    gates = [gate_before(monkeypatch, catalogue_route, name) for name in ("_read", "_lines")]
    async with remembering(tmp_path, ROUTERS) as client:
        upload: Any = asyncio.create_task(client.post("/v1/catalogue", content=rows, headers=CSV))
        for begun, gate in gates:
            assert await asyncio.to_thread(begun.wait, WAIT_SECONDS_MAX)
            others.append((await client.get(f"/v1/catalogue/{'0' * 64}")).status_code)
            gate.set()
        answer = await upload

    assert answer.json()["products"] == 5_000
    assert others == [404, 404]
