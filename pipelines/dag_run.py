"""
Run one DAG from its first task to its last in this process, with no scheduler: for tests and `make loop`.

The last line says how it ended. Example: adloom run-dag ingest_catalogue --conf '{}'
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines import local_airflow
from pipelines.step import parser, say

SUCCESS = "success"


def main(argv: Sequence[str] | None = None) -> int:
    """0 where every task that counts succeeded, 1 where not. Raises ValueError for a DAG that is not there."""
    arguments = _parser().parse_args(argv)
    home = Path(os.environ.get("AIRFLOW_HOME") or local_airflow.HOME).resolve()
    # Airflow reads these when it is imported, and never again.
    os.environ.update(local_airflow.environment(home))
    if not (home / "airflow.db").is_file() and "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in os.environ:
        home.mkdir(parents=True, exist_ok=True)
        local_airflow.migrate(os.environ)
    started = time.monotonic()
    ended = _run(arguments.dag, arguments.conf, arguments.retry_seconds)
    sys.stdout.write(json.dumps({**ended, "seconds": round(time.monotonic() - started, 1)}) + "\n")
    return 0 if ended["state"] == SUCCESS else 1


def _run(name: str, conf: dict[str, Any], retry_seconds: float | None) -> dict[str, Any]:
    """State of the run, and of every task; a mapped one's by its number."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - takes seconds, and writes into its home

    bag = DagBag(str(local_airflow.DAGS))
    if bag.import_errors:
        raise ValueError(f"the DAGs cannot be read: {' '.join(map(str, bag.import_errors.values()))}")
    dag = bag.dags.get(name)
    if dag is None:
        raise ValueError(f"there is no DAG {name[:64]!r}; there are {', '.join(sorted(bag.dags))}")
    # A test run ends with an error where it meets one, as Airflow 3.3.2 writes the alert down a second time; nobody
    # waits at a deadline here.
    dag.deadline = None
    if retry_seconds is not None:
        for task in dag.tasks:
            _pause_between_tries(task, timedelta(seconds=retry_seconds))
    run = dag.test(run_conf=conf)
    tasks = {_called(one): str(one.state) for one in run.get_task_instances()}
    say(f"{name}: {run.state}")
    return {
        "state": str(run.state),
        "run": run.run_id,
        "tasks": dict(sorted(tasks.items())),
        "answers": _answers(name, run.run_id),
    }


def _answers(dag: str, run: str) -> dict[str, Any]:
    """What each task's step gave, by the task's name; of a mapped one the last."""
    from airflow.models.xcom import XComModel  # noqa: PLC0415 - as above
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above

    with create_session() as session:
        rows = session.query(XComModel.task_id, XComModel.value).filter_by(dag_id=dag, run_id=run, key="return_value")
        return {task: json.loads(value) if isinstance(value, str) else value for task, value in rows}


def _pause_between_tries(task: Any, pause: timedelta) -> None:
    """Of a plain task and of one that is mapped, which keeps its settings in a table."""
    if hasattr(task, "partial_kwargs"):
        task.partial_kwargs.update(retry_delay=pause, retry_exponential_backoff=0)
    else:
        task.retry_delay, task.retry_exponential_backoff = pause, 0


def _called(instance: Any) -> str:
    return str(instance.task_id) if instance.map_index < 0 else f"{instance.task_id}[{instance.map_index}]"


def _parser() -> argparse.ArgumentParser:
    options = parser("run-dag", __doc__)
    options.add_argument("dag", metavar="NAME")
    options.add_argument("--conf", type=_object, default={}, metavar="JSON", help="replaces the DAG's parameters")
    options.add_argument("--retry-seconds", type=float, help="between tries (default: as the DAG says)")
    return options


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("a JSON object is wanted, such as '{\"shards\": 2}'")
    return found
