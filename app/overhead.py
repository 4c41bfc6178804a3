"""
What the service costs around its writer: requests per second and latency beside bare FastAPI, in turns.

Example: adloom overhead --rounds 1 --seconds 1 --connections 8
Authentication, limits, validation, database (SQLite), generation log, metrics and request log are on.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from app.cli import CommandParser
from app.client_command import create_client
from app.identity import CREATIVES_WRITE
from app.overhead_load import Load, offer
from app.overhead_servers import PROFILE_SECONDS, read_profile, settings_in
from model.store.tables import Database

SERVERS = ("service", "bare")
CLIENT = "benchmark"
WARM_UP_SECONDS = 1.0
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
POLL_SECONDS = 0.05
PACED_CONNECTIONS = 8
RATE = 400.0
"""
Requests a second at which latency is measured; the engine writes some ten ads a second on the cores of the run.

As fast as it goes, latency is connections divided by throughput, whatever the service does: it says nothing new.
"""
P50_SECONDS_MAX, P99_SECONDS_MAX, RATE_MIN = 0.003, 0.010, 800.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """How requests come: as fast as so many connections take them, or at a rate a second."""

    connections: int
    rate: float = 0.0

    def __str__(self) -> str:
        return f"{self.connections}, {self.rate:g}/s" if self.rate else str(self.connections)


Rounds = dict[Traffic, dict[str, list[Load]]]
"""By traffic and server."""


class OverheadError(RuntimeError):
    """A server did not start, or nothing could be measured."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    folder: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, print its tables and write every figure to a JSON file."""
    arguments = _parser().parse_args(argv)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="adloom-overhead-") as root, ExitStack() as stack:
        servers = {name: stack.enter_context(_serving(name, Path(root, name))) for name in (*SERVERS, "null")}
        token = _token(servers["service"])
        requests = _requests(token)
        rounds = _race(servers, requests, arguments)
        ceiling = _offer(servers["null"], requests, Traffic(max(arguments.connections)), arguments.seconds)
        profile = _profile(servers["service"], requests)
    report = assemble(rounds, ceiling, profile, seconds=arguments.seconds)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report, console)
    print(f"figures in {arguments.out}")
    return 0


def assemble(rounds: Rounds, ceiling: Load, profile: dict[str, Any] | None, *, seconds: float) -> dict[str, Any]:
    """Every figure of the run."""
    by_traffic = {
        str(traffic): {
            **{name: _figures(loads) for name, loads in servers.items()},
            "ratios": _ratios(servers["service"], servers["bare"]),
        }
        for traffic, servers in rounds.items()
    }
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, nice {os.nice(0)}",
        "server": f"uvicorn as `adloom serve` has it, 1 worker, {'uvloop' if find_spec('uvloop') else 'asyncio'}",
        "seconds_a_round": seconds,
        "rounds": len(next(iter(rounds.values()))["service"]),
        "connections": by_traffic,
        "generator_ceiling_requests_per_second": ceiling.requests_per_second,
        "goals": _goals(rounds),
        "profile": profile,
    }


