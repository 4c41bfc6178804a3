"""
The API's operations that the page's scripts use, each passed on in the name of the session.

Only what stands here can be reached; answers and problems come back as the API gave them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.ui.api_client import ApiClient
from app.ui.problems import detail_of, problem, service_down
from app.ui.sessions import Decision, Session

PHOTOGRAPH_HEADER = "adloom-photograph"
PASSED_ON = ("content-type", "retry-after", "etag", "content-security-policy", PHOTOGRAPH_HEADER)
"""Headers of the API's answer that browsers need; the policy of a picture is stricter than ours."""
JSON_TYPE = "application/json"
ID = re.compile(r"[a-z]{2}_[0-9a-f]{20,32}")
PHOTOGRAPH_TYPES = ("image/png", "image/jpeg", "image/webp")
PAIRS_TYPES = ("application/x-ndjson", "text/csv")
FRAMED = {
    "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'self'",
    "x-frame-options": "SAMEORIGIN",
}
"""Of the one answer that may stand in a frame, and only in one of ours; in small letters, as those of an answer are."""
PICTURE_SECONDS = 3600
CLIENT_GONE = 499
"""As nginx counts it; nobody receives it."""


def api_of(request: Request) -> ApiClient:
    """As create_app built it."""
    api: ApiClient = request.app.state.api
    return api


def session_of(request: Request) -> Session:
    """The guard let nobody in without one."""
    session: Session = request.state.session
    return session


def routes() -> list[Route]:
    """Under /api/, and pictures under /pictures/."""
    return [
        Route("/api/channels", _get("/v1/channels")),
        Route("/api/creatives", write_creatives, methods=["POST"]),
        Route("/api/creatives/{id}/feedback", give_feedback, methods=["POST"]),
        Route("/api/batches", _post("/v1/batches"), methods=["POST"]),
        Route("/api/batches/{id}", _get("/v1/batches/{id}"), methods=["GET"]),
        Route("/api/batches/{id}", _delete("/v1/batches/{id}"), methods=["DELETE"]),
        Route("/api/retrains", _post("/v1/retrains"), methods=["POST"]),
        Route("/api/retrains/{id}", _get("/v1/retrains/{id}")),
        Route("/api/photographs", send_photograph, methods=["POST"]),
        Route("/api/pairs", _get("/v1/pairs"), methods=["GET"]),
        Route("/api/pairs", send_pairs, methods=["POST"]),
        Route("/api/pairs/{id}", _get("/v1/pairs/{id}"), methods=["GET"]),
        Route("/api/pairs/{id}", _delete("/v1/pairs/{id}"), methods=["DELETE"]),
        Route("/api/rollbacks", _post("/v1/rollbacks"), methods=["POST"]),
        Route("/api/rollbacks/{id}", _get("/v1/rollbacks/{id}"), methods=["GET"]),
        Route("/api/rollbacks/{id}", _delete("/v1/rollbacks/{id}"), methods=["DELETE"]),
        Route("/pictures/{id}.{form:str}", picture),
        Route("/drift/{id}/page", drift_page),
    ]


def _get(path: str) -> Any:
    async def get(request: Request) -> Response:
        return await _passed(request, "GET", path)

    return get


def _delete(path: str) -> Any:
    async def delete(request: Request) -> Response:
        return await _passed(request, "DELETE", path)

    return delete


def _post(path: str) -> Any:
    async def post(request: Request) -> Response:
        return await _passed(request, "POST", path, await request.body())

    return post


async def _passed(
    request: Request, method: str, path: str, content: bytes | None = None, media_type: str = JSON_TYPE
) -> Response:
    if (address := _address(request, path)) is None:
        return _not_found()
    headers = {"Content-Type": media_type} if content is not None else {}
    if key := request.headers.get("idempotency-key"):
        headers["Idempotency-Key"] = key
    answer = await api_of(request).ask(session_of(request), method, address, content=content, headers=headers)
    return Response(answer.content, answer.status_code, _kept_headers(answer))


def _address(request: Request, path: str) -> str | None:
    """`path` with the id of the request; None for an id that is none, so that nothing else can be reached."""
    found = request.path_params.get("id", "")
    if "{id}" not in path:
        return path
    return path.replace("{id}", found) if ID.fullmatch(found) else None


def _not_found() -> Response:
    return problem(404, "not-found", "There is nothing at this address.")


def _kept_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}


