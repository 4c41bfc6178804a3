"""What holds for every DAG: parsed by the installed Airflow in a process of its own, which prints what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import local_airflow
from pipelines.step import EXIT_REFUSED
from tests.repo.tree import ROOT, project

FOLDER = ROOT / "pipelines/dags"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
LINES_MAX = 120
PARSE_SECONDS_MAX = 1.0

# Airflow is not imported in here: its warnings are errors under pytest, and it writes into its home.
INSPECT = """
import json, os, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.definitions.mappedoperator import MappedOperator
import pipelines.schedule as schedule

folder, seen, watched = sys.argv[1], [], [False]

def watch(event, arguments):
    if not watched[0]:
        return
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.mkdir"}:
        seen.append([event, repr(arguments[:2])])
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append(["open for writing", repr(arguments[0])])

def seconds(value):
    return value.total_seconds() if value is not None else None

def task(one):
    read = one.partial_kwargs.get if isinstance(one, MappedOperator) else lambda name: getattr(one, name)
    callbacks = read("on_failure_callback") or []
    return {
        "step": read("step") if one.task_type == "StepOperator" else None,
        "retries": read("retries"),
        "backoff": read("retry_exponential_backoff"),
        "execution_seconds": seconds(read("execution_timeout")),
        "callbacks": [each.__name__ for each in (callbacks if isinstance(callbacks, list) else [callbacks])],
    }

sys.addaudithook(watch)
durations, bag = {}, None
for _ in range(3):
    watched[0] = True
    bag = DagBag(folder)
    watched[0] = False
    for stat in bag.dagbag_stats:
        durations.setdefault(stat.file, []).append(stat.duration.total_seconds())
print(json.dumps({
    "errors": bag.import_errors,
    "effects": seen,
    "durations": {os.path.basename(name): min(times) for name, times in durations.items()},
    "tags": [str(each) for each in schedule.Tag],
    "refused": schedule.EXIT_REFUSED,
    "dags": {
        name: {
            "file": os.path.basename(dag.fileloc),
            "tags": sorted(map(str, dag.tags)),
            "doc": dag.doc_md,
            "run_seconds": seconds(dag.dagrun_timeout),
            "runs": dag.max_active_runs,
            "catchup": dag.catchup,
            "late_seconds": [seconds(each.interval) for each in dag.deadline or []],
            "success": dag.on_success_callback.__name__,
            "failure": dag.on_failure_callback.__name__,
            "tasks": {one.task_id: task(one) for one in dag.tasks},
        }
        for name, dag in bag.dags.items()
    },
}))
"""


def inspected(folder, home):
    """What Airflow makes of a folder of DAG files."""
    environment = {**local_airflow.environment(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", INSPECT, str(folder)]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    pytest.importorskip("airflow", reason="needs Airflow: pip install 'adloom[pipelines]'")
    return inspected(FOLDER, tmp_path_factory.mktemp("airflow"))


@pytest.fixture(params=NAMES)
def dag(found, request):
    return found["dags"][request.param]


def test_every_file_gives_one_dag_of_its_own_name_in_under_a_second(found):
    assert found["errors"] == {}
    assert {name: each["file"] for name, each in found["dags"].items()} == {name: f"{name}.py" for name in NAMES}
    assert set(found["durations"]) == {f"{name}.py" for name in NAMES}
    assert max(found["durations"].values()) < PARSE_SECONDS_MAX, found["durations"]


def test_reading_the_files_opens_no_socket_writes_no_file_starts_no_process(found):
    assert found["effects"] == []


def test_a_dag_file_that_writes_would_be_noticed(tmp_path):
    pytest.importorskip("airflow", reason="needs Airflow: pip install 'adloom[pipelines]'")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/careless.py").write_text("from airflow.sdk import DAG\nopen('trace', 'w').close()\n")

    effects = inspected(tmp_path / "dags", tmp_path)["effects"]

    assert ["open for writing", "'trace'"] in effects


def test_a_dag_has_an_owner_and_a_tier_and_no_other_tag(found, dag):
    assert set(dag["tags"]) <= set(found["tags"])
    assert sorted(tag.split("/")[0] for tag in dag["tags"]) == ["owner", "tier"]


def test_a_dag_says_who_looks_and_when_not_to(dag):
    assert dag["doc"].strip().startswith("### ")
    assert "**Triage.**" in dag["doc"]
    assert "**Owner.**" in dag["doc"]


def test_a_run_is_one_at_a_time_limited_and_told_of(dag):
    assert dag["runs"] == 1
    assert dag["catchup"] is False
    assert (dag["success"], dag["failure"]) == ("record_success", "record_failed_run")
    [late_seconds] = dag["late_seconds"]
    assert 0 < late_seconds < dag["run_seconds"]


def test_every_task_is_tried_again_with_growing_pauses_within_a_limit(dag):
    for name, task in dag["tasks"].items():
        assert task["retries"] >= 1, name
        assert task["backoff"] > 1, name
        assert 0 < task["execution_seconds"] <= dag["run_seconds"], name
        assert task["callbacks"] == ["record_failure"], name


def test_every_step_is_a_command(found):
    commands = project()["project"]["entry-points"]["adloom.commands"]
    steps = {task["step"] for dag in found["dags"].values() for task in dag["tasks"].values()} - {None}

    assert len(steps) >= len(NAMES)
    assert sorted(steps - set(commands)) == []


def test_a_step_and_its_operator_mean_the_same_by_a_refusal(found):
    assert found["refused"] == EXIT_REFUSED


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_file_fits_on_two_screens_and_says_catchup(name):
    text = Path(FOLDER, f"{name}.py").read_text(encoding="utf-8")

    assert len(text.splitlines()) <= LINES_MAX
    assert "catchup=" in text
    assert "now()" not in text
