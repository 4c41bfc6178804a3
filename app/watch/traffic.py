"""
Mixed traffic for a service that is watched: ads, look-ups, verdicts, batches, and requests that must be refused.

Knows the API and nothing behind it. `ADLOOM_CLIENT_SECRET=... python -m app.watch.traffic http://localhost:8000 --help`
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, TextIO

import httpx

from app.cli import CommandParser, guarded
from app.watch.arguments import number, whole
from model.channel import channels

SHARES: Mapping[str, int] = {
    "ad": 52, "look up": 24, "verdict": 12, "statistics": 5, "batch": 1, "nonsense": 2, "no such ad": 2, "stranger": 2,
}  # fmt: skip
"""Of a hundred requests. Strangers bring a bad token, nonsense is refused with 422: few enough to alarm nobody."""
ATTRIBUTES = ("material", "colour", "size")
REJECTED_SHARE = 0.1
RECENT_MAX = 200
"""Creatives that are remembered, to be looked up and judged."""
REQUEST_SECONDS_MAX = 90.0
TOKEN_LEFT_SECONDS = 30.0
TELL_SECONDS = 5.0
POLL_SECONDS = 0.1
EXAMPLE = """\
example:
  ADLOOM_CLIENT_SECRET=... python -m app.watch.traffic http://127.0.0.1:8000 --client shop --seconds 120 --rate 2
"""


class TrafficError(RuntimeError):
    """Nobody can be asked: no service there, or the client is not known to it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is sent; what, is the seed's choice."""

    seconds: float = 60.0
    rate: float = 2.0
    """Requests a second over all workers; fewer where the service is slower than that."""
    workers: int = 4
    requests_max: int = 1_000_000
    seed: int = 7


