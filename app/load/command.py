"""
What one, two and four containers of the service bear: users by the dozen, response times, what is shed, what limits.

Needs the image of the service (app/bin/build-image), a Docker engine, nginx, PostgreSQL, Redis and Locust. Writes a
CSV, every figure as JSON, and a plot.

Example: adloom load --image adloom/adloom-api:dev --containers 1,2 --users 4,16 --seconds 20
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.cli import CommandParser
from app.load.docker_engine import DockerError, require_engine, require_image
from app.load.fleet import Fleet, Stores, fleet, shared_stores
from app.load.report import Row, with_tables, write
from app.watch.processes import StackError
from model.store.tables import Database, creatives

LOCUSTFILE = Path("tests/load/locustfile.py")
ENGINES = ("stub", "real")
WAIT_SECONDS = {"stub": 0.1, "real": 1.0}
"""
Between two requests of a user, on average. The stub answers at once: with the wait of people it would take hundreds of
users, and as much of the machine for them, to reach what a container bears.
"""
SECONDS = {"stub": 20.0, "real": 60.0}
"""Measured in each row: several times what an answer takes."""
WARM_SECONDS = 20.0
"""Before that: 64 sign-ins take one container as long, and users who begin at once march in step at first."""
START_SECONDS = 3.0
"""Of Locust itself, at most."""
USERS = {"stub": (4, 16, 64), "real": (2, 8, 24)}
END_SECONDS_MAX = 180.0
IDS_A_QUERY = 1000


class LoadError(RuntimeError):
    """The run cannot be made; the message says what is missing."""


def main(argv: Sequence[str] | None = None) -> int:
    """0: every row was measured; 1: something is missing or did not start. Says where the report is."""
    arguments = _parser().parse_args(argv)
    try:
        rows = _measured(arguments)
    except (StackError, DockerError) as error:
        raise LoadError(str(error)) from error
    write(rows, _machine(arguments), arguments.out)
    if arguments.page:
        page = with_tables(arguments.page.read_text(encoding="utf-8"), rows)
        arguments.page.write_text(page, encoding="utf-8")
    print(f"report in {arguments.out}/load.json, load.csv and load.svg")
    return 0


def _measured(arguments: argparse.Namespace) -> list[Row]:
    require_engine()
    require_image(arguments.image)
    if not LOCUSTFILE.is_file():
        raise LoadError(f"there is no {LOCUSTFILE} here: run it from the root of the repository")
    rows: list[Row] = []
    plans = list(itertools.product(arguments.engines, arguments.containers))
    most = max(max(arguments.users or USERS[engine]) for engine in arguments.engines)
    with (
        tempfile.TemporaryDirectory(prefix="adloom-load-") as scratch,
        shared_stores(Path(scratch), clients=most) as stores,
    ):
        for place, (engine, count) in enumerate(plans, 1):
            print(f"[{place}/{len(plans)}] {count} container{'s' * (count > 1)}, {engine} engine", flush=True)
            with fleet(stores, arguments.image, count=count, cpus=arguments.cpus, is_stub=engine == "stub") as started:
                for users in arguments.users or USERS[engine]:
                    rows.append(_row(stores, started, engine, users, arguments))
                    print(f"    {rows[-1].in_words()}", flush=True)
    return rows


def _row(stores: Stores, started: Fleet, engine: str, users: int, arguments: argparse.Namespace) -> Row:
    """One run of Locust. Raises LoadError where it measured nothing."""
    report = stores.folder / "locust.json"
    report.unlink(missing_ok=True)
    warm, seconds = arguments.warm_seconds, _seconds(arguments, engine)
    environment = os.environ | {
        "ADLOOM_LOAD_CLIENTS": str(stores.clients),
        "ADLOOM_LOAD_REPORT": str(report),
        "ADLOOM_LOAD_WAIT_SECONDS": f"{WAIT_SECONDS[engine]:g}",
        "ADLOOM_LOAD_WARM_SECONDS": f"{warm:g}",
        "ADLOOM_LOAD_SECONDS": f"{seconds:g}",
    }
    command = [
        sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--host", started.address,
        "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{START_SECONDS + warm + seconds:.0f}s",
        "--only-summary", "--loglevel", "ERROR", "--stop-timeout", "60",
    ]  # fmt: skip
    with (
        (stores.folder / "locust.log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log) as locust,  # noqa: S603 -- ours
    ):
        try:
            used = _cpus_used(started, locust, START_SECONDS + warm, seconds)
            locust.wait(END_SECONDS_MAX)
        finally:
            locust.kill()
        log.seek(0)
        said = log.read().strip()[-300:]
    if not report.is_file():
        raise LoadError(f"locust measured nothing: {said or 'it said nothing'}")
    met: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return Row.of(
        engine=engine,
        containers=len(started.containers),
        users=users,
        cpus=arguments.cpus,
        cpus_used=used,
        lost=_lost(stores.database_url, met["acknowledged"]),
        met=met,
    )


def _cpus_used(started: Fleet, locust: subprocess.Popen[bytes], after_seconds: float, seconds: float) -> float:
    """Cores that the containers use while it is measured, and neither before nor while the last requests end."""
    _wait(locust, after_seconds)
    cpu_before, began = started.cpu_seconds(), time.monotonic()
    _wait(locust, seconds - START_SECONDS)
    return (started.cpu_seconds() - cpu_before) / (time.monotonic() - began)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """So long, or until it ends."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _seconds(arguments: argparse.Namespace, engine: str) -> float:
    return float(arguments.seconds or SECONDS[engine])


