"""
The page before the real service without a socket between them: for tests of what it answers.

Knows no browser; page_parts.py has one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette

from app.client_command import create_client
from app.identity import SCOPES
from app.parts import Parts
from app.ui.application import create_app
from app.ui.sessions import Session
from app.ui.settings import Settings
from tests.app.service_client import parts_of, service

NAME = "marketing"
PAGE = {"Accept": "text/html"}


@dataclass
class Visitor:
    """A browser's requests, as far as headers go, and what stands behind them."""

    http: httpx.AsyncClient
    page: Starlette
    service: Parts
    secret: str

    @property
    def session(self) -> Session:
        """The one that is open."""
        (session,) = self.page.state.sessions._open.values()
        return session

    async def sign_in(self, **changes: str) -> httpx.Response:
        form = {"client_id": NAME, "client_secret": self.secret, **changes}
        return await self.http.post("/sign-in", data=form)

    def csrf(self) -> dict[str, str]:
        return {"X-CSRF-Token": self.session.csrf}


@asynccontextmanager
async def visitor(
    writer: Any = None, *, signed_in: bool = True, scopes: Any = tuple(SCOPES), **ui: Any
) -> AsyncIterator:
    """A Visitor; `ui` are settings of the page."""
    async with service(writer) as client:
        parts = parts_of(client)
        secret = create_client(parts.database, NAME, scopes)
        page = create_app(Settings(**ui), client._transport)
        headers = {"Sec-Fetch-Site": "same-origin"}
        transport = httpx.ASGITransport(page)
        async with httpx.AsyncClient(transport=transport, base_url="http://page", headers=headers) as http:
            one = Visitor(http, page, parts, secret)
            if signed_in:
                assert (await one.sign_in()).status_code == 303
            yield one
        await page.state.http.aclose()
