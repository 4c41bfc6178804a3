"""
What the DAGs share: the operator that runs a step, tags, retries, deadlines, and what happens when one fails.

Imports Airflow and nothing heavy: a scheduler parses this every half minute.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, BaseOperator
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

CATALOGUE = Asset("adloom://catalogue")
"""The sources were read. Consumers look for what they have not done yet: an event may be lost, or come twice."""
RETRAIN = Asset("adloom://retrain")
"""A retrain waits."""
CHAMPION = Asset("adloom://champion")
"""Another version is champion."""

EXIT_REFUSED = 3
"""Of a step whose answer is no; tests/repo ties it to pipelines/step.py, which a DAG must not import."""
GRACE_SECONDS = 30
RECORD_SECONDS = 120


class Tag(StrEnum):
    """Every tag that a DAG may carry."""

    OWNER_PLATFORM = "owner/platform"
    OWNER_ML = "owner/ml"
    TIER_1 = "tier/1"
    """Merchants notice within a day: page."""
    TIER_2 = "tier/2"
    """The model ages: a ticket."""
    TIER_3 = "tier/3"
    """Nobody notices within a week."""


TRAINING_POD = {"pod_template_file": "/opt/airflow/pods/training-step.yaml"}
"""On a cluster: a large node, and none of the volume that ties the other steps to one. Elsewhere nothing reads it."""


class StepOperator(BaseOperator):
    """
    Run `adloom STEP ARGUMENTS` and push its last line, a JSON object or list, as the result.

    On a cluster each task is a pod of the pipelines image; locally it is a process. A step that answers no (exit 3)
    is not tried again: the task fails, or is skipped with what comes after it where `refused` says so. It is skipped,
    too, where the answer lacks what `goes_on_with` names.
    """

    template_fields = ("arguments",)

    def __init__(
        self,
        *,
        step: str,
        arguments: Sequence[Any] = (),
        refused: Literal["fail", "skip"] = "fail",
        goes_on_with: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.step = step
        self.arguments = list(arguments)
        self.refused = refused
        self.goes_on_with = dict(goes_on_with or {})
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> Any:  # noqa: ARG002 - Airflow's signature
        """The step's answer. Raises AirflowFailException, AirflowSkipException or RuntimeError."""
        status, last = self._run([str(each) for each in self.arguments if each != ""])
        if status == EXIT_REFUSED:
            error = AirflowSkipException if self.refused == "skip" else AirflowFailException
            raise error(f"adloom {self.step} answers no; its reasons stand in the log")
        if status != 0:
            raise RuntimeError(f"adloom {self.step} ended with status {status}; its words stand in the log")
        try:
            answer = json.loads(last)
        except ValueError:
            raise RuntimeError(f"adloom {self.step} gave no answer: its last line is no JSON") from None
        for key, value in self.goes_on_with.items():
            if answer.get(key) != value:
                raise AirflowSkipException(
                    f"adloom {self.step} answers {key} {answer.get(key)!r}: nothing to go on with"
                )
        return answer

    def _run(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Exit status, and the last line of standard output."""
        last = ""
        with subprocess.Popen(  # noqa: S603 - a command of ours
            [sys.executable, "-m", "app.cli", self.step, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        ) as process:
            self._process = process
            assert process.stdout is not None
            assert process.stderr is not None
            # Beside each other: a step that fills the one pipe while we wait at the other would stand still.
            told = threading.Thread(target=self._log_all, args=(process.stderr,))
            told.start()
            try:
                for line in process.stdout:
                    self.log.info("%s", line.rstrip())
                    last = line if line.strip() else last
                process.wait()
            except BaseException:
                # The time limit is raised in here, and leaving the block waits for the process.
                self.on_kill()
                raise
            finally:
                told.join()
        return process.returncode, last

    def _log_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.log.info("%s", line.rstrip())

    def on_kill(self) -> None:
        """The task was cleared, or took too long: end the step and what it started."""
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)


def whole(task_id: str) -> EmptyOperator:
    """
    A task that does nothing, for what a run must not go without.

    A run is judged by its last tasks alone: where the last one goes on after a failure, the run would count as a
    success.
    """
    return EmptyOperator(task_id=task_id)


def record_failure(context: Any) -> None:
    """Callback of every task that failed for good: the exporter counts it, and an alert goes by that."""
    instance = context["task_instance"]
    _record(instance.dag_id, instance.run_id, "failed", instance.task_id)


def record_failed_run(context: Any) -> None:
    """Callback of every run that failed: one that took too long as a whole has no failed task."""
    _record(context["dag"].dag_id, context["run_id"], "failed")


def record_success(context: Any) -> None:
    """Callback of every run that went through: how long ago that was is an alert too."""
    _record(context["dag"].dag_id, context["run_id"], "succeeded")


def record_late(dag: str, context: Any = None) -> None:
    """Callback of a deadline that passed."""
    run = (context or {}).get("dag_run", {})
    _record(dag, str(run.get("run_id") or run.get("dag_run_id") or "unknown"), "late")


def task_defaults(*, timeout: timedelta, retries: int = 3) -> dict[str, Any]:
    """Retries with growing pauses, a time limit, and a callback: for every task of a DAG."""
    return {
        "retries": retries,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,  # each pause twice the one before
        "max_retry_delay": timedelta(minutes=15),
        "execution_timeout": timeout,
        "on_failure_callback": record_failure,
    }


def deadline(dag: str, within: timedelta) -> DeadlineAlert:
    """A run that is not done so long after it was queued is late."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=within,
        callback=SyncCallback(record_late, kwargs={"dag": dag}),
    )


def _record(dag: str, run: str, state: str, task: str = "") -> None:
    """In a process of its own: the database's driver has no place in a scheduler. A failure here is only logged."""
    command = [sys.executable, "-m", "app.cli", "record-run", "--dag", dag, "--run", run, "--state", state]
    subprocess.run([*command, "--task", task], check=False, timeout=RECORD_SECONDS)  # noqa: S603 - a command of ours
