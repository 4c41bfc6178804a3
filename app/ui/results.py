"""
Results of batches on their way from the service: product by product, with what cards show or with everything.

Holds a chunk of the answer at a time; knows no files.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx

from app.ui.api_client import ApiClient, ApiDownError
from app.ui.sessions import Session

SHOWN = (
    "id", "sku", "channel", "headlines", "descriptions", "call_to_action", "hashtags", "validity", "findings",
)  # fmt: skip
"""Of an ad; its passport and its links are two thirds of it, and no card shows them."""
Item = dict[str, Any]


class NoResultsError(ValueError):
    """The service has no results of this run."""


async def shown_lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    """
    As JSON lines for the browser. Closes the answer.

    One that breaks off ends after a whole line: whoever reads asks again for what is behind it.
    """
    try:
        async for lines in _lines(answer):
            yield b"".join(json.dumps(_shown(json.loads(line)), ensure_ascii=False).encode() + b"\n" for line in lines)
    except httpx.HTTPError:
        return
    finally:
        await answer.aclose()


async def items_of(api: ApiClient, session: Session, batch: str) -> AsyncIterator[Item]:
    """Each product with all that is known of its ads. Raises NoResultsError, ApiDownError, SignInError."""
    answer = await api.ask(session, "GET", f"/v1/batches/{batch}/results", stream=True)
    try:
        if answer.status_code != httpx.codes.OK:
            raise NoResultsError("The service has no results of this run: write it again.")
        async with aclosing(_lines(answer)) as chunks:
            async for lines in chunks:
                for line in lines:
                    yield json.loads(line)
    except httpx.HTTPError as error:
        raise ApiDownError("The Adloom service does not answer.") from error
    finally:
        await answer.aclose()


def _shown(item: Item) -> Item:
    ads = [{name: ad[name] for name in SHOWN} for ad in item["creatives"]]
    return {**item, "creatives": ads}


async def _lines(answer: httpx.Response) -> AsyncGenerator[list[bytes], None]:
    """The whole lines of each chunk; what an answer that breaks off leaves of a line is left out."""
    held = b""
    async for chunk in answer.aiter_bytes():
        *lines, held = (held + chunk).split(b"\n")
        yield [line for line in lines if line]