async def send_photograph(request: Request) -> Response:
    """The bytes of one picture as the body; the service looks into them."""
    media_type = request.headers.get("content-type", "")
    if media_type not in PHOTOGRAPH_TYPES:
        return problem(415, "not-a-photograph", "Choose a picture that is a PNG, JPEG or WebP file.")
    return await _passed(request, "POST", "/v1/photographs", await request.body(), media_type)


async def send_pairs(request: Request) -> Response:
    """A file of training pairs as the body; its kind is what the browser's script told by its name."""
    media_type = request.headers.get("content-type", "")
    if media_type not in PAIRS_TYPES:
        return problem(415, "not-pairs", "Drop a file that ends in .jsonl or .csv: one training pair a line.")
    return await _passed(request, "POST", "/v1/pairs", await request.body(), media_type)


async def write_creatives(request: Request) -> Response:
    """Server-sent events as the API writes them; a browser that leaves ends the writing there, too."""
    return await _streamed(request, "POST", "/v1/creatives", {"stream": "true"}, await request.body())


async def _streamed(
    request: Request, method: str, path: str, params: dict[str, str], content: bytes | None
) -> Response:
    headers = {"Content-Type": JSON_TYPE} if content is not None else {}
    asking = api_of(request).ask(
        session_of(request), method, path, stream=True, content=content, params=params, headers=headers
    )
    answer = await _while_connected(request, asking)
    if answer is None:
        return Response(status_code=CLIENT_GONE)
    return StreamingResponse(_chunks(answer), answer.status_code, {**_kept_headers(answer), "X-Accel-Buffering": "no"})


async def _while_connected(request: Request, asking: Coroutine[Any, Any, httpx.Response]) -> httpx.Response | None:
    """
    None where the browser leaves before the service begins to answer; what was asked there is then given up.

    The service says nothing before the writer begins, and that may take as long as its queue is.
    """
    asked, gone = asyncio.ensure_future(asking), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await asked if asked.done() else None
    finally:
        for each in (asked, gone):
            each.cancel()
        await asyncio.wait({asked, gone})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _chunks(answer: httpx.Response) -> AsyncIterator[bytes]:
    """A service that breaks off says so in the form of its own events."""
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    except httpx.HTTPError:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            yield b"event: error\ndata: " + bytes(service_down().body) + b"\n\n"
    finally:
        await answer.aclose()


async def give_feedback(request: Request) -> Response:
    """Passed on; a verdict that was taken is remembered, because downloads leave out what was rejected."""
    body = await request.body()
    answer = await _passed(request, "POST", "/v1/creatives/{id}/feedback", body)
    if answer.status_code < 300:
        sent = json.loads(body)
        session_of(request).decide(request.path_params["id"], Decision(sent["verdict"], sent.get("edited")))
    return answer


async def picture(request: Request) -> Response:
    """
    In the size that is asked for; with `download` as a file of its own.

    One that lacks its photograph is kept only as the API says: the photograph may be back a moment later.
    """
    form = request.path_params["form"]
    if (address := _address(request, "/v1/creatives/{id}/image." + form)) is None or form not in ("svg", "png"):
        return _not_found()
    params = {name: request.query_params[name] for name in ("size", "brand") if name in request.query_params}
    answer = await api_of(request).ask(session_of(request), "GET", address, params=params)
    headers = {**_kept_headers(answer), "Cache-Control": f"private, max-age={PICTURE_SECONDS}"}
    if PHOTOGRAPH_HEADER in answer.headers:
        headers["Cache-Control"] = answer.headers["cache-control"]
    if answer.status_code != httpx.codes.OK:
        headers["Cache-Control"] = "no-store"
    elif "download" in request.query_params:
        headers["Content-Disposition"] = f'attachment; filename="{request.path_params["id"]}.{form}"'
    return Response(answer.content, answer.status_code, headers)


async def drift_page(request: Request) -> Response:
    """
    Evidently's page of one window, to stand in a frame of ours and nowhere else.

    It is other people's script: the policy that the service gives it takes it out of our origin. Without one it is
    kept from running.
    """
    if (address := _address(request, "/v1/drift/{id}/page")) is None:
        return _not_found()
    known = {"If-None-Match": etag} if (etag := request.headers.get("if-none-match")) else {}
    answer = await api_of(request).ask(session_of(request), "GET", address, stream=True, headers=known)
    headers = {**FRAMED, **_kept_headers(answer)}
    if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_MODIFIED):
        await answer.aread()
        await answer.aclose()
        headers = {**FRAMED, "content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}
        return Response(detail_of(answer), answer.status_code, headers)
    return StreamingResponse(_chunks(answer), answer.status_code, {**headers, "cache-control": "private, no-cache"})
