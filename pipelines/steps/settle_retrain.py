"""
End a retrain that nobody ended: the last task of a DAG run calls it, and so does a person after a crash.

A retrain that has ended stays as it is, so calling it always is safe.

Example: adloom settle-retrain --retrain rt_0123456789abcdef0123456789abcdef --why "the node was lost"
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from model.publication import publish_after
from model.store import retrains
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("settle-retrain", __doc__)
    options.add_argument("--retrain", required=True)
    options.add_argument("--why", default="a step of its run failed", help="kept in its row (default: %(default)s)")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    with settings.open_database().begin() as connection:
        if retrains.find(connection, arguments.retrain) is None:
            raise ValueError(f"there is no retrain {arguments.retrain}")
        ended = retrains.finish(connection, arguments.retrain, "failed", at=datetime.now(UTC), why=arguments.why)
        row = retrains.find(connection, arguments.retrain)
    assert row is not None
    say(f"retrain {row.id} is {row.state}" + ("" if ended else ", as it was"))
    give({"retrain": row.id, "state": row.state})
    # The step that was killed may have changed the registry and told nobody.
    publish_after(settings.registry, settings.database_url)
    return 0
