"""Every DAG from its first task to its last in real Airflow, on embedded stores and a model that trains in seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from model.store.objects import ObjectStore
from pipelines.drift.traffic import Traffic, records
from tests.model.conftest import tiny_bundle, tiny_folder  # noqa: F401 - fixtures
from tests.pipelines.airflow_place import CATALOGUE, Place, migrated_home
from tests.repo.tree import ROOT

pytestmark = pytest.mark.proof

DAY = datetime(2026, 1, 1, tzinfo=UTC)

# A source that takes the connection and never answers; when it is there, the time limit strikes as Airflow's does.
HANGING_STEP = """
import json, os, signal, socket, sys, threading
from airflow.sdk.exceptions import AirflowTaskTimeout
from pipelines.schedule import StepOperator

listener = socket.create_server(("127.0.0.1", 0))
with open(os.environ["ADLOOM_SOURCES"], "w") as table:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/products"
    json.dump({"sources": [{"name": "slow", "client": "shop", "kind": "api", "url": url}]}, table)

def over(number, frame):
    raise AirflowTaskTimeout("over")

def strike():
    kept.append(listener.accept())
    os.kill(os.getpid(), signal.SIGALRM)

kept = []
signal.signal(signal.SIGALRM, over)
threading.Thread(target=strike, daemon=True).start()
step = StepOperator(task_id="ingest", step="ingest", arguments=["--workers", "1"])
try:
    step.execute({})
except AirflowTaskTimeout:
    pass
else:
    sys.exit("the time limit was swallowed")
try:
    os.killpg(step._process.pid, 0)
except ProcessLookupError:
    print("gone")
