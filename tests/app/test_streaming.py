"""A request that is answered bit by bit: which events, in which order, and what happens where something fails."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest

from app import streaming
from app.problem import ProblemKind
from model.channel import ChannelSpec
from model.creative import Creative
from model.product import Product
from tests.app.service_client import WAIT_SECONDS_MAX, GatedWriter, ServiceWriter, order, parts_of, service

pytestmark = pytest.mark.anyio

STREAMED = "/v1/creatives?stream=true"


def events_in(text: str) -> list[tuple[str, Any]]:
    """(name, data) of each event; comments are left out."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


class SecondFails(ServiceWriter):
    """Writes one channel and fails on the next."""

    def words(
        self, product: Product, spec: ChannelSpec, voice: str, candidates: int, seed: int
    ) -> tuple[Creative, ...]:
        if self.calls:
            raise RuntimeError("the second channel fails")
        return super().words(product, spec, voice, candidates, seed)


async def test_a_stream_tells_progress_then_fields_then_the_kept_creatives_then_done() -> None:
    async with service() as client:
        answer = await client.post(STREAMED, json=order(channels=["instagram", "x"]))
        whole = await client.post("/v1/creatives", json=order(channels=["instagram", "x"]))
        events = events_in(answer.text)
        looked_up = [await client.get(f"/v1/creatives/{data['id']}") for name, data in events if name == "creative"]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [name for name, _ in events if name != "field"] == [
        "progress", "progress", "creative", "creative", "done",
    ]  # fmt: skip
    assert [data for name, data in events if name == "creative"] == whole.json()["creatives"]
    assert [found.status_code for found in looked_up] == [200, 200]
    assert events[-1] == ("done", {"creatives": 2})


async def test_the_fields_of_a_stream_are_the_texts_of_its_creatives() -> None:
    async with service() as client:
        answer = await client.post(STREAMED, json=order(candidates=3, return_candidates=2))
    events = events_in(answer.text)
    fields = [data for name, data in events if name == "field"]
    written = [data for name, data in events if name == "creative"]

    assert {field["rank"] for field in fields} == {0, 1}
    for rank, creative in enumerate(written):
        texts = [field["text"] for field in fields if field["rank"] == rank and field["name"] == "headline"]
        assert texts == creative["headlines"]


async def test_what_fails_before_the_first_event_is_an_ordinary_problem() -> None:
    async with service(ServiceWriter(fail_sku="BOWL")) as client:
        answer = await client.post(STREAMED, json=order())

    assert answer.status_code == 500
    assert answer.json()["type"] == ProblemKind.GENERATION_FAILED.type


async def test_what_fails_later_ends_the_stream_with_an_error_event_and_keeps_nothing() -> None:
    async with service(SecondFails()) as client:
        answer = await client.post(STREAMED, json=order(channels=["instagram", "x"]))
    events = events_in(answer.text)

    assert answer.status_code == 200
    assert events[-1][0] == "error"
    assert events[-1][1]["type"] == ProblemKind.GENERATION_FAILED.type
    assert "creative" not in {name for name, _ in events}


async def test_a_stream_with_an_idempotency_key_is_refused_and_one_without_is_not() -> None:
    async with service() as client:
        refused = await client.post(STREAMED, json=order(), headers={"Idempotency-Key": "k"})
        taken = await client.post(STREAMED, json=order())

    assert (refused.status_code, taken.status_code) == (422, 200)


async def test_a_silent_stream_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.01)
    writer = GatedWriter()

    class Halting(GatedWriter):
        """The first channel at once, the second when the gate opens."""

        def words(
            self, product: Product, spec: ChannelSpec, voice: str, candidates: int, seed: int
        ) -> tuple[Creative, ...]:
            if spec.name == "x":
                return super().words(product, spec, voice, candidates, seed)
            return ServiceWriter.words(self, product, spec, voice, candidates, seed)

    writer = Halting()
    async with service(writer) as client:
        task = asyncio.create_task(client.post(STREAMED, json=order(channels=["instagram", "x"])))
        with anyio.fail_after(WAIT_SECONDS_MAX):
            while not writer.begun.is_set():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        writer.gate.set()
        answer = await task

    assert ": still writing\n\n" in answer.text
    assert answer.text.endswith('event: done\ndata: {"creatives": 2}\n\n')


async def test_a_stream_whose_creatives_cannot_be_kept_says_so() -> None:
    async with service() as client:
        parts_of(client).writes.close()
        answer = await client.post(STREAMED, json=order())
    name, data = events_in(answer.text)[-1]

    assert (name, data["type"]) == ("error", ProblemKind.STORE_DOWN.type)
