"""A bare GitOps repository that a test deploys to, its hooks, and what its log says. Knows no command."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipelines.deployment import ENVIRONMENTS, WANTED_FILE, model_file
from tests.repo.tree import ROOT

BEGIN = "begin"
PROTECTED = 'echo "error: GH006: Protected branch update failed for $ref." >&2; exit 1'
"""What GitHub says of a protected branch; the hook is a stand-in for its server."""


def git(folder: Path, *arguments: object) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    command = ["git", *identity, "-C", str(folder), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180).stdout.strip()


def empty_repository(folder: Path) -> Path:
    """Bare, and without a commit."""
    folder.mkdir(parents=True, exist_ok=True)
    bare = folder / "gitops.git"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", bare)
    return bare


def repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """With this repository's own promoted files in one commit, or those that a test gives."""
    bare, clone = empty_repository(folder), folder / "clone"
    git(folder, "clone", "--quiet", bare, clone)
    for path, text in (files if files is not None else shipped_files()).items():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_text(text, encoding="utf-8")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", BEGIN)
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    return bare


def shipped_files() -> dict[str, str]:
    paths = (WANTED_FILE, *map(model_file, ENVIRONMENTS))
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}


def image(number: int) -> str:
    """A pinned image that is different for each number."""
    return f"0.1.{number}@sha256:{number:064x}"


def titles(bare: Path, branch: str = "main") -> list[str]:
    """Oldest first."""
    return git(bare, "log", "--reverse", "--format=%s", branch).splitlines()


def text_of(bare: Path, path: str, branch: str = "main") -> str:
    return git(bare, "show", f"{branch}:{path}")


def hook(bare: Path, script: str, name: str = "pre-receive") -> None:
    """Counts the pushes it was asked about."""
    path = bare / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho push >> '{bare}/pushes'\n{script}\n")
    path.chmod(0o755)


def protect(bare: Path) -> None:
    """Main takes no push; other branches do."""
    loop = f'while read -r old new ref; do if [ "$ref" = refs/heads/main ]; then {PROTECTED}; fi; done'
    hook(bare, loop)


def merge(bare: Path, branch: str, folder: Path) -> None:
    """As a person does in the forge: the branch's commit becomes main's, squashed, its trailers lost."""
    (bare / "hooks/pre-receive").unlink()
    work = folder / "merging"
    git(folder, "clone", "--quiet", bare, work)
    git(work, "merge", "--quiet", "--squash", f"origin/{branch}")
    git(work, "commit", "--quiet", "-m", f"merge {branch}")
    git(work, "push", "--quiet", "origin", "HEAD:main")
