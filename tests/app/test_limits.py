"""Limits: counted by client and operation, told in headers, shared through Redis and kept without it."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from app import request_counts
from app.client_command import create_client
from app.limits import Limits, Standing, is_limit
from app.request_counts import WINDOWS_MAX, Counts, SharedCounts
from tests.app.guarded_service import EVERYTHING, THING, Guarded, guarded
from tests.real_parts import redis_server, wait_until

pytestmark = pytest.mark.anyio

FALLBACK_SECONDS_MAX = 0.1
"""What a Redis that does not answer may add to one request."""


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that a busy machine keeps waiting is not one that is gone."""
    monkeypatch.setattr(request_counts, "REDIS_SECONDS_MAX", 60.0)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Guarded]:
    """Three reads a minute, five writes, two wrong tokens."""
    operations = {"getThing": "3/minute", "writeThing": "5/minute", "getOpen": "3/minute", "refuseToken": "2/minute"}
    async with guarded(tmp_path, operations=operations) as started:
        yield started


async def read(service: Guarded, thing: str = "1", client: str = "shop", **headers: str) -> httpx.Response:
    return await service.http.get(f"/v1/things/{thing}", headers=service.bearer(client=client) | headers)


def told(answer: httpx.Response) -> tuple[str, str]:
    return answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]


async def test_requests_up_to_the_limit_are_answered_and_the_next_is_429(service: Guarded) -> None:
    answers = [await read(service) for _ in range(4)]
    refused = answers[-1]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [told(answer) for answer in answers] == [("3", "2"), ("3", "1"), ("3", "0"), ("3", "0")]
    assert all(1 <= int(answer.headers["ratelimit-reset"]) <= 60 for answer in answers)
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:adloom:problem:rate-limited"
    assert f"wait {refused.headers['retry-after']} s" in refused.json()["detail"]
    assert "retry-after" not in answers[0].headers


async def test_one_client_does_not_use_up_the_limit_of_another_at_the_same_address(service: Guarded) -> None:
    create_client(service.database, "other", EVERYTHING)
    mine = [(await read(service)).status_code for _ in range(4)]

    assert mine[-1] == 429
    assert (await read(service, client="other")).status_code == 200


async def test_each_operation_has_a_count_of_its_own_and_each_path_has_not(service: Guarded) -> None:
    reads = [(await read(service, thing=str(number))).status_code for number in range(4)]
    write = await service.http.post("/v1/things", json=THING, headers=service.bearer())

    assert reads == [200, 200, 200, 429]
    assert (write.status_code, told(write)) == (200, ("5", "4"))


async def test_the_limit_of_a_client_comes_before_that_of_the_settings(tmp_path: Path) -> None:
    async with guarded(
        tmp_path, operations={"getThing": "3/minute"}, client_limits={"getThing": "1/minute"}
    ) as service:
        create_client(service.database, "plain", EVERYTHING)
        own = [await read(service) for _ in range(2)]
        plain = await read(service, client="plain")
        write = await service.http.post("/v1/things", json=THING, headers=service.bearer())

    assert [answer.status_code for answer in own] == [200, 429]
    assert told(plain) == ("3", "2")
    assert told(write)[0] == "1000"


@pytest.mark.parametrize("text", ["many", "0/minute", "", "5/minute;1/second"])
async def test_a_limit_in_a_clients_row_that_nobody_can_read_is_as_if_it_were_not_there(
    tmp_path: Path, text: str
) -> None:
    async with guarded(tmp_path, default="7/minute", client_limits={"getThing": text}) as service:
        answer = await read(service)

    assert told(answer) == ("7", "6")


async def test_a_client_cannot_get_a_new_count_by_a_header(service: Guarded) -> None:
    forwarded = [
        {"X-Forwarded-For": f"198.51.100.{number}", "Forwarded": f"for=198.51.100.{number}"} for number in range(4)
    ]
    by_client = [(await read(service, **headers)).status_code for headers in forwarded]
    by_address = [(await service.http.get("/v1/open", headers=headers)).status_code for headers in forwarded]

    assert by_client == by_address == [200, 200, 200, 429]


