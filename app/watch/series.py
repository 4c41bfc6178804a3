"""
Ask a Prometheus what a panel shows: instants and ranges, as series with a name.

Knows the HTTP API and no panel by name.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.watch.panels import Panel, Query, filled

REQUEST_SECONDS_MAX = 30.0
ANSWER_BYTES_MAX = 32 * 1024 * 1024
_LABEL = re.compile(r"{{\s*(\w+)\s*}}")


class PrometheusError(RuntimeError):
    """It is not there, or refuses the query."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one value."""

    name: str
    labels: Mapping[str, str]
    times_seconds: tuple[float, ...]
    values: tuple[float, ...]
    """Without what is no number."""

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown."""

    end_seconds: float
    seconds: float
    rate_seconds: int
    """What $__rate_interval becomes; at least four scrapes."""
    steps: int = 160

    @property
    def step_seconds(self) -> float:
        """Between two values."""
        return max(1.0, self.seconds / self.steps)

    @classmethod
    def until_now(cls, seconds: float, rate_seconds: int) -> Window:
        """The last so many seconds."""
        return cls(time.time(), seconds, rate_seconds)


def ask(prometheus: str, panel: Panel, window: Window) -> list[Series]:
    """What the panel would show; empty where there is nothing. Raises PrometheusError."""
    return [
        series for query in panel.queries for series in _ask(prometheus, query, window, is_now=panel.kind != "lines")
    ]


def _ask(prometheus: str, query: Query, window: Window, *, is_now: bool) -> list[Series]:
    expr = filled(query.expr, rate_seconds=window.rate_seconds, range_seconds=round(window.seconds))
    if is_now:
        found = _get(f"{prometheus}/api/v1/query", {"query": expr, "time": f"{window.end_seconds:.3f}"})
        rows = [(each["metric"], [each["value"]]) for each in found]
    else:
        bounds = {"start": f"{window.end_seconds - window.seconds:.3f}", "end": f"{window.end_seconds:.3f}"}
        step = f"{window.step_seconds:.3f}"
        found = _get(f"{prometheus}/api/v1/query_range", {"query": expr, "step": step, **bounds})
        rows = [(each["metric"], each["values"]) for each in found]
    made = (_series(query.legend, labels, values) for labels, values in rows)
    return [series for series in made if series.values]


def _series(legend: str, labels: dict[str, str], values: list[tuple[float, str]]) -> Series:
    numbers = [(at, float(value)) for at, value in values if math.isfinite(float(value))]
    name = " ".join(_LABEL.sub(lambda found: labels.get(found[1], ""), legend).split())
    return Series(name, labels, tuple(at for at, _ in numbers), tuple(value for _, value in numbers))


def _get(address: str, parameters: Mapping[str, str]) -> list[Any]:
    if not address.startswith(("http://", "https://")):
        raise PrometheusError("the address of Prometheus begins with http:// or https://")
    body = urllib.parse.urlencode(parameters).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, body, timeout=REQUEST_SECONDS_MAX) as answer:
            told = json.loads(answer.read(ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        raise PrometheusError(f"Prometheus refuses {parameters['query']}: {_reason(error)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        where = urllib.parse.urlsplit(address).netloc.rpartition("@")[2]  # without name and password, as what follows
        said = type(error).__name__ if isinstance(error, http.client.HTTPException) else error
        raise PrometheusError(f"no Prometheus answers at {where}: {said}") from error
    result: list[Any] = told["data"]["result"]
    return result


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError):
        return str(error.code)
