"""
The release commit: one file of one environment in the GitOps repository, changed, committed and pushed.

Knows Git and the file's form; who may be released is decided by the gate.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PUSH_ATTEMPTS = 10
"""Bots push at the same time; each try begins at what the others left."""
GIT_SECONDS = 120
IDENTITY = {"NAME": "Adloom release", "EMAIL": "release@adloom.invalid"}
"""Of author and committer: no person made the commit."""
ENVIRONMENTS = ("dev", "staging", "prod")
REPOSITORY_VARIABLES = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"})
PAUSE_SECONDS_MAX = 3.0
"""Between two tries, drawn anew each time: bots that were overtaken together should not come back together."""

_LINE = re.compile(r"[A-Z][A-Z0-9_]*=[^\x00-\x1f\x7f]*")
_OVERTAKEN = ("non-fast-forward", "fetch first", "cannot lock ref", "failed to update ref", "incorrect old value")
"""Reasons in Git's own line about a reference that was not taken: somebody else wrote it first."""
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class DeployError(RuntimeError):
    """The GitOps repository cannot be read or written; the message says what Git said."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What an environment's file says, and the commit that last changed it."""

    values: Mapping[str, str]
    commit: str


def model_file(environment: str) -> str:
    """Where an environment says which model it runs."""
    return f"gitops/apps/adloom-api/overlays/{environment}/model.env"


def read_values(text: str) -> dict[str, str]:
    """NAME=value lines; comments and empty ones are left out."""
    rows = (line.partition("=") for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in rows}


def with_values(text: str, values: Mapping[str, str]) -> str:
    """
    The file with other values, every other line as it was; a name that it lacks comes last.

    Raises DeployError for what one line cannot hold.
    """
    for name, value in values.items():
        line = f"{name}={value}"
        if not _LINE.fullmatch(line):
            raise DeployError(f"{name} cannot be written as one line NAME=value")
        text, found = re.subn(rf"(?m)^[ \t]*{re.escape(name)}[ \t]*=.*$", line.replace("\\", r"\\"), text)
        if not found:
            text = (text if not text or text.endswith("\n") else f"{text}\n") + f"{line}\n"
    return text


def deploy(url: str, environment: str, values: Mapping[str, str], *, title: str, body: str) -> tuple[Deployed, bool]:
    """
    Commit `values` to an environment and push; returns what stands there, and whether that is new.

    Where somebody else pushed meanwhile, the change is made again on top of theirs; nothing is ever forced. Raises
    DeployError.
    """
    overtaken = ""
    with _clone(url) as clone:
        for attempt in range(PUSH_ATTEMPTS):
            path = clone / model_file(environment)
            before = path.read_text(encoding="utf-8") if path.is_file() else ""
            after = with_values(before, values)
            if after == before:
                return Deployed(read_values(before), _head_of(clone, environment)), False
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(after, encoding="utf-8")
            _git(clone, "add", "--", model_file(environment))
            _git(clone, "commit", "--quiet", "-m", title, "-m", body)
            if not (overtaken := _pushed(clone)):
                return Deployed(read_values(after), _git(clone, "rev-parse", "HEAD")), True
            time.sleep(random.uniform(0, min(PAUSE_SECONDS_MAX, 0.1 * 2**attempt)))
            _git(clone, "fetch", "--quiet", "origin")
            _git(clone, "reset", "--quiet", "--hard", "@{upstream}")
    raise DeployError(f"{PUSH_ATTEMPTS} pushes were overtaken by others ({overtaken}): try again when fewer deploy")


def deployed(url: str, environment: str) -> Deployed:
    """What an environment is told to run; no values where nothing was ever released."""
    with _clone(url) as clone:
        path = clone / model_file(environment)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return Deployed(read_values(text), _head_of(clone, environment) if text else "")


@contextmanager
def _clone(url: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="adloom-release-") as scratch:
        folder = Path(scratch) / "clone"
        _git(Path(scratch), "clone", "--quiet", "--", url, str(folder))
        yield folder


def _head_of(clone: Path, environment: str) -> str:
    return _git(clone, "log", "-1", "--format=%H", "--", model_file(environment))


def _pushed(clone: Path) -> str:
    """Empty where the push arrived, else how Git says that others came first; anything else is an error."""
    done = _run(clone, "push", "--quiet", "origin", "HEAD")
    if done.returncode == 0:
        return ""
    # A hook of the repository may say anything, also "fetch first"; only lines of this form are Git's.
    refused = [line.strip() for line in done.stderr.splitlines() if line.startswith(" ! [")]
    if refused and all(any(sign in line for sign in _OVERTAKEN) for line in refused):
        return refused[0]
    raise _failed("push", done.stderr)


def _git(folder: Path, *arguments: str) -> str:
    done = _run(folder, *arguments)
    if done.returncode != 0:
        raise _failed(arguments[0], done.stderr)
    return done.stdout.strip()


def _failed(command: str, said: str) -> DeployError:
    """What Git said, without the user and password that an address may hold."""
    return DeployError(f"git {command} failed: {_CREDENTIALS.sub('***@', ' '.join(said.split()))[-500:]}")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A hook that runs us names its own repository in the environment; ours is the folder's.
    outside = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES}
    names = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()}
    environment = {**outside, **names, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
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
