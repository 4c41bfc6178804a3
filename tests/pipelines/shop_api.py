"""A shop's paged HTTP API on a port of its own, which misbehaves as it is told. Keeps every request it saw."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Answer:
    """One answer; a `length` other than the body's lets the connection break in the middle."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class ShopApi:
    """`answers` come first, one a request; then pages of `items`, newest state of the shop."""

    address: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    page_items: int = 2
    etag: str = ""
    uses_link: bool = False

    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        self.seen.append((path, headers))
        if self.answers:
            return self.answers.pop(0)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        since, page = asked.get("updated_since", ""), int(asked.get("page", 1))
        if self.etag and headers.get("If-None-Match") == self.etag:
            return Answer(304, b"")
        items = [item for item in self.items if str(item.get("updated_at", "")) >= since]
        shown = items[(page - 1) * self.page_items : page * self.page_items]
        has_more = page * self.page_items < len(items)
        query = f"updated_since={since}&page={page + 1}" if since else f"page={page + 1}"
        following = f"/products?{query}" if has_more else None
        extra = {"ETag": self.etag} if self.etag else {}
        if self.uses_link and following:
            extra["Link"] = f'<{following}>; rel="next"'
        return Answer(200, {"data": {"products": shown}, "paging": {"next": following}}, extra)


@contextmanager
def shop_api() -> Iterator[ShopApi]:
    """A running one."""
    api = ShopApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = api.answer(self.path, dict(self.headers))
            content = answer.content if answer.status != 304 else b""
            self.send_response(answer.status)
            kind = {} if "Content-Type" in answer.headers else {"Content-Type": "application/json"}
            for name, value in {**kind, **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = answer.length is not None

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    api.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
