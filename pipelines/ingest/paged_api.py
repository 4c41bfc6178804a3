"""
A paged HTTP API, read page by page into a file of JSON Lines: one item a line, as the API wrote it.

Knows no products. A server that is slow or away is tried again; one that answers nonsense is an error that says what
was wrong, and never half a catalogue.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

import httpx

from model.rows import parse_json
from pipelines.ingest.sources import LINK_HEADER, Source

PAGES_MAX = 100_000
BODY_BYTES_MAX = 32 * 1024 * 1024
"""Of one page, unpacked: parsed it takes some ten times that."""
REDIRECTS = (301, 302, 303, 307, 308)


class SourceDownError(RuntimeError):
    """The source does not answer, or asks to be left alone: the same call may succeed later."""


class SourceAnswerError(RuntimeError):
    """The source answers with what it should not; trying again does not help."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a source is waited for."""

    attempts: int = 5
    """Of one page."""
    backoff_seconds: float = 0.5
    """After the first failure; doubled after each."""
    retry_after_seconds_max: float = 60.0
    """Longest `Retry-After` (RFC 9110, section 10.2.3) that is waited out; one that is longer ends the run."""
    timeout_seconds: float = 30.0
    """For a connection, and between two pieces of an answer."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What an API gave."""

    is_unchanged: bool
    """The first page is the one that `etag` names (304): nothing was read."""
    items: int = 0
    digest: str = ""
    """sha256 over the lines, hex."""
    etag: str = ""
    """Of the first page; empty where the API gives none."""
    since: str = ""
    """Highest value of the cursor's field; what was asked for where no item has a higher one."""


def first_address(source: Source, since: str) -> str:
    """Of the first page, with the size of pages and what was seen up to."""
    added: dict[str, str] = {}
    if source.page_size:
        added[source.page_size.parameter] = str(source.page_size.items)
    if source.updated_since and since:
        added[source.updated_since.parameter] = since
    return str(httpx.URL(source.url).copy_merge_params(added)) if added else source.url


def fetch_pages(
    source: Source, target: Path, *, since: str = "", etag: str = "", token: str = "", patience: Patience | None = None
) -> Pages:
    """Every item from the first page on. Raises SourceDownError or SourceAnswerError."""
    waits = patience or Patience()
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    with httpx.Client(headers=headers, timeout=waits.timeout_seconds) as client, target.open("wb") as file:
        return _Reading(source, client, waits, file, since).all(etag)


