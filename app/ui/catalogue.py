"""
The catalogue page's own routes: take a file, say what is known of it, send a part of it again, download the ads.

The service judges the rows; progress and verdicts go through forward.py.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import unquote

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.ui import downloads
from app.ui.exports import FORMATS
from app.ui.forward import ID, JSON_TYPE, api_of, session_of
from app.ui.problems import problem
from app.ui.results import shown_lines
from app.ui.sample import sample_upload
from app.ui.sessions import Decision
from app.ui.upload import ROWS_MAX, Upload, UploadError, media_type_of, open_upload

NAME_CHARS_MAX = 200
ROWS_SHOWN_MAX = 500
"""For the choice on the page Create."""
TITLE_CHARS_MAX = 120
"""Of what is shown beside an ad."""
DECIDED_MAX = 5_000
"""Of one request: ids of 25 characters each, within the guard's bound."""
PLACE = re.compile(r"-1|[0-9]{1,5}")
BATCHES_MAX = 20
"""Of one download: the run, its resumptions and its repeats."""


def routes() -> list[Route]:
    """All below /catalogue/."""
    return [
        Route("/catalogue/upload", upload, methods=["POST"]),
        Route("/catalogue/sample", use_sample, methods=["POST"]),
        Route("/catalogue/part", send_part, methods=["POST"]),
        Route("/catalogue/state", state),
        Route("/catalogue/decisions", decide, methods=["POST"]),
        Route("/catalogue/results/{id}", results),
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
    session = session_of(request)
    session.upload = await asyncio.to_thread(open_upload, name, content, media_type, answer.json())
    return JSONResponse(_state(session.upload, has_titles=True))


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
    except (ValueError, KeyError, TypeError, RecursionError):
        return problem(422, "bad-request", "Send the skus.")
    whole = {"snapshot": session.upload.answer.get("digest", ""), "is_whole": True}
    part = await asyncio.to_thread(session.upload.part, skus)
    if not part:
        return JSONResponse(whole)
    answer = await _sent(request, part, session.upload.media_type)
    if answer.status_code >= 300:
        return _as_it_came(answer)
    return JSONResponse({"snapshot": answer.json()["digest"], "is_whole": False})


async def state(request: Request) -> Response:
    """What the session has uploaded, for a page that is loaded again; with `all`, every title and every verdict."""
    session, has_all = session_of(request), "all" in request.query_params
    shown = _state(session.upload, has_titles=has_all)
    if has_all:
        decided = session.decisions.items()
        shown["decisions"] = {name: {"verdict": one.verdict, "edited": one.edited} for name, one in decided}
    return JSONResponse(shown)


def _state(upload: Upload | None, *, has_titles: bool) -> dict[str, Any]:
    if upload is None:
        return {"upload": None, "rows": []}
    shown = {"name": upload.name, "is_kept": bool(upload.packed), "rows_max": ROWS_MAX, **upload.answer}
    if has_titles:
        return {"upload": shown, "titles": {row["sku"]: row["title"][:TITLE_CHARS_MAX] for row in upload.rows}}
    return {"upload": shown, "rows": upload.rows[:ROWS_SHOWN_MAX]}


async def decide(request: Request) -> Response:
    """
    Accept many ads at once, so that they are in the next download.

    The service is not told here: what one click says of thousands should not outweigh what people say of single ads.
    """
    ids = _ids_in(await request.body())
    if ids is None:
        return problem(422, "bad-request", f"Send the ids of at most {DECIDED_MAX:,} ads.")
    session, accepted = session_of(request), Decision("accept")
    for each in ids:
        session.decide(each, accepted)
    return JSONResponse({"accepted": len(ids)})


def _ids_in(body: bytes) -> list[str] | None:
    try:
        ids = json.loads(body)["accepted"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_fit = isinstance(ids, list) and len(ids) <= DECIDED_MAX
    return ids if is_fit and all(isinstance(each, str) and ID.fullmatch(each) for each in ids) else None


async def results(request: Request) -> Response:
    """One product a line, with what cards show of its ads; only those behind the place `after`, where that is given."""
    batch, after = request.path_params["id"], request.query_params.get("after", "-1")
    if not ID.fullmatch(batch) or not PLACE.fullmatch(after):
        return problem(404, "not-found", "There is nothing at this address.")
    answer = await api_of(request).ask(
        session_of(request), "GET", f"/v1/batches/{batch}/results", stream=True, params={"after": after}
    )
    if answer.status_code != httpx.codes.OK:
        await answer.aread()
        return _as_it_came(answer)
    return StreamingResponse(shown_lines(answer), media_type="application/x-ndjson")


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
