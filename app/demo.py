"""
Show the whole of it in a minute: creatives for twelve products, the gallery, the service, and the page before it.

Knows the sample catalogue; on a terminal service and page keep running until Ctrl-C.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import IO, Any

from app import batch_run, generate
from app.batch_run import Decoding, Drawing, Outcome, Task, WritesAds
from app.cli import CommandParser
from app.client_command import create_client, rotate_client
from app.generate import default_bundle, finish, open_bundle, rows_of
from app.identity import SCOPES
from app.run_folder import Record, RunFolder, json_lines, write_whole
from app.summary import summarise, voice_of
from model.catalogue import Catalogue, read_catalogue
from model.channel import channels
from model.prompt import VOICES
from model.store.clients import ClientExistsError
from model.store.tables import Database
from model.validity import FINDINGS

READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
"""The service finishes requests in progress before it goes."""
POLL_SECONDS = 0.1
REQUEST_SECONDS_MAX = 120.0
LOG_TAIL_LINES = 20
PORT_PREFERRED, PAGE_PORT_PREFERRED = 8080, 8501
LABEL_WIDTH = 18
CLIENT = "demo"

REQUEST: dict[str, Any] = {
    "product": {
        "sku": "DEMO-1",
        "title": "Gooseneck kettle Loch, 1.2 l",
        "description": "Brushed steel, 1,000 W. Temperature set in 1-degree steps, from 40 to 100 °C. Base 15 cm.",
        "category": "Kitchen",
    },
    "channels": ["instagram"],
    "voice": "playful",
    "candidates": 4,
    "seed": 7,
}

EXAMPLE = """\
example:
  adloom demo --out out/demo

Needs the built model (`make bundle`). With no terminal on standard input it makes one request itself and stops.
"""


class DemoError(ValueError):
    """The demo cannot go on; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo. Expected failures are raised as ValueError or OSError, for `app.cli` to put in one line."""
    arguments = _parser().parse_args(argv)
    bundle = arguments.bundle or default_bundle()
    with step("Load the model"):
        writer = open_bundle(bundle, 0)
    folder = RunFolder(arguments.out)
    with step("Read the sample catalogue"), as_file(files("model").joinpath("data/catalogue.csv")) as sample:
        catalogue = read_catalogue(sample)
    folder.clear()
    folder.prepare()
    tasks = rotating_tasks(catalogue, arguments.products)
    write(tasks, writer, folder, catalogue)
    print(f"\nGallery: {folder.gallery}  (open it in a browser)\n", flush=True)
    # Its memory is wanted by the service, which loads the same model.
    del writer
    return show_service(bundle, arguments.port, arguments.out / "service", keep_serving=sys.stdin.isatty())


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and afterwards how long it took."""
    print(f"{what} ...", end=" ", flush=True)
    started_seconds = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started_seconds:.1f} s", flush=True)


