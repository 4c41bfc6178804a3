"""
The catalogue page's own routes: take a file, say what is known of it, send a part of it again, download the ads.

The service judges the rows; progress and verdicts go through forward.py.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.ui import downloads
from app.ui.exports import FORMATS
from app.ui.forward import ID, JSON_TYPE, api_of, session_of
from app.ui.problems import problem
from app.ui.sample import sample_upload
from app.ui.upload import KEPT_BYTES_MAX, ROWS_MAX, Upload, UploadError, media_type_of, read_rows

NAME_CHARS_MAX = 200
ROWS_SHOWN_MAX = 500
"""For the choice on the page Create."""
BATCHES_MAX = 20
"""Of one download: the run, its resumptions and its repeats."""


def routes() -> list[Route]:
    """All below /catalogue/."""
    return [
        Route("/catalogue/upload", upload, methods=["POST"]),
        Route("/catalogue/sample", use_sample, methods=["POST"]),
        Route("/catalogue/part", send_part, methods=["POST"]),
        Route("/catalogue/state", state),
        Route("/catalogue/download", download),
    ]


async def upload(request: Request) -> Response:
    """The file as the body, its name in X-File-Name, percent-encoded; it is refused by its first bytes if packed."""
    name = unquote(request.headers.get("x-file-name", ""))[:NAME_CHARS_MAX] or "catalogue"
    content, media_type = bytearray(), ""
    try:
        async for chunk in request.stream():
            content += chunk
            media_type = media_type or (media_type_of(name, bytes(content[:8])) if len(content) >= 8 else "")
        media_type = media_type or media_type_of(name, bytes(content))
    except UploadError as error:
        answer = problem(415, "not-a-catalogue", str(error))
        answer.headers["Connection"] = "close"
        return answer
    if not content.strip():
        return problem(422, "empty-file", "The file is empty: export the catalogue again.")
    return await _take(request, name, bytes(content), media_type)


async def use_sample(request: Request) -> Response:
    """The same with the sample."""
    sample = sample_upload()
    return await _take(request, sample.name, sample.content, sample.media_type)


async def _take(request: Request, name: str, content: bytes, media_type: str) -> Response:
    answer = await _sent(request, content, media_type)
    if answer.status_code >= 300:
        return _as_it_came(answer)
    session, read = session_of(request), answer.json()
    kept = content if len(content) <= KEPT_BYTES_MAX else b""
    session.upload = Upload(name, kept, media_type, read_rows(content, media_type), read)
    return JSONResponse(_state(session.upload))


async def _sent(request: Request, content: bytes, media_type: str) -> httpx.Response:
    return await api_of(request).ask(
        session_of(request), "POST", "/v1/catalogue", content=content, headers={"Content-Type": media_type}
    )


def _as_it_came(answer: httpx.Response) -> Response:
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type", JSON_TYPE))


async def send_part(request: Request) -> Response:
    """
    A snapshot of these `skus` alone, to write what is missing or failed.

    Where the file was too large to keep, or has no column of skus, the whole snapshot: the same seed gives what is
    written already once more, under the same ids.
    """
    session = session_of(request)
    if session.upload is None:
        return problem(409, "no-catalogue", "The file is no longer here: drop it again.")
    try:
        sent = json.loads(await request.body())
        skus = {str(sku) for sku in sent["skus"]}
    except (ValueError, KeyError, TypeError):
        return problem(422, "bad-request", "Send the skus.")
    whole = {"snapshot": session.upload.answer.get("digest", ""), "is_whole": True}
    part = session.upload.part(skus)
    if not part:
        return JSONResponse(whole)
    answer = await _sent(request, part, session.upload.media_type)
    if answer.status_code >= 300:
        return _as_it_came(answer)
    return JSONResponse({"snapshot": answer.json()["digest"], "is_whole": False})


async def state(request: Request) -> Response:
    """What the session has uploaded and decided, for a page that is loaded again."""
    session = session_of(request)
    decisions = {name: {"verdict": one.verdict, "edited": one.edited} for name, one in session.decisions.items()}
    return JSONResponse({**_state(session.upload), "decisions": decisions})


def _state(upload: Upload | None) -> dict[str, Any]:
    if upload is None:
        return {"upload": None, "rows": []}
    shown = {"name": upload.name, "is_kept": bool(upload.content), "rows_max": ROWS_MAX, **upload.answer}
    return {"upload": shown, "rows": upload.rows[:ROWS_SHOWN_MAX]}


async def download(request: Request) -> Response:
    """A zip of everything, or one CSV, of the batches that are named; what was rejected stays out."""
    batches = request.query_params.getlist("batch")
    form = request.query_params.get("format", "zip")
    is_known = form == "zip" or form in FORMATS
    if not is_known or not 0 < len(batches) <= BATCHES_MAX or not all(ID.fullmatch(each) for each in batches):
        return problem(422, "bad-request", "Choose a format, and a run that has begun.")
    return await downloads.download(
        api_of(request), session_of(request), batches, form, only_accepted="accepted" in request.query_params
    )
