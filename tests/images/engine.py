"""
A Docker engine, a base image made of Debian's packages, images built by app/bin/build-image and containers of them.

Skips with the reason where the machine has no engine. Knows nothing of what the images hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.real_parts import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "app/bin/build-image"
BUILD_SECONDS_MAX = 900
HARDENED = "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --memory 1g --network host".split()
"""As the cluster runs it: base/ of gitops/apps/adloom-api says the same."""
PACKAGES = "ca-certificates,netbase,python3,python3-venv,tzdata"
LEFT_OUT = ["usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists", "var/log"]
"""What Debian's slim images lack as well."""
MIRROR = "http://deb.debian.org/debian"


@dataclass(frozen=True, slots=True)
class Built:
    """What app/bin/build-image said and left."""

    status: int
    said: dict[str, str]
    log: str

    @property
    def last_line(self) -> str:
        return self.log.strip().splitlines()[-1]


@dataclass(frozen=True, slots=True)
class Engine:
    """The client of an engine that answers."""

    program: str
    environment: Mapping[str, str]

    def call(self, *arguments: str | Path, check: bool = True, seconds_max: float = 300) -> str:
        """Standard output; the test fails where the command does."""
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds_max,
        )
        assert not check or done.returncode == 0, f"docker {arguments[0]}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("inspect", name))[0]
        return found

    def images(self) -> set[str]:
        """Ids of all, those without a name too."""
        return set(self.call("image", "ls", "--all", "--quiet", "--no-trunc").split())

    def build(self, what: str, tag: str, *options: str | Path, environment: Mapping[str, str] | None = None) -> Built:
        """Whatever comes of it."""
        done = subprocess.run(
            [SCRIPT, what, "--tag", tag, "--host-network", *map(str, options)],
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS_MAX,
        )
        said = dict(line.split("=", 1) for line in done.stdout.splitlines())
        return Built(done.returncode, said, done.stderr)

    @contextmanager
    def volume(self) -> Iterator[str]:
        """An empty one."""
        name = f"adloom-test-{uuid.uuid4().hex[:12]}"
        self.call("volume", "create", name)
        try:
            yield name
        finally:
            self.call("volume", "rm", "--force", name)

    def once(self, image: str, *command: str, options: Sequence[str] = (), entrypoint: str = "") -> str:
        """Run a command in a hardened container, and return its standard output."""
        over = ["--entrypoint", entrypoint] if entrypoint else []
        return self.call("run", "--rm", *HARDENED, *over, *options, image, *command)

    @contextmanager
    def running(self, image: str, *command: str, options: Sequence[str] = (), port: int | None = None) -> Iterator[Box]:
        """A hardened container that serves on `port`, removed afterwards."""
        chosen = port or free_port()
        started = time.monotonic()
        identity = self.call("run", "--detach", *HARDENED, *options, image, *command, "--port", str(chosen))
        box = Box(self, identity, f"http://127.0.0.1:{chosen}", started)
        try:
            yield box
        finally:
            self.call("rm", "--force", identity)


@dataclass
class Box:
    """A container that listens."""

    engine: Engine
    identity: str
    url: str
    started: float
    ready_seconds: float = field(default=0.0)

    def wait(self, path: str, seconds_max: float = 180.0) -> None:
        """Until `path` answers 200; how long that took since `docker run` is kept."""

        def answers() -> bool:
            try:
                return httpx.get(self.url + path, timeout=10).status_code == 200
            except httpx.TransportError:
                if not self.state()["Running"]:
                    pytest.fail(f"the container ended: {self.logs()}")
                return False

        wait_until(answers, f"{path}", seconds_max)
        self.ready_seconds = time.monotonic() - self.started

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.inspect(self.identity)["State"]
        return found

    def logs(self) -> str:
        done = subprocess.run(
            [self.engine.program, "logs", self.identity],
            env=self.engine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout

    def megabytes(self) -> float:
        """Memory in use, without what the kernel only caches."""
        used = (
            self.engine.call("stats", "--no-stream", "--format", "{{.MemUsage}}", self.identity).split("/")[0].strip()
        )
        units = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}
        return float(used[:-3]) * units[used[-3:]] / 1e6


@contextmanager
def docker_engine(folder: Path) -> Iterator[Engine]:
    """The engine that runs here, or one of our own below `folder`."""
    program = shutil.which("docker")
    if program is None:
        pytest.skip("needs Docker: install the Debian package docker.io")
    environment = dict(os.environ)
    engine = Engine(program, environment)
    if _runs(engine):
        yield engine
        return
    daemon = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    if daemon is None or os.geteuid() != 0:
        pytest.skip("no Docker engine runs here, and starting one needs dockerd and root")
    environment["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
    # No bridge: containers share the network of this machine, and nothing is changed in its firewall.
    command = [daemon, "--iptables=false", "--bridge=none", f"--host={environment['DOCKER_HOST']}"]
    command += [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _runs(engine), "dockerd", 180)
        if process.poll() is not None:
            pytest.skip(f"dockerd does not start here: {(folder / 'dockerd.log').read_text()[-300:]}")
        yield engine
    finally:
        process.terminate()
        process.wait(timeout=180)
        # It leaves its network's handle mounted, and nobody could remove the folder.
        subprocess.run(["umount", folder / "exec/netns/default"], capture_output=True, check=False)


def _runs(engine: Engine) -> bool:
    return bool(engine.call("version", "--format", "{{.Server.Version}}", check=False))


def base_image(engine: Engine, environment: Mapping[str, str], say: Callable[[str], None]) -> str:
    """
    ADLOOM_IMAGES_BASE, or Debian with its Python: what python:3.11-slim-bookworm is, for machines that cannot pull it.

    Made once and kept in the user's cache, under a name that changes with its recipe.
    """
    if given := environment.get("ADLOOM_IMAGES_BASE"):
        return given
    recipe = hashlib.sha256(json.dumps([PACKAGES, LEFT_OUT, MIRROR]).encode()).hexdigest()[:12]
    name = f"adloom-test-base:{recipe}"
    if engine.call("image", "ls", "--quiet", name):
        return name
    kept = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adloom/images" / f"{recipe}.tar"
    if not kept.is_file():
        _bootstrap(kept, say)
    engine.call("import", kept, name)
    return name


def _bootstrap(kept: Path, say: Callable[[str], None]) -> None:
    program = shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or os.geteuid() != 0:
        pytest.skip("needs a base image: install debootstrap and run as root, or set ADLOOM_IMAGES_BASE")
    kept.parent.mkdir(parents=True, exist_ok=True)
    scratch = kept.parent / f"{uuid.uuid4().hex}.d"
    say("making a base image with debootstrap, about a minute")
    try:
        command = [program, "--variant=minbase", f"--include={PACKAGES}", "bookworm", scratch, MIRROR]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            pytest.skip(f"debootstrap could not reach {MIRROR}: {done.stdout[-200:]}")
        for each in LEFT_OUT:
            for path in (scratch / each).iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (scratch / "var/cache/apt/archives/partial").mkdir(parents=True)
        packed = kept.with_suffix(".new")
        subprocess.run(["tar", "-C", scratch, "-cf", packed, "."], check=True)
        packed.rename(kept)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
