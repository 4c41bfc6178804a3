"""
Clients that are slow, endless or ambiguous on the wire: bounded, and no reason for anybody else to wait.

A real server and raw sockets, because no client library sends such requests.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import app.serve
from app.main import create_app
from app.settings import Settings
from tests.app.served_app import served
from tests.app.service_client import ServiceWriter, add_client, bearer, embedded, order
from tests.real_parts import wait_until

BODY_SECONDS, HEAD_SECONDS = 1.0, 1.0
"""The bounds where one is waited for; a good client of a busy machine may miss them too."""
PATIENCE_SECONDS = 60.0
DRIP_SECONDS = 0.1


@dataclass(frozen=True)
class Served:
    """A service, and a token for it."""

    place: tuple[str, int]
    authorization: str

    def head(self, *lines: str, path: str = "/v1/creatives", method: str = "POST") -> bytes:
        """Request line and headers, whole."""
        always = [f"{method} {path} HTTP/1.1", "Host: shop.example", f"Authorization: {self.authorization}"]
        return "\r\n".join([*always, "Content-Type: application/json", *lines, "", ""]).encode()

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(self.place, timeout=PATIENCE_SECONDS) as connection:
            yield connection

    def write(self) -> httpx.Response:
        """What a well-behaved client gets meanwhile."""
        address = f"http://{self.place[0]}:{self.place[1]}/v1/creatives"
        return httpx.post(
            address, json=order(), headers={"Authorization": self.authorization}, timeout=PATIENCE_SECONDS
        )


@contextmanager
def service_in(folder: Path, body_seconds: float) -> Iterator[Served]:
    settings = Settings(**embedded(folder), request_timeout_seconds=body_seconds, body_bytes_max=4096)
    built = create_app(settings, writer=ServiceWriter())
    add_client(built.state.parts)
    with served(built) as place:
        yield Served(place, bearer(built.state.parts)["Authorization"])


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Waits for a body as long as BODY_SECONDS."""
    with service_in(tmp_path_factory.mktemp("hasty"), BODY_SECONDS) as started:
        yield started


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Waits for everything as long as the test does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.serve, "HEAD_SECONDS_MAX", 2 * PATIENCE_SECONDS)
        with service_in(tmp_path_factory.mktemp("slow"), 2 * PATIENCE_SECONDS) as started:
            yield started


@pytest.fixture
def short_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads are waited for as long as HEAD_SECONDS."""
    monkeypatch.setattr(app.serve, "HEAD_SECONDS_MAX", HEAD_SECONDS)


def has_answer(connection: socket.socket) -> bool:
    """Or has been closed."""
    return bool(select.select([connection], [], [], 0)[0])


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes; raises TimeoutError where it does not."""
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionResetError:
        pass  # it closed while something of ours was still on the way
    return received


def drip(connection: socket.socket, byte: bytes, stop: threading.Event) -> None:
    """A byte now and then, until told to stop or until nobody takes it any more."""
    while not stop.wait(DRIP_SECONDS):
        try:
            connection.sendall(byte)
        except OSError:
            return


@contextmanager
def dripping(connection: socket.socket, byte: bytes) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=drip, args=(connection, byte, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)


