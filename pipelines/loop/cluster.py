"""
A stand-in for the cluster: it serves the image that the GitOps repository names, and nothing else.

Argo CD does this in production. The registry is not asked, the image holds the model; the service is the real one, in
a process of its own and always at the same address.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pipelines.deployment import deployed, image_from
from pipelines.loop.factory import image_folder
from pipelines.loop.workshop import LoopError, Workshop

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.1
FOLLOW_SECONDS = 1.0
_ADDRESS = re.compile(r"https?://[\d.]+:\d+")


class Cluster:
    """At most one running service. Use it in a `with`: whatever happens, the service ends."""

    def __init__(self, workshop: Workshop, environment: str) -> None:
        self._workshop = workshop
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._commit = ""
        """What is served."""
        self.address = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def sync(self) -> str:
        """Serve what Git says now; returns the version. Raises LoopError, and then the earlier service goes on."""
        wanted = deployed(str(self._workshop.gitops), self._environment)
        version, image = wanted.values.get("MODEL_VERSION", ""), wanted.values.get("IMAGE", "")
        if not version:
            raise LoopError("Git names no model yet")
        digest = image_from(image).digest
        folder = image_folder(self._workshop, digest.removeprefix("sha256:"))
        if not folder.is_dir():
            raise LoopError(f"Git says image {image}, and nobody built it")
        self.stop()
        self._start(folder, version, digest, wanted.commit)
        self._commit = wanted.commit
        return version

    def follow(self, done: Future[Any]) -> None:
        """As Argo CD does: serve whatever is new in Git until something else is `done`. Raises LoopError."""
        while not done.done():
            if deployed(str(self._workshop.gitops), self._environment).commit != self._commit:
                self.sync()
            time.sleep(FOLLOW_SECONDS)

    def served(self) -> dict[str, Any]:
        """What the service says of itself."""
        with urllib.request.urlopen(f"{self.address}/version", timeout=10) as answer:  # noqa: S310 - our own service
            told: dict[str, Any] = json.load(answer)
        return told

    def stop(self) -> None:
        """As Kubernetes does: SIGTERM, the grace period, then the hard way."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _start(self, bundle: Path, version: str, digest: str, commit: str) -> None:
        log = self._workshop.folder / f"service-{version}.log"
        environment = self._workshop.environment | {
            "ADLOOM_BUNDLE": str(bundle),
            "ADLOOM_REGISTRY_VERSION": version,
            "ADLOOM_GIT_COMMIT": commit,
            "ADLOOM_IMAGE_DIGEST": digest,
            "ADLOOM_LIMIT_DEFAULT": "100000/minute",
            "ADLOOM_BATCH_WRITERS": "0",
        }
        port = self.address.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "app.cli", "serve", "--port", port]
        self.address = self._address_of(log, command, environment)
        end = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < end:
            with (
                suppress(OSError, urllib.error.URLError),
                urllib.request.urlopen(f"{self.address}/readyz", timeout=5) as answer,  # noqa: S310 - our own service
            ):
                if answer.status == 200:
                    return
            time.sleep(POLL_SECONDS)
        raise LoopError(f"the service of version {version} did not become ready; see {log}")

    def _address_of(self, log: Path, command: list[str], environment: dict[str, str]) -> str:
        """Start it and wait for the line that names its address."""
        output = log.with_suffix(".out")
        with log.open("w") as errors, output.open("w") as words:
            self._process = subprocess.Popen(command, env=environment, stdout=words, stderr=errors, text=True)  # noqa: S603
        end = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < end:
            if found := _ADDRESS.search(output.read_text()):
                return found.group()
            if self._process.poll() is not None:
                raise LoopError(f"the service ended with status {self._process.returncode}; see {log}")
            time.sleep(POLL_SECONDS)
        raise LoopError(f"the service named no address; see {log}")
