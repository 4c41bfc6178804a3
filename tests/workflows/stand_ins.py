"""
Stand-ins for programs that would reach the world (docker, cosign, gh, kubectl ...), put before the real ones on PATH.

Each notes how it was called and answers what the test wrote for it; none does any of the work.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.repo.tree import ROOT

SCRIPTS = ROOT / ".github/bin"


@dataclass
class StandIns:
    """One test's own."""

    folder: Path

    def __post_init__(self) -> None:
        self.bin, self.log = self.folder / "bin", self.folder / "calls"
        self.bin.mkdir()
        self.log.touch()

    def put(self, name: str, script: str = "") -> None:
        """A program that notes its arguments and then does what `script` says, in sh."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\necho \"{name} $*\" >> '{self.log}'\n{script}\n")
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()

    def run(self, script: str, *arguments: object, folder: Path = ROOT, **environment: str):
        """A script of .github/bin with the stand-ins before everything else."""
        given = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        path = os.pathsep.join((str(self.bin), os.environ["PATH"]))
        return subprocess.run(
            [str(SCRIPTS / script), *map(str, arguments)],
            cwd=folder, env=given | {"PATH": path} | environment,
            capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def answering(replies):
    """A stand-in for an HTTP service: (status, JSON or bytes) by path; and what it was asked."""
    asked = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self):
            self._reply()

        def do_POST(self):
            self._reply()

        def _reply(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked.append((self.path, dict(self.headers), body))
            status, told = replies.get(self.path.partition("?")[0], (404, {}))
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
