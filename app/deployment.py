"""
What Git, the promotion ledger and this service say is running, each looked up where it is.

A side that cannot be read is unknown, with the reason; no reason holds an address or a token. Knows no HTTP of ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio.to_thread
import httpx

from app.exporter_truth import ANSWER_BYTES_MAX, ANSWER_SECONDS, GitFile, TruthError, git_headers, side_of_model_env
from model.ledger import Action, Entry, Ledger, LedgerError, State, champions
from model.store import model_versions
from model.store.model_versions import PromotionRow
from model.store.tables import Database
from model.truth import Side

KEPT_SECONDS = 30.0
"""How old Git's answer may be: a page that is looked at by ten people asks it no more often than one."""
LEDGER_DAMAGED = "the promotion ledger was changed by hand or cut short: `adloom models` says where"

log = logging.getLogger("adloom.deployment")


class Deployment:
    """The three sides; one for the life of the app. Opens nothing before it is asked."""

    def __init__(
        self,
        database: Database,
        task: str,
        service: Side,
        *,
        git: GitFile | None = None,
        ledger: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ledger` comes before what the pipelines have published of it. Raises ValueError for no address of a file."""
        if git is not None and urlsplit(git.url).scheme not in ("http", "https", "file"):
            raise ValueError("ADLOOM_GIT_URL must begin with http://, https:// or file://")
        self._database = database
        self._task = task
        self._service = service
        self._git = git
        self._ledger = ledger
        self._clock = clock
        self._looking = asyncio.Lock()
        self._kept: tuple[float, Side] | None = None

    async def sides(self) -> list[Side]:
        """Git, registry and service, in this order. Raises StoreError where the database is down."""
        registry = await anyio.to_thread.run_sync(self._registry_says)
        return [await self._git_says(), registry, self._service]

    async def _git_says(self) -> Side:
        """At most `KEPT_SECONDS` old, a failure too; whoever asks meanwhile waits for the same look."""
        if self._git is None:
            return Side("Git", trouble="the service is not told where to look: set ADLOOM_GIT_URL")
        async with self._looking:
            if self._kept is None or self._kept[0] <= self._clock():
                side = await _looked_up(self._git)
                self._kept = self._clock() + KEPT_SECONDS, side
            return self._kept[1]

    def _registry_says(self) -> Side:
        """The champion, by the file where one is named, else by what was published of it."""
        if self._ledger is None:
            with self._database.connect() as connection:
                lines = model_versions.history(connection, self._task, model_versions.LINES_MAX)
            return _champion_side([_entry(line) for line in reversed(lines)])
        try:
            return _champion_side(Ledger(self._ledger).entries())
        except LedgerError:
            return Side("registry", trouble=LEDGER_DAMAGED)
        except OSError:
            return Side("registry", trouble="the promotion ledger cannot be read")


def _champion_side(entries: Sequence[Entry]) -> Side:
    stack = champions(entries)
    return Side("registry", stack[-1]) if stack else Side("registry", trouble="nothing was ever promoted")


def _entry(line: PromotionRow) -> Entry:
    """What of a published line says who is champion."""
    source, target = (int(version) if version else None for version in (line.source, line.target))
    return Entry(
        cast("Action", line.action), cast("State", line.state), attempt="", who=line.who, why=line.why,
        source=source, target=target,
    )  # fmt: skip


async def _looked_up(git: GitFile) -> Side:
    """Never raises; what an error says may hold the address, and stays here."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return side_of_model_env(await _content(git))
    except TimeoutError:
        trouble = f"it did not answer within {ANSWER_SECONDS:g} s"
    except TruthError as error:
        trouble = str(error)
    except (httpx.HTTPError, httpx.InvalidURL):
        trouble = "it cannot be reached"
    except (OSError, ValueError):
        trouble = "its file or its token cannot be read"
    log.warning("Git cannot be asked: %s", trouble)
    return Side("Git", trouble=trouble)


async def _content(git: GitFile) -> bytes:
    """At most `ANSWER_BYTES_MAX`; a redirect is not followed, because it would be handed the token."""
    if urlsplit(git.url).scheme == "file":
        return await anyio.to_thread.run_sync(_read, Path(url2pathname(urlsplit(git.url).path)))
    headers = await anyio.to_thread.run_sync(git_headers, git)
    async with (
        httpx.AsyncClient(follow_redirects=False, timeout=ANSWER_SECONDS) as client,
        client.stream("GET", git.url, headers=headers) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise TruthError(f"it answers {answer.status_code}")
        content = b""
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > ANSWER_BYTES_MAX:
                raise TruthError(f"its file has more than {ANSWER_BYTES_MAX:,} bytes")
        return content


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(ANSWER_BYTES_MAX)
