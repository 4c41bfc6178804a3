"""
Collect what changed between two moments, for the write-up of an incident: a timeline in Markdown.

Reads Git, the promotion ledger, Prometheus or Alertmanager, and the database; a source that cannot be read is named.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from app import incident_sources as sources
from app.cli import CommandParser
from app.incident_sources import Event, SourceError, Span
from app.settings import Settings
from model.ledger import LEDGER, LedgerError, registry_folder
from model.store.tables import Database, StoreError

EXAMPLE = """\
example:
  adloom incident --since 2026-01-15T08:00 --until 2026-01-15T11:30 --prometheus http://localhost:9090
  adloom incident --since 2h --write out/incident.md

Times are UTC unless they name a zone; 2h, 90m and 3d are ago. The database is $ADLOOM_DATABASE_URL's.
"""
TEMPLATE = Path("runbooks/incident-template.md")
TIMELINE = "<!-- timeline -->"
DAYS_MAX = 31
UNITS = {"m": "minutes", "h": "hours", "d": "days"}

Read = Callable[[], list[Event]]


def main(argv: Sequence[str] | None = None) -> int:
    """0: the timeline is out, whatever could not be read; 1: it could not be written; 2: wrong arguments."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    span = Span(arguments.since, arguments.until)
    if not timedelta() < span.until - span.since <= timedelta(days=DAYS_MAX):
        parser.error(f"--until must be later than --since, by at most {DAYS_MAX} days")
    database = _database()
    try:
        events, unread = collect(readers(arguments, span, database))
    finally:
        if database is not None:
            database.dispose()
    text = report(span, events, unread)
    if arguments.write is None:
        sys.stdout.write(text)
        return 0
    _write(arguments.write, text)
    sys.stdout.write(f"{arguments.write}: {len(events)} events; {len(unread)} sources could not be read\n")
    return 0


def readers(arguments: argparse.Namespace, span: Span, database: Database | None) -> Mapping[str, Read]:
    """Every source by the name it has in the report."""

    def asked(address: str, option: str, read: Callable[[str, Span], list[Event]]) -> Read:
        def ask() -> list[Event]:
            if not address:
                raise SourceError(f"no address: give {option}")
            return read(address.rstrip("/"), span)

        return ask

    def stored(read: Callable[[Database, Span], list[Event]]) -> Read:
        def look() -> list[Event]:
            if database is None:
                raise SourceError("ADLOOM_DATABASE_URL names no database that can be opened")
            if database.is_sqlite and not Path(database.engine.url.database or "").exists():
                raise SourceError("there is no database there")
            return read(database, span)

        return look

    return {
        "Git": lambda: sources.commits(arguments.repository, span),
        "promotion ledger": lambda: sources.promotions(arguments.ledger, span),
        "Prometheus": asked(arguments.prometheus, "--prometheus", sources.alerts),
        "Alertmanager": asked(arguments.alertmanager, "--alertmanager", sources.open_alerts),
        "drift reports": stored(sources.drift_reports),
        "retrains": stored(sources.retrains),
        "pipeline runs": stored(sources.pipeline_runs),
        "ingests": stored(sources.ingests),
    }


def collect(read: Mapping[str, Read]) -> tuple[list[Event], dict[str, str]]:
    """Events in order of time, and why each source that is missing is missing."""
    events: list[Event] = []
    unread: dict[str, str] = {}
    for name, each in read.items():
        try:
            events += each()
        except (SourceError, StoreError, LedgerError) as error:
            unread[name] = str(error)
        except (OSError, ValueError, KeyError, TypeError) as error:
            unread[name] = f"it holds what this command does not understand ({type(error).__name__})"
    return sorted(events), unread


def report(span: Span, events: Sequence[Event], unread: Mapping[str, str]) -> str:
    """Markdown. Pipes and line ends of what others wrote do not break its table."""
    counted = Counter(event.kind for event in events)
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items())) or "nothing"
    lines = [
        f"From {span.since:%Y-%m-%d %H:%M} to {span.until:%Y-%m-%d %H:%M} UTC: {said}.",
        "",
        "| Time, UTC | What | |",
        "|---|---|---|",
        *(f"| {event.at:%m-%d %H:%M:%S} | {event.kind} | {_cell(event.text)} |" for event in events),
    ]
    if unread:
        lines += ["", "Not read, so what it would have said is missing:", ""]
        lines += [f"- {name}: {_cell(why)}" for name, why in unread.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _write(path: Path, timeline: str) -> None:
    """Into the template where there is one. A file that is there stays: people have written in it."""
    template = TEMPLATE.read_text(encoding="utf-8") if TEMPLATE.is_file() else f"# Incident\n\n{TIMELINE}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as written:
            written.write(template.replace(TIMELINE, timeline.rstrip("\n")))
    except FileExistsError:
        raise ValueError(f"{path} is there already, and somebody may have written in it: name another file") from None


def _database() -> Database | None:
    try:
        return Database(Settings().database_url)
    except (ValidationError, ValueError):
        return None


def moment(text: str) -> datetime:
    """An ISO time, UTC unless it says otherwise, or how long ago: 90m, 2h, 3d."""
    if ago := re.fullmatch(r"([0-9]{1,5})([mhd])", text):
        return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-01-15T08:00, or 2h for two hours ago"
        ) from None


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom incident",
        description="Collect what changed between two moments.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--since", type=moment, required=True, metavar="TIME", help="begin, or how long ago")
    add("--until", type=moment, default=datetime.now(UTC), metavar="TIME", help="end (default: now)")
    add("--write", type=Path, metavar="FILE", help="into a new file made from the template, and not to the terminal")
    add("--repository", type=Path, default=Path(), metavar="FOLDER", help="a clone (default: this folder)")
    add(
        "--ledger",
        type=Path,
        default=registry_folder() / LEDGER,
        metavar="FILE",
        help="of promotions (default: %(default)s)",
    )
    add("--prometheus", default="", metavar="URL", help="for alerts that fired and ended")
    add("--alertmanager", default="", metavar="URL", help="for alerts that are active now")
    return parser


if __name__ == "__main__":
    sys.exit(main())