"""


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory):
    pytest.importorskip("airflow", reason="needs Airflow: pip install 'adloom[pipelines]'")
    return migrated_home(tmp_path_factory.mktemp("airflow") / "home")


@pytest.fixture
def place(airflow_home, tmp_path):
    made = Place(tmp_path)
    shutil.copytree(airflow_home, made.home)
    yield made
    made.database.dispose()


def test_ingest_succeeds_and_says_so_and_again_makes_nothing_new(place):
    first, _ = place.run_dag("ingest_catalogue")
    second, _ = place.run_dag("ingest_catalogue")

    assert first["state"] == second["state"] == "success"
    assert set(first["tasks"]) == {"list_sources", "ingest[0]", "publish_features", "every_source"}
    assert set(first["tasks"].values()) == {"success"}
    assert (first["answers"]["ingest"]["outcome"], second["answers"]["ingest"]["outcome"]) == ("kept", "unchanged")
    assert second["answers"]["publish_features"]["outcome"] == "unchanged"
    assert place.ended()["ingest_catalogue"].succeeded_at is not None
    assert place.ended()["ingest_catalogue"].failed == 0


def test_a_refused_source_fails_its_run_without_a_second_try_and_the_others_are_published(place):
    bad = place.folder / "bad.csv"
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    bad.write_text("\n".join([lines[0], *["," * lines[0].count(",")] * 40, *lines[1:41]]) + "\n", encoding="utf-8")
    place.write_sources({"good": CATALOGUE, "bad": bad})
    run, said = place.run_dag("ingest_catalogue")

    assert run["state"] == "failed"
    assert (run["tasks"]["ingest[0]"], run["tasks"]["ingest[1]"]) == ("success", "failed")
    assert (run["tasks"]["publish_features"], run["tasks"]["every_source"]) == ("success", "upstream_failed")
    assert said.count("bad: refused,") == 1
    ended = place.ended()["ingest_catalogue"]
    assert (ended.failed, ended.succeeded_at) == (2, None)  # the task, and the run


def test_a_step_that_fails_is_tried_again_and_then_recorded(place):
    run, said = place.run_dag("release_writer")

    assert run["state"] == run["tasks"]["release"] == "failed"
    assert said.count("adloom release ended with status 1") >= 4  # a first try and three more
    assert place.ended()["release_writer"].failed == 2


def test_training_is_skipped_where_nothing_waits(place):
    run, _ = place.run_dag("train_writer")

    assert run["state"] == "success"
    assert set(run["tasks"].values()) == {"skipped"}


def test_a_retrain_that_waits_is_trained_judged_and_ended(place):
    place.adloom("decide-retrain", "--ask", "a test")
    run, said = place.run_dag("train_writer", place.tiny_recipe())
    [row] = place.retrains()

    assert run["state"] == "success", said[-3000:]
    assert run["tasks"] == {
        **dict.fromkeys(("claim_retrain", "build_dataset", "train_candidate", "evaluate_candidate"), "success"),
        "gate_candidate": "skipped",
        "settle_retrain": "success",
    }
    assert row.state == "refused"
    assert row.version == str(run["answers"]["evaluate_candidate"]["version"])
    assert run["answers"]["settle_retrain"]["state"] == "refused"


def test_a_retrain_whose_training_fails_is_closed_and_its_run_fails(place):
    place.adloom("decide-retrain", "--ask", "a test")
    run, _ = place.run_dag("train_writer", {"recipe": str(place.folder / "no-such.yaml"), "base": ""})
    [row] = place.retrains()

    assert run["state"] == "failed"
    assert (run["tasks"]["train_candidate"], run["tasks"]["gate_candidate"]) == ("failed", "upstream_failed")
    assert run["tasks"]["settle_retrain"] == "success"
    assert row.state == "failed"
    assert place.ended()["train_writer"].succeeded_at is None


def test_the_champion_is_released_once(place, tiny_bundle):  # noqa: F811 - the fixture
    place.make_gitops()
    number = place.make_champion(tiny_bundle)
    first, _ = place.run_dag("release_writer")
    second, _ = place.run_dag("release_writer")

    assert first["state"] == second["state"] == "success"
    assert (first["answers"]["release"]["outcome"], second["answers"]["release"]["outcome"]) == (
        "released",
        "unchanged",
    )
    assert place.commits() == [f"ad-writer: want model {number} in the next image", "begin"]


def test_without_a_reference_drift_fails_and_the_decision_is_made_all_the_same(place):
    run, said = place.run_dag("monitor_drift")

    assert run["state"] == "failed"
    assert run["tasks"] == {"monitor_drift": "failed", "decide_retrain": "skipped", "report_made": "upstream_failed"}
    assert "there is no drift reference" in said


def test_ordinary_traffic_gives_a_report_and_no_retrain_and_a_request_wakes_the_training(place):
    objects = ObjectStore(place.settings["ADLOOM_OBJECTS_URL"])
    for hour in range(3):
        start = DAY + timedelta(hours=hour)
        lines = [json.dumps(record) for record in records(Traffic(hour), start, start + timedelta(hours=1), 600)]
        objects.put(f"generations/date={start:%Y-%m-%d}/hour={start:%H}/a.jsonl", "\n".join(lines).encode() + b"\n")
    until = DAY + timedelta(hours=2)
    place.adloom(
        *("drift", "reference", "--since", DAY.isoformat(), "--until", until.isoformat()),
        *("--rows-min", 200, "--draws", 200),
    )
    window = {"since": until.isoformat(), "until": (until + timedelta(hours=1)).isoformat()}
    quiet, _ = place.run_dag("monitor_drift", window)
    place.adloom("decide-retrain", "--ask", "a test")
    asked, _ = place.run_dag("monitor_drift", window)

    assert quiet["state"] == asked["state"] == "success"
    assert quiet["answers"]["monitor_drift"]["verdict"] == "steady"
    assert quiet["tasks"]["decide_retrain"] == "skipped"
    assert asked["tasks"]["decide_retrain"] == "success"
    assert asked["answers"]["decide_retrain"]["decision"] == "retrain"


def test_a_batch_is_written_in_shards_and_collected(place, tiny_bundle):  # noqa: F811 - the fixture
    place.settings["ADLOOM_BUNDLE"] = str(tiny_bundle)
    few = place.folder / "few.csv"
    few.write_text("\n".join(CATALOGUE.read_text(encoding="utf-8").splitlines()[:7]) + "\n", encoding="utf-8")
    place.write_sources({"few": few})
    kept = place.adloom("ingest")
    conf = {"snapshot": kept["snapshot"], "client": "few-shop", "channels": "x", "shards": 2}
    run, said = place.run_dag("generate_batch", conf)

    assert run["state"] == "success", said[-3000:]
    assert [name for name in run["tasks"] if name.startswith("write")] == ["write[0]", "write[1]"]
    assert sum(shard["products"] for shard in run["answers"]["plan"]) == kept["accepted"] > 0


def test_a_time_limit_ends_the_step_and_what_it_started(place):
    done = subprocess.run(
        [sys.executable, "-c", HANGING_STEP],
        cwd=ROOT,
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "gone"


def test_a_deadline_that_passed_is_recorded(place):
    code = (
        "from pipelines.schedule import record_late\n"
        "record_late('ingest_catalogue', context={'dag_run': {'dag_run_id': 'scheduled__1'}})\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=place.environment(), check=True, capture_output=True)

    assert place.ended()["ingest_catalogue"].late == 1
