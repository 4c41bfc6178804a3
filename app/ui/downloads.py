"""
Finished ads as files: the results of one or more batches, with the session's verdicts and edits, as CSV or zip.

What was rejected stays out; where an ad was edited, the edited words go out.
"""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import httpx
from starlette.responses import Response

from app.ui.api_client import ApiClient
from app.ui.exports import FORMATS, Ad, as_csv
from app.ui.problems import problem
from app.ui.results import NoResultsError, items_of
from app.ui.sessions import Decision, Session

ADS_MAX = 50_000
"""Held in memory while a file is made: about 80 MB."""
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


async def download(
    api: ApiClient, session: Session, batches: Sequence[str], form: str, *, only_accepted: bool
) -> Response:
    """Later batches replace what earlier ones wrote for the same product and channel."""
    try:
        written = await _written(api, session, batches)
    except NoResultsError as error:
        return problem(409, "no-results", str(error))
    if len(written) > ADS_MAX:
        return problem(409, "too-many", f"More than {ADS_MAX:,} ads: download them with the API, in parts.")
    ads = await asyncio.to_thread(decided, written, dict(session.decisions), only_accepted=only_accepted)
    if not ads:
        return problem(409, "nothing-to-download", "No ad is left to download: accept some, or wait for the first.")
    if form != "zip":
        chosen = FORMATS[form]
        text = await asyncio.to_thread(as_csv, chosen, map(json.loads, ads))
        return _file(text.encode(), chosen.file, "text/csv; charset=utf-8")
    packed = await asyncio.to_thread(_packed, ads, await _pictures(api, session, ads))
    return _file(packed, "adloom-ads.zip", "application/zip")


async def _written(api: ApiClient, session: Session, batches: Sequence[str]) -> Sequence[bytes]:
    """The latest ad of each product, channel and rank as JSON: as objects they would take four times the memory."""
    latest: dict[tuple[str, str, int], bytes] = {}
    for batch in batches:
        async for item in items_of(api, session, batch):
            for ad in item["creatives"]:
                rank = int(ad["passport"]["decoding"].get("rank", 0))
                latest[ad["sku"], ad["channel"], rank] = _as_json(ad)
            if len(latest) > ADS_MAX:
                return list(latest.values())
    return list(latest.values())


def decided(ads: Iterable[bytes], decisions: Mapping[str, Decision], *, only_accepted: bool) -> list[bytes]:
    """Without the rejected, with edited words in place, each with the verdict it got in this session."""
    kept = []
    for ad in map(json.loads, ads):
        decision = decisions.get(ad["id"], Decision(""))
        if decision.verdict == "reject" or (only_accepted and decision.verdict not in ("accept", "edit")):
            continue
        kept.append(_as_json({**ad, **(decision.edited or {}), "verdict": decision.verdict}))
    return kept


def _as_json(ad: Ad) -> bytes:
    return json.dumps(ad, ensure_ascii=False).encode()


async def _pictures(api: ApiClient, session: Session, ads: Sequence[bytes]) -> dict[str, bytes]:
    """By file name; one that cannot be drawn now is left out."""
    turn = asyncio.Semaphore(PICTURES_AT_ONCE)

    async def one(creative_id: str) -> tuple[str, bytes]:
        async with turn:
            answer = await api.ask(session, "GET", f"/v1/creatives/{creative_id}/image.png")
        return f"pictures/{creative_id}.png", answer.content if answer.status_code == httpx.codes.OK else b""

    drawn = await asyncio.gather(*(one(json.loads(ad)["id"]) for ad in ads[:PICTURES_MAX]))
    return {name: content for name, content in drawn if content}


def _packed(ads: Sequence[bytes], pictures: dict[str, bytes]) -> bytes:
    readme = README
    if len(ads) > len(pictures):
        readme += f"Pictures of the first {len(pictures):,} ads are here; the others are on the page, one by one.\n"
    channels = {json.loads(ad)["channel"] for ad in ads}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for form in FORMATS.values():
            if not form.channels or channels & {*form.channels}:
                archive.writestr(form.file, as_csv(form, map(json.loads, ads)))
                readme += f"{form.file}: fill in {form.missing}.\n" if form.missing else ""
        with archive.open("ads.json", "w") as file:
            file.write(b"[\n" + b",\n".join(ads) + b"\n]\n")
        archive.writestr("README.txt", readme)
        for name, content in pictures.items():
            archive.writestr(name, content, zipfile.ZIP_STORED)
    return target.getvalue()


def _file(content: bytes, name: str, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
