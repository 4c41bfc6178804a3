"""Faults of what happens without a request: catalogues, drift, retrains, pipelines, batches, and which model runs."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from app.drill.fault import DAY_SPEED, Fault
from app.drill.scene import TASK, Scene
from app.watch.processes import open_local
from app.watch.stack import CLIENT, REQUEST_SECONDS_MAX
from model.store import pipeline_runs, retrains
from model.store.pipeline_runs import State
from model.store.retrains import Ended, NewRetrain
from model.store.tables import batches, drift_reports, ingests, snapshots
from model.store.tables import pipeline_runs as runs
from model.store.tables import retrains as retrain_rows

LONG_AGO = timedelta(hours=40)
BUDGET = 4
"""As `adloom decide-retrain` has it by default."""
DAY_IN_A_MINUTE = 1440.0


def kill_exporter(scene: Scene) -> None:
    """As a node that loses power."""
    scene.stack.crash("exporter")


def age_catalogue(scene: Scene) -> None:
    """Nothing has come since."""
    at = datetime.now(UTC) - LONG_AGO
    with scene.begin() as connection:
        connection.execute(sa.update(snapshots).values(created_at=at))
        connection.execute(sa.update(ingests).values(ended_at=at))


def find_drift(share: float, *, hurts: bool) -> Callable[[Scene], None]:
    """The newest window says so; the one before it, too."""

    def inject(scene: Scene) -> None:
        for age in (timedelta(hours=1), timedelta()):
            scene.report_drift(share=share, hurts=hurts, age=age)

    return inject


def age_drift_reports(scene: Scene) -> None:
    """Nobody has looked since."""
    with scene.begin() as connection:
        connection.execute(sa.update(drift_reports).values(created_at=datetime.now(UTC) - LONG_AGO))


def end_retrain(scene: Scene, outcome: Ended, *, helped: bool | None = None) -> None:
    """Asked for by a person, and ended at once."""
    now = datetime.now(UTC)
    with scene.begin() as connection:
        row = retrains.ask(connection, NewRetrain(TASK, "manual", {"reason": "drill"}, CLIENT, now))
        retrains.finish(connection, row.id, outcome, at=now, why="a drill")
        if helped is not None:
            retrains.judge_help(connection, row.id, helped, {})


def fail_retrain(scene: Scene) -> None:
    """The run of `train_writer` broke off."""
    end_retrain(scene, "failed")


def waste_retrains(scene: Scene) -> None:
    """Two in a row were promoted and did not help; the next one will."""
    for _ in range(2):
        end_retrain(scene, "promoted", helped=False)

    def succeed(_argument: str) -> str:
        with scene.begin() as connection:
            row = retrains.find_open(connection, TASK)
            if row is None:
                raise ValueError("no retrain waits: ask for one with `adloom decide-retrain --ask REASON`")
            retrains.finish(connection, row.id, "promoted", at=datetime.now(UTC))
            retrains.judge_help(connection, row.id, True, {})
        return f"{row.id} was promoted and has helped\n"

    scene.stack.actions["retrain", "succeed"] = succeed


def spend_budget(scene: Scene) -> None:
    """All of the month's retrains; the month can be turned."""
    for _ in range(BUDGET):
        end_retrain(scene, "refused")

    def turn_month(_argument: str) -> str:
        with scene.begin() as connection:
            connection.execute(sa.update(retrain_rows).values(created_at=datetime.now(UTC) - timedelta(days=32)))
        return "a new month has begun\n"

    scene.stack.actions["month", "turn"] = turn_month


def end_run(state: State) -> Callable[[Scene], None]:
    """The night's run of ingest_catalogue ends so."""

    def inject(scene: Scene) -> None:
        with scene.begin() as connection:
            pipeline_runs.record(connection, "ingest_catalogue", "night", "", state, datetime.now(UTC))

    return inject


def age_runs(scene: Scene) -> None:
    """The scheduler has stood still since."""
    with scene.begin() as connection:
        connection.execute(sa.update(runs).values(at=datetime.now(UTC) - LONG_AGO))


def strand_batch(scene: Scene) -> None:
    """It was taken in two hours ago, and nobody works on it."""
    order = {"products": [{"sku": "BOWL", "title": "Blue ceramic bowl"}], "channels": ["instagram"]}
    request = urllib.request.Request(  # noqa: S310 -- an address of ours
        f"{scene.stack.service_url}/v1/batches",
        json.dumps(order).encode(),
        {"Authorization": f"Bearer {scene.stack.token()}", "Content-Type": "application/json"},
    )
    with open_local(request, REQUEST_SECONDS_MAX) as answer:
        scene.notes["BATCH"] = str(json.load(answer)["id"])
    at = datetime.now(UTC) - timedelta(hours=2)
    with scene.begin() as connection:
        connection.execute(sa.update(batches).values(created_at=at, updated_at=at))


def serve_other_version(scene: Scene) -> None:
    """Somebody deployed by hand what was never promoted."""
    scene.stack.deploy("2")


RECORD_FAULTS = (
    Fault("AdloomExporterDown", "the exporter is killed", kill_exporter),
    Fault("AdloomIngestStale", "the last catalogue is 40 hours old", age_catalogue),
    Fault("AdloomDriftFound", "the newest window drifts in 0.3 of its features", find_drift(0.3, hurts=False)),
    Fault("AdloomDriftHurts", "two windows drift, and validity has fallen", find_drift(0.5, hurts=True)),
    Fault("AdloomDriftReportStale", "the newest drift report is 40 hours old", age_drift_reports),
    Fault("AdloomRetrainFailed", "a retrain fails", fail_retrain, DAY_IN_A_MINUTE),
    Fault("AdloomRetrainsUseless", "two promoted retrains in a row did not help", waste_retrains),
    Fault("AdloomRetrainBudgetSpent", "four retrains have ended this month", spend_budget),
    Fault("AdloomPipelineFailed", "a run of ingest_catalogue fails", end_run("failed"), DAY_SPEED / 3),
    Fault("AdloomPipelineLate", "a run of ingest_catalogue passes its deadline", end_run("late"), DAY_SPEED / 3),
    Fault("AdloomPipelineStale", "no scheduled run has gone through for 40 hours", age_runs),
    Fault(
        "AdloomBatchesStuck",
        "a batch has waited for two hours and nobody works on it",
        strand_batch,
        settings={"ADLOOM_BATCH_WRITERS": "0"},
    ),
    Fault("AdloomTruthDiverged", "the service runs version 2, the ledger says 1", serve_other_version, speed=240),
)
