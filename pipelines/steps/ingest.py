"""
Fetch catalogues from their sources, check every row, and keep what is good as a snapshot named by its content.

Prints one line of JSON for each source; the exit status is 3 where one was refused, 1 where one gave nothing.
Example: adloom ingest sample
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.ingest.intake import WORKERS
from pipelines.ingest.run import Options, Result, Stores, ingest
from pipelines.ingest.sources import chosen, read_sources
from pipelines.settings import PipelineSettings
from pipelines.step import EXIT_REFUSED, give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step. Raises RuntimeError once every source was tried and one could not be read."""
    arguments = _parser().parse_args(argv)
    settings = PipelineSettings()
    sources = chosen(read_sources(arguments.table or settings.sources), arguments.sources)
    if arguments.list:
        sys.stdout.write(json.dumps([source.name for source in sources]) + "\n")
        return 0
    stores = Stores(
        database=settings.open_database(),
        objects=settings.open_objects(),
        work=settings.root / "ingest",
        environment=os.environ,
        wait_seconds_max=settings.step_seconds_max,
    )
    options = Options(is_accepted=arguments.accept, workers=arguments.workers)
    refused, failed = 0, []
    for source in sources:
        try:
            result = ingest(source, stores, options)
        except (OSError, RuntimeError) as error:
            # The others are somebody else's and go on.
            failed.append(f"{source.name}: {_reason(error)}")
            say(f"{source.name}: failed, {_reason(error)}")
            continue
        refused += result.outcome == "refused"
        say(_sentence(result))
        give(result.reference())
    stores.database.dispose()
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(sources)} sources gave nothing: {'; '.join(failed)}")
    return EXIT_REFUSED if refused else 0


def _sentence(result: Result) -> str:
    counts = (
        f"{result.rows:,} rows, {result.accepted:,} accepted, {result.rejected:,} rejected, {result.merged:,} merged"
    )
    reason = f": {result.why}" if result.why else ""
    return f"{result.source}: {result.outcome}, {counts}{reason}"


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _parser() -> argparse.ArgumentParser:
    arguments = parser("ingest", __doc__)
    arguments.add_argument("sources", nargs="*", metavar="SOURCE", help="names in the table (default: all)")
    arguments.add_argument("--list", action="store_true", help="print their names as a JSON list, and fetch nothing")
    arguments.add_argument("--table", type=Path, help="the table of sources (default: ADLOOM_SOURCES)")
    arguments.add_argument(
        "--accept", action="store_true", help="keep a catalogue that lost products or columns against the last one"
    )
    arguments.add_argument("--workers", type=int, default=WORKERS, help="processes that read (default: %(default)s)")
    return arguments
