"""
A pull request for a branch that is pushed, through GitHub's REST API.

The token goes to that one host and stands in no message; a redirect to another is not followed.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

PUBLIC_API = "https://api.github.com"
API_VERSION = "2022-11-28"
ANSWER_SECONDS = 30.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
TOKEN_FILE = "ADLOOM_GITOPS_TOKEN_FILE"  # noqa: S105 - the name of a variable
TOKEN_NAMES = ("GH_TOKEN", "GITHUB_TOKEN")

_OWNER_AND_NAME = re.compile(r"[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$")


class PullRequestError(RuntimeError):
    """No pull request could be opened or found; the message says why, and never holds the token."""


@dataclass(frozen=True, slots=True)
class Forge:
    """A repository on GitHub or a server that speaks its REST API."""

    api: str
    repository: str
    """OWNER/NAME."""
    token: str


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One of a branch."""

    number: int
    url: str
    is_new: bool


def token_from(environment: Mapping[str, str]) -> str:
    """
    The bot's token: from the file that ADLOOM_GITOPS_TOKEN_FILE names, or GH_TOKEN or GITHUB_TOKEN; "" for none.

    Raises OSError where the file cannot be read.
    """
    if path := environment.get(TOKEN_FILE, ""):
        return Path(path).read_text(encoding="utf-8").strip()
    return next((environment[name] for name in TOKEN_NAMES if environment.get(name)), "")


def forge_of(url: str, token: str, environment: Mapping[str, str] = os.environ) -> Forge | None:
    """The API of the repository that `url` clones; None without a token, or where the address names no owner."""
    named = environment.get("GITHUB_REPOSITORY", "")
    found = _OWNER_AND_NAME.search(urlsplit(url).path if "://" in url else url)
    is_remote = "://" in url or re.match(r"[\w.-]+@[\w.-]+:", url) is not None
    repository = named or (found[1] if found and is_remote and not url.startswith("file:") else "")
    if not token or not repository:
        return None
    return Forge(environment.get("GITHUB_API_URL") or PUBLIC_API, repository, token)


def open_pull_request(forge: Forge, branch: str, base: str, title: str, body: str) -> PullRequest:
    """Open one, or find the one that is open for this branch. Raises PullRequestError."""
    # Looked for first: an earlier run may have been cut off after it opened one.
    if found := _open_one(forge, branch, base):
        return found
    made = _ask(forge, "POST", "pulls", {"title": title, "head": branch, "base": base, "body": body})
    return _pull_request(made, is_new=True)


def closed_pull_request(forge: Forge, branch: str) -> PullRequest | None:
    """The newest for this branch, where it was closed and none is open or merged. Raises PullRequestError."""
    listed = _listed(forge, branch, "state=all")
    found = [_pull_request(one, is_new=False) for one in listed]  # so each is a mapping
    if any(one.get("state") != "closed" or one.get("merged_at") for one in listed):
        return None
    return max(found, key=lambda one: one.number, default=None)


def _open_one(forge: Forge, branch: str, base: str) -> PullRequest | None:
    listed = _listed(forge, branch, f"state=open&base={quote(base)}")
    return _pull_request(listed[0], is_new=False) if listed else None


def _listed(forge: Forge, branch: str, which: str) -> list[Any]:
    owner = forge.repository.partition("/")[0]
    listed = _ask(forge, "GET", f"pulls?{which}&head={quote(f'{owner}:{branch}', safe=':')}")
    return listed if isinstance(listed, list) else []


def _pull_request(told: Any, *, is_new: bool) -> PullRequest:
    try:
        return PullRequest(int(told["number"]), str(told["html_url"]), is_new)
    except (KeyError, TypeError, ValueError) as error:
        raise PullRequestError("the Git server's answer is no pull request; look at its API address") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would hand the token to whatever host a redirect names."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(forge: Forge, method: str, path: str, content: Mapping[str, str] | None = None) -> Any:
    if urlsplit(forge.api).scheme not in ("http", "https"):
        raise PullRequestError("GITHUB_API_URL must begin with http:// or https://")
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        f"{forge.api.rstrip('/')}/repos/{forge.repository}/{path}",
        method=method,
        data=json.dumps(content).encode() if content is not None else None,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {forge.token}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": API_VERSION,
        },
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=ANSWER_SECONDS) as answer:
            return json.loads(answer.read(ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            raise PullRequestError(_refused(error)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise PullRequestError(f"the Git server's API did not answer: {reason}; try again") from None


def _refused(error: urllib.error.HTTPError) -> str:
    """What the server said, and which right the token lacks."""
    try:
        said = str(json.loads(error.read(ANSWER_BYTES_MAX)).get("message", ""))[:200]
    except (ValueError, OSError, AttributeError):
        said = ""
    advice = {
        401: "the token is wrong or has expired",
        403: "the token lacks the right to write pull requests",
        404: "the token does not see this repository",
    }.get(error.code, "look at the branch and try again")
    return f"the Git server refused the pull request with {error.code}{f' ({said})' if said else ''}: {advice}"