async def test_wrong_tokens_are_429_after_a_while_and_a_good_one_from_the_same_address_is_not(
    service: Guarded,
) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    refused = [await service.http.get("/v1/things/1", headers=wrong) for _ in range(3)]

    assert [answer.status_code for answer in refused] == [401, 401, 429]
    assert [told(answer) for answer in refused] == [("2", "1"), ("2", "0"), ("2", "0")]
    assert (await read(service)).status_code == 200


async def test_a_refusal_for_a_scope_counts_and_says_where_the_client_stands(service: Guarded) -> None:
    headers = service.bearer(scopes=["creatives:read"])
    answers = [await service.http.post("/v1/things", json=THING, headers=headers) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [403] * 5 + [429]
    assert told(answers[0]) == ("5", "4")


async def test_a_request_that_is_wrong_counts_and_says_where_the_client_stands(service: Guarded) -> None:
    answer = await service.http.post("/v1/things", json={"name": 7}, headers=service.bearer())

    assert (answer.status_code, told(answer)) == (422, ("5", "4"))


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_body_is_not_read_before_its_sender_is_known_and_allowed_and_within_the_limit(
    service: Guarded, status: int
) -> None:
    taken: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for number in range(16):
            taken.append(number)
            yield b" " * 1000

    headers = service.bearer(scopes=["creatives:read"] if status == 403 else EVERYTHING)
    if status == 401:
        headers["Authorization"] += "x"
    for _ in range(5 if status == 429 else 0):
        await service.http.post("/v1/things", json=THING, headers=headers)
    headers["Content-Type"] = "application/json"
    answer = await service.http.post("/v1/things", content=body(), headers=headers)

    assert answer.status_code == status
    assert taken == []


async def test_who_answers_for_a_route_that_is_open_is_the_address_ipv6_by_its_network(service: Guarded) -> None:
    async def status(host: str) -> int:
        transport = httpx.ASGITransport(service.app, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return (await client.get("/v1/open")).status_code

    neighbours = [await status(f"2001:db8::{number}") for number in range(4)]
    mapped = [await status(host) for host in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1")]

    assert neighbours == mapped == [200, 200, 200, 429]
    assert [await status(host) for host in ("2001:db8:0:1::", "192.0.2.2", "")] == [200, 200, 200]


async def test_looking_does_not_count() -> None:
    limits = Limits("memory://", default="1/minute")
    looks = [limits.look("read", "shop").is_allowed for _ in range(3)]
    await limits.charge("read", "shop")

    assert looks == [True, True, True]
    assert not limits.look("read", "shop").is_allowed
    assert limits.look("read", "other").is_allowed


@pytest.mark.parametrize("text", ["", "60", "sixty/minute", "0/minute", "-1/minute", "1/minute;2/hour"])
def test_a_limit_that_nobody_can_read_stops_the_start(text: str) -> None:
    assert not is_limit(text)
    with pytest.raises(ValueError, match="is no limit: write a number"):
        Limits("memory://", default="1/minute", operations={"getThing": text})


@pytest.mark.parametrize("url", ["", "memory", "memcached://h:1", "http://h", "redis"])
def test_an_address_that_is_neither_memory_nor_redis_stops_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="use memory:// or redis"):
        Limits(url, default="1/minute")


def test_windows_in_memory_are_bounded_and_those_that_end_last_stay() -> None:
    counts = Counts()
    counts.incr("long", 3600)
    for number in range(WINDOWS_MAX + 1):
        counts.incr(f"short {number}", 60)

    assert len(counts._windows) <= WINDOWS_MAX
    assert counts.get("long") == 1
    assert counts.get(f"short {WINDOWS_MAX}") == 1
    assert counts.get("short 0") == 0


async def test_a_window_that_is_over_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    limits = Limits("memory://", default="1/minute")
    standings = []
    for step_seconds in (0.0, 59.5, 0.5):
        now += step_seconds
        standings.append(await limits.charge("read", "client shop"))

    assert [(each.is_allowed, each.reset_seconds) for each in standings] == [(True, 60), (False, 1), (True, 60)]


async def _charged(limits: Limits, times: int) -> list[Standing]:
    return [await limits.charge("read", "client shop") for _ in range(times)]


@pytest.mark.usefixtures("patience")
async def test_two_processes_share_their_counts_through_redis() -> None:
    with redis_server() as redis:
        one, other = (Limits(redis.url, default="4/minute") for _ in range(2))
        standings = await _charged(one, 2) + await _charged(other, 3)
        one.close()
        other.close()

    assert [each.is_allowed for each in standings] == [True, True, True, True, False]
    assert [each.remaining for each in standings] == [3, 2, 1, 0, 0]
    assert all(1 <= each.reset_seconds <= 60 for each in standings)


@pytest.mark.usefixtures("patience")
async def test_without_redis_each_process_counts_on_and_says_so_once_and_comes_back_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="adloom.limits")
    with redis_server() as redis:
        limits = Limits(redis.url, default="4/minute")
        before = await _charged(limits, 2)
        redis.stop()
        without = await _charged(limits, 3)
        trouble = limits.trouble()
        redis.start()
        wait_until(lambda: not limits.trouble(), "the limits to find Redis again")
        after = await _charged(limits, 1)
        limits.close()

    assert [each.remaining for each in before + without] == [3, 2, 1, 0, 0]
    assert not without[-1].is_allowed
    assert "counts requests for itself" in trouble
    assert after[0].remaining == 3  # this Redis kept nothing over its restart
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "Redis is gone",
        "Redis is back: requests are counted together again",
    ]


