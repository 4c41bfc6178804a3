"""
Airflow on this machine, with our DAGs: SQLite below one folder, no examples, one user.

Knows no DAG. Example: adloom airflow --port 8080
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.step import parser, say

HOME = Path(".adloom/airflow")
DAGS = Path(__file__).resolve().parent / "dags"
PORT = 8080
READY_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.5
PASSWORDS = "simple_auth_manager_passwords.json.generated"
USER = "admin"


class AirflowDownError(RuntimeError):
    """Airflow does not come up; the message says where its words are."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C. Raises AirflowDownError."""
    options = parser("airflow", __doc__)
    options.add_argument("--home", type=Path, default=HOME, help="its database and logs (default: %(default)s)")
    options.add_argument("--port", type=int, default=PORT, help="of its pages and its API (default: %(default)s)")
    arguments = options.parse_args(argv)
    home = arguments.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    address = f"http://127.0.0.1:{arguments.port}"
    say(f"Airflow starts; its words go to {home / 'standalone.log'}")
    with (home / "standalone.log").open("ab") as log:
        process = start(environment(home, arguments.port), log.fileno())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        wait_until_ready(process, address)
        say(f"Airflow: {address}   user: {USER}   password: {password(home)}")
        say("Every DAG is paused until you switch it on; Ctrl-C stops.")
        return process.wait()
    except AirflowDownError as error:
        raise AirflowDownError(f"{error}; its last words are in {home / 'standalone.log'}") from None
    except KeyboardInterrupt:
        return 0
    finally:
        stop(process)


def environment(home: Path, port: int = PORT) -> dict[str, str]:
    """This process's own, and what Airflow needs to find its folder, our DAGs and itself; other settings stay."""
    usual = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",  # a user whose password lies in a file is for one's own machine
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    asked = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        # Standalone starts its parts by name.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
    }
    return {**usual, **os.environ, **asked}


def migrate(surroundings: Mapping[str, str]) -> None:
    """Make or renew the database. Raises AirflowDownError."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=dict(surroundings), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise AirflowDownError(
            f"Airflow cannot make its database: {(done.stderr.strip() or 'no word').splitlines()[-1]}"
        )


def start(surroundings: Mapping[str, str], output: int) -> subprocess.Popen[bytes]:
    """All of its parts, in a process group of their own."""
    command = [sys.executable, "-m", "airflow", "standalone"]
    return subprocess.Popen(  # noqa: S603 - a command of ours
        command, env=dict(surroundings), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )


def wait_until_ready(process: subprocess.Popen[bytes], address: str) -> None:
    """Until every part has reported. Raises AirflowDownError."""
    end = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AirflowDownError(f"Airflow ended with status {process.returncode}")
        if _is_healthy(address):
            return
        time.sleep(POLL_SECONDS)
    raise AirflowDownError(f"Airflow was not ready after {READY_SECONDS_MAX:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End every part, and come back when they are gone; one that does not listen is ended the hard way."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + STOP_SECONDS_MAX
        while time.monotonic() < end:
            process.poll()
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            time.sleep(POLL_SECONDS)


def password(home: Path) -> str:
    """Of the one user; Airflow makes it at the first start."""
    return str(json.loads((home / PASSWORDS).read_text(encoding="utf-8"))[USER])


def _is_healthy(address: str) -> bool:
    """Scheduler and DAG processor too, which live beside the one that answers."""
    try:
        with urllib.request.urlopen(f"{address}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310 - our own
            parts = json.load(answer)
    except (OSError, ValueError):
        return False
    return all(parts[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))
