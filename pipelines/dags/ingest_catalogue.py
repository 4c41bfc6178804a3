"""Fetch every source's catalogue, keep what is new as a snapshot, and publish its features."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, TriggerRule

from pipelines.schedule import (
    CATALOGUE,
    StepOperator,
    Tag,
    deadline,
    record_failed_run,
    record_success,
    task_defaults,
    whole,
)

NAME = "ingest_catalogue"
DAILY = "0 2 * * *"
DOC = """
### Ingest the catalogues

One mapped task a source of `pipelines/sources.yaml`: fetch, validate, snapshot. A bad row goes to quarantine with its
line and reason; a catalogue that is bad as a whole is refused, and the last good snapshot stays. The same catalogue
twice makes nothing new.

**Triage.** As long as the most recent run is successful this needs no triage. A refused source fails its own mapped
task, and the run by `every_source`; what the others gave is published. The log says what was wrong with it, `adloom
validate FILE` shows it in full; mend it at the source and clear the task. Sources that answer 429 or 5xx are tried
again by themselves.

**Owner.** Platform. **Data.** `catalogue/`, `quarantine/`, `quality/` in the object store; rows in `ingests`.
"""

with DAG(
    NAME,
    description=__doc__,
    doc_md=DOC,
    schedule=DAILY,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    deadline=deadline(NAME, timedelta(hours=4)),
    on_success_callback=record_success,
    on_failure_callback=record_failed_run,
    default_args=task_defaults(timeout=timedelta(hours=3)),
    tags=[Tag.OWNER_PLATFORM, Tag.TIER_1],
) as dag:
    sources = StepOperator(task_id="list_sources", step="ingest", arguments=["--list"])
    ingest = StepOperator.partial(task_id="ingest", step="ingest").expand(
        arguments=sources.output.map(lambda source: [source])
    )
    publish = StepOperator(
        task_id="publish_features",
        step="publish-features",
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        outlets=[CATALOGUE],
    )
    ingest >> [publish, whole("every_source")]
