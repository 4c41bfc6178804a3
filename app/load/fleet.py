"""
The service as it is deployed, on this machine: containers with a limit of CPU behind nginx, and the stores they share.

Real PostgreSQL, Redis and nginx; the object store is a folder. Knows nothing of the load.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.client_command import create_client
from app.identity import SCOPES
from app.load.docker_engine import Container, running
from app.tokens import open_issuer
from app.watch.processes import (
    Part,
    StackError,
    answers,
    free_port,
    listens,
    postgres,
    postgres_programs,
    program,
    wait_for,
)
from app.watch.stub_service import Control
from model.store.tables import Database

READY_SECONDS_MAX = 120.0
"""Four containers that share two cores load four models."""
UNLIMITED = "100000000/minute"
OPEN_TO_ALL = 0o777


@dataclass(frozen=True, slots=True)
class Stores:
    """What all containers of all rows share."""

    folder: Path
    database_url: str
    clients: Path
    """File with the id and secret of one client for each user."""
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Containers that answer behind one address."""

    address: str
    containers: Sequence[Container]

    def cpu_seconds(self) -> float:
        """Used by all of them together."""
        return sum(each.cpu_seconds() for each in self.containers)


@contextlib.contextmanager
def shared_stores(folder: Path, *, clients: int) -> Iterator[Stores]:
    """Started and filled with clients. Raises StackError where PostgreSQL or Redis is missing."""
    programs = postgres_programs()
    if programs is None:
        raise StackError("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="adloom-load-postgres-") as cluster, contextlib.ExitStack() as stack:
        database = postgres(programs, Path(cluster), folder / "postgres.log")
        port = free_port()
        redis = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        limits = Part("redis", redis, port, folder / "redis.log", lambda: listens(port))
        for part in (database, limits):
            stack.callback(part.stop)
            part.start()
        yield _filled(folder, database.port, port, clients)


@contextlib.contextmanager
def fleet(stores: Stores, image: str, *, count: int, cpus: float, is_stub: bool) -> Iterator[Fleet]:
    """Ready to answer. Raises StackError with a container's own words where one does not come up."""
    with contextlib.ExitStack() as stack:
        containers = [
            stack.enter_context(
                running(
                    image,
                    _command(stores, port, is_stub=is_stub),
                    port,
                    cpus=cpus,
                    data=stores.folder,
                    environment=stores.environment,
                )
            )
            for port in (free_port() for _ in range(count))
        ]
        for each in containers:
            _await(each)
        entrance = _nginx(stores.folder, [each.port for each in containers])
        stack.callback(entrance.stop)
        entrance.start()
        yield Fleet(f"http://127.0.0.1:{entrance.port}", containers)


def _filled(folder: Path, database_port: int, limits_port: int, count: int) -> Stores:
    objects, url = folder / "objects", f"postgresql+psycopg://postgres@127.0.0.1:{database_port}/postgres"
    objects.mkdir()
    for path in (folder, objects):
        path.chmod(OPEN_TO_ALL)  # containers write there as a user that this machine does not know
    Control().write(folder / "control.json")
    database = Database(url)
    try:
        database.upgrade()
        secrets = [(f"user-{number}", create_client(database, f"user-{number}", SCOPES)) for number in range(count)]
    finally:
        database.dispose()
    clients = folder / "clients.json"
    clients.write_text(
        json.dumps([{"client_id": name, "client_secret": secret} for name, secret in secrets]), encoding="utf-8"
    )
    environment = {
        "ADLOOM_DATABASE_URL": url,
        "ADLOOM_OBJECTS_URL": str(objects),
        "ADLOOM_LIMITS_URL": f"redis://127.0.0.1:{limits_port}",
        "ADLOOM_ISSUER_KEY": str(_issuer_key(folder)),
        "ADLOOM_LIMIT_DEFAULT": UNLIMITED,
        "ADLOOM_LIMITS": json.dumps(dict.fromkeys(("issueToken", "guessSecret", "refuseToken"), UNLIMITED)),
        "ADLOOM_THREADS": "1",
        "ADLOOM_BATCH_WRITERS": "1",
    }
    return Stores(folder, url, clients, environment)


def _issuer_key(folder: Path) -> Path:
    """One for all containers: a token is taken by whichever gets it."""
    path = folder / "issuer.pem"
    open_issuer(path, audience="adloom", token_seconds=900)
    path.chmod(0o644)
    return path


def _command(stores: Stores, port: int, *, is_stub: bool) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if is_stub:
        return ["python", "-m", "app.watch.stub_service", "--control", str(stores.folder / "control.json"), *where]
    return ["adloom", "serve", *where]


def _await(container: Container) -> None:
    try:
        wait_for(
            lambda: answers(container.port, "/readyz", status_max=200),
            f"the container on port {container.port}",
            READY_SECONDS_MAX,
        )
    except StackError as error:
        raise StackError(f"{error}; it said: {container.logs()}") from None


def _nginx(folder: Path, ports: Sequence[int]) -> Part:
    """Never tries a second container: what one refuses has to be seen."""
    port, home = free_port(), folder / "nginx"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    servers = "\n".join(f"    server 127.0.0.1:{each} max_fails=0;" for each in ports)
    paths = "\n".join(
        f"  {kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"""daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 2048; }}
http {{
{paths}
  access_log off;
  upstream adloom {{
    least_conn;
{servers}
    keepalive 64;
  }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 32m;
    location / {{
      proxy_pass http://adloom;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_next_upstream off;
      proxy_read_timeout 120s;
    }}
  }}
}}
""",
        encoding="utf-8",
    )
    command = [program("nginx"), "-c", str(home / "nginx.conf"), "-p", str(home), "-e", str(home / "error.log")]
    return Part("nginx", command, port, folder / "nginx.log", lambda: answers(port, "/healthz"))
