"""
What the page tells Prometheus of itself.

A registry of its own: the API's metrics are the API's.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "adloom_ui_request_duration_seconds",
            "Answers of the page, from the request to the last byte.",
            ["method", "status"],
            buckets=BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.sign_ins = Counter(
            "adloom_ui_sign_ins_total", "Sign-ins, by outcome.", ["outcome"], registry=self.registry
        )
        self.sessions = Gauge("adloom_ui_sessions", "Open sessions.", registry=self.registry)
        self.api_failures = Gauge(
            "adloom_ui_api_failures", "Requests to the API that got no answer, since the start.", registry=self.registry
        )


class Timed:
    """Counts every answer; outermost, so that refusals count too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on and measure."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), "500"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.requests.labels(scope["method"], status).observe(time.perf_counter() - started)
