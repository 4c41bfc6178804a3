"""Make a candidate and put it before the gate, whenever something asks for a retrain."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from pipelines.schedule import (
    CATALOGUE,
    CHAMPION,
    RETRAIN,
    TRAINING_POD,
    StepOperator,
    Tag,
    deadline,
    record_failed_run,
    record_success,
    task_defaults,
)

NAME = "train_writer"
DOC = """
### Train the writer

Takes up the retrain that waits (drift, feedback, a person), puts the data together, trains, evaluates, certifies and
registers a candidate, and puts it before the gate. An event only wakes it: what there is to do it reads from the
database, so a lost or doubled event does no harm. Where nothing waits, every task after the first is skipped.

**Triage.** As long as the most recent run is successful or skipped this needs no triage. A refused candidate is no
failure: the champion stays, and the reasons stand in the promotion ledger (`adloom models --ledger`). After a failed
task `settle_retrain` closes the retrain as failed. Ask for another with `adloom decide-retrain --ask "why"` and clear
the task or trigger a run: either goes on where this one was, training from its checkpoint, evaluation from the ads
written so far.

**Owner.** Model owners. **Data.** `datasets/`, `runs/` in the object store; versions in MLflow.
"""

with DAG(
    NAME,
    description=__doc__,
    doc_md=DOC,
    schedule=(RETRAIN | CATALOGUE),
    catchup=False,
    max_active_runs=1,  # two candidates would be compared with the same champion, and one comparison be stale
    dagrun_timeout=timedelta(hours=12),
    deadline=deadline(NAME, timedelta(hours=8)),
    on_success_callback=record_success,
    on_failure_callback=record_failed_run,
    default_args=task_defaults(timeout=timedelta(hours=6)),
    tags=[Tag.OWNER_ML, Tag.TIER_2],
    params={"recipe": "", "base": ""},
) as dag:
    # A run that an event wakes has no parameters of its own: Airflow's variables say what is usual here.
    recipe = "{% set it = params.recipe or var.value.get('writer_recipe', '') %}{{ '--recipe=' ~ it if it else '' }}"
    base = "{% set it = params.base or var.value.get('writer_base', '') %}{{ '--base=' ~ it if it else '' }}"
    claim = StepOperator(
        task_id="claim_retrain", step="claim-retrain", arguments=["--by", "{{ run_id }}"], refused="skip"
    )
    build = StepOperator(task_id="build_dataset", step="build-dataset")
    train = StepOperator(
        task_id="train_candidate",
        step="train-candidate",
        arguments=["--dataset", "{{ ti.xcom_pull('build_dataset')['dataset'] }}", recipe, base],
        executor_config=TRAINING_POD,
    )
    evaluate = StepOperator(
        task_id="evaluate_candidate",
        step="evaluate-candidate",
        arguments=["--run", "{{ ti.xcom_pull('train_candidate')['run'] }}", recipe],
        executor_config=TRAINING_POD,
    )
    gate = StepOperator(
        task_id="gate_candidate",
        step="gate-candidate",
        arguments=[
            *("--version", "{{ ti.xcom_pull('evaluate_candidate')['version'] }}"),
            *("--run", "{{ ti.xcom_pull('train_candidate')['run'] }}"),
            *("--retrain", "{{ ti.xcom_pull('claim_retrain')['retrain'] }}"),
        ],
        refused="skip",
        outlets=[CHAMPION],
    )
    settle = StepOperator(
        task_id="settle_retrain",
        step="settle-retrain",
        arguments=["--retrain", "{{ ti.xcom_pull('claim_retrain')['retrain'] }}"],
    )
    claim >> build >> train >> evaluate >> gate
    # A teardown runs whatever became of the tasks between, and has no say in how the run is judged.
    gate >> settle.as_teardown(setups=claim)
