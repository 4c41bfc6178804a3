"""
Requests for a drill: merchants who ask for ads, judge them, or come with a token that is none.

Threads with a connection each and a rate for all of them; counts answers by status. Knows no fault.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

ANSWER_SECONDS_MAX = 70.0
"""Longer than the service's own deadline."""
VALID_MIN = 0.9
"""A merchant of the drill rejects what scores below this, and accepts the rest."""
ORDER: dict[str, Any] = {
    "product": {"sku": "BOWL", "title": "Blue ceramic bowl", "description": "Holds 0.5 l."},
    "channels": ["instagram"],
    "candidates": 1,
}


class Traffic:
    """
    `start` and `stop` it; `per_second` is for all workers together, 0 for as fast as answers come.

    With `judges` every ad gets a verdict. With `is_forged` no token is good. Every second somebody asks /readyz, as a
    kubelet does.
    """

    def __init__(
        self,
        service_url: str,
        token: str,
        *,
        workers: int = 4,
        per_second: float = 10.0,
        judges: bool = False,
        is_forged: bool = False,
    ) -> None:
        self._address = urlsplit(service_url).netloc
        self._headers = {
            "Authorization": f"Bearer {'forged' if is_forged else token}",
            "Content-Type": "application/json",
        }
        self._interval_seconds = workers / per_second if per_second else 0.0
        self._judges = judges
        self._seeds = itertools.count(1)
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self.statuses: Counter[int] = Counter()
        """Answers to orders; 0 where none came."""
        runs = [self._order] * workers + [self._probe]
        self._threads = [threading.Thread(target=self._repeat, args=(place, run)) for place, run in enumerate(runs)]

    def start(self) -> None:
        """Once."""
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def stop(self) -> None:
        """No request is sent any more; those on their way are waited for a little."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2.0)

    def _repeat(self, place: int, run: Any) -> None:
        interval_seconds = self._interval_seconds if run == self._order else 1.0
        self._stop.wait(interval_seconds * place / len(self._threads))  # not all at once
        while not self._stop.is_set():
            started_seconds = time.monotonic()
            run()
            pause_seconds = interval_seconds - (time.monotonic() - started_seconds)
            self._stop.wait(max(0.001, pause_seconds))

    def _order(self) -> None:
        body = {**ORDER, "seed": next(self._seeds)}
        status, answer = self._call("POST", "/v1/creatives", body)
        with self._counting:
            self.statuses[status] += 1
        if self._judges and status == http.client.OK:
            creative = answer["creatives"][0]
            verdict = "accept" if creative["validity"] >= VALID_MIN else "reject"
            body = {"verdict": verdict, "reason": "a merchant of a drill looked at its score"}
            self._call("POST", f"/v1/creatives/{creative['id']}/feedback", body)

    def _probe(self) -> None:
        self._call("GET", "/readyz", None)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if answer.status == http.client.OK else None
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()