def rotating_tasks(catalogue: Catalogue, products: int) -> list[Task]:
    """The first products of the catalogue, each on the next channel in turn, and every channel in all the voices."""
    specs = tuple(channels().values())
    # With each round of the channels the voices move on by one: six channels and three voices would stay paired.
    return [
        Task(product, specs[place % len(specs)], VOICES[(place + place // len(specs)) % len(VOICES)])
        for place, product in enumerate(catalogue.products[:products])
    ]


def write(tasks: Sequence[Task], writer: WritesAds, folder: RunFolder, catalogue: Catalogue) -> None:
    """Fill the folder with lines, pictures, summary and gallery, and show every creative as it comes."""
    decoding, outcome = Decoding(), Outcome()
    started_seconds = time.monotonic()
    print(f"Write and draw {len(tasks)} creatives, the best of {decoding.candidates} each:", flush=True)
    write_whole(folder.rejected, json_lines(generate.rejected_rows(catalogue)))
    batch_run.run(
        tasks,
        writer,
        folder,
        decoding=decoding,
        drawing=Drawing(),
        outcome=outcome,
        on_written=lambda record: print(f"\n{as_text(record)}", flush=True),
    )
    seconds = time.monotonic() - started_seconds
    summary = summarise(
        folder.records(),
        rows=rows_of(catalogue),
        asked=len(tasks),
        written=outcome.written,
        seconds=seconds,
        complete=True,
        bundle_digest=writer.bundle.digest,
        candidates=decoding.candidates,
        seed=decoding.seed,
    )
    finish(folder, summary, title="Adloom demo")
    print(f"\nWrote and drew {outcome.written} creatives ... {seconds:.1f} s")


def as_text(record: Record) -> str:
    """One creative as aligned text."""
    title = channels()[record["channel"]].title
    rows = [("headline", text) for text in record["headlines"]]
    rows += [("body", text) for text in record["descriptions"]]
    rows += [("call to action", record["call_to_action"]), ("hashtags", " ".join(record["hashtags"]))]
    rows += [("validity", f"{record['validity']:.2f}")]
    rows += [("finding", f"{FINDINGS[finding['kind']]} ({finding['detail']})") for finding in record["findings"]]
    lines = [f"{record['product']['title']}  [{title}, {voice_of(record)}]"]
    for label, text in rows:
        if text:
            start = f"  {label:<{LABEL_WIDTH - 2}}"
            lines.append(textwrap.fill(text, 100, initial_indent=start, subsequent_indent=" " * LABEL_WIDTH))
    return "\n".join(lines)


def show_service(bundle: Path, port: int | None, stores: Path, *, keep_serving: bool) -> int:
    """
    Start the service and its page, show a request, and either keep both until Ctrl-C or answer that and stop.

    Its database, log and key lie in `stores`, unless ADLOOM_* variables say otherwise.
    """
    port = _free_port(PORT_PREFERRED) if port is None else port
    address, started = f"http://127.0.0.1:{port}", list[subprocess.Popen[bytes]]()
    environment = {**_settings(stores), **os.environ}
    with tempfile.TemporaryFile() as log, _ended_in_order():
        with step("Make a client of the API"):
            secret = _client_secret(environment["ADLOOM_DATABASE_URL"])
        with step(f"Start the service on {address}"):
            command = ["app.cli", "serve", "--port", str(port), "--bundle", str(bundle)]
            started.append(_start(command, log, environment))
        try:
            with step("Wait until it is ready"):
                _wait_until_ready("service", started[0], f"{address}/readyz", log)
            page = f"http://127.0.0.1:{(page_port := _free_port(PAGE_PORT_PREFERRED))}"
            with step(f"Start the page on {page}"):
                command = ["app.ui.server", "--port", str(page_port), "--api", address]
                started.append(_start(command, log, environment))
                _wait_until_ready("page", started[1], f"{page}/healthz", log)
            print(f"\nPage: {page}  (open it in a browser; client id {CLIENT}, client secret {secret})")
            print(f"\nAsk the service yourself:\n\n{curl(address, secret)}\n", flush=True)
            if keep_serving:
                return _serve_until_interrupted(started[0], log)
            with step("No terminal here, so that request is made for you"):
                headers = {"Authorization": f"Bearer {_token(address, secret)}"}
                answer = _post(f"{address}/v1/creatives", REQUEST, headers)
            print(json.dumps(answer, indent=2, ensure_ascii=False))
        finally:
            with step("Stop the service and the page"):
                for each in reversed(started):
                    _stop(each)
    return 0


def curl(address: str, secret: str) -> str:
    """The demo's request as lines for a shell: a token, then the call."""
    body = shlex.quote(json.dumps(REQUEST, ensure_ascii=False))
    form = " ".join(f"-d {name}={shlex.quote(value)}" for name, value in _token_form(secret).items())
    read = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])'"
    return (
        f"TOKEN=$(curl -sS {address}/v1/token {form} | {read})\n"
        f'curl -sS {address}/v1/creatives -H "Authorization: Bearer $TOKEN" '
        f"-H 'Content-Type: application/json' -d {body}"
    )


def _settings(stores: Path) -> dict[str, str]:
    """Of a service that keeps everything in one folder."""
    stores = stores.resolve()
    stores.mkdir(parents=True, exist_ok=True)
    return {
        "ADLOOM_DATABASE_URL": f"sqlite:///{stores / 'adloom.db'}",
        "ADLOOM_OBJECTS_URL": str(stores / "objects"),
        "ADLOOM_ISSUER_KEY": str(stores / "issuer.pem"),
    }


def _client_secret(database_url: str) -> str:
    """A new secret of the client CLIENT, which is made where it is not there yet."""
    database = Database(database_url)
    try:
        database.upgrade()
        try:
            return create_client(database, CLIENT, SCOPES)
        except ClientExistsError:
            secret = rotate_client(database, CLIENT)
    finally:
        database.dispose()
    if secret is None:
        raise DemoError(f"the client {CLIENT} of {database_url} was revoked; choose another folder with --out")
    return secret


def _token_form(secret: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": secret}


def _token(address: str, secret: str) -> str:
    """By the client credentials grant of RFC 6749, 4.4."""
    form = urllib.parse.urlencode(_token_form(secret)).encode()
    return str(_answer(f"{address}/v1/token", form, {})["access_token"])


def _start(module: Sequence[str], log: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A module of ours with its arguments, as a process."""
    command = [sys.executable, "-m", *module]
    # In its own session, so that Ctrl-C reaches this process alone and the others are stopped in order, by `_stop`.
    return subprocess.Popen(  # noqa: S603 -- our own command, and no shell
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
    )


def _opener() -> urllib.request.OpenerDirector:
    """Goes straight to this machine: a proxy of the environment has no business here."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], probe: str, log: IO[bytes]) -> None:
    deadline_seconds = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline_seconds:
        if process.poll() is not None:
            raise _gave_up(f"the {name} stopped with status {process.returncode}", log)
        # Not listening yet, or not ready (503): the deadline decides.
        with suppress(OSError, http.client.HTTPException), _opener().open(probe, timeout=5) as answer:
            if answer.status == http.HTTPStatus.OK:
                return
        time.sleep(POLL_SECONDS)
    raise _gave_up(f"the {name} was not ready after {READY_SECONDS_MAX:.0f} s", log)


def _post(url: str, body: dict[str, Any], headers: Mapping[str, str]) -> Any:
    return _answer(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def _answer(url: str, body: bytes, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(url, body, headers)  # noqa: S310 -- http, by `show_service`
    try:
        with _opener().open(request, timeout=REQUEST_SECONDS_MAX) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        problem = error.read().decode("utf-8", "replace")
        raise DemoError(f"the service answered {error.code}: {problem}") from error


def _serve_until_interrupted(service: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    try:
        print("Service and page keep running; Ctrl-C stops them.", flush=True)
        status = service.wait()
    except KeyboardInterrupt:
        print()
        return 0
    raise _gave_up(f"the service stopped by itself with status {status}", log)


def _stop(service: subprocess.Popen[bytes]) -> None:
    """Ask, wait, then insist: no process may outlive the demo."""
    if service.poll() is not None:
        return
    service.send_signal(signal.SIGTERM)
    try:
        service.wait(STOP_SECONDS_MAX)
    except BaseException:
        service.kill()
        service.wait()
        raise


def _gave_up(what: str, log: IO[bytes]) -> DemoError:
    """The error to raise, once the end of the service's log is on stderr."""
    log.seek(0)
    tail = log.read().decode("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]
    print("", *tail, sep="\n", file=sys.stderr)
    return DemoError(f"{what}; the end of its log stands above")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let a closed terminal or a polite kill unwind the block as Ctrl-C does: the service must not be left behind."""

    def interrupt(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port(preferred: int) -> int:
    """The preferred port, else any that is free."""
    for port in (preferred, 0):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(candidate.getsockname()[1])
    raise DemoError("no free port on 127.0.0.1")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="adloom demo",
        description="Creatives for twelve products, the gallery, and one request to the running service.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="where to (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, help="model to write with (default: ADLOOM_BUNDLE or .adloom/bundle)")
    parser.add_argument("--port", type=int, help=f"port of the service (default: {PORT_PREFERRED}, else a free one)")
    parser.add_argument("--products", type=int, default=12, help="how many products (default: %(default)s)")
    return parser
