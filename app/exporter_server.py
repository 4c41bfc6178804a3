"""
The exporter's port: what Prometheus scrapes.

Knows no metric. What is out of the ordinary (`name[]`, other methods) prometheus_client's own app answers.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer, gzip_accepted

from app.exposition import Exposition

GZIP_LEVEL = 1
"""A scrape stays on the cluster's network: the last tenth of its size would cost more than all the rest of it."""

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


def listen(registry: CollectorRegistry, host: str, port: int) -> WSGIServer:
    """A server that does not serve yet; port 0 takes a free one. Raises OSError where it cannot listen."""

    class Server(ThreadingWSGIServer):
        address_family = _family_of(host, port)

    return make_server(host, port, metrics_app(registry), Server, handler_class=_Silent)


def metrics_app(registry: CollectorRegistry) -> WsgiApp:
    """Answers a scrape at any path, compressed for those who ask for that."""
    exposition, library = Exposition(registry), make_wsgi_app(registry)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        is_plain = environ["REQUEST_METHOD"] == "GET" and not environ.get("QUERY_STRING")
        if not is_plain or environ["PATH_INFO"] == "/favicon.ico":
            answer: Iterable[bytes] = library(environ, start_response)
            return answer
        text, media_type = exposition.answer(environ.get("HTTP_ACCEPT", ""))
        headers = [("Content-Type", media_type)]
        if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            text, headers = gzip.compress(text, GZIP_LEVEL), [*headers, ("Content-Encoding", "gzip")]
        start_response("200 OK", headers)
        return [text]

    return app


def _family_of(host: str, port: int) -> socket.AddressFamily:
    """IPv4 or IPv6. Raises OSError for a name that nobody knows."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A line for every scrape would be all that the log holds."""
