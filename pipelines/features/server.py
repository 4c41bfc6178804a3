"""
Serve products by client and sku over HTTP: Feast's own server, of which only the reading stays.

It knows no client's token: only the service may reach it, which is a network policy's business.

Example: adloom features --port 6566
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from model.feature_rows import REFERENCES
from pipelines.settings import PipelineSettings
from pipelines.step import parser, say

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PORT = 6566
"""Feast's own default."""
REGISTRY_SECONDS = 60
FAILURES_MAX = 5
SERVER_ERROR = 500
OPEN_PATHS = ("/get-online-features", "/health")
"""Feast would also take writes, and it asks nobody who they are."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("features", __doc__)
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options.add_argument("--port", type=int, default=PORT, help="port to listen on (default: %(default)s)")
    arguments = options.parse_args(argv)
    # Feast takes seconds to import, which `--help` need not wait for.
    import uvicorn  # noqa: PLC0415
    from feast.feature_server import get_app  # noqa: PLC0415

    from pipelines.features.store import feature_errors, open_features  # noqa: PLC0415

    store = open_features(PipelineSettings())
    with feature_errors():
        app = get_app(store, REGISTRY_SECONDS)
        # Feast's first answer takes a second, and the service waits half of one.
        store.get_online_features(features=list(REFERENCES), entity_rows=[{"client": "", "sku": ""}])
    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") in OPEN_PATHS]
    say(f"features at http://{arguments.host}:{arguments.port}")
    guarded = EndsWhenBroken(app)
    place = {"host": arguments.host, "port": arguments.port}
    server = uvicorn.Server(uvicorn.Config(guarded, **place, access_log=False, log_level="warning"))
    guarded.end = lambda: setattr(server, "should_exit", True)
    server.run()
    if guarded.is_broken:
        raise RuntimeError(f"{FAILURES_MAX} requests in a row failed: start it again, its connections may be broken")
    return 0


class EndsWhenBroken:
    """Calls `end` at FAILURES_MAX answers of 5xx in a row: Feast keeps broken connections; a new process has none."""

    def __init__(self, app: App) -> None:
        self.end: Callable[[], None] = lambda: None
        self._app = app
        self._failures = 0

    @property
    def is_broken(self) -> bool:
        """Whether `end` was called."""
        return self._failures >= FAILURES_MAX

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI app."""

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start" and scope.get("path") != "/health" and not self.is_broken:
                self._failures = self._failures + 1 if message["status"] >= SERVER_ERROR else 0
            await send(message)
            if self.is_broken:
                self.end()

        await self._app(scope, receive, count)
