"""
A request answered bit by bit: server-sent events (WHATWG HTML, section 9.2) while its creatives are written.

Events: progress, field (a text that has passed the rules), creative (kept, with its id), done; or error, and the end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from app.connection import ClientGoneError
from app.problem import Problem, ProblemKind, problem_document
from app.studio import ChannelWritten, Progress, Tell
from model.creative import Creative
from model.store.tables import StoreError

KEEP_ALIVE_SECONDS = 15.0
"""Proxies close a connection that is silent for a minute, many for 30 s."""

Write = Callable[[Tell], Coroutine[Any, Any, list[Creative]]]


async def stream(
    request: Request, write: Write, form: Callable[[Creative], dict[str, Any]], returned: int
) -> StreamingResponse:
    """
    Answer with the events of `write`. What fails before there is anything to say is an ordinary problem.

    The client's leaving cancels `write`.
    """
    loop, events = asyncio.get_running_loop(), asyncio.Queue[str | None]()
    told = _Told(returned)

    def tell(event: Progress | ChannelWritten) -> None:
        for text in told.events(event):
            loop.call_soon_threadsafe(events.put_nowait, text)

    task = asyncio.ensure_future(write(tell))
    task.add_done_callback(lambda _: events.put_nowait(None))
    try:
        first = await events.get()
    except asyncio.CancelledError:
        task.cancel()
        raise
    if first is None:
        task.result()  # raises where it failed
    body = _body(request, first, events, task, form)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would collect the events otherwise
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)


class _Told:
    """What has been said of the progress, so that nothing is said twice."""

    def __init__(self, returned: int) -> None:
        self._returned = returned
        self._last: Progress | None = None

    def events(self, event: Progress | ChannelWritten) -> list[str]:
        if isinstance(event, ChannelWritten):
            return [_event("field", each) for each in _fields(event, self._returned)]
        if event == self._last:
            return []
        self._last = event
        return [_event("progress", {"channel": event.channel, "begun": event.begun, "texts": event.texts})]


def _fields(event: ChannelWritten, returned: int) -> list[dict[str, Any]]:
    """The rules look at an ad as a whole, so all its texts are final at once."""
    return [
        {"channel": event.channel, "rank": rank, "name": name, "place": place, "text": text}
        for rank, creative in enumerate(event.ranked[:returned])
        for name in ("headline", "body", "call_to_action", "hashtags")
        for place, text in enumerate(creative.copy.texts(name))
    ]


async def _body(
    request: Request,
    first: str | None,
    events: asyncio.Queue[str | None],
    task: asyncio.Future[list[Creative]],
    form: Callable[[Creative], dict[str, Any]],
) -> AsyncIterator[str]:
    try:
        text = first
        while text is not None:
            yield text
            text = await _next(events)
        for each in _ending(request, task, form):
            yield each
    finally:
        task.cancel()


async def _next(events: asyncio.Queue[str | None]) -> str | None:
    try:
        async with asyncio.timeout(KEEP_ALIVE_SECONDS):
            return await events.get()
    except TimeoutError:
        return ": still writing\n\n"


def _ending(
    request: Request, task: asyncio.Future[list[Creative]], form: Callable[[Creative], dict[str, Any]]
) -> Sequence[str]:
    try:
        written = task.result()
    except ClientGoneError:
        return []
    except Problem as problem:
        return [_event("error", problem_document(problem, request.state.request_id))]
    except StoreError:
        lost = Problem(ProblemKind.STORE_DOWN, "The ad was written and could not be kept: send the request again.")
        return [_event("error", problem_document(lost, request.state.request_id))]
    return [*(_event("creative", form(creative)) for creative in written), _event("done", {"creatives": len(written)})]


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
