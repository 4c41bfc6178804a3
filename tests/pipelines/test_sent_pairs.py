"""Pairs on their whole way: sent over HTTP, taken into a dataset, and told of again; on the stores of both kinds."""

from __future__ import annotations

import json
import os

import pytest

from app import pairs_route
from model.pair import pair_from_dict
from pipelines.settings import PipelineSettings
from pipelines.steps import build_dataset
from tests.app.memory_client import parts_of, remembering
from tests.model.sent_pairs import row, sheet
from tests.pipelines.taught import curated


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_what_the_service_takes_the_next_dataset_holds_and_the_service_says_so(stores, step, tmp_path):
    _, objects = stores
    pairs = tmp_path / "curated.jsonl"
    pairs.write_text("".join(f"{line}\n" for line in curated(8, channel="x")), encoding="utf-8")
    tables = [row(place) for place in range(4)]
    url = os.environ.get("ADLOOM_DATABASE_URL", PipelineSettings().database_url)
    async with remembering(tmp_path, [pairs_route.router], url=url) as client:
        parts_of(client).objects = objects
        sent = await client.post("/v1/pairs", content=sheet(tables), headers={"Content-Type": "text/csv"})
        _, answer = step(build_dataset.main, "--pairs", pairs)
        told = (await client.get(sent.headers["location"])).json()
        again = await client.post("/v1/pairs", content=sheet(tables), headers={"Content-Type": "text/csv"})
    lines = [json.loads(line) for line in objects.open_lines(f"datasets/{answer['dataset']}/pairs.jsonl")]

    assert (sent.status_code, sent.json()["accepted"], sent.json()["refused"]) == (202, 4, 0)
    assert answer["set_pairs"] == 4 - sent.json()["held_out"] > 0
    assert (told["state"], told["dataset_digest"]) == ("used", answer["dataset"])
    assert told["learnt"] == answer["set_pairs"]
    assert (again.json()["id"], again.json()["state"]) == (told["id"], "used")
    keys = {pair_from_dict(table).key() for table in tables}
    assert {pair_from_dict(line).key() for line in lines[8:]} <= keys
