"""A client that closes its connection, on a real server and a real socket: the writer stops, the next one is served."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings
from model.creative import Creative
from model.tickets import CancelledError
from tests.app.service_client import WAIT_SECONDS_MAX, ServiceWriter, add_client, bearer, embedded, order


class PatientWriter(ServiceWriter):
    """Writes its first request until it is told to stop, and the others at once."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.stopped = threading.Event(), threading.Event()

    def write(
        self, *product: Any, cancelled: Callable[[], bool] = lambda: False, **options: Any
    ) -> tuple[Creative, ...]:
        if self.begun.is_set():
            return super().write(*product, cancelled=cancelled, **options)
        self.begun.set()
        for _ in range(int(WAIT_SECONDS_MAX * 100)):
            if cancelled():
                self.stopped.set()
                raise CancelledError
            threading.Event().wait(0.01)
        raise TimeoutError("nobody told the writer to stop")


@pytest.fixture
def writer() -> PatientWriter:
    return PatientWriter()


@pytest.fixture
def app(writer: PatientWriter, tmp_path: Path) -> FastAPI:
    app = create_app(Settings(**embedded(tmp_path)), writer=writer)
    add_client(app.state.parts)
    return app


@pytest.fixture
def address(app: FastAPI) -> Iterator[tuple[str, int]]:
    """Host and port of a running service."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(WAIT_SECONDS_MAX)
    listening.close()


def test_a_client_that_closes_its_connection_stops_the_writer(
    app: FastAPI, writer: PatientWriter, address: tuple[str, int]
) -> None:
    body, token = json.dumps(order()).encode(), bearer(app.state.parts)
    head = f"POST /v1/creatives HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    head += f"\r\nAuthorization: {token['Authorization']}"
    with socket.create_connection(address) as client:
        client.sendall(head.encode() + b"\r\n\r\n" + body)
        begun = writer.begun.wait(WAIT_SECONDS_MAX)

    stopped = writer.stopped.wait(WAIT_SECONDS_MAX)
    url = f"http://{address[0]}:{address[1]}/v1/creatives"
    next_one = httpx.post(url, json=order(), headers=token, timeout=WAIT_SECONDS_MAX)

    assert (begun, stopped) == (True, True)
    assert next_one.status_code == 200
