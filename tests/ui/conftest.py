"""What the tests of the page share: an event loop, and one browser for each module that looks at the page."""

from __future__ import annotations

import pytest

from tests.ui.page_parts import chromium, place


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """uvicorn runs on asyncio, so the tests do."""
    return "asyncio"


@pytest.fixture(scope="module")
def browser():
    """A module's own: tests on an event loop cannot run while it is open."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The page before a service with a writer that repeats the product's words."""
    with place(tmp_path_factory.mktemp("place")) as opened:
        yield opened
