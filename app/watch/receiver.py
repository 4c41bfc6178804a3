"""
Where the local stack's Alertmanager delivers, and where its parts are started and stopped over HTTP.

Keeps in memory what came; knows no stack, it is given one function for each part's action. Loopback only.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY_BYTES_MAX = 4 * 1024 * 1024
HOOK, PARTS = "hook", "parts"


@dataclass(frozen=True, slots=True)
class Notification:
    """One alert as one receiver got it."""

    receiver: str
    alert: str
    status: str
    """firing or resolved."""
    at_seconds: float
    """Of the monotonic clock."""
    labels: dict[str, str]
    annotations: dict[str, str]


Act = Callable[[str, str, str], str]
"""Part, action, argument; gives what to answer. Raises ValueError for what there is not."""


class Receiver:
    """An HTTP server in threads of this process: `POST /hook/<receiver>` and `POST /parts/<part>/<action>[/<arg>]`."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._notifications: list[Notification] = []
        self._changed = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def notifications(self) -> tuple[Notification, ...]:
        """So far, oldest first."""
        with self._changed:
            return tuple(self._notifications)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    def close(self) -> None:
        """No request is taken any more. Nothing to wait for where it was never started."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def take(self, receiver: str, message: dict[str, Any]) -> None:
        """A webhook's body, form 4 of Alertmanager's. Raises ValueError for anything else."""
        if not isinstance(message, dict):
            raise ValueError("a webhook's body is an object")  # noqa: TRY004 -- it came over the wire
        now_seconds = time.monotonic()
        taken = [
            Notification(
                receiver,
                alert["labels"].get("alertname", ""),
                alert["status"],
                now_seconds,
                alert["labels"],
                alert.get("annotations", {}),
            )
            for alert in message.get("alerts", [])
        ]
        with self._changed:
            self._notifications += taken

    def answer(self, path: str, body: bytes) -> tuple[int, str]:
        """Status and text."""
        kind, *rest = path.strip("/").split("/")
        try:
            if kind == HOOK and len(rest) == 1:
                self.take(rest[0], json.loads(body))
                return 200, ""
            if kind == PARTS and len(rest) in (2, 3):
                return 200, self._act(rest[0], rest[1], rest[2] if rest[2:] else "")
        except (ValueError, KeyError, TypeError) as error:
            return 400, f"{error}\n"
        except (RuntimeError, OSError) as error:
            return 500, f"{error}\n"
        return 404, "POST /hook/<receiver>, or /parts/<part>/<start|stop|crash|restart>\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), BODY_BYTES_MAX)
                status, text = receiver.answer(self.path, self.rfile.read(length))
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 -- the parent's name for it
                """Silent: what came is kept."""

        return Handler
