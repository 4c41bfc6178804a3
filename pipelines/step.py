"""
What every step has in common: progress on stderr, one JSON line of references on stdout, an exit status.

Airflow reads the last line of a step's output and hands it to the next one; so does whoever runs steps by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

EXIT_REFUSED = 3
"""The step did its work and the answer is no: a gate that refuses, a catalogue that is too bad to keep. No error, which
is 1: trying again does not help."""

Reference = Mapping[str, str | int | float | bool | None]
"""Digests, ids, counts and words; never data."""


def say(line: str) -> None:
    """Progress, for whoever watches."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - what this function is for


def give(reference: Reference) -> None:
    """The step's answer, on a line of its own."""
    sys.stdout.write(json.dumps(reference, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def parser(name: str, document: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the step's own docstring, which ends in an example."""
    return argparse.ArgumentParser(
        prog=f"adloom {name}", description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
