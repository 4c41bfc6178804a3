"""
List the registered versions, fetch the bundle of one, show a card, check the ledger, or tell the service of it all.

Example: adloom models fetch @champion --to release/bundle
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from model.ledger import LEDGER, Entry, Ledger, registry_folder
from model.promotion import disagreement, open_both
from model.publication import publish
from model.registry import CHAMPION, MODEL, Registry, RegistryError, Version, is_empty
from model.store.database_command import URL_DEFAULT, URL_VARIABLE
from model.store.tables import Database

EMPTY = (
    "no model is registered yet; make one ready and register it:\n"
    "  adloom bundle build && adloom evaluate && adloom certify && adloom register"
)
DIGEST_CHARS = 12
FIGURES = ("validity", "grounded")
COLUMNS = ("version", "aliases", "bundle", "created", "dataset", *FIGURES, "certificate", "champion since")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    if arguments.verify_ledger:
        return _verify(arguments.registry)
    if arguments.action == "publish":
        return _publish(arguments.registry)
    if is_empty(arguments.registry):
        return _say_empty(as_json=arguments.json, asked_for=arguments.reference)
    registry, ledger = open_both(arguments.registry)
    if arguments.action == "fetch":
        return _fetch(registry, arguments.reference, arguments.to)
    if arguments.action == "card":
        return _card(registry, arguments.reference)
    versions = registry.versions()
    if not versions:
        return _say_empty(as_json=arguments.json, asked_for=None)
    since = champion_since(ledger.entries())
    trouble = disagreement(registry, ledger)
    if arguments.json:
        listed = [one.as_dict() | {"champion_since": _since(one, since)} for one in versions]
        sys.stdout.write(json.dumps({"versions": listed, "disagreement": trouble}, indent=2) + "\n")
    else:
        # Not narrower than its columns need: a file or a pipe has no width of its own.
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(_table(versions, since))
    if trouble:
        sys.stderr.write(f"adloom: warning: {trouble}\n")
    return 0


def find(registry: Registry, reference: str) -> Version:
    """A version by "@alias" or number. Raises RegistryError naming what there is."""
    if reference.startswith("@"):
        found = registry.aliased(reference[1:])
        if found is None:
            aliases = sorted(alias for one in registry.versions() for alias in one.aliases)
            known = ", ".join(f"@{alias}" for alias in aliases) or "none yet"
            raise RegistryError(f"no version of {MODEL} has the alias {reference}; there are: {known}")
        return found
    if not reference.isascii() or not reference.isdigit():
        raise ValueError(f"{reference!r} names no version; write a number, or @champion or @candidate")
    return registry.version(int(reference))


def champion_since(entries: Sequence[Entry]) -> dict[int, str]:
    """When each version last became champion, UTC to the second, by version."""
    return {
        entry.target: f"{entry.time[:19]}+00:00"
        for entry in entries
        if entry.state == "done" and entry.target is not None and entry.action in ("promote", "rollback")
    }


def _since(version: Version, since: Mapping[int, str]) -> str:
    return since.get(version.number, "") if CHAMPION in version.aliases else ""


def _table(versions: Sequence[Version], since: Mapping[int, str]) -> Table:
    table = Table(title=MODEL, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("version", *FIGURES) else "left")
    for one in versions:
        means = one.means
        table.add_row(
            str(one.number),
            ", ".join(one.aliases),
            one.bundle[:DIGEST_CHARS],
            one.created[:16].replace("T", " "),
            one.tags.get("dataset", "")[:DIGEST_CHARS],
            *(f"{means[name]:.3f}" if name in means else "" for name in FIGURES),
            one.tags.get("certificate", ""),
            _since(one, since)[:16].replace("T", " "),
        )
    return table


def _fetch(registry: Registry, reference: str, target: Path) -> int:
    version = find(registry, reference)
    told = "fetched to" if registry.fetch(version, target) else "lies already in"
    sys.stdout.write(f"version {version.number}, bundle {version.bundle} {told} {target}\n")
    return 0


def _card(registry: Registry, reference: str) -> int:
    sys.stdout.write(registry.card(find(registry, reference)))
    return 0


def _publish(folder: Path) -> int:
    if is_empty(folder):
        raise RegistryError(EMPTY)
    registry, ledger = open_both(folder)
    database = Database(os.environ.get(URL_VARIABLE) or URL_DEFAULT)
    try:
        published = publish(registry, ledger, database, afresh=True)
    finally:
        database.dispose()
    for fault in published.faults:
        sys.stderr.write(f"adloom: warning: {fault}\n")
    lines = "" if published.lines is None else f" and {published.lines} lines of the ledger"
    sys.stdout.write(f"the service knows {published.versions} versions{lines} now\n")
    return 0


def _verify(folder: Path) -> int:
    """The chain, and, where the registry can be asked, that no line is missing at the end."""
    path = folder / LEDGER
    ledger = Ledger(path) if is_empty(folder) else open_both(folder)[1]
    entries = ledger.entries()
    sys.stdout.write(f"{path}: {len(entries)} lines, each following the one before it\n")
    return 0


def _say_empty(*, as_json: bool, asked_for: str | None) -> int:
    if asked_for is not None:
        raise RegistryError(EMPTY)
    if as_json:
        sys.stdout.write(json.dumps({"versions": [], "disagreement": ""}, indent=2) + "\n")
    else:
        sys.stdout.write(EMPTY + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    parser.add_argument("--verify-ledger", action="store_true", help="check every line of the promotion ledger")
    parser.add_argument("--registry", type=Path, default=registry_folder(), help="its folder (default: %(default)s)")
    parser.set_defaults(reference=None)
    actions = parser.add_subparsers(dest="action")
    fetch = actions.add_parser("fetch", help="copy a version's bundle out and verify its digests")
    fetch.add_argument("reference", help="@champion, @candidate or a version's number")
    fetch.add_argument("--to", type=Path, required=True, help="new folder")
    card = actions.add_parser("card", help="print a version's model card")
    card.add_argument("reference", help="@champion, @candidate or a version's number")
    actions.add_parser(
        "publish",
        help=f"write what registry and ledger say to the service's database ({URL_VARIABLE}), which shows it",
        description="Safe at any time, and twice at once. Example: adloom models publish",
    )
    return parser
