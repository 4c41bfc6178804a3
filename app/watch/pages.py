"""
The dashboards as pictures on a port of this machine, for those without Grafana; each is drawn when it is asked for.

Knows no board by name. A picture is kept for some seconds, and the page fetches a new one when that time is over.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from app.watch.draw import draw
from app.watch.panels import Board
from app.watch.series import PrometheusError, Window
from app.watch.thresholds import Thresholds

KEPT_SECONDS = 15.0
WINDOW_SECONDS_MAX = 15 * 60.0
RATE_SECONDS = 30
STYLE = (
    "body{margin:0;background:#f6f4ef;color:#1c1a22;font:16px/1.5 system-ui,sans-serif}"
    "nav{padding:12px 20px;display:flex;gap:18px;flex-wrap:wrap}a{color:#a8341b}img{max-width:100%;height:auto}"
)


class Pages:
    """Draws the boards of one Prometheus, one at a time."""

    def __init__(self, boards: Sequence[Board], prometheus: str, thresholds: Thresholds, folder: Path) -> None:
        self._boards = {board.uid: board for board in boards}
        self._prometheus = prometheus
        self._thresholds = thresholds
        self._folder = folder
        self._drawn_seconds: dict[str, float] = {}
        self._begun_seconds = time.time()
        self._lock = threading.Lock()  # matplotlib is for one thread
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def address(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Answer no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def page(self, uid: str) -> str:
        """One board's, with links to the others. Raises KeyError where there is no such board."""
        board = self._boards[uid]
        links = "".join(f'<a href="/d/{each}">{html.escape(other.title)}</a>' for each, other in self._boards.items())
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(board.title)}</title>'
            f'<meta http-equiv="refresh" content="{KEPT_SECONDS:.0f}"><style>{STYLE}</style></head>'
            f'<body><nav>{links}</nav><img src="/{uid}.png" alt="{html.escape(board.answers)}"></body></html>'
        )

    def picture(self, uid: str) -> bytes:
        """PNG. Raises KeyError where there is no such board, PrometheusError."""
        board, path = self._boards[uid], self._folder / f"{uid}.png"
        with self._lock:
            if time.time() - self._drawn_seconds.get(uid, 0.0) > KEPT_SECONDS:
                shown_seconds = min(WINDOW_SECONDS_MAX, max(60.0, time.time() - self._begun_seconds))
                window = Window.until_now(shown_seconds, RATE_SECONDS)
                draw(board, self._prometheus, window, self._thresholds, path, "adloom watch, on this machine")
                self._drawn_seconds[uid] = time.time()
            return path.read_bytes()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    self._answer(200, *pages.answer(self.path))
                except KeyError:
                    self._answer(404, b"There is no such page: begin at /\n", "text/plain")
                except PrometheusError as error:
                    self._answer(502, f"{error}\n".encode(), "text/plain")

            def _answer(self, status: int, content: bytes, media_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Silent: the terminal shows the traffic."""

        return Handler

    def answer(self, path: str) -> tuple[bytes, str]:
        """Content and media type. Raises KeyError where there is nothing, PrometheusError."""
        if path.endswith(".png"):
            return self.picture(path[1:-4]), "image/png"
        uid = next(iter(self._boards)) if path == "/" else path.removeprefix("/d/")
        return self.page(uid).encode(), "text/html; charset=utf-8"
