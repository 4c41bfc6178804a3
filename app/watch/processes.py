"""
Programs of the local stack: each one process with a log, on a port of its own, that can be killed and started again.

Knows no Adloom; a program that is missing on this machine is named with the package that has it.
"""

from __future__ import annotations

import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
"""The service finishes what it is writing before it goes."""
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 15
PACKAGES = {
    "prometheus": ("prometheus",),
    "prometheus-alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "redis-server": ("redis-server",),
    "nginx": ("nginx",),
}
"""Debian's package, and what its program is called, there or elsewhere."""


class StackError(RuntimeError):
    """The stack cannot be started or waited for; the message says what to do."""


def wait_for(is_so: Callable[[], bool], what: str, seconds_max: float = START_SECONDS_MAX) -> float:
    """How many seconds it took. Raises StackError where it does not become so."""
    started_seconds = time.monotonic()
    while not is_so():
        if time.monotonic() - started_seconds > seconds_max:
            raise StackError(f"waited {seconds_max:.0f} s for {what}")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - started_seconds


def free_ports(count: int) -> list[int]:
    """So many different ones that nobody listens on now."""
    with ExitStack() as held:  # all at once: one that is let go of may be given again
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def free_port() -> int:
    """One that nobody listens on now."""
    return free_ports(1)[0]


def open_local(request: urllib.request.Request | str, seconds_max: float) -> Any:
    """What a part of this machine answers; whatever proxy the environment names is not for it. Raises OSError."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=seconds_max)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int, path: str, *, status_max: int = 599) -> bool:
    """Whether HTTP is spoken there, and the answer's status is at most so."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.status <= status_max
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def program(package: str) -> str:
    """Path of the program. Raises StackError where it is not installed."""
    found = next((path for name in PACKAGES[package] if (path := shutil.which(name))), None)
    if found is None:
        raise StackError(f"{package} is not installed: apt-get install {package}")
    return found


@dataclass(slots=True)
class Part:
    """One process of the stack, started again on the same port and with the same log."""

    name: str
    command: Sequence[str]
    port: int
    log: Path
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    user: str | None = None
    crash_signal: signal.Signals = signal.SIGKILL
    """What `crash` sends: PostgreSQL would leave shared memory behind after SIGKILL."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """False before the first start, and once it has ended."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it and return at once; `settle` waits."""
        if self.is_running:
            return
        with self.log.open("ab") as log:  # a pipe that nobody reads would fill up and stop it
            self._process = subprocess.Popen(  # noqa: S603 -- a command of ours
                self.command,
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we stop the parts in order
                user=self.user,
                group=_group_of(self.user),
                extra_groups=None if self.user is None else [],
            )

    def settle(self) -> None:
        """Wait until it serves. Raises StackError with the end of its log."""
        try:
            wait_for(lambda: self.is_ready() or not self.is_running, f"{self.name} to start")
        except StackError as error:
            raise StackError(f"{error}: {self._last_words()}") from None
        if not self.is_running:
            raise StackError(f"{self.name} did not start: {self._last_words()}")

    def start(self) -> None:
        """Nothing to do where it runs."""
        self.launch()
        self.settle()

    def stop(self) -> None:
        """In order; by force where it takes too long."""
        self._end(signal.SIGINT if self.user else signal.SIGTERM)

    def crash(self) -> None:
        """As a machine that loses power."""
        self._end(self.crash_signal)

    def send(self, number: signal.Signals) -> None:
        """For instance SIGSTOP: a process that is there and answers nothing."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        if number is signal.SIGTERM:
            process.send_signal(signal.SIGCONT)  # one that was stopped does not hear it
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return " | ".join(lines) or "it said nothing"


def _group_of(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def postgres_programs() -> Path | None:
    """Folder of initdb and postgres; None where PostgreSQL is not installed, or has nobody to run as."""
    found = shutil.which("initdb")
    installed = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        return None
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return None
    return installed[-1].parent


def postgres(programs: Path, folder: Path, log: Path) -> Part:
    """A new cluster below `folder`, which must be one that PostgreSQL's user can reach. Not started."""
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user is not None:
        shutil.chown(folder, user)
    data, environment = folder / "data", {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    subprocess.run(  # noqa: S603 -- as above
        [programs / "initdb", "-D", data, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"],
        cwd="/", env=environment, user=user, group=_group_of(user), extra_groups=[] if user else None,
        stdout=subprocess.DEVNULL, check=True, timeout=START_SECONDS_MAX,
    )  # fmt: skip
    port = free_port()
    settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off", f"port={port}")
    command = [str(programs / "postgres"), "-D", str(data), *(word for each in settings for word in ("-c", each))]

    def is_ready() -> bool:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    return Part("database", command, port, log, is_ready, environment, Path("/"), user, signal.SIGQUIT)
