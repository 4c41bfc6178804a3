"""The service as a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.identity import SCOPES
from app.settings import Settings
from app.tokens import open_issuer
from model.store import clients
from model.store.clients import Client, ClientExistsError
from model.store.tables import Database

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 180.0
"""A bundle is read and hashed before the port answers."""


def bearer_in(folder: Path, name: str = "shop") -> dict[str, str]:
    """The header of a token for the service whose stores lie in `folder`; makes the client where there is none."""
    database = Database(f"sqlite:///{folder / 'adloom.db'}")
    now = datetime.now(UTC)
    with database.begin() as connection, suppress(ClientExistsError):
        clients.insert(connection, Client(name, "unknown", frozenset(SCOPES), {}, now, now))
    database.dispose()
    settings = Settings()
    issuer = open_issuer(folder / "issuer.pem", audience=settings.audience, token_seconds=settings.token_seconds)
    return {"Authorization": f"Bearer {issuer.issue(name, SCOPES)}"}


@contextmanager
def serving(command: Sequence[str], log: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """
    The process and its address, once it has said that it listens; killed at the end if it still runs.

    Its stores lie beside `log`, where `environment` does not say otherwise.
    """
    stores = {
        "ADLOOM_DATABASE_URL": f"sqlite:///{log.parent / 'adloom.db'}",
        "ADLOOM_OBJECTS_URL": str(log.parent / "objects"),
        "ADLOOM_ISSUER_KEY": str(log.parent / "issuer.pem"),
    }
    with (
        log.open("w", encoding="utf-8") as standard_error,  # a pipe that nobody reads would fill up and stop it
        subprocess.Popen(
            [*command, "--port", "0"],
            cwd=ROOT,
            env={**os.environ, **stores, **environment},
            stdout=subprocess.PIPE,
            stderr=standard_error,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"http://\S+:\d+", line)
            if address is None:
                pytest.fail(f"it did not start: {line}{log.read_text(encoding='utf-8')}")
            yield process, address[0]
        finally:
            process.kill()
