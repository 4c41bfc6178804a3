"""
Bring the service's database to what this version needs, or say how far it is.

Example: adloom database upgrade
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from model.store.tables import Database

URL_VARIABLE = "ADLOOM_DATABASE_URL"
URL_DEFAULT = "sqlite:///.adloom/service/adloom.db"
"""As the service's own setting."""
EXIT_OLD = 1

EXAMPLE = f"""\
example:
  {URL_VARIABLE}=postgresql+psycopg://adloom@db.internal/adloom adloom database upgrade

The password comes from PGPASSWORD or a .pgpass file, so that no process list shows it.
Exit status of `status`: 0 where the tables are as this version needs them, 1 where they are not.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Expected failures are raised as ValueError or RuntimeError, for the command line to show."""
    arguments = _parser().parse_args(argv)
    database = Database(os.environ.get(URL_VARIABLE) or URL_DEFAULT)
    try:
        if arguments.action == "upgrade":
            database.upgrade()
        return _say(*database.schema())
    finally:
        database.dispose()


def _say(current: str, head: str) -> int:
    if current == head:
        sys.stdout.write(f"the database is at revision {head}, which this version needs\n")
        return 0
    sys.stdout.write(f"the database is at revision {current or 'none'}; this version needs {head}\n")
    return EXIT_OLD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom database",
        description=__doc__.split("\n\n")[0] if __doc__ else None,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("upgrade", "status"), help="upgrade changes the tables, status only looks")
    return parser
