"""The service behind its server on a free port, in this process: for tests that need sockets but nobody's death."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from app.parts import Parts
from app.serve import listen, new_server
from tests.real_parts import wait_until

STOP_SECONDS_MAX = 60.0


@contextmanager
def served(app: FastAPI) -> Iterator[tuple[str, int]]:
    """Where it listens; at the end the server has stopped in order."""
    parts: Parts = app.state.parts
    with listen("127.0.0.1", 0) as listener:
        server = new_server(app, parts.settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), "the server to start")
            assert thread.is_alive()
            yield "127.0.0.1", listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS_MAX)
            assert not thread.is_alive()
