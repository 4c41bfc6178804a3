"""
Finished ads as files: the results of one or more batches, with the session's verdicts and edits, as CSV or zip.

What was rejected stays out; where an ad was edited, the edited words go out.
"""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import httpx
from starlette.responses import Response

from app.ui.api_client import ApiClient, ApiDownError
from app.ui.exports import FORMATS, Ad, as_csv
from app.ui.problems import problem
from app.ui.sessions import Decision, Session

ADS_MAX = 50_000
"""Held in memory while a file is made: about 100 MB."""
PICTURES_MAX = 60
"""More would take minutes to draw while somebody waits; the others are one click each on their cards."""
PICTURES_AT_ONCE = 4
README = """\
Ads written by Adloom.

ads.json holds every ad with all that is known of it; each .csv is made for one ad platform.
Ads that you rejected are left out, and ads that you edited stand as you edited them.
Pictures show the words as they were first written.

A cell that a spreadsheet would run as a formula begins with an apostrophe.

"""


class DownloadError(ValueError):
    """The results cannot be had; the message says what to do."""


async def download(
    api: ApiClient, session: Session, batches: Sequence[str], form: str, *, only_accepted: bool
) -> Response:
    """Later batches replace what earlier ones wrote for the same product and channel."""
    try:
        written = [ad for batch in batches async for ad in _ads_of(api, session, batch)]
    except DownloadError as error:
        return problem(409, "no-results", str(error))
    latest = {(ad["sku"], ad["channel"], _rank(ad)): ad for ad in written}
    ads = list(decided(latest.values(), session, only_accepted=only_accepted))
    if not ads:
        return problem(409, "nothing-to-download", "No ad is left to download: accept some, or wait for the first.")
    if form != "zip":
        chosen = FORMATS[form]
        return _file(as_csv(chosen, ads).encode(), chosen.file, "text/csv; charset=utf-8")
    packed = await asyncio.to_thread(_packed, ads, await _pictures(api, session, ads))
    return _file(packed, "adloom-ads.zip", "application/zip")


def decided(ads: Iterable[Ad], session: Session, *, only_accepted: bool) -> Iterable[dict[str, Any]]:
    """Without the rejected, with edited words in place, each with the verdict it got in this session."""
    for ad in ads:
        decision = session.decisions.get(ad["id"], Decision(""))
        if decision.verdict == "reject" or (only_accepted and decision.verdict not in ("accept", "edit")):
            continue
        yield {**ad, **(decision.edited or {}), "verdict": decision.verdict}


def _rank(ad: Ad) -> int:
    return int(ad["passport"]["decoding"].get("rank", 0))


async def _ads_of(api: ApiClient, session: Session, batch: str) -> AsyncIterator[dict[str, Any]]:
    answer = await api.ask(session, "GET", f"/v1/batches/{batch}/results", stream=True)
    try:
        if answer.status_code != httpx.codes.OK:
            raise DownloadError("The service has no results of this run: write it again.")
        count = 0
        async for line in answer.aiter_lines():
            for ad in json.loads(line)["creatives"] if line else ():
                count += 1
                if count > ADS_MAX:
                    raise DownloadError(f"More than {ADS_MAX:,} ads: download them with the API, in parts.")
                yield ad
    except httpx.HTTPError as error:
        raise ApiDownError("The Adloom service does not answer.") from error
    finally:
        await answer.aclose()


async def _pictures(api: ApiClient, session: Session, ads: Sequence[Ad]) -> dict[str, bytes]:
    """By file name; one that cannot be drawn now is left out."""
    turn = asyncio.Semaphore(PICTURES_AT_ONCE)

    async def one(ad: Ad) -> tuple[str, bytes]:
        async with turn:
            answer = await api.ask(session, "GET", f"/v1/creatives/{ad['id']}/image.png")
        return f"pictures/{ad['id']}.png", answer.content if answer.status_code == httpx.codes.OK else b""

    drawn = await asyncio.gather(*(one(ad) for ad in ads[:PICTURES_MAX]))
    return {name: content for name, content in drawn if content}


def _packed(ads: Sequence[Ad], pictures: dict[str, bytes]) -> bytes:
    readme = README
    if len(ads) > len(pictures):
        readme += f"Pictures of the first {len(pictures):,} ads are here; the others are on the page, one by one.\n"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for form in FORMATS.values():
            if any(not form.channels or ad["channel"] in form.channels for ad in ads):
                archive.writestr(form.file, as_csv(form, ads))
                readme += f"{form.file}: fill in {form.missing}.\n" if form.missing else ""
        archive.writestr("ads.json", json.dumps(ads, ensure_ascii=False, indent=1))
        archive.writestr("README.txt", readme)
        for name, content in pictures.items():
            archive.writestr(name, content, zipfile.ZIP_STORED)
    return target.getvalue()


def _file(content: bytes, name: str, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
