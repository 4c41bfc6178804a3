"""
The page before the real service, both on free ports in this process, and a browser that looks at it.

Knows how to start, sign in and scan; what is to be seen stands in the tests.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette

from app.client_command import create_client
from app.identity import SCOPES
from app.main import create_app as create_service
from app.parts import Parts
from app.settings import Settings as ServiceSettings
from app.ui.application import create_app
from app.ui.settings import Settings
from tests.app.served_app import served
from tests.app.service_client import ServiceWriter, embedded
from tests.real_parts import wait_until

STOP_SECONDS_MAX = 60.0
on_every_screen = pytest.mark.parametrize(
    ("width", "theme"),
    [
        (380, "dark"),
        (1920, "light"),
        pytest.param(380, "light", marks=pytest.mark.proof),
        pytest.param(1920, "dark", marks=pytest.mark.proof),
    ],
)
"""Each width and each theme at once; `make proof` has the other two, for width and theme are styled apart."""
CLIENT = "shop"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Place:
    """Where the page is, what it is made of, and who may sign in."""

    url: str
    page: Starlette
    service: Parts
    secret: str

    def session(self) -> Any:
        """The one that was opened last."""
        *_, session = self.page.state.sessions._open.values()
        return session


@contextmanager
def serving(app: Starlette, port: int = 0) -> Iterator[str]:
    """Its address; at the end the server has stopped."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,  # a browser's connections stay open as long as the browser likes
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), "the page to start")
            assert thread.is_alive()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS_MAX)
            assert not thread.is_alive()


@contextmanager
def place(folder: Path, writer: Any = None, **ui: Any) -> Iterator[Place]:
    """The service around `writer`, and the page before it with the settings `ui`."""
    folder.mkdir(parents=True, exist_ok=True)
    with place_before(
        create_service(ServiceSettings(**embedded(folder)), writer=writer or ServiceWriter()), **ui
    ) as at:
        yield at


@contextmanager
def place_before(service: FastAPI, **ui: Any) -> Iterator[Place]:
    """The page before a service, and a client of it with every scope."""
    parts: Parts = service.state.parts
    with served(service) as (host, port):
        secret = create_client(parts.database, CLIENT, tuple(SCOPES))
        page = create_app(Settings(**({"api_url": f"http://{host}:{port}"} | ui)))
        with serving(page) as url:
            yield Place(url, page, parts, secret)


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser, or a skip that says what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def window(
    browser: Any, at: Place, *, width: int = 1280, theme: str = "light", signed_in: bool = True
) -> Iterator[Any]:
    """A page in a profile of its own; whatever the console complains of fails the test, unless it is taken out."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce", accept_downloads=True
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: message.type == "error" and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: page.complaints.append(f"dialog: {dialog.message}"))
    try:
        if signed_in:
            sign_in(page, at)
        yield page
        assert page.complaints == []
    finally:
        context.close()


def sign_in(page: Any, at: Place) -> None:
    """Through the form, as a person does."""
    page.goto(f"{at.url}/sign-in")
    page.fill("input[name=client_id]", CLIENT)
    page.fill("input[name=client_secret]", at.secret)
    page.click("main button")
    page.wait_for_url(f"{at.url}/create")
    page.locator("#channels input").first.wait_for(state="attached")


def serious_findings(page: Any) -> list[str]:
    """What axe-core calls serious or critical, each with where it is."""
    source = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(source)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def overflow(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))