class _Reading:
    """One pass over all pages."""

    def __init__(self, source: Source, client: httpx.Client, waits: Patience, file: IO[bytes], since: str) -> None:
        self._source = source
        self._client = client
        self._waits = waits
        self._file = file
        self._asked_since = since
        self._since = since
        self._digest = hashlib.sha256()
        self._items = 0

    def all(self, etag: str) -> Pages:
        url = first_address(self._source, self._asked_since)
        first_etag = ""
        addresses: set[str] = set()
        contents: set[bytes] = set()
        while url:
            if url in addresses:
                raise SourceAnswerError(f"page {len(addresses) + 1} of {self._name} leads back to one that was read")
            if len(addresses) >= PAGES_MAX:
                raise SourceAnswerError(f"{self._name} has more than {PAGES_MAX:,} pages")
            addresses.add(url)
            is_first = len(addresses) == 1
            answer = self._page(url, {"If-None-Match": etag} if is_first and etag else {}, len(addresses))
            if answer is None:
                return Pages(is_unchanged=True, etag=etag, since=self._since)
            if is_first:
                first_etag = answer.headers.get("ETag", "")
            url = self._taken(answer, contents, len(addresses))
        return Pages(
            is_unchanged=False,
            items=self._items,
            digest=self._digest.hexdigest(),
            etag=first_etag,
            since=self._since,
        )

    @property
    def _name(self) -> str:
        return f"source {self._source.name}"

    def _page(self, url: str, headers: Mapping[str, str], number: int) -> httpx.Response | None:
        """The answer with its body; None for 304."""
        trouble, wait_seconds = "", 0.0
        for attempt in range(self._waits.attempts):
            time.sleep(wait_seconds)
            wait_seconds = self._waits.backoff_seconds * float(2**attempt)
            try:
                answer = self._read(url, headers, number)
            except httpx.TransportError as error:
                trouble = f"cannot be reached ({type(error).__name__})"
                continue
            except httpx.DecodingError:
                raise SourceAnswerError(f"page {number} of {self._name} is not packed as it says") from None
            if answer.status_code == 304 and headers:
                return None
            if answer.status_code == 429:
                trouble = "429, too many requests"
                wait_seconds = self._asked_to_wait(answer, wait_seconds)
            elif answer.status_code >= 500:
                trouble = f"answers {answer.status_code}"
            else:
                return _required(answer, f"page {number} of {self._name}")
        raise SourceDownError(
            f"page {number} of {self._name}: {trouble}, {self._waits.attempts} times; try again later"
        )

    def _read(self, url: str, headers: Mapping[str, str], number: int) -> httpx.Response:
        try:
            with self._client.stream("GET", url, headers=dict(headers)) as answer:
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > BODY_BYTES_MAX:
                        size = f"more than {BODY_BYTES_MAX:,} bytes"
                        raise SourceAnswerError(f"page {number} of {self._name} has {size}: ask for smaller pages")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise SourceAnswerError(f"the address of page {number} of {self._name} is none") from None
        # The body has been unpacked: its header must not unpack it again.
        kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        return httpx.Response(answer.status_code, headers=kept, content=bytes(body), request=answer.request)

    def _asked_to_wait(self, answer: httpx.Response, otherwise_seconds: float) -> float:
        seconds = _retry_after(answer.headers.get("Retry-After", ""))
        if seconds is None:
            return otherwise_seconds
        if seconds > self._waits.retry_after_seconds_max:
            raise SourceDownError(f"{self._name} asks to be left alone for {seconds:.0f} s: run it again after that")
        return seconds

    def _taken(self, answer: httpx.Response, contents: set[bytes], number: int) -> str:
        """Write the page's items; the address of the next page, empty after the last."""
        where = f"page {number} of {self._name}"
        page = _json(answer, where)
        items = _member(page, self._source.items)
        if not isinstance(items, list):
            place = ".".join(self._source.items) or "the page itself"
            raise SourceAnswerError(f"{where} has no list of items at {place}")
        lines = [f"{json.dumps(item, ensure_ascii=False)}\n".encode(errors="backslashreplace") for item in items]
        content = hashlib.sha256(b"".join(lines)).digest()
        if lines and content in contents:
            raise SourceAnswerError(f"{where} holds what an earlier one held: the API does not turn its pages")
        contents.add(content)
        for line in lines:
            self._digest.update(line)
        self._file.writelines(lines)
        self._items += len(lines)
        self._note_since(items)
        return self._next(answer, page, where)

    def _note_since(self, items: list[Any]) -> None:
        if not self._source.updated_since:
            return
        name = self._source.updated_since.field
        found = (str(item[name]) for item in items if isinstance(item, dict) and item.get(name))
        self._since = max([self._since, *found], key=_order)

    def _next(self, answer: httpx.Response, page: Any, where: str) -> str:
        if not self._source.next:
            return ""
        if self._source.next == (LINK_HEADER,):
            target = answer.links.get("next", {}).get("url", "")
        else:
            target = _member(page, self._source.next)
        if target is None or target in ("", False):
            return ""
        if not isinstance(target, str):
            raise SourceAnswerError(f"{where} names a next page that is no text")
        here = answer.request.url
        try:
            if self._source.next_parameter:
                return str(here.copy_set_param(self._source.next_parameter, target))
            address = here.join(target)
        except httpx.InvalidURL:
            raise SourceAnswerError(f"{where} names a next page that is no address") from None
        # Otherwise a page could send our token, and us, anywhere.
        if (address.scheme, address.host, address.port) != (here.scheme, here.host, here.port):
            raise SourceAnswerError(f"{where} leads to another server; the table names one")
        return str(address)


_KEPT_HEADERS = ("Content-Type", "ETag", "Link", "Retry-After")


def _required(answer: httpx.Response, where: str) -> httpx.Response:
    status = answer.status_code
    if status in (401, 403):
        raise SourceAnswerError(f"{where} is refused with {status}: check the variable that token_variable names")
    if status in REDIRECTS:
        raise SourceAnswerError(f"{where} has moved ({status}): put the new address into the table of sources")
    if status != 200:
        raise SourceAnswerError(f"{where} is answered with {status}")
    content_type = answer.headers.get("Content-Type", "nothing").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise SourceAnswerError(f"{where} is {content_type[:100]} and not JSON")
    return answer


def _json(answer: httpx.Response, where: str) -> Any:
    try:
        return parse_json(answer.content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SourceAnswerError(f"{where} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise SourceAnswerError(f"{where} is not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise SourceAnswerError(f"{where} is nested too deeply") from None


def _member(page: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        page = page.get(name) if isinstance(page, dict) else None
    return page


def _order(value: str) -> tuple[int, int, str]:
    """Whole numbers by their size, texts such as times of ISO 8601 as texts; nothing comes first."""
    if not value:
        return -1, 0, ""
    return (0, int(value), "") if value.isascii() and value.isdigit() and len(value) < 20 else (1, 0, value)


def _retry_after(text: str) -> float | None:
    """Seconds; None where the header is missing or cannot be read."""
    if text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None
