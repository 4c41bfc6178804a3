"""
Put a version before the gate; where it passes, it is champion, and the feedback it learnt from is told so.

Exit 0 promoted (or champion already), 3 refused: the reasons stand in the promotion ledger and the retrain's row.

Example: adloom gate-candidate --version 7 --retrain rt_0123456789abcdef0123456789abcdef
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from model.ledger import Ledger
from model.promotion import Asked, RefusedError, open_both, promote
from model.publication import publish_after
from model.registry import CHAMPION, Registry, Version
from model.store import feedback, retrains
from model.store.retrains import RetrainRow
from pipelines import datasets
from pipelines.settings import PipelineSettings
from pipelines.step import EXIT_REFUSED, give, parser, say

WHO = "adloom-pipelines"
_TOLD = {"promoted": "unchanged", "refused": "refused"}
"""What is answered to a second call, by the state in which the first left the retrain."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("gate-candidate", __doc__)
    options.add_argument("--version", type=int, required=True, help="as `adloom evaluate-candidate` gave it")
    options.add_argument("--retrain", default="", help="the retrain that this ends (default: none)")
    options.add_argument("--run", default="", help="the training run, for the feedback's record")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    if (known := _judged_before(settings, arguments.retrain, arguments.version)) is not None:
        say(f"retrain {known.id} has ended: version {known.version} was {known.state}")
        give({"outcome": _TOLD[known.state], "version": arguments.version, "bundle": known.bundle_digest})
        publish_after(settings.registry, settings.database_url)
        return EXIT_REFUSED if known.state == "refused" else 0
    asked = Asked("promote", WHO, f"retrain {arguments.retrain}" if arguments.retrain else "a candidate of a pipeline")
    registry, ledger = open_both(settings.registry, asked, arguments.version)
    version = registry.version(arguments.version)
    outcome, why = ("unchanged", "") if CHAMPION in version.aliases else _gated(registry, ledger, asked, version)
    _settle(settings, version, arguments.run, arguments.retrain, why)
    give({"outcome": outcome, "version": version.number, "bundle": version.bundle})
    publish_after(settings.registry, settings.database_url)
    return EXIT_REFUSED if why else 0


def _judged_before(settings: PipelineSettings, retrain: str, version: int) -> RetrainRow | None:
    """
    The retrain's row, where it has ended with a verdict on this version: the gate is asked once a retrain.

    Otherwise a task that is run again would promote what somebody has rolled back since. Raises ValueError for a
    retrain that there is not.
    """
    if not retrain:
        return None
    with settings.open_database().connect() as connection:
        row = retrains.find(connection, retrain)
    if row is None:
        raise ValueError(f"there is no retrain {retrain}")
    return row if row.state in _TOLD and row.version == str(version) else None


def _gated(registry: Registry, ledger: Ledger, asked: Asked, version: Version) -> tuple[str, str]:
    """The outcome, and why it was refused; what the gate says goes to whoever watches."""
    try:
        line = promote(registry, ledger, asked, version=version.number)
    except RefusedError as error:
        say(f"refused: {error}")
        return "refused", str(error)
    say("\n".join(line.verdict["reasons"] if line.verdict else []))
    return "promoted", ""


def _settle(settings: PipelineSettings, version: Version, run: str, retrain: str, why: str) -> None:
    """What became of the feedback, and of the retrain."""
    now = datetime.now(UTC)
    dataset = version.tags.get("dataset", "")
    known = datasets.find(settings.open_objects(), dataset) if dataset else None
    with settings.open_database().begin() as connection:
        if known is not None and not why:
            feedback.serve(connection, list(known.manifest.get("feedback", ())), run, str(version.number), at=now)
        if retrain:
            retrains.finish(
                connection,
                retrain,
                "refused" if why else "promoted",
                at=now,
                why=why,
                dataset_digest=dataset,
                run_id=run,
                bundle_digest=version.bundle,
                version=str(version.number),
            )