@dataclass(slots=True)
class Tally:
    """What was sent, and what came back. Threads share it."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request and status; 0 where no answer came."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, kind: str, status: int) -> None:
        """One more."""
        with self._lock:
            self.answers[kind, status] += 1

    @property
    def total(self) -> int:
        """Requests that have ended."""
        with self._lock:
            return self.answers.total()

    def line(self) -> str:
        """For people: statuses with their counts, the most frequent first."""
        with self._lock:
            by_status = Counter[int]()
            for (_, status), count in self.answers.items():
                by_status[status] += count
        shown = ", ".join(f"{count} x {status or 'no answer'}" for status, count in by_status.most_common())
        return f"{by_status.total()} requests: {shown or 'none yet'}"


class Merchant:
    """One client of the API with its token, products and memory. Threads may share it."""

    def __init__(self, address: str, client_id: str, client_secret: str) -> None:
        self._http = httpx.Client(base_url=address, timeout=REQUEST_SECONDS_MAX, trust_env=False)
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        self._products = _sample_products()
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT_MAX)
        self._unjudged: deque[dict[str, Any]] = deque(maxlen=RECENT_MAX)
        self._token, self._token_ends_seconds = "", 0.0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Its connections."""
        self._http.close()

    def upload_catalogue(self) -> int:
        """The sample; the status. The exporter tells its age from then on."""
        content = files("model").joinpath("data/catalogue.csv").read_bytes()
        return self._post("/v1/catalogue", content=content, headers={**self._bearer(), "Content-Type": "text/csv"})[0]

    def send(self, kind: str, chance: random.Random) -> int:
        """One request of that kind; the status. Raises httpx.HTTPError where no answer comes."""
        return self._KINDS[kind](self, chance)

    def _ad(self, chance: random.Random) -> int:
        order = {
            "product": chance.choice(self._products),
            "channels": [chance.choice(list(channels()))],
            "candidates": chance.choice((1, 2, 4)),
            "seed": chance.randrange(1000),
        }
        status, body = self._post("/v1/creatives", json=order, headers=self._bearer())
        for creative in body.get("creatives", ()):
            self._recent.append(creative)
            self._unjudged.append(creative)
        return status

    def _look_up(self, chance: random.Random) -> int:
        if not self._recent:
            return self._statistics(chance)
        creative = chance.choice(tuple(self._recent))
        return self._http.get(f"/v1/creatives/{creative['id']}", headers=self._bearer()).status_code

    def _verdict(self, chance: random.Random) -> int:
        try:
            creative = self._unjudged.popleft()  # each is judged once
        except IndexError:
            return self._look_up(chance)
        verdict: dict[str, Any] = {"verdict": "accept"}
        if chance.random() < REJECTED_SHARE:
            verdict = {"verdict": "reject", "reason": "It does not sound like us."}
        return self._post(f"/v1/creatives/{creative['id']}/feedback", json=verdict, headers=self._bearer())[0]

    def _statistics(self, _chance: random.Random) -> int:
        return self._http.get("/v1/stats", headers=self._bearer()).status_code

    def _batch(self, chance: random.Random) -> int:
        order = {"products": chance.sample(self._products, 2), "channels": ["x"], "candidates": 1}
        return self._post("/v1/batches", json=order, headers=self._bearer())[0]

    def _nonsense(self, _chance: random.Random) -> int:
        return self._post("/v1/creatives", json={"product": {"title": ""}}, headers=self._bearer())[0]

    def _no_such_ad(self, chance: random.Random) -> int:
        return self._http.get(f"/v1/creatives/cr_{chance.randbytes(10).hex()}", headers=self._bearer()).status_code

    def _stranger(self, _chance: random.Random) -> int:
        return self._http.get("/v1/stats", headers={"Authorization": "Bearer nobody"}).status_code

    _KINDS: Mapping[str, Callable[[Merchant, random.Random], int]] = {
        "ad": _ad, "look up": _look_up, "verdict": _verdict, "statistics": _statistics, "batch": _batch,
        "nonsense": _nonsense, "no such ad": _no_such_ad, "stranger": _stranger,
    }  # fmt: skip

    def _post(self, path: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        answer = self._http.post(path, **sent)
        return answer.status_code, answer.json() if answer.is_success else {}

    def _bearer(self) -> dict[str, str]:
        """Raises TrafficError where the service does not know the client."""
        with self._lock:
            if time.monotonic() > self._token_ends_seconds - TOKEN_LEFT_SECONDS:
                self._exchange()
            return {"Authorization": f"Bearer {self._token}"}

    def _exchange(self) -> None:
        answer = self._http.post("/v1/token", data=self._form)
        if not answer.is_success:
            raise TrafficError(
                f"the service gives the client {self._form['client_id']!r} no token ({answer.status_code}): "
                "make one with `adloom client create`, or give it a new secret with `adloom client rotate`"
            )
        issued = answer.json()
        self._token, self._token_ends_seconds = issued["access_token"], time.monotonic() + issued["expires_in"]


def drive(
    merchant: Merchant, plan: Plan, *, stop: threading.Event | None = None, tell: Callable[[str], None] | None = None
) -> Tally:
    """
    Send what the plan says, until it is done or `stop` is set; `tell` gets a line every few seconds.

    Raises TrafficError where the service is not there, or does not know the client.
    """
    stop = stop or threading.Event()
    try:
        merchant.upload_catalogue()
    except httpx.HTTPError as error:
        raise TrafficError(
            f"the service does not answer ({type(error).__name__}): is it started, and there?"
        ) from error
    tally, begun_seconds = Tally(), time.monotonic()
    workers = [
        threading.Thread(target=_work, args=(merchant, plan, place, begun_seconds, tally, stop), daemon=True)
        for place in range(plan.workers)
    ]
    for worker in workers:
        worker.start()
    told_seconds = begun_seconds
    while any(worker.is_alive() for worker in workers):
        stop.wait(POLL_SECONDS)
        if tell is not None and time.monotonic() - told_seconds >= TELL_SECONDS:
            told_seconds = time.monotonic()
            tell(f"{told_seconds - begun_seconds:4.0f} s, {tally.line()}")
        if stop.is_set():  # requests that are under way are not waited for
            break
    return tally


def _work(
    merchant: Merchant, plan: Plan, place: int, begun_seconds: float, tally: Tally, stop: threading.Event
) -> None:
    """Every so many seconds one request; what was missed while the service was slow is not made up for."""
    chance = random.Random(plan.seed * 1000 + place)
    every_seconds = plan.workers / plan.rate
    due_seconds = begun_seconds + place / plan.rate
    while due_seconds - begun_seconds < plan.seconds and tally.total < plan.requests_max:
        if stop.wait(max(0.0, due_seconds - time.monotonic())):
            return
        (kind,) = chance.choices(tuple(SHARES), tuple(SHARES.values()))
        try:
            tally.add(kind, merchant.send(kind, chance))
        except (httpx.HTTPError, TrafficError):
            tally.add(kind, 0)
        due_seconds = max(due_seconds + every_seconds, time.monotonic())


def _sample_products() -> list[dict[str, Any]]:
    """Of the sample catalogue, as the API takes them."""
    content = files("model").joinpath("data/catalogue.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    return [
        {
            **{name: value for name, value in row.items() if name not in ATTRIBUTES and value},
            "attributes": {name: row[name] for name in ATTRIBUTES if row[name]},
        }
        for row in rows
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """0: sent, and most was answered; 1: nobody to send it to; 2: wrong arguments."""
    return guarded(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    secret = os.environ.get("ADLOOM_CLIENT_SECRET", "")
    if not secret:
        raise TrafficError("set ADLOOM_CLIENT_SECRET to the client's secret, as `adloom client create` has shown it")
    merchant = Merchant(arguments.address, arguments.client, secret)
    plan = Plan(arguments.seconds, arguments.rate, arguments.workers, arguments.requests, arguments.seed)
    try:
        tally = drive(merchant, plan, tell=lambda line: _say(sys.stderr, line))
    finally:
        merchant.close()
    _say(sys.stdout, tally.line())
    return 0


def _say(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m app.watch.traffic",
        description="Send mixed traffic to a service.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, plan = parser.add_argument, Plan()
    add("address", type=_address, help="of the service, like http://127.0.0.1:8000")
    add("--client", required=True, help="name of a client with every scope; its secret is $ADLOOM_CLIENT_SECRET")
    positive = number(0.01, 100_000, "write a number from 0.01 to 100000")
    count = whole(1, 1_000_000, "write a whole number from 1 to 1000000")
    add("--seconds", type=positive, default=plan.seconds, help="how long (default: %(default)g)")
    add("--rate", type=positive, default=plan.rate, help="requests a second (default: %(default)g)")
    add("--workers", type=count, default=plan.workers, help="requests at once, at most (default: %(default)d)")
    add("--requests", type=count, default=plan.requests_max, help="stop after so many (default: %(default)d)")
    add("--seed", type=int, default=plan.seed, help="of what is sent (default: %(default)d)")
    return parser


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError("an address begins with http:// or https://")
    return text


if __name__ == "__main__":
    sys.exit(main())
