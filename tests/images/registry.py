"""
A real MLflow server behind nginx, which asks for a name and a password, with bundles registered in it.

Knows no images; it listens on this machine alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from model.bundle import open_bundle
from model.registration import register
from model.registry import CHAMPION, open_registry
from model.submission import read_submission
from tests.real_parts import free_port, wait_until
from tests.registrations import COMMIT, hand_in

NAME, PASSWORD = "builder", 'p%ss=w"rd$1'
START_SECONDS_MAX = 300.0
"""MLflow makes its tables first."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """The server's address, a file with its credentials, and the digests of what it holds, by version."""

    uri: str
    credentials: Path
    bundles: dict[int, str]


@contextmanager
def guarded_registry(folder: Path, bundles: list[Path]) -> Iterator[Guarded]:
    """Registers `bundles` as versions 1, 2 and so on; the last one is champion."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("needs nginx: install the Debian package nginx-light")
    inner, outer = free_port(), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(inner), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/kept"]
    (folder / "nginx.conf").write_text(_nginx(folder, inner, outer))
    (folder / "users").write_text(f"{NAME}:{{PLAIN}}{PASSWORD}\n")
    with _running(command, folder / "mlflow.log"), _running([nginx, "-c", str(folder / "nginx.conf")], folder / "out"):
        wait_until(lambda: _answers(inner), "MLflow", START_SECONDS_MAX)
        digests = _register(f"http://127.0.0.1:{inner}", folder, bundles)
        credentials = folder / "credentials"
        credentials.write_text(f"MLFLOW_TRACKING_USERNAME={NAME}\nMLFLOW_TRACKING_PASSWORD={PASSWORD}\n")
        yield Guarded(f"http://127.0.0.1:{outer}", credentials, digests)


def _register(uri: str, folder: Path, bundles: list[Path]) -> dict[int, str]:
    registry = open_registry(folder / "registry", uri=uri)
    digests = {}
    for place, path in enumerate(bundles, 1):
        files = hand_in(open_bundle(path), folder / f"reports-{place}")
        submission = read_submission(path, scores=files[0], certificate=files[1])
        version, _ = register(registry, submission, lambda line: None, git_commit=COMMIT)
        digests[version.number] = version.bundle
    registry.point(CHAMPION, max(digests))
    return digests


def _nginx(folder: Path, inner: int, outer: int) -> str:
    user = "user root;" if os.geteuid() == 0 else ""  # whoever else it chose could not read our temporary folders
    return f"""
{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{}}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-1; uwsgi_temp_path {folder}/nginx-2; scgi_temp_path {folder}/nginx-3;
  server {{
    listen 127.0.0.1:{outer};
    auth_basic "models"; auth_basic_user_file {folder}/users;
    location / {{ proxy_pass http://127.0.0.1:{inner}; proxy_set_header Authorization ""; }}
  }}
}}
"""


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10):
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
