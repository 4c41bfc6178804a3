"""
Make a registered version the champion, if the gate lets it.

Example: adloom promote 3 --why "fewer invented numbers"
"""

from __future__ import annotations

import argparse
import getpass
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from model.gate import judge as judge_by_gate
from model.ledger import registry_folder
from model.promotion import Asked, Judge, RefusedError, open_both, promote
from model.publication import publish_after

EXIT_REFUSED = 1


def main(argv: Sequence[str] | None = None, *, judge: Judge = judge_by_gate) -> int:
    """Run the command: 0 promoted, 1 refused. Other expected errors leave for app.cli to print."""
    arguments = _parser().parse_args(argv)
    asked = Asked("promote", arguments.who or present_user(), arguments.why)
    registry, ledger = open_both(arguments.registry, asked, arguments.version)
    try:
        line = promote(
            registry, ledger, asked, version=arguments.version, without_gate=arguments.without_gate or "", judge=judge
        )
    except RefusedError as error:
        sys.stderr.write(f"adloom: refused: {error}\n")
        publish_after(arguments.registry)
        return EXIT_REFUSED
    reasons = line.verdict["reasons"] if line.verdict else [f"Promoted {line.note}."]
    sys.stdout.write("\n".join([f"version {line.target} is champion", *(f"  {reason}" for reason in reasons)]) + "\n")
    publish_after(arguments.registry)
    return 0


def present_user() -> str:
    """Git's user name, or the account's."""
    try:
        told = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607 - the caller's own git
        if told.stdout.strip():
            return told.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (OSError, KeyError):
        raise ValueError("nobody is named for the ledger; say who you are with --who NAME") from None


def reason(text: str) -> str:
    """An argument that has to say something."""
    if not text.strip():
        raise argparse.ArgumentTypeError("give a reason; the ledger keeps it")
    return text.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom promote", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", type=int, nargs="?", help="default: the version with the alias candidate")
    parser.add_argument("--why", type=reason, required=True, help="kept in the ledger")
    parser.add_argument("--who", type=reason, help="default: git's user.name, or the account")
    parser.add_argument("--without-gate", type=reason, metavar="REASON", help="promote unjudged; kept in the ledger")
    parser.add_argument("--registry", type=Path, default=registry_folder(), help="its folder (default: %(default)s)")
    return parser
