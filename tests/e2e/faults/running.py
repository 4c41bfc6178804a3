"""A service in a process of its own, with a client that may do everything, and what its stores hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import sqlalchemy as sa

from app.client_command import create_client
from app.identity import SCOPES
from model.store.tables import Database, metadata
from tests.app.service_process import serving

COMMAND = [sys.executable, "-m", "tests.e2e.faults.fake_service"]
CLIENT = "shop"
ANSWER_SECONDS_MAX = 120.0
GRACE_SECONDS = 60
"""Of a request; the process may take 5 s more to stop (app/serve.py)."""


@dataclass(frozen=True)
class Stores:
    """Where one or more processes keep things, and the secret of their one client."""

    database_url: str
    folder: Path
    secret: str

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    def kept(self) -> set[str]:
        """Ids of the creatives in the database."""
        ids = self.rows(sa.select(metadata.tables["creatives"].c.id))
        return {row[0] for row in ids}

    def rows(self, query: sa.Select[tuple[object, ...]]) -> list[tuple[object, ...]]:
        database = Database(self.database_url)
        try:
            with database.connect() as connection:
                return [tuple(row) for row in connection.execute(query)]
        finally:
            database.dispose()

    def logged(self) -> list[str]:
        """Creative ids in the generation log, one for each generation."""
        files = sorted(self.objects.glob("generations/*/*/*.jsonl"))
        lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        return [json.loads(line)["creative_id"] for line in lines]

    def add_limited(self, name: str, limit: str) -> str:
        """The secret of a further client, with a limit of its own for writing creatives."""
        database = Database(self.database_url)
        try:
            return create_client(database, name, SCOPES, {"writeCreatives": limit})
        finally:
            database.dispose()


@dataclass(frozen=True)
class Service:
    """One running process."""

    process: subprocess.Popen[str]
    address: str
    token: str

    def client(self, token: str = "") -> httpx.Client:
        """Of the one client, or of whose token is given."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=ANSWER_SECONDS_MAX)

    def token_for(self, name: str, secret: str) -> str:
        return new_token(self.address, name, secret)

    def status(self, path: str) -> int:
        return httpx.get(self.address + path, timeout=ANSWER_SECONDS_MAX).status_code

    def is_ready(self) -> bool:
        return self.status("/readyz") == 200

    def kill(self) -> None:
        """As the kernel does where memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def new_stores(database_url: str, folder: Path) -> Stores:
    """A database with its tables and one client in it."""
    database = Database(database_url)
    try:
        database.upgrade()
        return Stores(database_url, folder, create_client(database, CLIENT, SCOPES))
    finally:
        database.dispose()


def new_token(address: str, name: str, secret: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
    answer = httpx.post(f"{address}/v1/token", data=form, timeout=ANSWER_SECONDS_MAX)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


@contextmanager
def running(
    stores: Stores, name: str = "one", *, writer_seconds: float = 0.005, batch_max: int = 10**9, **settings: str
) -> Iterator[Service]:
    """A process over `stores`, as FAULTS_* say; `settings` are ADLOOM_ variables without the prefix."""
    given = {
        "database_url": stores.database_url,
        "objects_url": str(stores.objects),
        "issuer_key": str(stores.folder / "issuer.pem"),
        "limit_default": "1000000/minute",
        "log_flush_seconds": "0.2",
        "request_timeout_seconds": str(GRACE_SECONDS),
        **settings,
    }
    environment = {f"ADLOOM_{setting.upper()}": value for setting, value in given.items()}
    environment |= {
        "FAULTS_WRITER_SECONDS": str(writer_seconds),
        "FAULTS_LEASE_SECONDS": "1",
        "FAULTS_BATCH_MAX": str(batch_max),
    }
    with serving(COMMAND, stores.folder / f"{name}-{os.urandom(3).hex()}.log", **environment) as (process, address):
        yield Service(process, address, new_token(address, CLIENT, stores.secret))
