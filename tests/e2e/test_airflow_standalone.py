"""
A real Airflow with scheduler, DAG processor and API: one run is asked for, and the others follow by their assets.

Run with: pytest -m e2e tests/e2e/test_airflow_standalone.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from pipelines import local_airflow
from tests.model.conftest import tiny_bundle, tiny_folder  # noqa: F401 - fixtures
from tests.pipelines.airflow_place import Place
from tests.real_parts import free_port

pytestmark = pytest.mark.proof

NAMES = {"generate_batch", "ingest_catalogue", "monitor_drift", "release_writer", "rollback_writer", "train_writer"}
FOLLOWED = ("train_writer", "release_writer", "ingest_catalogue")
STEP_SECONDS_MAX = 600.0
"""Seconds for one hop on a machine that does much else; a quiet one needs a tenth."""
POLL_SECONDS = 0.5
TAIL_LINES = 30


class Api:
    """Airflow's REST API, as a script of a user would call it."""

    def __init__(self, address: str, place: Place, log: Path) -> None:
        self.place, self.log = place, log
        self._client = httpx.Client(base_url=address, timeout=120)
        self.close = self._client.close
        told = {"username": local_airflow.USER, "password": local_airflow.password(place.home)}
        token = self._client.post("/auth/token", json=told).raise_for_status().json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: str) -> dict:
        return self._client.get(f"/api/v2/{path}", params=query).raise_for_status().json()

    def post(self, path: str, body: dict) -> dict:
        return self._client.post(f"/api/v2/{path}", json=body).raise_for_status().json()

    def unpause(self, dag: str) -> None:
        self._client.patch(f"/api/v2/dags/{dag}", json={"is_paused": False}).raise_for_status()

    def runs(self, dag: str) -> list[dict]:
        return self.get(f"dags/{dag}/dagRuns")["dag_runs"]

    def tasks(self, dag: str, run: str) -> dict[str, str]:
        found = self.get(f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {one["task_id"]: one["state"] for one in found}

    def await_run(self, dag: str, is_it: Callable[[dict], bool]) -> dict:
        """The run of this kind once it succeeded."""

        def ended() -> dict | None:
            run = next((run for run in self.runs(dag) if is_it(run)), None)
            return run if run and run["state"] in {"success", "failed"} else None

        run = self.await_(
            ended, f"{dag} to end; its runs are {[(run['run_type'], run['state']) for run in self.runs(dag)]}"
        )
        if run["state"] != "success":
            pytest.fail(f"{dag} failed: {self.tasks(dag, run['dag_run_id'])}\n{self.tails()}")
        return run

    def await_(self, look: Callable[[], object], what: str) -> dict:
        end = time.monotonic() + STEP_SECONDS_MAX
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(POLL_SECONDS)
        runs = {dag: [(run["run_type"], run["state"]) for run in self.runs(dag)] for dag in FOLLOWED}
        pytest.fail(f"waited {STEP_SECONDS_MAX:.0f} s for {what}; the runs are {runs}\n{self.tails()}")

    def tails(self) -> str:
        """The last words of Airflow, and of the three tasks that spoke last."""
        logs = sorted(self.place.home.glob("logs/dag_id=*/**/*.log"), key=lambda path: path.stat().st_mtime)[-3:]
        return "\n".join(
            f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-TAIL_LINES:])
            for path in (self.log, *logs)
        )


@pytest.fixture
def place(tmp_path) -> Iterator[Place]:
    pytest.importorskip("airflow", reason="needs Airflow: pip install 'adloom[pipelines]'")
    made = Place(tmp_path)
    made.home.mkdir()
    yield made
    made.database.dispose()


@pytest.fixture
def champion(place, tiny_bundle) -> int:  # noqa: F811 - the fixture
    place.make_gitops()
    return place.make_champion(tiny_bundle)


@pytest.fixture
def api(place, champion) -> Iterator[Api]:
    """Everything that Airflow consists of; ended with the test, however that ends."""
    tiny = place.tiny_recipe()
    place.settings |= {
        "AIRFLOW_VAR_WRITER_RECIPE": tiny["recipe"],
        "AIRFLOW_VAR_WRITER_BASE": tiny["base"],
        "AIRFLOW__CORE__PARALLELISM": "2",
    }
    port, log = free_port(), place.folder / "standalone.log"
    with log.open("wb") as output:
        process = local_airflow.start(place.environment(port), output.fileno())
    try:
        try:
            local_airflow.wait_until_ready(process, f"http://127.0.0.1:{port}")
        except local_airflow.AirflowDownError as error:
            pytest.fail(f"{error}\n{log.read_text(errors='replace')[-3000:]}")
        with closing(Api(f"http://127.0.0.1:{port}", place, log)) as found:
            yield found
    finally:
        local_airflow.stop(process)


def test_an_ingest_that_is_asked_for_leads_to_a_training_and_a_champion_to_a_release(place, champion, api):
    waiting = place.adloom("decide-retrain", "--ask", "a test")["retrain"]
    api.await_(lambda: {dag["dag_id"] for dag in api.get("dags")["dags"]} >= NAMES, "the DAGs to be read")
    assert api.get("importErrors")["import_errors"] == []
    for name in FOLLOWED:
        api.unpause(name)
    asked = api.post("dags/ingest_catalogue/dagRuns", {"logical_date": None})["dag_run_id"]
    api.await_run("ingest_catalogue", lambda run: run["dag_run_id"] == asked)
    trained = api.await_run("train_writer", lambda run: run["run_type"] == "asset_triggered")
    # Not earlier: Airflow 3.3.2 answers 500 while a run that the event made has not begun.
    events = api.get("assets/events", source_dag_id="ingest_catalogue")["asset_events"]
    states = api.tasks("train_writer", trained["dag_run_id"])
    [row] = place.retrains()

    assert trained["dag_run_id"] in {run["run_id"] for event in events for run in event["created_dagruns"]}
    assert {event["name"] for event in events} == {"adloom://catalogue"}
    assert (row.id, row.state) == (waiting, "refused")
    assert states == {
        **dict.fromkeys(("claim_retrain", "build_dataset", "train_candidate", "evaluate_candidate"), "success"),
        "gate_candidate": "skipped",
        "settle_retrain": "success",
    }

    # The tiny model is no match for the champion; the event that a promotion would have given is given here.
    assets = {asset["name"]: asset["id"] for asset in api.get("assets")["assets"]}
    api.post("assets/events", {"asset_id": assets["adloom://champion"]})
    api.await_run("release_writer", lambda run: run["run_type"] == "asset_triggered")

    assert place.commits() == [f"ad-writer: want model {champion} in the next image", "begin"]

    def all_recorded() -> bool:
        ended = place.ended()
        return all(name in ended and ended[name].succeeded_at is not None for name in FOLLOWED)

    api.await_(all_recorded, "the callbacks to record each success")
    assert sum(each.failed + each.late for each in place.ended().values()) == 0
