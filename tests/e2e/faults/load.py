"""Clients that send one order after another, and know afterwards what was acknowledged, refused and never answered."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.app.service_client import order
from tests.e2e.faults.running import Service

CLIENTS = 4
REFUSED_PAUSE_SECONDS = 0.05
"""A refusal is quick: without a pause the clients would do nothing but collect them."""
JOIN_SECONDS_MAX = 120.0


@dataclass
class Load:
    """Counts are of this moment; the clients go on."""

    acknowledged: list[str] = field(default_factory=list)
    """Ids of creatives, one for each order that was answered with 200: no product is sent twice."""
    refused: Counter[str] = field(default_factory=Counter)
    """By the type of the problem."""
    unanswered: list[str] = field(default_factory=list)
    """Names of the errors of orders whose connection ended first."""
    seconds: list[float] = field(default_factory=list)
    """Of every answer."""
    stop: threading.Event = field(default_factory=threading.Event)

    def send(self, client: httpx.Client, sku: str) -> None:
        began_seconds = time.perf_counter()
        try:
            answer = client.post("/v1/creatives", json=order(product={"sku": sku}, candidates=1))
        except httpx.TransportError as error:
            self.unanswered.append(type(error).__name__)
            self.stop.wait(REFUSED_PAUSE_SECONDS)
            return
        self.seconds.append(time.perf_counter() - began_seconds)
        if answer.status_code == 200:
            self.acknowledged.append(answer.json()["creatives"][0]["id"])
        else:
            self.refused[answer.json()["type"].removeprefix("urn:adloom:problem:")] += 1
            self.stop.wait(REFUSED_PAUSE_SECONDS)

    def counts(self) -> str:
        """For the test's output."""
        slowest = max(self.seconds, default=0.0)
        return (
            f"acknowledged {len(self.acknowledged)}, refused {dict(self.refused)}, "
            f"unanswered {len(self.unanswered)}, slowest answer {slowest:.2f} s"
        )


def say(text: str) -> None:
    """Counts of a test, for who runs it with -s."""
    sys.stdout.write(f"{text}\n")


@contextmanager
def under_load(service: Service, name: str = "LOAD") -> Iterator[Load]:
    """CLIENTS clients at work until the end of the block."""
    load = Load()

    def work(number: int) -> None:
        with service.client() as client:
            for count in itertools.count():
                if load.stop.is_set():
                    return
                load.send(client, f"{name}-{number}-{count}")

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(JOIN_SECONDS_MAX)
        assert not any(thread.is_alive() for thread in threads)
