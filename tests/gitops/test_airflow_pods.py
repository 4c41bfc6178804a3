"""Which pod a task of Airflow runs in: the DAGs name files that the cluster has."""

from __future__ import annotations

import re
from pathlib import Path

from tests.gitops.rendering import GITOPS, ROOT


def test_the_training_tasks_name_a_pod_that_is_mounted():
    # Read and not imported: importing Airflow takes seconds, and this is about one line.
    source = (ROOT / "pipelines/schedule.py").read_text(encoding="utf-8")
    named = Path(re.search(r'^TRAINING_POD = {"pod_template_file": "([^"]+)"}$', source, re.MULTILINE)[1])
    values = (GITOPS / "platform/airflow/airflow.yaml").read_text(encoding="utf-8")
    usual = Path(re.search(r"pod_template_file: (\S+)", values)[1])

    assert named.parent == usual.parent
    assert (GITOPS / "apps/airflow/base" / named.name).is_file()
    assert (GITOPS / "apps/airflow/base" / usual.name).is_file()


def test_what_trains_and_what_scores_asks_for_the_large_node_and_nothing_else_does():
    source = (ROOT / "pipelines/dags/train_writer.py").read_text(encoding="utf-8")
    tasks = re.split(r"StepOperator\(", source)[1:]
    large = {re.search(r'task_id="(\w+)"', each)[1] for each in tasks if "executor_config=TRAINING_POD" in each}

    assert large == {"train_candidate", "evaluate_candidate"}
