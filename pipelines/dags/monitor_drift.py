"""Compare the last hour's requests with the reference, and decide whether that calls for a retrain."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, TriggerRule

from pipelines.schedule import (
    RETRAIN,
    StepOperator,
    Tag,
    deadline,
    record_failed_run,
    record_success,
    task_defaults,
    whole,
)

NAME = "monitor_drift"
HOURLY = "15 * * * *"
"""A quarter past: the service writes its log in files, and the last of an hour come late."""
DOC = """
### Monitor drift

Compares the window that ended last with the drift reference, keeps a report, and asks the one authority that decides
on retrains. Too few requests give no verdict, which is neither drift nor its absence.

**Triage.** As long as the most recent run is successful this needs no triage; the verdict stands in the report
(`drift/reports/` in the object store) and on the dashboard. Without a report the run fails by `report_made`, and what
people and feedback ask for is decided all the same. `there is no drift reference` means what it says: make one
with `adloom drift reference`.

**Owner.** Model owners. **Data.** `generations/` in; rows in `drift_reports` and `retrains`.
"""

with DAG(
    NAME,
    description=__doc__,
    doc_md=DOC,
    schedule=HOURLY,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    deadline=deadline(NAME, timedelta(minutes=40)),
    on_success_callback=record_success,
    on_failure_callback=record_failed_run,
    default_args=task_defaults(timeout=timedelta(minutes=30)),
    tags=[Tag.OWNER_ML, Tag.TIER_2],
    params={"since": "", "until": ""},
) as dag:
    drift = StepOperator(
        task_id="monitor_drift",
        step="monitor-drift",
        arguments=[
            "{{ '--since=' ~ params.since if params.since else '' }}",
            "{{ '--until=' ~ params.until if params.until else '' }}",
        ],
    )
    decide = StepOperator(
        task_id="decide_retrain",
        step="decide-retrain",
        goes_on_with={"decision": "retrain"},  # else the event would wake the training every hour
        trigger_rule=TriggerRule.ALL_DONE,  # what people and feedback ask for does not wait for a report
        outlets=[RETRAIN],
    )
    drift >> [decide, whole("report_made")]
