"""The service as a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 60.0
"""A bundle is read and hashed before the port answers."""


@contextmanager
def serving(command: Sequence[str], log: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it has said that it listens; killed at the end if it still runs."""
    with (
        log.open("w", encoding="utf-8") as standard_error,  # a pipe that nobody reads would fill up and stop it
        subprocess.Popen(
            [*command, "--port", "0"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=standard_error,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"http://\S+:\d+", line)
            if address is None:
                pytest.fail(f"it did not start: {line}{log.read_text(encoding='utf-8')}")
            yield process, address[0]
        finally:
            process.kill()
