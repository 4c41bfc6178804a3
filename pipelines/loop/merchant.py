"""
A merchant's system, as far as the loop needs one: it asks for ads over HTTP and says what it thinks of them.

Its taste is fixed and simple, so that the loop's outcome is no matter of chance: a call to action of one word says
nothing and is written anew, any other finding has the ad rejected, and what is left is fit to run.
"""

from __future__ import annotations

import json
import random
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REQUEST_SECONDS_MAX = 120
AT_ONCE = 4
CHANNELS = ("instagram", "facebook", "linkedin", "pinterest")
"""Those with a call to action."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one stretch of requests brought."""

    since: datetime
    until: datetime
    creatives: Sequence[Mapping[str, Any]]

    @property
    def validity(self) -> float:
        """Mean of all."""
        return float(sum(one["validity"] for one in self.creatives) / len(self.creatives))

    @property
    def empty_calls(self) -> float:
        """Share of ads with a call to action of one word."""
        return sum(_is_empty(one["call_to_action"]) for one in self.creatives) / len(self.creatives)


class Merchant:
    """One client of the API."""

    def __init__(self, client_id: str, secret: str) -> None:
        self._credentials = {"client_id": client_id, "client_secret": secret}
        self._token = ""
        self._address = ""

    def sign_in(self, address: str) -> None:
        """A token of the service at `address`."""
        self._address = address
        form = urllib.parse.urlencode({**self._credentials, "grant_type": "client_credentials"}).encode()
        with urllib.request.urlopen(f"{address}/v1/token", form, timeout=REQUEST_SECONDS_MAX) as answer:  # noqa: S310 - the loop's own service
            self._token = str(json.load(answer)["access_token"])

    def ask(self, products: Sequence[Mapping[str, Any]], count: int, seed: int) -> Traffic:
        """`count` ads, each for a product and a channel drawn anew: neighbours in the log have nothing in common."""
        since = datetime.now(UTC)
        draw = random.Random(seed)
        bodies = [
            {
                "product": draw.choice(products),
                "channels": [draw.choice(CHANNELS)],
                "candidates": 1,
                "seed": seed + place,
            }
            for place in range(count)
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda body: self._post("/v1/creatives", body), bodies))
        creatives = [creative for answer in answers for creative in answer["creatives"]]
        return Traffic(since, datetime.now(UTC), creatives)

    def judge(self, creatives: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
        """Feedback on each; ids of the feedback by verdict."""
        given: dict[str, list[str]] = {"accept": [], "edit": [], "reject": []}
        for creative in creatives:
            body = verdict_on(creative)
            answer = self._post(f"/v1/creatives/{creative['id']}/feedback", body)
            given[body["verdict"]].append(answer["id"])
        return given

    def fate(self, feedback_id: str) -> dict[str, Any]:
        """What became of one verdict."""
        return self._get(f"/v1/feedback/{feedback_id}")

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._send(path, json.dumps(body).encode())

    def _get(self, path: str) -> dict[str, Any]:
        return self._send(path, None)

    def _send(self, path: str, body: bytes | None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._address + path, body, headers)  # noqa: S310 - the loop's own service
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS_MAX) as answer:  # noqa: S310 - as above
            told: dict[str, Any] = json.load(answer)
        return told


def verdict_on(creative: Mapping[str, Any]) -> dict[str, Any]:
    """What the API takes as feedback on one ad."""
    empty = _is_empty(creative["call_to_action"])
    others = [one for one in creative["findings"] if not (empty and one["field"] == "call_to_action")]
    if others:
        return {"verdict": "reject", "reason": f"finding: {others[0]['kind']}"}
    if not empty:
        return {"verdict": "accept"}
    edited = {
        "headlines": creative["headlines"],
        "descriptions": creative["descriptions"],
        "call_to_action": "See the details",
        "hashtags": creative["hashtags"],
    }
    return {"verdict": "edit", "edited": edited, "reason": "the call to action says nothing"}


def _is_empty(call: str) -> bool:
    """Whether a call to action says nothing: one word or none, whatever stands beside it."""
    return len(_WORD.findall(call)) < 2
