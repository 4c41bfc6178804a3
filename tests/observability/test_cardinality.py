"""A flood of clients, products and addresses makes no series of its own."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import Metrics
from tests.app.service_client import add_client, bearer, order, parts_of, service

CLIENTS, WRITES, WARM = 10_000, 50, 700
"""After so many, everything has been answered that can be: unknown clients are refused by address in the end."""


def series(text: str) -> set[tuple[str, ...]]:
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.anyio
@pytest.mark.proof
async def test_ten_thousand_clients_and_skus_make_no_new_series():
    async with service(queue_depth_max=10_000, limit_default="1000000/minute") as client:
        parts = parts_of(client)

        async def look(number: int) -> None:
            headers = bearer(parts, f"client-{number}")  # nobody the database knows, and each another address
            await client.get(f"/v1/creatives/cr_{number:032x}", headers=headers)
            if number % 10 == 0:
                await client.get(f"/{number}/x-{number}")

        async def write(number: int) -> None:
            name = f"shop-{number}"
            add_client(parts, name)
            await client.post(
                "/v1/creatives", json=order(product={"sku": f"SKU-{number}"}), headers=bearer(parts, name)
            )

        await asyncio.gather(*(look(number) for number in range(WARM)))
        await write(0)
        await client.get("/metrics")
        before = series((await client.get("/metrics")).text)
        for start in range(WARM, CLIENTS, 500):
            await asyncio.gather(*(look(number) for number in range(start, min(start + 500, CLIENTS))))
        for number in range(1, WRITES):
            await write(number)
        after = series((await client.get("/metrics")).text)

    assert after == before
    assert len(after) < 1_500


def test_ten_thousand_methods_and_skus_handed_to_the_metrics_make_none_either():
    metrics = Metrics()
    metrics.request("GET", "", 404, 0.001)
    metrics.request("BREW0", "", 404, 0.001)
    before = series(metrics.exposition()[0].decode())
    for number in range(10_000):
        metrics.request(f"BREW{number}", "", 404, 0.001)

    assert series(metrics.exposition()[0].decode()) == before
