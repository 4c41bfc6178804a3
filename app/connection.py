"""
Work that is done for a client only as long as it is there.

Knows ASGI's messages and nothing of what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

CLIENT_CLOSED_REQUEST = 499
"""Status in the request log for an answer that nobody reads, as nginx has it; no client ever sees it."""

LOOK_AFTER_SECONDS = 0.05
"""An ad takes a second to write, so a client that leaves at once still stops nearly all of the work."""

Result = TypeVar("Result")


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """
    The result of `work`, cancelled where the client goes first. Raises ClientGoneError then.

    Nobody looks for the first LOOK_AFTER_SECONDS: work that short is not worth the task that would watch over it.
    """
    watch = _Watch(request, asyncio.current_task())
    handle = asyncio.get_running_loop().call_later(LOOK_AFTER_SECONDS, watch.start)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.take_back():
            raise ClientGoneError from None
        raise
    finally:
        handle.cancel()
        watch.stop()


class _Watch:
    """Cancels a task when the client has gone, as `asyncio.timeout` does when time is up."""

    def __init__(self, request: Request, working: asyncio.Task[Any] | None) -> None:
        self._request = request
        self._working = working
        self._looking: asyncio.Task[None] | None = None
        self._is_gone = False

    def start(self) -> None:
        self._looking = asyncio.ensure_future(self._look())

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def take_back(self) -> bool:
        """Whether it was we who cancelled the task, and nobody else."""
        return self._is_gone and self._working is not None and self._working.uncancel() <= 0

    async def _look(self) -> None:
        """The body must have been read: what comes after it is the disconnect."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        if self._working is not None:
            self._is_gone = True
            self._working.cancel()
