"""
The folder that a loop works in, and how its parts are started: steps, DAG runs and the service, each its own process.

Knows no order; every process finds the same stores through the same variables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEP_SECONDS_MAX = 4 * 3600.0
TAIL_LINES = 15
OURS = ("ADLOOM_", "AIRFLOW_", "MLFLOW_")


class LoopError(RuntimeError):
    """A part did not do what the loop needs; the message says which, and where its words are."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a process ended."""

    status: int
    lines: Sequence[str]
    """Its standard output."""

    @property
    def said(self) -> dict[str, Any]:
        """The last line that is a JSON object, or all of it where that is one; empty where there is none."""
        for text in ("\n".join(self.lines), *(line for line in reversed(self.lines) if line.startswith("{"))):
            with suppress(ValueError):
                found = json.loads(text)
                if isinstance(found, dict):
                    return found
        return {}


class Workshop:
    """One folder with everything in it: stores, registry, feature store, Airflow's home, the GitOps repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / "loop.log"
        self.gitops = self.folder / "gitops.git"
        stores = self.folder / "stores"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environment = inherited | {
            "ADLOOM_DATABASE_URL": f"sqlite:///{stores / 'adloom.db'}",
            "ADLOOM_OBJECTS_URL": str(stores / "objects"),
            "ADLOOM_ISSUER_KEY": str(stores / "issuer.pem"),
            "ADLOOM_ROOT": str(self.folder / "work"),
            "ADLOOM_REGISTRY": str(self.folder / "registry"),
            "ADLOOM_FEATURES": str(self.folder / "features"),
            "ADLOOM_SOURCES": str(self.folder / "sources.yaml"),
            "ADLOOM_GITOPS_URL": str(self.gitops),
            "ADLOOM_PAIRS": str(self.folder / "curated.jsonl"),
            "ADLOOM_LOG_FLUSH_SECONDS": "0.5",  # a window is looked at seconds after its end, not an hour
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "PYTHONUNBUFFERED": "1",
        }

    def step(self, *arguments: str | Path, accept: Sequence[int] = (0,)) -> Answer:
        """Run `adloom ARGUMENTS`. Raises LoopError for a status that is not among `accept`."""
        return self._run(arguments, accept)

    def dag(self, name: str, **conf: Any) -> dict[str, Any]:
        """Run a DAG in real Airflow from its first task to its last: its answer, task states in it."""
        answer = self._run(["run-dag", name, "--conf", json.dumps(conf)], (0, 1))
        if answer.said.get("state") != "success":
            raise LoopError(f"the DAG {name} ended as {answer.said or 'nothing'}; {self._words()}")
        return answer.said

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        """What git said. Raises LoopError."""
        command = ["git", "-c", "user.name=Adloom loop", "-c", "user.email=loop@adloom.invalid", *arguments]
        done = subprocess.run(command, cwd=folder or self.folder, capture_output=True, text=True, check=False)  # noqa: S603 - git
        if done.returncode != 0:
            raise LoopError(f"git {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _run(self, arguments: Sequence[str | Path], accept: Sequence[int]) -> Answer:
        command = [sys.executable, "-m", "app.cli", *map(str, arguments)]
        with self.log.open("ab") as log:
            log.write(f"\n$ adloom {' '.join(map(str, arguments))}\n".encode())
            log.flush()
            done = subprocess.run(  # noqa: S603 - a command of ours
                command, env=self.environment, stdout=subprocess.PIPE, stderr=log, check=False, timeout=STEP_SECONDS_MAX
            )
            log.write(done.stdout)
        if done.returncode not in accept:
            raise LoopError(f"adloom {arguments[0]} ended with status {done.returncode}; {self._words()}")
        return Answer(done.returncode, done.stdout.decode(errors="replace").splitlines())

    def _words(self) -> str:
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        return f"the last words in {self.log}:\n" + "\n".join(tail)
