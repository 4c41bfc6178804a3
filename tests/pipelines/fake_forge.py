"""
A stand-in for GitHub's REST API: it keeps pull requests in memory and answers as the real one does.

It checks the token, knows which of them are open, and may be told to refuse or to redirect.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "t0ken-of-a-bot"
REPOSITORY = "adloom/adloom"


@dataclass
class FakeForge:
    """What a test looks at."""

    address: str = ""
    pulls: list[dict] = field(default_factory=list)
    refuse: tuple[int, str] | None = None
    redirect: str = ""
    seen: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {"GITHUB_API_URL": self.address, "GITHUB_REPOSITORY": REPOSITORY, "GH_TOKEN": TOKEN}

    def answer(self, method: str, path: str, token: str, content: dict) -> tuple[int, object]:
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        if self.refuse:
            return self.refuse[0], {"message": self.refuse[1]}
        if method == "GET":
            asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
            mine = [one for one in reversed(self.pulls) if f"adloom:{one['head']}" == asked["head"]]
            return 200, [one for one in mine if asked["state"] in ("all", one["state"])]
        number = len(self.pulls) + 1
        made = {"number": number, "html_url": f"https://forge.example/pull/{number}"}
        self.pulls.append({**content, **made, "state": "open", "merged_at": None})
        return 201, self.pulls[-1]

    def close(self, number: int, merged_at: str | None = None) -> None:
        """As a reviewer does; without a time it was not merged."""
        self.pulls[number - 1] |= {"state": "closed", "merged_at": merged_at}


@contextmanager
def running_forge() -> Iterator[FakeForge]:
    forge = FakeForge()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET", {})

        def do_POST(self) -> None:
            self._reply("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, method: str, content: dict) -> None:
            forge.seen.append(f"{method} {self.path}")
            token = self.headers.get("Authorization", "")
            status, told = (302, {}) if forge.redirect else forge.answer(method, self.path, token, content)
            body = json.dumps(told).encode()
            self.send_response(status)
            if forge.redirect:
                self.send_header("Location", forge.redirect)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    forge.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
