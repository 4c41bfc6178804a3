"""
A load generator for HTTP/1.1: a connection sends its next request when the last one is answered, or when it is due.

Knows no service. Plain asyncio without a client library, so that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
STATUS = slice(9, 12)
"""Of a head that begins with HTTP/1.1 and a space."""
PATIENCE_SECONDS = 10.0
"""An answer that takes longer is lost; nothing that is measured here takes a hundredth of it."""


@dataclass(slots=True)
class Load:
    """What one round of requests met."""

    seconds: float = 0.0
    latencies_seconds: list[float] = field(default_factory=list)
    errors: int = 0
    """Answers that are not 200, and connections that broke."""
    cpu_share: float = 0.0
    """Of one core, used by this process: near 1, the generator is what was measured."""
    server_cpu_seconds: float = 0.0
    """Used by the server; hardly changes with what else the machine does, where latency does."""

    @property
    def requests_per_second(self) -> float:
        """Good answers only."""
        return (len(self.latencies_seconds) - self.errors) / self.seconds if self.seconds else 0.0


async def offer(port: int, requests: Iterator[bytes], *, connections: int, seconds: float, rate: float = 0.0) -> Load:
    """
    Send `requests` to this machine's `port` for a while, `rate` a second over all connections; 0: as fast as it goes.

    At a rate, latency counts from when a request was due: one that had to wait for the one before it is not flattered.
    Raises OSError where nothing listens.
    """
    load, loop = Load(), asyncio.get_running_loop()
    started_seconds, started_cpu_seconds = time.perf_counter(), time.process_time()
    ends_at_seconds = started_seconds + seconds
    every_seconds = connections / rate if rate else 0.0
    callers = [
        _Caller(load, requests, ends_at_seconds, loop.create_future(), every_seconds) for _ in range(connections)
    ]
    for place, caller in enumerate(callers):
        caller.due_seconds = started_seconds + place * every_seconds / connections
        await loop.create_connection(partial(_same, caller), "127.0.0.1", port)
    _, late = await asyncio.wait([caller.done for caller in callers], timeout=seconds + PATIENCE_SECONDS)
    load.seconds = time.perf_counter() - started_seconds
    load.errors += len(late)
    load.cpu_share = (time.process_time() - started_cpu_seconds) / load.seconds
    for caller in callers:
        caller.close()
    return load


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        load: Load,
        requests: Iterator[bytes],
        ends_at_seconds: float,
        done: asyncio.Future[None],
        every_seconds: float,
    ) -> None:
        self.done = done
        self.due_seconds = 0.0
        self._every_seconds = every_seconds
        self._load = load
        self._requests = requests
        self._ends_at_seconds = ends_at_seconds
        self._read = bytearray()
        self._whole_bytes = 0
        self._sent_at_seconds = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send_when_due()

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._whole_bytes:
            self._whole_bytes = _whole_bytes(self._read)
        if not self._whole_bytes or len(self._read) < self._whole_bytes:
            return
        now = time.perf_counter()
        self._load.latencies_seconds.append(now - self._sent_at_seconds)
        self._load.errors += self._read[STATUS] != b"200"
        self._read.clear()
        self._whole_bytes = 0
        if max(now, self.due_seconds) < self._ends_at_seconds:
            self._send_when_due()
        else:
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- that it is lost is enough
        if not self.done.done():
            self._load.errors += 1
            self._finish()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send_when_due(self) -> None:
        left_seconds = self.due_seconds - time.perf_counter()
        if self._every_seconds and left_seconds > 0:
            asyncio.get_running_loop().call_later(left_seconds, self._send)
        else:
            self._send()

    def _send(self) -> None:
        assert self._transport is not None
        now = time.perf_counter()
        self._sent_at_seconds = min(now, self.due_seconds) if self._every_seconds else now
        self.due_seconds += self._every_seconds
        self._transport.write(next(self._requests))

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _same(caller: _Caller) -> _Caller:
    """The factory that asyncio wants, for a protocol that is there already."""
    return caller


def _whole_bytes(read: bytearray) -> int:
    """Bytes of the whole answer; 0 where its head is not there yet. Raises ValueError for one without a length."""
    end = read.find(HEAD_END)
    if end < 0:
        return 0
    head = bytes(read[:end]).lower()
    start = head.find(LENGTH)
    if start < 0:
        raise ValueError("an answer has no Content-Length: this generator reads no other")
    length = head[start + len(LENGTH) :].split(b"\r\n", 1)[0]
    return end + len(HEAD_END) + int(length)
