"""Results on their way to the cards, verdicts given in bulk, and files made of many ads."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import zipfile

import httpx
import pytest

from app.ui.results import shown_lines
from app.ui.upload import KEPT_BYTES_MAX, open_upload
from tests.app.service_client import WAIT_SECONDS_MAX
from tests.ui.page_client import visitor

pytestmark = pytest.mark.anyio
CSV = "sku,title,price\n" + "".join(f"A-{number},Blue bowl {number},19.90 EUR\n" for number in range(6))


async def written(one):
    """The id of a batch over the rows of CSV, once all are written."""
    headers = {**one.csrf(), "X-File-Name": "a.csv"}
    snapshot = (await one.http.post("/catalogue/upload", content=CSV, headers=headers)).json()["upload"]["digest"]
    order = {"snapshot": snapshot, "channels": ["instagram", "google_rsa"], "candidates": 1}
    batch = (await one.http.post("/api/batches", json=order, headers=one.csrf())).json()["id"]
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while (await one.http.get(f"/api/batches/{batch}")).json()["state"] != "done":
            await asyncio.sleep(0.02)
    return batch


def lines(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_results_come_with_what_cards_show_and_only_those_behind_a_place():
    async with visitor() as one:
        batch = await written(one)
        whole = lines(await one.http.get(f"/catalogue/results/{batch}"))
        rest = lines(await one.http.get(f"/catalogue/results/{batch}?after=3"))

    assert [item["place"] for item in whole] == [0, 1, 2, 3, 4, 5]
    assert rest == whole[4:]
    assert set(whole[0]["creatives"][0]) == {
        "id", "sku", "channel", "headlines", "descriptions", "call_to_action", "hashtags", "validity", "findings",
    }  # fmt: skip


@pytest.mark.parametrize("address", ["x", "ba_%2e%2e", f"ba_{'0' * 32}?after=-2", f"ba_{'0' * 32}?after=1e9"])
async def test_no_other_address_can_be_reached_through_results(address):
    async with visitor() as one:
        answer = await one.http.get(f"/catalogue/results/{address}")

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:adloom:ui:not-found"


async def test_a_run_that_the_service_does_not_know_is_passed_on_as_it_says_so():
    async with visitor() as one:
        answer = await one.http.get(f"/catalogue/results/ba_{'0' * 32}")

    assert answer.json()["type"] == "urn:adloom:problem:batch-not-found"


async def test_an_answer_that_breaks_off_ends_after_a_whole_line():
    item = {"place": 0, "sku": "A", "state": "failed", "creatives": [], "error": "no words"}

    async def broken():
        yield json.dumps(item).encode() + b'\n{"place": 1, "sk'
        raise httpx.ReadError("gone")

    answer = httpx.Response(200, content=broken(), request=httpx.Request("GET", "http://t"))
    came = b"".join([chunk async for chunk in shown_lines(answer)])

    assert [json.loads(line) for line in came.splitlines()] == [item]


async def test_what_is_accepted_in_bulk_is_in_the_download_and_nothing_else():
    async with visitor() as one:
        batch = await written(one)
        ads = [ad for item in lines(await one.http.get(f"/catalogue/results/{batch}")) for ad in item["creatives"]]
        accepted = [ad["id"] for ad in ads if ad["channel"] == "google_rsa"]
        taken = await one.http.post("/catalogue/decisions", json={"accepted": accepted}, headers=one.csrf())
        query = f"/catalogue/download?batch={batch}&accepted=1&format="
        plain = (await one.http.get(query + "plain")).content.decode("utf-8-sig")
        packed = zipfile.ZipFile(io.BytesIO((await one.http.get(query + "zip")).content))
        state = (await one.http.get("/catalogue/state?all=1")).json()

    rows = list(csv.DictReader(io.StringIO(plain)))
    assert taken.json() == {"accepted": 6}
    assert [row["id"] for row in rows] == accepted
    assert {row["verdict"] for row in rows} == {"accept"}
    assert [ad["id"] for ad in json.loads(packed.read("ads.json"))] == accepted
    assert "meta-ads-manager.csv" not in packed.namelist()
    assert {name: each["verdict"] for name, each in state["decisions"].items()} == dict.fromkeys(accepted, "accept")
    assert state["titles"]["A-5"] == "Blue bowl 5"


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"accepted": "cr_1"}', '{"accepted": ["../x"]}', '{"accepted": [1]}']
)
async def test_verdicts_that_are_none_are_refused(body):
    async with visitor() as one:
        answer = await one.http.post("/catalogue/decisions", content=body, headers=one.csrf())
        decided = dict(one.session.decisions)

    assert answer.status_code == 422
    assert decided == {}


def test_a_file_is_kept_by_its_packed_size():
    row = b"A-1,Blue bowl of stoneware with a glazed rim,19.90 EUR\n"
    large = b"sku,title,price\n" + row * (2 * KEPT_BYTES_MAX // len(row))
    upload = open_upload("a.csv", large, "text/csv", {})

    assert len(large) > KEPT_BYTES_MAX > len(upload.packed)
    assert upload.content == large
