"""
The alerts on trial: the verdict table, mutants of the rules, Alertmanager's files, and what a scrape costs.

Needs promtool for the first two. Run it from the root of the repository.

example:
  adloom alerts list
  adloom alerts verdicts --write
  adloom alerts mutants AdloomServiceDown
  adloom alerts routes --write
  adloom alerts cost
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.cli import CommandParser
from app.watch import routing, scrape_cost, verdicts
from app.watch.alert_rules import Alert, alerts, recordings
from app.watch.mutants import Mutant, mutants, survives

KILLED_MIN = 0.95
"""Of all mutants; below it the tests say too little."""


def main(argv: Sequence[str] | None = None) -> int:
    """0: as it should be; 1: it is not, or it cannot be told; 2: wrong arguments."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    return int(arguments.run(arguments))


def _list(arguments: argparse.Namespace) -> int:
    for alert in alerts(arguments.root):
        print(f"{alert.name:<32} {alert.severity:<9} {alert.annotations['summary']}")
    return 0


def _verdicts(arguments: argparse.Namespace) -> int:
    print("promtool tries every alert on every world: half a minute", file=sys.stderr)
    found = verdicts.try_all(arguments.root)
    page = arguments.root / verdicts.PAGE
    content = verdicts.with_table(page.read_text(encoding="utf-8"), verdicts.table(found))
    if faults := verdicts.wrong(found):
        raise RuntimeError(f"the rules judge wrongly: {'; '.join(faults)}")
    return _settled({page: content}, arguments)


def _routes(arguments: argparse.Namespace) -> int:
    files = {arguments.root / path: content for path, content in routing.rendered(arguments.root).items()}
    return _settled(files, arguments)


def _mutants(arguments: argparse.Namespace) -> int:
    known, recorded = alerts(arguments.root), recordings(arguments.root)
    chosen = [alert for alert in known if not arguments.alert or alert.name in arguments.alert]
    if unknown := set(arguments.alert) - {alert.name for alert in known}:
        raise ValueError(f"there is no alert {', '.join(sorted(unknown))}: `adloom alerts list` names them")
    killed = 0
    survivors: list[Mutant] = []
    for alert in chosen:
        made = mutants(alert)
        left = [mutant for mutant in made if survives(mutant, arguments.root, recorded)]
        killed, survivors = killed + len(made) - len(left), [*survivors, *left]
        print(f"{alert.name:<32} {len(made) - len(left)} of {len(made)} killed", file=sys.stderr, flush=True)
    return _score(chosen, killed, survivors)


def _cost(arguments: argparse.Namespace) -> int:
    found = scrape_cost.measure()
    text = json.dumps(found, indent=1) + "\n"
    print(text, end="")
    if arguments.write:
        page = arguments.root / verdicts.PAGE
        content = scrape_cost.with_table(page.read_text(encoding="utf-8"), found)
        (arguments.root / scrape_cost.FILE).write_text(text, encoding="utf-8")
        page.write_text(content, encoding="utf-8")
    return 0 if scrape_cost.is_cheap(found) else 1


def _score(chosen: Sequence[Alert], killed: int, survivors: Sequence[Mutant]) -> int:
    share = killed / (killed + len(survivors))
    for mutant in survivors:
        print(f"survived: {mutant.alert.name}: {mutant.what}")
    print(f"kill score {share:.3f}: {killed} of {killed + len(survivors)} mutants of {len(chosen)} alerts")
    return 0 if share >= KILLED_MIN else 1


def _settled(files: Mapping[Path, str], arguments: argparse.Namespace) -> int:
    """Written, or compared."""
    differing = [path for path, content in files.items() if not path.exists() or path.read_text("utf-8") != content]
    if arguments.write:
        for path in differing:
            path.write_text(files[path], encoding="utf-8")
            print(f"wrote {path}")
        return 0
    for path in differing:
        print(f"adloom: error: {path} is not what would be written: run it again with --write", file=sys.stderr)
    return 1 if differing else 0


def _parser() -> argparse.ArgumentParser:
    made = CommandParser(
        prog="adloom alerts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--root", type=Path, default=Path(), help="the repository (default: where you are)")
    commands = made.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    commands.add_parser("list", help="name every alert").set_defaults(run=_list)
    for name, run, what in (
        ("verdicts", _verdicts, "try every alert on every world, and compare architecture/alerts.md"),
        ("routes", _routes, "compare Alertmanager's files with routes.yaml"),
        ("cost", _cost, "measure what a scrape of 10,000 series costs, and whether that is little enough"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--write", action="store_true", help="write what differs")
        command.set_defaults(run=run)
    command = commands.add_parser("mutants", help="change each rule in one place, and see whether its tests notice")
    command.add_argument("alert", nargs="*", help="only these (default: all)")
    command.set_defaults(run=_mutants)
    return made


if __name__ == "__main__":
    sys.exit(main())
