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

Result = TypeVar("Result")


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, cancelled where the client goes first. Raises ClientGoneError then."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    """Returns when the client has gone. The body must have been read: what comes after it is the disconnect."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