def problem_in(received: bytes) -> tuple[int, str]:
    """Status and type of an answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["type"].removeprefix("urn:adloom:problem:")


@pytest.mark.parametrize("framing", ["Content-Length: 4000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["/v1/creatives", "/v1/batches", "/v1/catalogue", "/v2/models/adloom-writer/infer"])
def test_a_body_that_comes_byte_by_byte_is_408_and_others_are_answered_meanwhile(
    hasty: Served, service: Served, path: str, framing: str
) -> None:
    piece = b" " if "Length" in framing else b"1\r\n \r\n"
    began_seconds = time.monotonic()
    with hasty.connection() as connection:
        connection.sendall(hasty.head(framing, path=path))
        with dripping(connection, piece):
            received = read_all(connection)
    took_seconds = time.monotonic() - began_seconds
    with service.connection() as connection:
        connection.sendall(service.head(framing, path=path))
        with dripping(connection, piece):
            other = service.write()
            is_answered = has_answer(connection)

    assert other.status_code == 200
    assert not is_answered
    assert problem_in(received) == (408, "body-too-slow")
    assert b"connection: close" in received.lower()
    assert took_seconds >= BODY_SECONDS


def test_a_token_request_that_comes_byte_by_byte_is_408_too(hasty: Served) -> None:
    head = hasty.head("Content-Length: 4000", path="/v1/token").replace(b"json", b"x-www-form-urlencoded")
    with hasty.connection() as connection:
        connection.sendall(head)
        with dripping(connection, b"a"):
            received = read_all(connection)

    assert problem_in(received) == (408, "body-too-slow")


def test_every_operation_with_a_body_says_that_it_waits_no_longer(service: Served) -> None:
    document = httpx.get(f"http://{service.place[0]}:{service.place[1]}/openapi.json", timeout=PATIENCE_SECONDS).json()
    with_body = [each for path in document["paths"].values() for each in path.values() if "requestBody" in each]

    assert len(with_body) >= 7
    assert [each["operationId"] for each in with_body if "408" not in each["responses"]] == []


def test_a_body_in_two_pieces_with_a_short_pause_is_taken(service: Served) -> None:
    body = json.dumps(order()).encode()
    with service.connection() as connection:
        connection.sendall(service.head(f"Content-Length: {len(body)}", "Connection: close") + body[:20])
        time.sleep(BODY_SECONDS / 5)
        connection.sendall(body[20:])
        received = read_all(connection)

    assert received.startswith(b"HTTP/1.1 200 ")


def test_an_answer_on_a_kept_connection_does_not_wait_for_an_acknowledgement_of_its_first_packet(
    service: Served,
) -> None:
    took_seconds: list[float] = []
    with httpx.Client(base_url=f"http://{service.place[0]}:{service.place[1]}", timeout=PATIENCE_SECONDS) as client:

        def six_of_those_after_twenty_were_quick() -> bool:
            began_seconds = time.monotonic()
            client.get("/version")
            took_seconds.append(time.monotonic() - began_seconds)
            return len([each for each in took_seconds[20:] if each < 0.03]) >= 6

        # A delayed acknowledgement takes 0.04 s every time; a busy machine takes long now and then.
        wait_until(six_of_those_after_twenty_were_quick, "quick answers", PATIENCE_SECONDS)


@contextmanager
def fifty_slow_bodies(to: Served) -> Iterator[list[socket.socket]]:
    held = [socket.create_connection(to.place, timeout=PATIENCE_SECONDS) for _ in range(50)]
    try:
        for connection in held:
            connection.sendall(to.head("Content-Length: 4000") + b"{")
        yield held
    finally:
        for connection in held:
            connection.close()


def test_fifty_slow_bodies_at_once_keep_nobody_waiting(hasty: Served, service: Served) -> None:
    with fifty_slow_bodies(service) as held:
        others = [service.write().status_code for _ in range(3)]
        are_answered = [has_answer(connection) for connection in held]
    with fifty_slow_bodies(hasty) as held:
        answers = {problem_in(read_all(connection)) for connection in held}

    assert others == [200, 200, 200]
    assert not any(are_answered)
    assert answers == {(408, "body-too-slow")}


@pytest.mark.parametrize("sent", [b"", b"POST /v1/creatives HTTP/1.1\r\nHost: a\r\nX-Slow: "], ids=["nothing", "half"])
def test_a_head_that_never_ends_costs_its_connection_and_others_are_answered_meanwhile(
    service: Served, sent: bytes, request: pytest.FixtureRequest
) -> None:
    with service.connection() as connection:
        connection.sendall(sent)
        with dripping(connection, b"a" if sent else b""):
            other = service.write()
            is_closed = has_answer(connection)
    request.getfixturevalue("short_heads")
    began_seconds = time.monotonic()
    with service.connection() as connection:
        connection.sendall(sent)
        with dripping(connection, b"a" if sent else b""):
            received = read_all(connection)
    took_seconds = time.monotonic() - began_seconds

    assert other.status_code == 200
    assert not is_closed
    assert received == b""
    assert took_seconds >= HEAD_SECONDS - 0.01  # the loop's timers go by whole milliseconds, and may end one early


@pytest.mark.usefixtures("short_heads")
def test_the_head_of_a_second_request_on_a_connection_is_waited_for_no_longer(service: Served) -> None:
    with service.connection() as connection:
        connection.sendall(service.head(path="/version", method="GET"))
        first = connection.recv(65_536)
        connection.sendall(b"GET /version HTTP/1.1\r\nX-Slow: ")
        with dripping(connection, b"a"):
            rest = read_all(connection)

    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1" not in rest


def test_a_chunked_body_without_end_is_413_soon_after_the_bound(service: Served) -> None:
    sent_bytes = 0
    with service.connection() as connection:
        connection.sendall(service.head("Transfer-Encoding: chunked"))
        try:
            while sent_bytes < 64 * 2**20:
                connection.sendall(b"400\r\n" + b" " * 0x400 + b"\r\n")
                sent_bytes += 0x400
        except OSError:
            pass  # it has been closed by then
        received = read_all(connection)

    assert received == b"" or problem_in(received) == (413, "body-too-large")
    assert sent_bytes < 16 * 2**20  # what the sockets' buffers take, at most
    assert service.write().status_code == 200


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1",
        "Content-Length: 0x10",
        "Content-Length: 5, 6",
        "Content-Length: " + "9" * 5_000,
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
        "X-Request-ID: a\rSet-Cookie: hunter2",
        "X-Request-ID: a\0hunter2",
        "X Request ID: hunter2",
        "X-Request-ID: a\nSet-Cookie: hunter2=1",
        "X-Request-ID: a\r\n Set-Cookie: hunter2=1",
    ],
    ids=lambda line: line[:30].encode("unicode_escape").decode(),
)
def test_a_head_that_can_be_read_in_two_ways_is_400_and_gives_nothing_back(service: Served, line: str) -> None:
    with service.connection() as connection:
        connection.sendall(service.head(line, path="/version", method="GET"))
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection)

    assert problem_in(received) == (400, "bad-request")
    assert b"application/problem+json" in received
    assert b"connection: close" in received.lower()
    assert b"hunter2" not in received


def test_a_head_that_grows_and_grows_is_400_past_its_bound(service: Served) -> None:
    sent_bytes = 0
    with service.connection() as connection:
        connection.sendall(b"GET /version HTTP/1.1\r\nHost: a\r\nX-Long: ")
        try:
            while sent_bytes < 64 * 2**20:
                sent_bytes += connection.send(b"a" * 0x400)
        except OSError:
            pass  # it has been closed by then
        received = read_all(connection)

    assert received == b"" or problem_in(received) == (400, "bad-request")
    assert sent_bytes < 16 * 2**20  # what the sockets' buffers take, at most
    assert service.write().status_code == 200


def test_length_and_chunks_together_do_not_smuggle_a_second_request(service: Served) -> None:
    smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    with service.connection() as connection:
        connection.sendall(service.head("Content-Length: 4", "Transfer-Encoding: chunked") + smuggled)
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection)

    assert received.count(b"HTTP/1.1 200") == 0
    assert received.count(b"HTTP/1.1 ") <= 2