def _lost(url: str, acknowledged: Sequence[str]) -> int:
    """Creatives that were answered with 200 and are not in the database."""
    wanted, found = sorted(set(acknowledged)), 0
    database = Database(url)
    try:
        with database.connect() as connection:
            for start in range(0, len(wanted), IDS_A_QUERY):
                part = wanted[start : start + IDS_A_QUERY]
                query = sa.select(sa.func.count(sa.distinct(creatives.c.id))).where(creatives.c.id.in_(part))
                found += connection.execute(query).scalar_one()
    finally:
        database.dispose()
    return len(wanted) - found


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared by containers, stores, nginx and Locust",
        "cpus_a_container": arguments.cpus,
        "seconds_a_row": {engine: _seconds(arguments, engine) for engine in arguments.engines},
        "warm_up_seconds": arguments.warm_seconds,
        "wait_seconds": {engine: WAIT_SECONDS[engine] for engine in arguments.engines},
    }


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="adloom load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--image", default="adloom/adloom-api:dev", help="of the service (default: %(default)s)")
    add("--containers", type=_numbers, default=(1, 2, 4), help="how many, one row each (default: 1,2,4)")
    add("--users", type=_numbers, help="at once (default: 4,16,64 with the stub engine, 2,8,24 with the real one)")
    add("--engines", type=_engines, default=ENGINES, help="stub, real or both (default: stub,real)")
    add("--cpus", type=float, default=0.4, help="limit of each container; four fit two cores (default: %(default)s)")
    add(
        "--seconds",
        type=_seconds_of_a_row,
        help="measured in each row (default: 20 with the stub engine, 60 with the real one)",
    )
    add("--warm-seconds", type=float, default=WARM_SECONDS, help="not measured, before that (default: %(default)g)")
    add("--page", type=Path, help="a page whose tables are to be written anew, as architecture/load.md")
    add("--out", type=Path, default=Path("out/load"), help="folder of the report (default: %(default)s)")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(each) for each in text.split(","))
    if not all(0 < each <= 1000 for each in numbers):
        raise argparse.ArgumentTypeError("numbers from 1 to 1000, with commas between them")
    return numbers


def _seconds_of_a_row(text: str) -> float:
    seconds = float(text)
    if not START_SECONDS < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"a row lasts more than {START_SECONDS:g} s, and an hour at most")
    return seconds


def _engines(text: str) -> tuple[str, ...]:
    engines = tuple(text.split(","))
    if not set(engines) <= set(ENGINES):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(ENGINES)}")
    return engines
