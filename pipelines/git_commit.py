"""
One commit to a Git repository that others write too: made again on top of theirs, never forced.

Where the branch is protected the same commit goes to a branch of its own. Knows Git and no file's meaning.
"""

from __future__ import annotations

import base64
import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PUSH_ATTEMPTS = 10
"""Bots push at the same time; each try begins at what the others left."""
GIT_SECONDS = 120
IDENTITY = {"NAME": "Adloom release", "EMAIL": "release@adloom.invalid"}
"""Of author and committer: no person made the commit."""
PAUSE_SECONDS_MAX = 3.0
"""Between two tries, drawn anew each time: bots that were overtaken together should not come back together."""
BRANCHES_MAX = 20
"""Names tried for the branch of a pull request; more than that many closed ones want a person."""

REPOSITORY_VARIABLES = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"})
_OVERTAKEN = ("non-fast-forward", "fetch first", "cannot lock ref", "failed to update ref", "incorrect old value")
"""Reasons in Git's own line about a reference that was not taken: somebody else wrote it first."""
_PROTECTED_REASONS = ("protected branch hook declined", "repository rule violations")
_PROTECTED = re.compile(r"^remote: error: GH0(?:06|13):", re.MULTILINE)
"""GitHub's own numbers, of a protected branch and of a rule set."""
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class DeployError(RuntimeError):
    """The GitOps repository cannot be read or written; the message says what Git said."""


