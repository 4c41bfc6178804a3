"""
The parts that production has and a laptop need not: PostgreSQL, S3 (moto's server) and Redis, started for a test.

Each is a context manager, skips where its program is missing, and can be stopped and started again in between.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pytest

START_SECONDS_MAX = 60.0
POLL_SECONDS = 0.02
Server = TypeVar("Server", bound="ServerProcess")
S3_KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(is_so: Callable[[], bool], what: str, seconds_max: float = START_SECONDS_MAX) -> None:
    """Fails the test where it does not become so."""
    deadline = time.monotonic() + seconds_max
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds_max:.0f} s for {what}")
        time.sleep(POLL_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class PostgresServer:
    """A cluster of its own below a temporary folder."""

    programs: Path
    folder: Path
    port: int
    fsync: bool

    def start(self) -> None:
        switches = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        speed = "" if self.fsync else " -c fsync=off"
        self.run("pg_ctl", "-w", "-l", self.folder / "log", "-o", switches + speed, "start")

    def stop(self) -> None:
        """As a fail-over does: connections are cut, what was committed stays."""
        self.run("pg_ctl", "-w", "-m", "fast", "stop")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The address of an empty schema: to its tables it is a database of their own, and it costs no half second."""
        name = f"test_{uuid.uuid4().hex}"
        self.sql(f"CREATE SCHEMA {name}")
        return f"{self.url('postgres')}?options=-csearch_path%3D{name}"

    def sql(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def run(self, program: str, *arguments: str | Path) -> None:
        command = [self.programs / program, *arguments]
        # PostgreSQL refuses to run as root; its user cannot stand where the tests do.
        as_user: list[str | Path] = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        environment = {"PATH": os.environ["PATH"], "PGDATA": str(self.folder / "data"), "LC_ALL": "C.UTF-8"}
        with (self.folder / "commands").open("a+", encoding="utf-8") as said:  # a pipe would be the server's too
            done = subprocess.run(
                [*as_user, *command], cwd="/", env=environment, stdout=said, stderr=said, check=False, timeout=180
            )
            said.seek(0)
            assert done.returncode == 0, said.read()


@contextmanager
def postgres_server(*, fsync: bool = False) -> Iterator[PostgresServer]:
    """A running PostgreSQL. With `fsync` commits cost what they cost; tests do without."""
    programs = _postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="adloom-postgres-"))
    try:
        if os.geteuid() == 0:
            try:
                pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("needs a user named postgres, because PostgreSQL does not run as root")
            shutil.chown(folder, "postgres")
        server = PostgresServer(programs, folder, free_port(), fsync)
        server.run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            if (folder / "data/postmaster.pid").exists():
                server.run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_programs() -> Path:
    found = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found is None and not installed:
        pytest.skip("needs PostgreSQL: install the Debian package postgresql")
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")
    return Path(found or installed[-1]).parent


@dataclass
class ServerProcess:
    """A server that is one process and keeps nothing when it is stopped."""

    command: Sequence[str | Path]
    port: int
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:  # a pipe that nobody reads would fill up and stop it
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.log.parent)
        wait_until(lambda: _listens(self.port) or self._has_ended(), f"{self.command[0]} to listen")
        assert not self._has_ended(), self.log.read_text(encoding="utf-8")

    def stop(self) -> None:
        """As a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


class S3Server(ServerProcess):
    """moto's server: S3 in memory."""

    @property
    def environment(self) -> dict[str, str]:
        """What leads boto3 here, and keeps it away from credentials of whoever runs the tests."""
        return {**S3_KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    @property
    def options(self) -> dict[str, str]:
        """The same for one client."""
        return {
            "endpoint_url": self.environment["AWS_ENDPOINT_URL"],
            "aws_access_key_id": S3_KEYS["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": S3_KEYS["AWS_SECRET_ACCESS_KEY"],
            "region_name": S3_KEYS["AWS_DEFAULT_REGION"],
        }

    @cached_property
    def client(self) -> Any:
        """boto3's, one for all tests: half a second goes into making one."""
        from boto3.session import Session

        return Session().client("s3", **self.options)

    def new_bucket(self, name: str = "") -> str:
        """The name of an empty one."""
        given = name or f"test-{uuid.uuid4().hex}"
        self.client.create_bucket(Bucket=given)
        return given


class RedisServer(ServerProcess):
    """Redis without a file."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running S3. Whoever uses it sets `environment`, for instance with monkeypatch."""
    pytest.importorskip("moto.server", reason="needs moto's server: pip install 'moto[server]'")
    port = free_port()
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    with _running(S3Server, command, port) as server:
        yield server


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running Redis."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs Redis: install the Debian package redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _running(RedisServer, command, port) as server:
        yield server


@contextmanager
def _running(kind: type[Server], command: Sequence[str], port: int) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="adloom-server-") as folder:
        server = kind(command, port, Path(folder) / "log")
        server.start()
        try:
            yield server
        finally:
            server.stop()
