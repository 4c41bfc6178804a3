"""
The local stack: service, exporter, Prometheus with our rules, Alertmanager with our routes, database, Redis, objects.

Every part is the real one, on a free port of this machine and below one folder; only the writer may be a stand-in.
`with Stack(Path("out/stack"), speed=20) as stack: print(stack.prometheus_url)`
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from app.client_command import create_client
from app.identity import SCOPES
from app.watch import speed as clock
from app.watch.processes import (
    Part,
    StackError,
    answers,
    free_ports,
    listens,
    open_local,
    postgres,
    postgres_programs,
    program,
    wait_for,
)
from app.watch.receiver import Notification, Receiver
from app.watch.stub_service import Control
from model.ledger import Entry, Ledger
from model.store.tables import Database

CLIENT = "drill"
RULES = "gitops/apps/*/monitoring/rules.yaml"
ROUTES = Path("gitops/platform/alertmanager/alertmanager.yaml")
SCRAPE_SECONDS = 1
EXPORTER_INTERVAL_SECONDS = 30.0
"""As the exporter is deployed; divided by the speed, but never below LOOK_SECONDS_MIN."""
LOOK_SECONDS_MIN = 1.0
VERSION = "1"
"""Of the model that the stack serves, and that its ledger says is champion."""
REQUEST_SECONDS_MAX = 30.0
JOBS = {"adloom-api": "service", "adloom-exporter": "exporter"}
"""Part by the job that scrapes it."""
ORDER = ("database", "limits", "service", "exporter", "alertmanager", "prometheus")


class Stack:
    """
    Starts with `with`, and stops in order.

    `speed` divides every duration of the rules and routes; thresholds stay. Without a `bundle` the writer is the stub,
    which `control` drives. `settings` are ADLOOM_* variables of the service, over the stack's own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: float = 1.0,
        bundle: Path | None = None,
        settings: Mapping[str, str] | None = None,
        exporter_arguments: Sequence[str] = (),
        root: Path | None = None,
        is_embedded: bool = False,
    ) -> None:
        """With `is_embedded` SQLite and limits in memory, although PostgreSQL and Redis may be installed."""
        self.folder = folder.resolve()
        self.speed = speed
        self.root = (root or Path.cwd()).resolve()
        self.ledger = self.folder / "registry/ledger.jsonl"
        self.objects = self.folder / "objects"
        self.control_file = self.folder / "control.json"
        self.client_id, self.client_secret = CLIENT, ""
        self.parts: dict[str, Part] = {}
        self._bundle = bundle
        self._settings = dict(settings or {})
        self._exporter_arguments = list(exporter_arguments)
        self._is_embedded = is_embedded
        self._receiver = Receiver(self.act)
        self._postgres_folder: Path | None = None
        self._ports = dict(zip(ORDER, free_ports(len(ORDER)), strict=True))
        self.actions: dict[tuple[str, str], Callable[[str], str]] = {}
        """What may be asked for over HTTP beside starting and stopping parts, by the two words of its address."""
        self.environment: dict[str, str] = {}
        """ADLOOM_* variables of the service and of every command that works on its stores."""

    @property
    def service_url(self) -> str:
        """Without a path, as the four below."""
        return self._url("service")

    @property
    def exporter_url(self) -> str:
        return self._url("exporter")

    @property
    def prometheus_url(self) -> str:
        return self._url("prometheus")

    @property
    def alertmanager_url(self) -> str:
        return self._url("alertmanager")

    @property
    def parts_url(self) -> str:
        """`POST <this>/<part>/<start|stop|crash|restart>`; the receiver's address."""
        return f"{self._receiver.url}/parts"

    @property
    def notifications(self) -> tuple[Notification, ...]:
        """What Alertmanager has delivered so far, oldest first."""
        return self._receiver.notifications

    @property
    def database(self) -> Database:
        """A new handle; whoever takes it disposes of it."""
        return Database(self.environment["ADLOOM_DATABASE_URL"])

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs, the last started first; what goes wrong with one part keeps no other from being stopped."""
        with ExitStack() as ending:
            if self._postgres_folder is not None:
                ending.callback(shutil.rmtree, self._postgres_folder, ignore_errors=True)
            ending.callback(self._receiver.close)
            for name in ORDER:
                if name in self.parts:
                    ending.callback(self.parts[name].stop)

    def start(self, name: str) -> None:
        """A part that was stopped. Raises ValueError where there is none of that name."""
        self._part(name).start()

    def stop(self, name: str) -> None:
        """In order."""
        self._part(name).stop()

    def crash(self, name: str) -> None:
        """By force."""
        self._part(name).crash()

    def deploy(self, version: str) -> None:
        """Replace the service by one that says it is this version of the model."""
        self._part("service").stop()
        self.environment["ADLOOM_REGISTRY_VERSION"] = version
        self.parts["service"].environment = self._process_environment()
        self.start("service")

    def control(self, behaviour: Control) -> None:
        """From the next creative on."""
        behaviour.write(self.control_file)

    def token(self) -> str:
        """A new one, with every scope. Raises StackError where the service gives none."""
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}
        request = urllib.request.Request(  # noqa: S310 -- an address of ours
            f"{self.service_url}/v1/token", urllib.parse.urlencode(form).encode()
        )
        try:
            with open_local(request, REQUEST_SECONDS_MAX) as answer:
                return str(json.load(answer)["access_token"])
        except OSError as error:
            raise StackError(f"the service gives no token: {error}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector now. Raises OSError where Prometheus does not answer, or refuses the expression."""
        address = f"{self.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with open_local(address, REQUEST_SECONDS_MAX) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found

    def act(self, part: str, action: str, argument: str = "") -> str:
        """As the receiver is asked over HTTP. Raises ValueError for what there is not."""
        if (part, action) in self.actions:
            return self.actions[part, action](argument)
        if (part, action) == ("service", "deploy") and argument:
            self.deploy(argument)
            return f"the service says it is version {argument}\n"
        actions = {"start": ("start",), "stop": ("stop",), "crash": ("crash",), "restart": ("stop", "start")}
        if action not in actions:
            raise ValueError(f"{action!r} is none of {', '.join(actions)}")
        for each in actions[action]:
            getattr(self._part(part), each)()
        return f"{part} {'runs' if self._part(part).is_running else 'is stopped'}\n"

    def _start(self) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        self._receiver.start()
        self._start_stores()
        self.parts["service"] = self._service()
        self.parts["alertmanager"] = self._alertmanager()
        self.parts["prometheus"] = self._prometheus()
        self.parts["exporter"] = self._exporter()
        for name in ("service", "alertmanager", "prometheus", "exporter"):
            self.parts[name].launch()
        for name in ("service", "alertmanager", "prometheus", "exporter"):
            self.parts[name].settle()
        wait_for(lambda: answers(self._ports["service"], "/readyz", status_max=200), "the service to be ready")
        wait_for(lambda: len(self.query("up == 1")) == len(JOBS), "Prometheus to scrape service and exporter")

    def _start_stores(self) -> None:
        """Database, limits and objects, and what has to be in them before the first request."""
        database = f"sqlite:///{self.folder / 'adloom.db'}"
        limits = "memory://"
        programs = None if self._is_embedded else postgres_programs()
        if programs is not None:
            self._postgres_folder = Path(tempfile.mkdtemp(prefix="adloom-postgres-"))
            self.parts["database"] = postgres(programs, self._postgres_folder, self._log("database"))
            self.start("database")
            database = f"postgresql+psycopg://postgres@127.0.0.1:{self.parts['database'].port}/postgres"
        if not self._is_embedded and shutil.which("redis-server"):
            self.parts["limits"] = self._redis()
            self.start("limits")
            limits = f"redis://127.0.0.1:{self._ports['limits']}"
        self.objects.mkdir(exist_ok=True)
        self.ledger.parent.mkdir(exist_ok=True)
        self.environment = {
            "ADLOOM_DATABASE_URL": database,
            "ADLOOM_OBJECTS_URL": str(self.objects),
            "ADLOOM_ISSUER_KEY": str(self.folder / "issuer.pem"),
            "ADLOOM_LIMITS_URL": limits,
            "ADLOOM_REGISTRY_VERSION": VERSION,
            "ADLOOM_LIMIT_DEFAULT": "100000/minute",
            "ADLOOM_LOG_FLUSH_SECONDS": "1",
            **self._settings,
        }
        opened = self.database
        try:
            opened.upgrade()
            self.client_secret = create_client(opened, CLIENT, SCOPES)
        finally:
            opened.dispose()
        Ledger(self.ledger).append(Entry("promote", "done", "first", "drill", "the stack's first", None, int(VERSION)))

    def _service(self) -> Part:
        port = str(self._ports["service"])
        command = [sys.executable, "-m", "app.watch.stub_service", "--control", str(self.control_file), "--port", port]
        if self._bundle is not None:
            bundle = str(self._bundle.resolve())
            command = [sys.executable, "-m", "app.cli", "serve", "--bundle", bundle, "--port", port]
        return self._of_ours("service", command, "/version")

    def _exporter(self) -> Part:
        interval_seconds = max(LOOK_SECONDS_MIN, EXPORTER_INTERVAL_SECONDS / self.speed)
        command = [
            sys.executable, "-m", "app.exporter", "--port", str(self._ports["exporter"]), "--service", self.service_url,
            "--ledger", str(self.ledger), "--interval-seconds", f"{interval_seconds:g}", *self._exporter_arguments,
        ]  # fmt: skip
        return self._of_ours("exporter", command, "/metrics")

    def _of_ours(self, name: str, command: Sequence[str], path: str) -> Part:
        port = self._ports[name]
        return Part(
            name, command, port, self._log(name), lambda: answers(port, path), self._process_environment(), self.root
        )

    def _redis(self) -> Part:
        port = self._ports["limits"]
        command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        return Part("limits", command, port, self._log("limits"), lambda: listens(port), dict(os.environ), self.folder)

    def _alertmanager(self) -> Part:
        source, target = self.root / ROUTES, self.folder / "alertmanager.yaml"
        if not source.is_file():
            raise StackError(f"there is no {ROUTES} here: run it from the root of the repository")
        webhook = f"{self._receiver.url}/hook"
        target.write_text(
            clock.faster_routes(source.read_text(encoding="utf-8"), self.speed, webhook), encoding="utf-8"
        )
        port = self._ports["alertmanager"]
        command = [
            program("prometheus-alertmanager"), f"--config.file={target}",
            f"--storage.path={self.folder / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]  # fmt: skip
        return self._of_others("alertmanager", command)

    def _prometheus(self) -> Part:
        port, config = self._ports["prometheus"], self.folder / "prometheus.yaml"
        rules = sorted(self.root.glob(RULES))
        if not rules:
            raise StackError(f"there is no {RULES} here: run it from the root of the repository")
        for path in rules:
            faster = clock.faster_rules(path.read_text(encoding="utf-8"), self.speed)
            (self.folder / f"rules-{path.parts[-3]}.yaml").write_text(faster, encoding="utf-8")
        written = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": "1s", "scrape_timeout": "1s"},
            "rule_files": [str(self.folder / "rules-*.yaml")],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self._ports['alertmanager']}"]}]}]
            },
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{self._ports[name]}"]}]}
                for job, name in JOBS.items()
            ],
        }
        config.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
        command = [
            program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle", "--rules.alert.resend-delay=1s",
            "--query.lookback-delta=5s",
        ]  # fmt: skip
        return self._of_others("prometheus", command)

    def _of_others(self, name: str, command: Sequence[str]) -> Part:
        port = self._ports[name]

        def is_ready() -> bool:
            return answers(port, "/-/ready", status_max=200)

        return Part(name, command, port, self._log(name), is_ready, dict(os.environ), self.folder)

    def _process_environment(self) -> dict[str, str]:
        """A developer's own settings do not reach the stack."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("ADLOOM_")}
        return {**others, **self.environment}

    def _part(self, name: str) -> Part:
        if name not in self.parts:
            raise ValueError(f"this stack has no part {name!r}; it has {', '.join(sorted(self.parts))}")
        return self.parts[name]

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"
