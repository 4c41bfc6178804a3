"""Real Prometheus, Alertmanager, exporter and hook for a test, and a receiver that keeps what it is sent."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.watch.speed import faster_rules
from tests.real_parts import ServerProcess, free_port, wait_until

TOKEN = "the-token-of-this-test"


@dataclass
class Receiver:
    """What came, by the receiver's name."""

    url: str
    came: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def alerts(self, name: str) -> set[str]:
        return {alert["labels"]["alertname"] for told in self.came.get(name, []) for alert in told["alerts"]}


@contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            found.came.setdefault(self.path.strip("/"), []).append(json.loads(content))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def local(config: dict[str, Any], told: Receiver, hook: str = "", token: str = TOKEN) -> dict[str, Any]:
    """The same tree and inhibitions, with waits of a second; every receiver but the hook's is the test's."""
    changed = json.loads(json.dumps(config))
    _hurry(changed["route"])
    for each in changed["receivers"]:
        name = each["name"]
        target: dict[str, Any] = {"url": f"{told.url}/{name}"}
        if name == "retrain-hook" and hook:
            target = {"url": hook, "http_config": {"authorization": {"type": "Bearer", "credentials": token}}}
        each.clear()
        each.update({"name": name, "webhook_configs": [target]})
    return changed


def _hurry(route: dict[str, Any]) -> None:
    for name in ("group_wait", "group_interval"):
        if name in route:
            route[name] = "1s"
    for below in route.get("routes", []):
        _hurry(below)


@dataclass
class Alertmanager(ServerProcess):
    """As a process of its own."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, *labels: dict[str, str]) -> None:
        """As Prometheus would, all at once."""
        at = datetime.now(UTC).isoformat()
        body = json.dumps([{"labels": each, "annotations": {}, "startsAt": at} for each in labels]).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200

    def failed_notifications(self) -> float:
        text = get(f"{self.url}/metrics")
        name = 'alertmanager_notifications_failed_total{integration="webhook"}'
        values = [line.split()[-1] for line in text.splitlines() if line.startswith(name)]
        return sum(map(float, values))


@contextmanager
def alertmanager(config: dict[str, Any]) -> Iterator[Alertmanager]:
    program = _program("prometheus-alertmanager", "alertmanager")
    with _folder() as folder:
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        port = free_port()
        command = [
            program, f"--config.file={folder}/config.yaml", f"--storage.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        yield from _running(Alertmanager(command, port, folder / "log"))


@dataclass
class Prometheus(ServerProcess):
    """As a process of its own."""

    def query(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        answer = json.loads(get(f"http://127.0.0.1:{self.port}/api/v1/query?{query}"))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def is_ready(self) -> bool:
        try:
            return bool(get(f"http://127.0.0.1:{self.port}/-/ready"))
        except OSError:
            return False

    def firing(self) -> set[str]:
        return {each["metric"]["alertname"] for each in self.query('ALERTS{alertstate="firing"}')}


@contextmanager
def prometheus(
    targets: dict[str, int], rules: Path, *, told: Alertmanager | None = None, speed: float = 60.0
) -> Iterator[Prometheus]:
    """Scrapes the ports of `targets`, by job, every second; the rules are `speed` times as fast."""
    program = _program("prometheus")
    with _folder() as folder:
        (folder / "rules.yaml").write_text(faster_rules(rules.read_text(encoding="utf-8"), speed), encoding="utf-8")
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yaml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                for job, port in targets.items()
            ],
        }
        if told is not None:
            managers = [{"static_configs": [{"targets": [f"127.0.0.1:{told.port}"]}]}]
            config["alerting"] = {"alertmanagers": managers}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        port = free_port()
        command = [
            program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        made = Prometheus(command, port, folder / "log")
        made.start()
        try:
            is_soon(made.is_ready, "Prometheus to have read its files")
            yield made
        finally:
            made.stop()


@contextmanager
def ours(module: str, *arguments: str) -> Iterator[ServerProcess]:
    """A program of ours that takes --port."""
    with _folder() as folder:
        port = free_port()
        command = [sys.executable, "-P", "-m", module, "--port", str(port), *arguments]
        yield from _running(ServerProcess(command, port, folder / "log"))


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        content: bytes = answer.read()
        return content.decode()


def is_soon(holds: Any, what: str) -> None:
    wait_until(holds, what, seconds_max=180)


def _running(server: Any) -> Iterator[Any]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _program(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"needs {names[-1]}: install the Debian package {names[0]}")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="adloom-alerting-") as folder:
        yield Path(folder)
