"""
Publish catalogue snapshots to the feature store: to its history, and online for requests that name only a sku.

Without --snapshot the newest of every source. What is published is left alone, so running twice changes nothing.

Example: adloom publish-features --snapshot DIGEST
"""

from __future__ import annotations

from collections.abc import Sequence

from model.store import current_snapshots
from model.store.current_snapshots import SourcedSnapshot
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("publish-features", __doc__)
    options.add_argument("--snapshot", default="", metavar="DIGEST", help="one snapshot, of every client that has it")
    options.add_argument("--client", default=None, help="only of this client")
    options.add_argument("--again", action="store_true", help="write online what is published already")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    with settings.open_database().connect() as connection:
        history = current_snapshots.history(connection, arguments.client)
        newest = current_snapshots.current(connection, arguments.client)
    chosen = [each for each in history if each.snapshot.digest == arguments.snapshot] if arguments.snapshot else newest
    if arguments.snapshot and not chosen:
        raise ValueError(f"there is no snapshot {arguments.snapshot[:64]} here: `adloom ingest` makes them")
    if not chosen:
        say("no catalogue has been ingested yet")
        give({"outcome": "unchanged", "snapshots": 0, "rows": 0, "gone": 0})
        return 0
    give(_publish(settings, chosen, history, again=arguments.again))
    return 0


def _publish(
    settings: PipelineSettings, chosen: Sequence[SourcedSnapshot], history: Sequence[SourcedSnapshot], *, again: bool
) -> dict[str, str | int]:
    """Oldest first, so that the newest is what stays online."""
    # Feast takes seconds to import, which `--help` and an empty run need not wait for.
    from pipelines.features.publish import publish  # noqa: PLC0415
    from pipelines.features.store import open_features  # noqa: PLC0415

    objects, store = settings.open_objects(), open_features(settings)
    outcomes, rows, gone = set(), 0, 0
    for each in sorted(chosen, key=lambda each: (each.snapshot.created_at, each.snapshot.digest)):
        of_client = [other for other in history if other.snapshot.client == each.snapshot.client]
        done = publish(store, objects, each, of_client, again=again)
        outcomes.add(done.outcome)
        rows, gone = rows + done.rows, gone + done.gone
        say(
            f"{each.snapshot.digest[:12]} of {each.snapshot.client}: {done.outcome}, {done.rows} rows, {done.gone} gone"
        )
    outcome = "published" if "published" in outcomes else "superseded" if "superseded" in outcomes else "unchanged"
    return {"outcome": outcome, "snapshots": len(chosen), "rows": rows, "gone": gone}
