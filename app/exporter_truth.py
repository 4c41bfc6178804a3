"""
What Git tells an environment to run, and what its service says it runs, for the exporter to compare with the ledger.

Knows no Prometheus; each side reads once and raises where it cannot.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model.truth import Side, comparable, disagreements, git_side, served_side

ANSWER_SECONDS = 5.0
ANSWER_BYTES_MAX = 64 * 1024
RAW = "application/vnd.github.raw+json, text/plain;q=0.9, */*;q=0.1"
"""GitHub's contents address gives the file itself to whoever asks so; the raw address does anyway."""


class TruthError(RuntimeError):
    """A side holds what it should not; the message is fit for a log."""


@dataclass(frozen=True, slots=True)
class GitFile:
    """An environment's model.env, where it can be read without cloning."""

    url: str
    """http, https or file address."""
    token_file: Path | None = None
    """Read at each look: tokens are renewed. Its token goes to that one host."""


def git_says(file: GitFile) -> Side:
    """Raises OSError where nobody answers, TruthError for what is no model.env."""
    return side_of_model_env(_content(file.url, git_headers(file)))


def git_headers(file: GitFile) -> dict[str, str]:
    """What to ask with. Raises OSError or ValueError where the token cannot be read."""
    if file.token_file is None:
        return {"Accept": RAW}
    return {"Accept": RAW, "Authorization": f"Bearer {file.token_file.read_text(encoding='utf-8').strip()}"}


def side_of_model_env(content: bytes) -> Side:
    """Raises TruthError for what is no model.env."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TruthError("the address of model.env holds no text") from error
    if "MODEL_VERSION=" not in text:
        raise TruthError("the address of model.env holds something else: it lacks MODEL_VERSION")
    return git_side(text)


def service_says(url: str) -> Side:
    """Raises OSError where nobody answers, or not with 200, TruthError for what is no /version."""
    told = _object_of(_content(f"{url}/version", {}))
    return served_side(str(told.get("registry_version", "")), str(told.get("image_digest", "")))


def divergence(sides: Sequence[Callable[[], Side]]) -> bool | None:
    """Whether two known sides disagree; None where fewer than two are known. A side that cannot be read is unknown."""
    known = list(_readable(sides))
    return bool(disagreements(known)) if comparable(known) else None


def _readable(sides: Sequence[Callable[[], Side]]) -> Iterator[Side]:
    for side in sides:
        try:
            yield side()
        except (OSError, RuntimeError, ValueError):  # its own source says so
            continue


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would hand the token to whatever host a redirect names."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _content(url: str, headers: dict[str, str]) -> bytes:
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise TruthError("an address begins with http://, https:// or file://")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme was looked at
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=ANSWER_SECONDS) as answer:
        content: bytes = answer.read(ANSWER_BYTES_MAX)
    return content


def _object_of(content: bytes) -> dict[str, Any]:
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TruthError("the service's /version is no JSON") from error
    if not isinstance(table, dict):
        raise TruthError("the service's /version is no JSON object")
    return table
