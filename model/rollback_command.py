"""
Make an earlier champion the champion again; without --to, the one before the present one.

Each further rollback goes further back, never forth. Example: adloom rollback --why "odd ads since this morning"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.ledger import registry_folder
from model.promote_command import EXIT_REFUSED, present_user, reason
from model.promotion import Asked, RefusedError, open_both, rollback
from model.publication import publish_after


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 rolled back, 1 refused. Other expected errors leave for app.cli to print."""
    arguments = _parser().parse_args(argv)
    asked = Asked("rollback", arguments.who or present_user(), arguments.why)
    registry, ledger = open_both(arguments.registry, asked, arguments.to)
    try:
        line = rollback(registry, ledger, asked, to=arguments.to)
    except RefusedError as error:
        sys.stderr.write(f"adloom: refused: {error}\n")
        publish_after(arguments.registry)
        return EXIT_REFUSED
    sys.stdout.write(f"version {line.target} is champion again, after version {line.source}\n")
    publish_after(arguments.registry)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom rollback", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=int, metavar="VERSION", help="any version that has been champion")
    parser.add_argument("--why", type=reason, required=True, help="kept in the ledger")
    parser.add_argument("--who", type=reason, help="default: git's user.name, or the account")
    parser.add_argument("--registry", type=Path, default=registry_folder(), help="its folder (default: %(default)s)")
    return parser
