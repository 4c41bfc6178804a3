"""
Merchants at work: ads for one and for several channels, batches, feedback, pictures, and a look at what was made.

Run by `adloom load`, or by hand: ADLOOM_LOAD_CLIENTS=clients.json locust -f tests/load/locustfile.py --host URL
Each user has a client and a token of its own. What was met is written to ADLOOM_LOAD_REPORT when the run ends.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from pathlib import Path
from typing import Any

from locust import HttpUser, events, task

WAIT_SECONDS = float(os.environ.get("ADLOOM_LOAD_WAIT_SECONDS", "1"))
WARM_SECONDS = float(os.environ.get("ADLOOM_LOAD_WARM_SECONDS", "0"))
SECONDS = float(os.environ.get("ADLOOM_LOAD_SECONDS", "inf"))
"""Measured after the warm-up; what is in flight then comes to its end and is no part of the rate."""
CLIENTS = itertools.cycle(json.loads(Path(os.environ["ADLOOM_LOAD_CLIENTS"]).read_text(encoding="utf-8")))
REPORT = os.environ.get("ADLOOM_LOAD_REPORT", "")
BUSY = 503
KNOWN_MAX = 50
"""Creatives that a user remembers, to come back to them."""
PRODUCTS = (
    ("Gooseneck kettle, 1.2 l", "Brushed steel, 1,000 W. Temperature in 1-degree steps from 40 to 100 °C.", "Kitchen"),
    ("Merino crew sweater", "100 % merino wool, 240 g. Machine washable at 30 °C. Navy.", "Apparel"),
    ("Trail headlamp 400", "400 lumens, 3 modes, IPX4. 85 g with batteries. Red light.", "Outdoor"),
    ("Walnut desk organiser", "Solid walnut, 28 x 12 x 9 cm. Three compartments and a pen tray.", "Office"),
)


class Met:
    """What was met between warm-up and end; one for the whole run, since users are greenlets of one process."""

    def __init__(self) -> None:
        self.began_seconds = time.monotonic()
        self.seconds: float | None = None
        """How long it was measured; None until that is over."""
        self.latencies_ms: list[float] = []
        self.outcomes = {"ok": 0, "shed": 0, "failed": 0}
        self.failures: dict[str, int] = {}
        """Of the whole run, whenever they came."""
        self.slowest_ms = 0.0
        """Likewise."""
        self.by_name: dict[str, list[float]] = {}
        self.waited_seconds = 0.0
        self.acknowledged: list[str] = []
        self.cpu_seconds = time.process_time()
        self.generator_cpu_share = 0.0
        self.is_warm = WARM_SECONDS == 0

    def look(self) -> bool:
        """Whether what happens now counts; the clocks start where it first does, and stop at the end."""
        passed = time.monotonic() - self.began_seconds
        if not self.is_warm and passed >= WARM_SECONDS:
            self.is_warm = True
            self.began_seconds, self.cpu_seconds = time.monotonic(), time.process_time()
        elif self.is_warm and passed >= SECONDS:
            self.stop()
        return self.is_warm and self.seconds is None

    def stop(self) -> None:
        if self.seconds is None:
            passed = time.monotonic() - self.began_seconds
            self.seconds = min(passed, SECONDS)
            self.generator_cpu_share = (time.process_time() - self.cpu_seconds) / passed

    def write(self, path: Path) -> None:
        self.stop()
        report = {
            "seconds": self.seconds,
            "latencies_ms": self.latencies_ms,
            "by_name": {name: [len(found), sum(found)] for name, found in self.by_name.items()},
            "outcomes": self.outcomes,
            "failures": self.failures,
            "slowest_ms": self.slowest_ms,
            "waited_seconds": self.waited_seconds,
            "generator_cpu_share": self.generator_cpu_share,
            "acknowledged": self.acknowledged,
        }
        path.write_text(json.dumps(report), encoding="utf-8")


met = Met()


@events.quitting.add_listener
def write_report(**_: Any) -> None:
    if REPORT:
        met.write(Path(REPORT))


class Merchant(HttpUser):
    """A shop's system."""

    def wait_time(self) -> float:
        seconds = random.expovariate(1 / WAIT_SECONDS)
        if met.look():
            met.waited_seconds += seconds
        return seconds

    def on_start(self) -> None:
        self.credentials = next(CLIENTS)
        self.known: list[str] = []
        self.sign_in()

    def sign_in(self) -> None:
        form = {"grant_type": "client_credentials", **self.credentials}
        while (answer := self.client.post("/v1/token", data=form, name="token")).status_code == BUSY:
            time.sleep(float(answer.headers.get("Retry-After", "1")))  # 64 secrets at once are more than it takes
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    @task(10)
    def one_channel(self) -> None:
        self.write([random.choice(("instagram", "facebook", "x", "pinterest"))], "creatives, one channel")

    @task(2)
    def three_channels(self) -> None:
        self.write(["instagram", "google_rsa", "linkedin"], "creatives, three channels")

    @task(4)
    def look_up(self) -> None:
        if self.known:
            self.send("GET", f"/v1/creatives/{random.choice(self.known)}", "creative")

    @task(3)
    def judge(self) -> None:
        if self.known:
            verdict = {"verdict": "accept"} if random.random() < 0.8 else {"verdict": "reject", "reason": "Too long."}
            path = f"/v1/creatives/{random.choice(self.known)}/feedback"
            self.send("POST", path, "feedback", {"json": verdict})

    @task(2)
    def draw(self) -> None:
        if self.known:
            self.send("GET", f"/v1/creatives/{random.choice(self.known)}/image.png", "picture")

    @task(1)
    def batch(self) -> None:
        body = {"products": [product() for _ in range(3)], "channels": ["x"]}
        answer = self.send("POST", "/v1/batches", "batch", {"json": body})
        if answer is not None:
            self.send("GET", f"/v1/batches/{answer['id']}", "batch, progress")

    def write(self, channels: list[str], name: str) -> None:
        body = {"product": product(), "channels": channels, "candidates": 1}
        answer = self.send("POST", "/v1/creatives", name, {"json": body})
        if answer is not None:
            made = [each["id"] for each in answer["creatives"]]
            self.known = (self.known + made)[-KNOWN_MAX:]
            met.acknowledged += made

    def send(self, method: str, path: str, name: str, more: dict[str, Any] | None = None) -> Any:
        """The answer's JSON; None where it has none. A 503 with Retry-After is the service's right, and counted."""
        began_seconds = time.monotonic()
        with self.client.request(method, path, name=name, catch_response=True, **(more or {})) as answer:
            took_ms = 1000 * (time.monotonic() - began_seconds)
            outcome = "ok" if answer.status_code < 400 else "failed"
            if answer.status_code == 503 and answer.headers.get("Retry-After"):
                outcome = "shed"
            answer.success() if outcome != "failed" else answer.failure(f"{answer.status_code}")
            is_json = outcome == "ok" and "json" in answer.headers.get("Content-Type", "")
            found = answer.json() if is_json else None
            status = str(answer.status_code)
        met.slowest_ms = max(met.slowest_ms, took_ms)
        if outcome == "failed":
            met.failures[f"{name}: {status}"] = met.failures.get(f"{name}: {status}", 0) + 1
        if met.look():
            met.latencies_ms.append(took_ms)
            met.by_name.setdefault(name, []).append(took_ms)
            met.outcomes[outcome] += 1
        return found


def product() -> dict[str, str]:
    title, description, category = random.choice(PRODUCTS)
    return {
        "sku": f"LOAD-{random.randrange(10**9)}",
        "title": title,
        "description": description,
        "category": category,
    }
