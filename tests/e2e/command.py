"""The real command in a process of its own, run from this checkout wherever the test stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def adloom(*arguments: object) -> list[str]:
    """`adloom ARGUMENTS` as a list for subprocess."""
    return [sys.executable, "-m", "app.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's own, with the checkout on the path."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
