"""
The API guide tells the truth: its blocks run in order against a real service, and its tables are those of the code.

`pytest -m e2e tests/e2e/test_api_guide.py`
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.identity import SCOPES
from app.limits import OPERATION_LIMITS
from app.main import create_app
from app.problem import ProblemKind
from app.settings import Settings
from tests.app.service_client import ServiceWriter, embedded
from tests.e2e.command import ROOT

GUIDE = (ROOT / "architecture/api.md").read_text(encoding="utf-8")
RUN_SECONDS_MAX = 240
PORT_IN_GUIDE = "8000"
COMMANDS = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
"""First those that were installed with this Python: `adloom` as a user has it."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block that is run, and what the page says comes out of it."""

    line: int
    language: str
    text: str
    promised: str = ""


def blocks():
    """Those in sh and python; a text block below one is its output."""
    found = []
    for match in FENCE.finditer(GUIDE):
        language, text = match.groups()
        if language == "text":
            assert found, "a text block stands below the block that prints it"
            assert not found[-1].promised, f"line {found[-1].line} has two outputs"
            found[-1] = Block(found[-1].line, found[-1].language, found[-1].text, text)
        elif language in ("sh", "python"):
            found.append(Block(GUIDE.count("\n", 0, match.start()) + 1, language, text))
    return found


BLOCKS = blocks()


def table(*header):
    """The rows below a table's header, as lists of cells."""
    line = f"| {' | '.join(header)} |\n|{'---|' * len(header)}\n"
    assert GUIDE.count(line) == 1
    rows = GUIDE.split(line)[1].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def pattern(promised):
    """`...` is anything, a line that ends in it may go on, and lines may stand between those that are shown."""
    lines = [re.escape(line).replace(re.escape("..."), ".*") for line in promised.splitlines()]
    return re.compile("(?:.*\n)*?".join(f"{line}[ \\r]*\n" for line in lines), re.MULTILINE)


def script(folder, port):
    """The page as one shell script, each block's output in a file of its own, stopped by the first that fails."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for number, block in enumerate(BLOCKS):
        text = block.text.replace(PORT_IN_GUIDE, str(port))
        if block.language == "python":
            (folder / f"{number}.py").write_text(text, encoding="utf-8")
            # -S: without site-packages, so nothing but the standard library can be imported.
            text = f"{shlex.quote(sys.executable)} -S {number}.py\n"
        lines += [f"{{\n{text}}} > {number}.out 2> {number}.err", f"touch {number}.done"]
    return "\n".join(lines) + "\n"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder in which the whole page has been run, with a service around a tiny bundle."""
    for tool in ("bash", "curl", "python3", "adloom"):
        if shutil.which(tool, path=COMMANDS) is None:
            pytest.skip(f"the guide's commands need {tool}")
    pytest.importorskip("torch", reason="the tiny bundle is made with the extra train")
    from tests.tiny import build_tiny_bundle

    bundle = build_tiny_bundle(tmp_path_factory.mktemp("tiny"))
    folder = tmp_path_factory.mktemp("guide")
    (folder / ".adloom").mkdir()
    (folder / ".adloom/bundle").symlink_to(bundle.folder)
    (folder / "guide.sh").write_text(script(folder, free_port()), encoding="utf-8")
    run_script(folder)
    return folder


def run_script(folder):
    """In a process group of its own, so that no service outlives it."""
    outside = ("_proxy", "pythonpath")  # neither a proxy nor a checkout's old metadata may come between
    known = {name: value for name, value in os.environ.items() if not name.lower().endswith(outside)}
    known |= {"PATH": COMMANDS, "ADLOOM_THREADS": "1"}
    process = subprocess.Popen(
        ["bash", "guide.sh"], cwd=folder, env=known, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(RUN_SECONDS_MAX)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def written(folder: Path, number: int, kind: str) -> str:
    path = folder / f"{number}.{kind}"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@pytest.mark.e2e
@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=lambda number: f"line-{BLOCKS[number].line}")
def test_the_block_runs_and_gives_what_the_page_shows(ran, number):
    output = written(ran, number, "out") + "\n"

    assert (ran / f"{number}.done").exists(), written(ran, number, "err") or "a block above it failed"
    assert pattern(BLOCKS[number].promised).search(output), output
    assert "Traceback" not in written(ran, number, "err")


@pytest.mark.e2e
def test_the_service_ended_in_order_and_its_log_holds_no_secret(ran):
    log = (ran / "service.log").read_text(encoding="utf-8")
    secrets = re.findall(r"client_secret=(\S+)", "".join(path.read_text() for path in ran.glob("*.env")))

    assert len(secrets) == 3
    assert not [secret for secret in secrets if secret in log]
    assert "eyJ" not in log
    assert '"level": "error"' not in log


@pytest.mark.parametrize(
    ("promised", "output", "fits"),
    [
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b d\n", False),
        ("first\nthird\n", "first\nsecond\nthird\n", True),
        ("first\nthird\n", "third\nfirst\n", False),
        ("404 404 429\n", "404 404 429 \n", True),
        ("1\n", "12\n", False),
    ],
)
def test_an_output_that_differs_from_the_page_is_noticed(promised, output, fits):
    assert bool(pattern(promised).search(output)) is fits


def test_the_page_shows_commands_and_a_program():
    assert {block.language for block in BLOCKS} == {"sh", "python"}
    assert len([block for block in BLOCKS if block.promised]) >= len(BLOCKS) - 3


def test_the_table_of_errors_is_that_of_the_code():
    rows = table("Type", "Status", "Title", "What to do")

    assert [row[:3] for row in rows] == [[kind.value[0], str(kind.status), kind.title] for kind in ProblemKind]
    assert all(row[3].endswith(".") for row in rows)


def test_the_scopes_are_those_of_the_code():
    assert dict(table("Scope", "Allows")) == dict(SCOPES)


def test_every_operation_is_listed_with_its_address_and_scope(tmp_path):
    document = create_app(Settings(**embedded(tmp_path)), writer=ServiceWriter()).openapi()
    operations = {
        operation["operationId"]: [
            f"{method.upper()} {path}",
            " ".join(scope for each in operation.get("security", ()) for scope in each["OAuth2"]),
        ]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }

    assert {name: cells for name, *cells in table("Operation", "Address", "Scope")} == operations


def test_the_limits_are_those_of_the_code():
    limits = {name: limit for name, limit, _ in table("Operation", "Limit", "Counted for")}

    assert limits.pop("every other") == Settings().limit_default
    assert limits == dict(OPERATION_LIMITS)


def test_every_setting_is_listed_with_its_default():
    def shown(value):
        return "empty" if value == "" else json.dumps(value) if isinstance(value, dict) else str(value)

    fields = {f"ADLOOM_{name.upper()}": shown(field.default) for name, field in Settings.model_fields.items()}

    assert {name: default for name, default, _ in table("Variable", "Default", "What it sets")} == fields
    assert set(re.findall(r"ADLOOM_[A-Z_]+[A-Z]", GUIDE)) == set(fields)
