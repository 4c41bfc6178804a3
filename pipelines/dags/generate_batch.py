"""Write ads for a whole catalogue, in shards."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from pipelines.schedule import StepOperator, Tag, deadline, record_failed_run, record_success, task_defaults

NAME = "generate_batch"
DAILY = "0 4 * * *"
DOC = """
### Generate a batch

Plans a snapshot into shards by a hash of the sku, writes each shard in a task of its own, and collects: every sku
exactly once, or it fails. On demand: trigger it with `snapshot`, `client`, `channels` and `shards`.

**Triage.** As long as the most recent run is successful this needs no triage. A shard that failed goes on where it was
when it is cleared; nothing is written twice. `collect` says which skus are missing. A plan of another bundle than the
present one is refused: trigger a new run.

**Owner.** Model owners. **Data.** `batches/` in the object store.
"""

with DAG(
    NAME,
    description=__doc__,
    doc_md=DOC,
    schedule=DAILY,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    deadline=deadline(NAME, timedelta(hours=12)),
    on_success_callback=record_success,
    on_failure_callback=record_failed_run,
    default_args=task_defaults(timeout=timedelta(hours=10)),
    tags=[Tag.OWNER_ML, Tag.TIER_2],
    params={"snapshot": "", "client": "", "channels": "instagram", "shards": 8},
) as dag:
    plan = StepOperator(
        task_id="plan",
        step="generate-batch",
        arguments=[
            "plan",
            "{{ '--snapshot=' ~ params.snapshot if params.snapshot else '' }}",
            "{{ '--client=' ~ params.client if params.client else '' }}",
            *("--channels", "{{ params.channels }}", "--shards", "{{ params.shards }}"),
        ],
    )
    write = StepOperator.partial(task_id="write", step="generate-batch", max_active_tis_per_dagrun=8).expand(
        arguments=plan.output.map(lambda shard: ["run", "--plan", shard["plan"], "--shard", shard["shard"]])
    )
    collect = StepOperator(
        task_id="collect",
        step="generate-batch",
        arguments=["collect", "--plan", "{{ ti.xcom_pull('plan')[0]['plan'] }}"],
    )
    write >> collect