class _ProtectedError(Exception):
    """The branch takes no push."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A commit before it is made."""

    files: Mapping[str, str]
    """Text by path inside the repository. Files that hold it already are left alone."""
    title: str
    body: str
    branch: str
    """Where it goes if the main branch is protected; a number is added where that name is taken."""


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of a draft."""

    commit: str
    """The newest commit that touched one of its files; the new one where one was made."""
    is_new: bool
    branch: str = ""
    """Not empty: the commit waits there for a pull request, and the main branch is as it was."""
    base: str = ""
    """The main branch, where `branch` is set."""


class Clone:
    """A working copy that is deleted again."""

    def __init__(self, folder: Path, token: str = "", url: str = "") -> None:
        self.folder = folder
        self._secret = _header(url, token)

    def read(self, path: str) -> str:
        """A file's text; "" where there is none."""
        place = self.folder / path
        return place.read_text(encoding="utf-8") if place.is_file() else ""

    def newest(self, *paths: str) -> str:
        """The last commit that touched one of them; "" for none."""
        return self.git("log", "-1", "--format=%H", "--", *paths) if self.has_commits() else ""

    def history(self, path: str) -> list[str]:
        """Commits that touched a file, oldest first."""
        return self.git("log", "--reverse", "--format=%H", "--", path).splitlines() if self.has_commits() else []

    def message(self, commit: str) -> str:
        """Title and body."""
        return self.git("log", "-1", "--format=%B", commit)

    def at(self, commit: str, path: str) -> str:
        """A file as a commit left it; "" where it had none."""
        done = self.run("show", f"{commit}:{path}")
        return done.stdout if done.returncode == 0 else ""

    def has_commits(self) -> bool:
        """False in a repository that was made a moment ago."""
        return self.run("rev-parse", "--quiet", "--verify", "HEAD").returncode == 0

    def git(self, *arguments: str) -> str:
        """What Git said. Raises DeployError."""
        done = self.run(*arguments)
        if done.returncode != 0:
            raise failed(arguments[0], done.stderr)
        return done.stdout.strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Whatever comes of it; raises DeployError only where Git cannot be run at all."""
        return _run(self.folder, self._secret, *arguments)


@contextmanager
def cloned(url: str, token: str = "") -> Iterator[Clone]:
    """A fresh clone of the repository. Raises DeployError."""
    with tempfile.TemporaryDirectory(prefix="adloom-release-") as scratch:
        folder = Path(scratch) / "clone"
        outside = Clone(Path(scratch), token, url)
        outside.git("clone", "--quiet", "--", url, str(folder))
        yield Clone(folder, token, url)


def commit(url: str, draft: Callable[[Clone], Draft], token: str = "", *, propose: bool = False) -> Landed:
    """
    Make the commit that `draft` asks for, and push it; with `propose` to a branch of its own in any case.

    The draft is asked anew on top of whatever others pushed meanwhile, and may raise. Raises DeployError.
    """
    overtaken = ""
    with cloned(url, token) as clone:
        for attempt in range(PUSH_ATTEMPTS):
            wanted = draft(clone)
            if not _committed(clone, wanted):
                return Landed(clone.newest(*wanted.files), is_new=False)
            if propose:
                return _on_a_branch(clone, wanted)
            try:
                overtaken = _pushed(clone)
            except _ProtectedError:
                return _on_a_branch(clone, wanted)
            if not overtaken:
                return Landed(clone.git("rev-parse", "HEAD"), is_new=True)
            time.sleep(random.uniform(0, min(PAUSE_SECONDS_MAX, 0.1 * 2**attempt)))
            clone.git("fetch", "--quiet", "origin")
            clone.git("reset", "--quiet", "--hard", "@{upstream}")
    raise DeployError(f"{PUSH_ATTEMPTS} pushes were overtaken by others ({overtaken}): try again when fewer deploy")


def failed(command: str, said: str) -> DeployError:
    """What Git said, without the user and password that an address may hold."""
    return DeployError(f"git {command} failed: {_CREDENTIALS.sub('***@', ' '.join(said.split()))[-500:]}")


def _committed(clone: Clone, draft: Draft) -> bool:
    """False where every file says so already."""
    changed = {path: text for path, text in draft.files.items() if clone.read(path) != text}
    for path, text in changed.items():
        place = clone.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    if changed:
        clone.git("add", "--", *changed)
        clone.git("commit", "--quiet", "-m", draft.title, "-m", draft.body)
    return bool(changed)


def _pushed(clone: Clone) -> str:
    """Empty where the push arrived, else how Git says that others came first. Raises _ProtectedError, DeployError."""
    done = clone.run("push", "--quiet", "origin", "HEAD")
    if done.returncode == 0:
        return ""
    # A hook of the repository may say anything, also "fetch first"; only lines of this form are Git's.
    refused = [line.strip() for line in done.stderr.splitlines() if line.startswith(" ! [")]
    if refused and all(any(sign in line for sign in _OVERTAKEN) for line in refused):
        return refused[0]
    if _PROTECTED.search(done.stderr) or any(sign in line for line in refused for sign in _PROTECTED_REASONS):
        raise _ProtectedError
    raise failed("push", done.stderr)


def _on_a_branch(clone: Clone, draft: Draft) -> Landed:
    """The commit of HEAD on a branch of its own, or the one that an earlier run left there. Raises DeployError."""
    head, base = clone.git("rev-parse", "HEAD"), clone.git("rev-parse", "--abbrev-ref", "HEAD")
    for place in range(1, BRANCHES_MAX + 1):
        name = draft.branch if place == 1 else f"{draft.branch}-{place}"
        if theirs := clone.run("rev-parse", "--quiet", "--verify", f"refs/remotes/origin/{name}").stdout.strip():
            if _waits_with(clone, theirs, base, draft):
                return Landed(theirs, is_new=False, branch=name, base=base)
            continue
        clone.git("push", "--quiet", "origin", f"{head}:refs/heads/{name}")
        return Landed(head, is_new=True, branch=name, base=base)
    raise DeployError(f"{BRANCHES_MAX} branches {draft.branch}* are there already: delete those that are done with")


def _waits_with(clone: Clone, theirs: str, base: str, draft: Draft) -> bool:
    """Whether a branch says the same and was not merged yet."""
    merged = clone.run("merge-base", "--is-ancestor", theirs, f"origin/{base}").returncode == 0
    return not merged and all(clone.at(theirs, path) == text for path, text in draft.files.items())


def _header(url: str, token: str) -> dict[str, str]:
    """Git's own way to be given a header, for that host alone: not on a command line, where others could read it."""
    parts = urlsplit(url)
    if not token or parts.scheme not in ("http", "https"):
        return {}
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    words = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{host}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {words}",
    }


def _run(folder: Path, secret: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    # A hook that runs us names its own repository in the environment; ours is the folder's.
    outside = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES}
    names = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()}
    environment = {**outside, **names, **secret, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(  # noqa: S603 - git, with arguments of ours
            ["git", "-c", "commit.gpgsign=false", *arguments],  # noqa: S607 - whichever git this machine uses
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise DeployError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"git {arguments[0]} took longer than {GIT_SECONDS} s") from error