async def test_a_redis_that_was_never_there_refuses_nobody() -> None:
    limits = Limits("redis://127.0.0.1:1", default="2/minute")
    standings = await _charged(limits, 3)
    limits.close()

    assert [each.is_allowed for each in standings] == [True, True, False]


async def test_a_redis_that_hangs_costs_a_request_at_most_once_and_little() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limits = Limits(f"redis://127.0.0.1:{silent.getsockname()[1]}", default="100/minute")
        storage: Any = limits._storage
        patience, asked = storage._redis.connection_pool.connection_kwargs, []
        real = storage._count
        storage._count = lambda *given: asked.append(given) or real(*given)
        for _ in range(20):
            await limits.charge("read", "client shop")
        limits.close()

    assert len(asked) == 1
    assert patience["socket_connect_timeout"] + patience["socket_timeout"] <= FALLBACK_SECONDS_MAX


@pytest.mark.usefixtures("patience")
async def test_many_requests_at_once_are_counted_once_each_in_redis() -> None:
    allowed: list[bool] = []

    async def charge(limits: Limits) -> None:
        allowed.append((await limits.charge("read", "client shop")).is_allowed)

    with redis_server() as redis:
        limits = Limits(redis.url, default="50/minute")
        async with anyio.create_task_group() as tasks:
            for _ in range(80):
                tasks.start_soon(charge, limits)
        limits.close()

    assert (allowed.count(True), allowed.count(False)) == (50, 30)


@pytest.mark.usefixtures("patience")
def test_a_key_in_redis_always_has_an_end() -> None:
    with redis_server() as redis:
        counts = SharedCounts(f"adloom+{redis.url}")
        counts._redis.set("adloom:a", 7)  # as a process that died between two commands would leave it
        count = counts.incr("a", 60)
        left_seconds: Any = counts._redis.ttl("adloom:a")
        counts.close()

    assert count == 8
    assert 0 < left_seconds <= 60