def show(report: dict[str, Any], console: Console) -> None:
    """Tables for people."""
    table = Table(title=f"Overhead of the service: {report['server']}; {report['machine']}")
    for heading in ("connections", "server", "requests/s", "p50, ms", "p99, ms", "errors", "server CPU, ms"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for connections, figures in report["connections"].items():
        for name in SERVERS:
            each = figures[name]
            rate, errors, cpu = each["requests_per_second"], each["errors"], each["server_cpu_seconds_a_request"]
            latencies = [f"{1000 * each[f'p{rank}_seconds']:.2f}" for rank in (50, 99)]
            table.add_row(connections, name, f"{rate:,.0f}", *latencies, str(errors), f"{1000 * cpu:.2f}")
    console.print(table)
    for connections, figures in report["connections"].items():
        ratios = ", ".join(
            f"{name} {each['median']:.2f} ({each['min']:.2f} to {each['max']:.2f})"
            for name, each in figures["ratios"].items()
        )
        console.print(f"service / bare at {connections}: {ratios}")
    console.print(f"generator alone: {report['generator_ceiling_requests_per_second']:,.0f} requests/s")
    for goal in report["goals"]:
        console.print(f"{'met' if goal['is_met'] else 'missed'}: {goal['goal']} ({goal['measured']:.4g})")
    for part, title in (("packages", "whose code runs"), ("functions", "functions of ours, with what they call")):
        console.print(f"{title}:")
        for name, share in (report["profile"] or {}).get(part, {}).items():
            console.print(f"  {100 * share:4.0f} %  {name}", markup=False)


def _race(servers: dict[str, Server], requests: Iterator[bytes], arguments: argparse.Namespace) -> Rounds:
    """Round by round each server in turn, so that a slow moment of the machine slows both alike."""
    for name in SERVERS:
        _offer(servers[name], requests, Traffic(PACED_CONNECTIONS), WARM_UP_SECONDS)
    patterns = [*map(Traffic, arguments.connections), Traffic(PACED_CONNECTIONS, arguments.rate)]
    rounds: Rounds = {traffic: {name: [] for name in SERVERS} for traffic in patterns}
    for number in range(arguments.rounds):
        for traffic, found in rounds.items():
            for name in SERVERS if number % 2 == 0 else reversed(SERVERS):
                found[name].append(_offer(servers[name], requests, traffic, arguments.seconds))
    return rounds


def _offer(server: Server, requests: Iterator[bytes], traffic: Traffic, seconds: float) -> Load:
    before_seconds = _cpu_seconds(server.process.pid)
    load = asyncio.run(
        offer(server.port, requests, connections=traffic.connections, seconds=seconds, rate=traffic.rate)
    )
    load.server_cpu_seconds = _cpu_seconds(server.process.pid) - before_seconds
    return load


def _cpu_seconds(pid: int) -> float:
    """That a process has used in user and system mode (proc(5), fields 14 and 15); 0 where Linux is not what runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _profile(server: Server, requests: Iterator[bytes]) -> dict[str, Any] | None:
    """Where the service was while it answered."""
    server.process.send_signal(signal.SIGUSR1)
    deadline_seconds = time.monotonic() + 3 * PROFILE_SECONDS
    while (found := read_profile(server.folder)) is None and time.monotonic() < deadline_seconds:
        _offer(server, requests, Traffic(PACED_CONNECTIONS), PROFILE_SECONDS / 2)
    return found


def _requests(token: str) -> Iterator[bytes]:
    """One after another, no two alike: each is a row of its own in the database."""
    head = (
        "POST /v1/creatives HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: "
    )
    for number in itertools.count():
        product = {
            "sku": f"BOWL-{number}",
            "title": f"Blue ceramic bowl, number {number}",
            "description": "Stoneware, 14 cm across, holds 0.5 l. Dishwasher-safe, glazed by hand.",
            "category": "Kitchen",
            "price": "24.90 EUR",
        }
        order = {"product": product, "channels": ["instagram"], "candidates": 1, "seed": number}
        body = json.dumps(order)
        yield f"{head}{len(body)}\r\n\r\n{body}".encode()


@contextmanager
def _serving(name: str, folder: Path) -> Iterator[Server]:
    folder.mkdir()
    command = [sys.executable, "-m", "app.overhead_servers", name, str(folder)]
    with (
        (folder / "log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,  # noqa: S603 -- our own
    ):
        try:
            yield Server(process, _port(process, log), folder)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def _port(process: subprocess.Popen[str], log: IO[str]) -> int:
    """The port that the server says it has."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.strip().isdigit():
        log.seek(0)
        raise OverheadError(f"a server did not start: {' '.join(log.read().split())[-300:]}")
    return int(line)


def _token(server: Server) -> str:
    """Of a client made for the run, once the service answers. Raises OverheadError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline_seconds = time.monotonic() + START_SECONDS_MAX
    address = f"http://127.0.0.1:{server.port}"
    while True:  # the socket takes connections before the service is built
        try:
            opener.open(f"{address}/readyz", timeout=START_SECONDS_MAX).close()
            break
        except OSError as error:
            if time.monotonic() > deadline_seconds or server.process.poll() is not None:
                raise OverheadError("the service did not become ready") from error
            time.sleep(POLL_SECONDS)
    database = Database(settings_in(server.folder).database_url)
    try:
        secret = create_client(database, CLIENT, [CREATIVES_WRITE])
    finally:
        database.dispose()
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": secret}
    with opener.open(f"{address}/v1/token", urllib.parse.urlencode(form).encode(), timeout=10) as answer:
        return str(json.load(answer)["access_token"])


def _figures(loads: Sequence[Load]) -> dict[str, Any]:
    latencies = sorted(itertools.chain.from_iterable(load.latencies_seconds for load in loads))
    return {
        "requests_per_second": statistics.median(load.requests_per_second for load in loads),
        "requests_per_second_by_round": [load.requests_per_second for load in loads],
        "p50_seconds": percentile(latencies, 50),
        "p99_seconds": percentile(latencies, 99),
        "requests": len(latencies),
        "errors": sum(load.errors for load in loads),
        "server_cpu_seconds_a_request": sum(load.server_cpu_seconds for load in loads) / len(latencies),
        "generator_cpu_share": statistics.mean(load.cpu_share for load in loads),
    }


def percentile(ordered: Sequence[float], rank: int) -> float:
    """The smallest value that `rank` percent do not exceed. Raises OverheadError where there is none."""
    if not ordered:
        raise OverheadError("not one request was answered")
    return ordered[max(0, -(-len(ordered) * rank // 100) - 1)]


def _ratios(service: Sequence[Load], bare: Sequence[Load]) -> dict[str, dict[str, float]]:
    """Service over bare FastAPI, of two rounds that ran one after the other."""
    pairs = list(zip(service, bare, strict=True))
    rates = [mine.requests_per_second / theirs.requests_per_second for mine, theirs in pairs]
    found = {"requests_per_second": rates}
    for rank in (50, 99):
        found[f"p{rank}"] = [
            percentile(sorted(mine.latencies_seconds), rank) / percentile(sorted(theirs.latencies_seconds), rank)
            for mine, theirs in pairs
        ]
    return {
        name: {"min": min(each), "median": statistics.median(each), "max": max(each)} for name, each in found.items()
    }


def _goals(rounds: Rounds) -> list[dict[str, Any]]:
    """Latency at a rate, throughput as fast as it goes."""
    figures = {traffic: _figures(servers["service"]) for traffic, servers in rounds.items()}
    paced = next(each for traffic, each in figures.items() if traffic.rate)
    best = max(each["requests_per_second"] for traffic, each in figures.items() if not traffic.rate)
    errors = sum(each["errors"] for each in figures.values())
    p50, p99 = paced["p50_seconds"], paced["p99_seconds"]
    return [
        {"goal": f"p50 at most {P50_SECONDS_MAX} s", "measured": p50, "is_met": p50 <= P50_SECONDS_MAX},
        {"goal": f"p99 at most {P99_SECONDS_MAX} s", "measured": p99, "is_met": p99 <= P99_SECONDS_MAX},
        {"goal": f"at least {RATE_MIN:.0f} requests/s", "measured": best, "is_met": best >= RATE_MIN},
        {"goal": "no errors", "measured": errors, "is_met": errors == 0},
    ]


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--connections", type=_count, nargs="+", default=[1, 8, 32], help="requests at once (default: 1 8 32)"
    )
    parser.add_argument(
        "--rate", type=_rate, default=RATE, help="requests a second to measure latency at (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=_count, default=5, help="of each, in turns (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one round (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/overhead.json"), help="default: %(default)s")
    return parser


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < 1e6:
        raise argparse.ArgumentTypeError("must be above 0")
    return rate


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
