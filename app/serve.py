"""
Serve creatives over HTTP until stopped, with a reference at /docs.

Reads the environment and opens port and bundle; knows no routes, those are composed in main.py.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import math
import signal
import socket
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.cli import EXIT_FAILED, EXIT_USAGE, CommandParser
from app.main import create_app
from app.problem import Problem, ProblemKind, problem_response
from app.request_log import configure_logging
from app.settings import Settings
from app.tokens import IssuerKeyError
from model.bundle import BundleError
from model.store.tables import StoreError

HEAD_SECONDS_MAX = 10.0
"""Request line and headers are a few hundred bytes: whoever needs longer is not after an answer."""
SWITCH_SECONDS = 0.0005
HEAD_BYTES_MAX = 64 * 1024
"""Of a head that is not whole; identity.py takes far less of one that is."""
EXAMPLE = """\
example:
  adloom serve --port 8000
  curl -sS localhost:8000/v1/creatives -H 'Content-Type: application/json' \\
    -d '{"product": {"sku": "BOWL", "title": "Blue ceramic bowl"}, "channels": ["instagram"]}'

Everything else is set by environment variables: ADLOOM_QUEUE_DEPTH_MAX, ADLOOM_REQUEST_TIMEOUT_SECONDS and
the others in app/settings.py. Stop it with Ctrl-C or SIGTERM: requests in progress are finished first.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. 0: stopped in order; 1: could not start; 2: wrong arguments or settings."""
    arguments = _parser().parse_args(argv)
    given = {"bundle": arguments.bundle, "threads": arguments.threads}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        listener = listen(arguments.host, arguments.port)
    except ValidationError as error:
        return _fail(_settings_message(error), EXIT_USAGE)
    except OSError as error:
        return _fail(_listen_message(arguments.host, arguments.port, error), EXIT_FAILED)
    with listener:
        try:
            return _run(settings, listener)
        except (BundleError, StoreError, IssuerKeyError, ValueError) as error:
            return _fail(str(error), EXIT_FAILED)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom serve",
        description="Serve creatives over HTTP.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=_port, default=8000, help="port to listen on; 0 takes a free one (default: %(default)s)")
    add("--bundle", type=Path, help="folder of the model (default: $ADLOOM_BUNDLE, else .adloom/bundle)")
    add("--threads", type=int, help="threads of the engine; 0 for one a core (default: $ADLOOM_THREADS, else 0)")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def listen(host: str, port: int) -> socket.socket:
    """Take the port before the seconds it takes to load the bundle. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol has to be named: asyncio switches Nagle's algorithm off only for connections that say they are TCP,
    # and an answer in two pieces would wait 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # binding alone does not claim a port; who connects early waits until the bundle is loaded
    except OSError:
        listener.close()
        raise
    return listener


def _run(settings: Settings, listener: socket.socket) -> int:
    app = create_app(settings)
    configure_logging()
    keep_for_good()
    share_interpreter()
    server = new_server(app, settings)

    def stop(*_: object) -> None:
        server.should_exit = True

    # For the moment before the server installs its own handlers, and for the one after: it raises the signal again
    # when it has shut down, and the default would turn an orderly end into a death by signal.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    host, port = listener.getsockname()[:2]
    print(f"Adloom listens on http://{f'[{host}]' if ':' in host else host}:{port} (its API: /docs)", flush=True)
    server.run(sockets=[listener])
    return 0


def keep_for_good() -> None:
    """
    Leave what has been built so far out of the garbage collector's rounds.

    Code, schemas and statements are most of the heap and never garbage; to look at them all stops every request for
    about 0.1 s, again and again under load.
    """
    gc.collect()
    gc.freeze()


def share_interpreter() -> None:
    """
    Let a thread that waits for the interpreter's lock ask for it after SWITCH_SECONDS, not after Python's 5 ms.

    A request passes between threads four times, and each time would wait so long behind whoever computes: the batches,
    the generation log, the pictures.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def new_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """The server as it runs in production, not started."""
    config = uvicorn.Config(
        app,
        http=HeadDeadlineProtocol,
        log_config=None,  # configure_logging has set the one format for every logger
        access_log=False,  # RequestLog writes that line
        server_header=False,
        proxy_headers=settings.proxy_headers,
        # A request may take its whole timeout, and its answer a moment more.
        timeout_graceful_shutdown=math.ceil(settings.request_timeout_seconds) + 5,
    )
    return uvicorn.Server(config)


class HeadDeadlineProtocol(HttpToolsProtocol):
    """
    Closes a connection whose request line and headers are not whole after HEAD_SECONDS_MAX, or past HEAD_BYTES_MAX.

    uvicorn waits for them for ever, and each such connection takes a file descriptor from the others. (The body has
    a bound of its own, strict_json.BodyLimit.) What is no HTTP it refuses in our form of an error.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client that connects and says nothing is waited for no longer."""
        super().connection_made(transport)
        self._watch_head(0)

    def data_received(self, data: bytes) -> None:
        """The clock of one head goes on through all its pieces."""
        super().data_received(data)
        self._watch_head(len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- the server's words, for whoever has no others
        """A problem document like that of every other refusal, although no part of the app has seen the request."""
        problem = Problem(ProblemKind.BAD_REQUEST, "What came is not HTTP/1.1: send it with an HTTP client's library.")
        answer = problem_response(problem, request_id := uuid.uuid4().hex)
        headers = [*answer.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
        lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(header) for header in headers), b"", bytes(answer.body)]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _watch_head(self, read_bytes: int) -> None:
        """The parser keeps a head that is not whole in memory, however long it grows."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_bytes = 0
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            return
        self._head_bytes += read_bytes
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS_MAX, self.transport.close)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("")


def _settings_message(error: ValidationError) -> str:
    """Each wrong setting by the name of its variable and without its value."""
    lines = [f"ADLOOM_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
    return "; ".join(lines)


def _listen_message(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop the program that has it, or choose another with --port."
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has: choose one above 1023 with --port."
    return f"cannot listen on {host}, port {port}: {error.strerror or error}."


def _fail(message: str, status: int) -> int:
    print(f"adloom: error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
