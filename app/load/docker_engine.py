"""
Containers of the service on this machine: started with a limit of CPU, asked for what they have used, removed.

Knows the command `docker` and the engine's socket, and nothing of what is measured.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SOCKET = "/var/run/docker.sock"
COMMAND_SECONDS_MAX = 60.0
STOP_SECONDS = 20


class DockerError(RuntimeError):
    """There is no engine, or it refused; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Container:
    """A running container that shares the network of this machine."""

    identity: str
    port: int

    def cpu_seconds(self) -> float:
        """Used since it was started, over all cores."""
        connection = _UnixConnection(SOCKET)
        try:
            connection.request("GET", f"/containers/{self.identity}/stats?stream=false&one-shot=true")
            used = json.load(connection.getresponse())["cpu_stats"]["cpu_usage"]["total_usage"]
        except (OSError, KeyError, ValueError, http.client.HTTPException) as error:
            raise DockerError(f"the engine does not say what the container on port {self.port} used") from error
        finally:
            connection.close()
        return float(used) / 1e9

    def logs(self) -> str:
        """The end of what it said."""
        return _docker(["logs", "--tail", "5", self.identity], is_checked=False)


def require_engine() -> None:
    """Raises DockerError where no engine answers."""
    if shutil.which("docker") is None:
        raise DockerError("docker is not installed: on Debian `apt-get install docker.io`")
    _docker(["version", "--format", "{{.Server.Version}}"])


def require_image(image: str) -> str:
    """Its id. Raises DockerError where the engine does not have it."""
    found = _docker(["image", "inspect", "--format", "{{.Id}}", image], is_checked=False)
    if not found.startswith("sha256:"):
        raise DockerError(f"there is no image {image}: build it, or name another with --image")
    return found


@contextlib.contextmanager
def running(
    image: str, command: Sequence[str], port: int, *, cpus: float, data: Path, environment: Mapping[str, str]
) -> Iterator[Container]:
    """
    A container as the cluster runs it: no root, nothing writable but `data` and /tmp, no capability.

    Raises DockerError where it does not start.
    """
    entry, *rest = command
    made = _docker([
        "run", "--detach", "--network", "host", "--cpus", f"{cpus:g}", "--read-only", "--tmpfs", "/tmp",  # noqa: S108 -- the container's own
        "--user", f"{os.getuid() or 10001}:10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--volume", f"{data}:{data}", *(word for pair in environment.items() for word in ("--env", "=".join(pair))),
        "--entrypoint", entry, image, *rest,
    ])  # fmt: skip
    try:
        yield Container(made, port)
    finally:
        _docker(["stop", "--time", str(STOP_SECONDS), made], is_checked=False)
        _docker(["rm", "--force", made], is_checked=False)


def _docker(arguments: Sequence[str], *, is_checked: bool = True) -> str:
    done = subprocess.run(  # noqa: S603 -- docker, with arguments of ours
        ["docker", *arguments],  # noqa: S607 -- whichever this machine has
        capture_output=True,
        text=True,
        errors="replace",
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    if is_checked and done.returncode != 0:
        raise DockerError(f"docker {arguments[0]} failed: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout.strip() or done.stderr.strip()


class _UnixConnection(http.client.HTTPConnection):
    """The engine's API."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
