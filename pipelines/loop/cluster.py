"""
A stand-in for the cluster: it serves the model that the GitOps repository names, and nothing else.

Argo CD and the image build do this in production. The bundle is fetched from the registry by version and its digest
has to be the one in Git; the service is the real one, in a process of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from model.bundle import open_bundle
from pipelines.deployment import deployed
from pipelines.loop.workshop import LoopError, Workshop

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.1
_ADDRESS = re.compile(r"https?://[\d.]+:\d+")


class Cluster:
    """At most one running service. Use it in a `with`: whatever happens, the service ends."""

    def __init__(self, workshop: Workshop, environment: str) -> None:
        self._workshop = workshop
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def sync(self) -> str:
        """Serve what Git says now; returns the version. Raises LoopError, and then the earlier service goes on."""
        wanted = deployed(str(self._workshop.gitops), self._environment).values
        version, digest = wanted.get("MODEL_VERSION", ""), wanted.get("BUNDLE_DIGEST", "")
        if not version:
            raise LoopError("Git names no model yet")
        folder = self._workshop.folder / "served" / version
        registry = self._workshop.environment["ADLOOM_REGISTRY"]
        self._workshop.step("models", "--registry", registry, "fetch", version, "--to", folder)
        found = open_bundle(folder).digest
        if found != digest:
            raise LoopError(f"Git says bundle {digest[:12]} for version {version}, and the registry has {found[:12]}")
        self.stop()
        self._start(folder, version)
        return version

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

    def _start(self, bundle: Path, version: str) -> None:
        log = self._workshop.folder / f"service-{version}.log"
        commit = deployed(str(self._workshop.gitops), self._environment).commit
        environment = self._workshop.environment | {
            "ADLOOM_BUNDLE": str(bundle),
            "ADLOOM_REGISTRY_VERSION": version,
            "ADLOOM_GIT_COMMIT": commit,
            "ADLOOM_LIMIT_DEFAULT": "100000/minute",
            "ADLOOM_BATCH_WRITERS": "0",
        }
        port = self._port_of(log, [sys.executable, "-m", "app.cli", "serve", "--port", "0"], environment)
        self.address = port
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

    def _port_of(self, log: Path, command: list[str], environment: dict[str, str]) -> str:
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
