"""Go back to an earlier version of the writer, when somebody asked for it at the API."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from pipelines.schedule import StepOperator, Tag, deadline, record_failed_run, record_success, task_defaults

NAME = "rollback_writer"
EVERY_FOUR_MINUTES = "*/4 * * * *"
"""Begun within five minutes of being asked for, the start of a pod included."""
DOC = """
### Roll back the writer

Takes up the rollback that waits, and does what `adloom rollback --env` does: Git, alias, what is served, ledger. A run
that finds none ends at once. Nothing wakes it: whoever asks knows no Airflow, and what stands by all day in the
cluster has no ledger at hand; fifteen small pods an hour cost less than one that waits.

**Triage.** As long as the most recent run is successful or skipped this needs no triage. Skipped means refused, and
the rollback's row says why (`GET /v1/rollbacks/{id}`). After a failed run the next one goes on by itself; where it
keeps failing, its log says which place does not answer. In a hurry `adloom rollback --env ENV` by hand goes on with
what was begun here.

**Owner.** Model owners. **Data.** `rollbacks`; the promotion ledger, MLflow, the GitOps repository.
"""

with DAG(
    NAME,
    description=__doc__,
    doc_md=DOC,
    schedule=EVERY_FOUR_MINUTES,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=20),
    deadline=deadline(NAME, timedelta(minutes=15)),
    on_success_callback=record_success,
    on_failure_callback=record_failed_run,
    default_args=task_defaults(timeout=timedelta(minutes=10), retries=1),
    tags=[Tag.OWNER_ML, Tag.TIER_1],
) as dag:
    StepOperator(task_id="carry_rollback", step="carry-rollback", refused="skip")
