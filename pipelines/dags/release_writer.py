"""Say that the next image shall hold the champion, after a promotion."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from pipelines.schedule import CHAMPION, StepOperator, Tag, deadline, record_failed_run, record_success, task_defaults

NAME = "release_writer"
DOC = """
### Release the writer

Commits the champion's version and bundle digest to gitops/models/ad_writer.env. The workflow release.yml builds the
image from it and deploys to dev; further environments are promoted by pull request and not from here.

**Triage.** As long as the most recent run is successful this needs no triage. `git push failed` means that the
repository refuses the bot: look at its deploy key and at branch protection, then clear the task. The same version
again changes nothing, so clearing is always safe.

**Owner.** Platform.
"""

with DAG(
    NAME,
    description=__doc__,
    doc_md=DOC,
    schedule=[CHAMPION],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    deadline=deadline(NAME, timedelta(minutes=30)),
    on_success_callback=record_success,
    on_failure_callback=record_failed_run,
    default_args=task_defaults(timeout=timedelta(minutes=15)),
    tags=[Tag.OWNER_PLATFORM, Tag.TIER_1],
) as dag:
    StepOperator(task_id="release", step="release")
