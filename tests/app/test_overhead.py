"""The benchmark of the service's own cost: its load generator against real sockets, its arithmetic, one short run."""

from __future__ import annotations

import asyncio
import itertools
import json
from functools import partial
from pathlib import Path

import pytest

from app import overhead
from app.overhead import Traffic, assemble, percentile
from app.overhead_load import Load, offer

REQUEST = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"


class Answering(asyncio.Protocol):
    """Answers every request with one status, in as many pieces as the test wants."""

    def __init__(self, status: int, pieces: int, seconds: float, answered: list[int]) -> None:
        self._status, self._pieces, self._seconds, self._answered = status, pieces, seconds, answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._answer)

    def _answer(self) -> None:
        whole = b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\nbody" % self._status
        size = -(-len(whole) // self._pieces)
        self._answered.append(self._status)
        for start in range(0, len(whole), size):
            self._transport.write(whole[start : start + size])


def offered(
    status: int = 200, pieces: int = 1, answer_seconds: float = 0.0, *, seconds: float = 0.2, rate: float = 0.0
) -> tuple[Load, list[int]]:
    """Two connections to a server of this process, and the statuses that it answered with."""
    answered: list[int] = []

    async def run() -> Load:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(partial(Answering, status, pieces, answer_seconds, answered), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await offer(port, itertools.repeat(REQUEST), connections=2, seconds=seconds, rate=rate)

    return asyncio.run(run()), answered


@pytest.mark.parametrize("pieces", [1, 7])
def test_answers_are_counted_however_they_are_cut(pieces: int) -> None:
    load, answered = offered(pieces=pieces)

    assert len(load.latencies_seconds) == len(answered) >= 2
    assert load.errors == 0
    assert load.requests_per_second == pytest.approx(len(load.latencies_seconds) / load.seconds)


def test_an_answer_that_is_not_200_is_an_error_and_no_throughput() -> None:
    load, _ = offered(status=503)

    assert load.errors == len(load.latencies_seconds) > 0
    assert load.requests_per_second == 0


def test_at_a_rate_no_more_is_sent_than_was_asked_for() -> None:
    load, answered = offered(seconds=0.5, rate=40)

    assert 2 <= len(load.latencies_seconds) == len(answered) <= 21


def test_at_a_rate_that_the_server_cannot_keep_latency_counts_from_when_a_request_was_due() -> None:
    load, _ = offered(answer_seconds=0.05, seconds=0.5, rate=200)

    assert max(load.latencies_seconds) > 4 * 0.05


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="Connect"):
        asyncio.run(offer(1, itertools.repeat(REQUEST), connections=1, seconds=0.1))


@pytest.mark.parametrize(("rank", "value"), [(50, 5), (99, 10), (10, 1), (11, 2)])
def test_a_percentile_is_a_value_that_was_measured(rank: int, value: int) -> None:
    assert percentile(range(1, 11), rank) == value


def loads(latency_seconds: float, requests: int) -> list[Load]:
    return [Load(seconds=1.0, latencies_seconds=[latency_seconds] * requests, server_cpu_seconds=0.5)] * 2


def test_ratios_are_service_over_bare_and_goals_take_latency_at_a_rate_and_throughput_without_one() -> None:
    rounds = {
        Traffic(8): {"service": loads(0.009, 900), "bare": loads(0.003, 3600)},
        Traffic(8, 400.0): {"service": loads(0.002, 400), "bare": loads(0.001, 400)},
    }
    report = assemble(rounds, Load(seconds=1.0, latencies_seconds=[0.0]), None, seconds=1.0)

    assert report["connections"]["8"]["ratios"]["requests_per_second"]["median"] == 0.25
    assert report["connections"]["8"]["ratios"]["p99"]["median"] == pytest.approx(3)
    assert [(goal["measured"], goal["is_met"]) for goal in report["goals"]] == [
        (0.002, True),
        (0.002, True),
        (900, True),
        (0, True),
    ]


def test_a_goal_that_is_missed_says_so() -> None:
    slow = loads(0.011, 799)
    rounds = {Traffic(1): {"service": slow, "bare": slow}, Traffic(8, 400.0): {"service": slow, "bare": slow}}
    report = assemble(rounds, Load(), None, seconds=1.0)

    assert [goal["is_met"] for goal in report["goals"]] == [False, False, False, True]


@pytest.mark.proof
def test_a_short_run_measures_the_real_service_beside_bare_fastapi_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overhead, "WARM_UP_SECONDS", 0.1)
    monkeypatch.setattr(overhead, "PROFILE_SECONDS", 4 * overhead.PROFILE_SECONDS)  # as long it is waited for
    monkeypatch.setattr("app.overhead_load.PATIENCE_SECONDS", 120.0)
    out = tmp_path / "overhead.json"
    status = overhead.main(
        ["--rounds", "1", "--seconds", "0.3", "--connections", "4", "--rate", "50", "--out", str(out)]
    )
    report = json.loads(out.read_text(encoding="utf-8"))

    assert status == 0
    for traffic in ("4", "8, 50/s"):
        assert report["connections"][traffic]["service"]["errors"] == 0
        assert report["connections"][traffic]["bare"]["requests"] > 0
    assert "RequestLog.__call__" in " ".join(report["profile"]["functions"])
    assert "adloom-writes" in " ".join(report["profile"]["threads"])
