"""The DAG `rollback_writer` in real Airflow: nothing to do, a wish carried out over Git and registry, one refused."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from model.store import rollbacks
from model.store.rollbacks import NewRollback
from pipelines.settings import TASK
from tests.pipelines.airflow_place import Place, migrated_home
from tests.pipelines.rollback_place import RollbackPlace, three_deploys

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """An Airflow of its own, and three champions that were deployed to dev in turn; both to be copied."""
    pytest.importorskip("airflow", reason="needs Airflow: pip install 'adloom[pipelines]'")
    pytest.importorskip("mlflow", reason="needs the lab extra: pip install 'adloom[lab]'")
    folder = tmp_path_factory.mktemp("prepared")
    migrated_home(folder / "airflow")
    three_deploys(folder)
    return folder


@pytest.fixture
def place(prepared, tmp_path):
    made = Place(tmp_path)
    for name in ("airflow", "registry", "gitops.git"):
        shutil.copytree(prepared / name, tmp_path / name)
    made.settings |= {"ADLOOM_GITOPS_URL": str(tmp_path / "gitops.git"), "ADLOOM_ENVIRONMENT": "dev"}
    yield made
    made.database.dispose()


def ask(place, target=""):
    new = NewRollback(TASK, target, "odd ads", "shop", datetime.now(UTC))
    with place.database.begin() as connection:
        return rollbacks.ask(connection, new).id


def row_of(place, wish):
    with place.database.connect() as connection:
        return rollbacks.find(connection, wish)


def test_a_wish_is_carried_out_by_the_next_run_and_one_that_cannot_be_is_refused(place):
    deployed = RollbackPlace(place.folder, "", {})
    idle, _ = place.run_dag("rollback_writer")
    wish = ask(place)
    carried, said = place.run_dag("rollback_writer")
    other = ask(place, "9")
    refused, _ = place.run_dag("rollback_writer")

    assert [run["state"] for run in (idle, carried, refused)] == ["success"] * 3, said[-3000:]
    assert idle["answers"]["carry_rollback"] == {"outcome": "none", "rollback": None}
    assert carried["answers"]["carry_rollback"] == {"outcome": "done", "rollback": wish, "from": 3, "to": 2}
    assert (deployed.git, deployed.champion, row_of(place, wish).state) == (2, 2, "done")
    assert refused["tasks"] == {"carry_rollback": "skipped"}
    assert row_of(place, other).why == "dev never ran model 9; it ran 1, 2, 3"
    assert place.ended()["rollback_writer"].succeeded_at is not None


def test_a_run_that_fails_is_recorded_and_the_next_goes_on(place):
    wish = ask(place)
    right = place.settings["ADLOOM_GITOPS_URL"]
    place.settings["ADLOOM_GITOPS_URL"] = str(place.folder / "away.git")
    failed, _ = place.run_dag("rollback_writer")
    between = row_of(place, wish)
    place.settings["ADLOOM_GITOPS_URL"] = right
    carried, said = place.run_dag("rollback_writer")

    assert failed["state"] == "failed"
    assert place.ended()["rollback_writer"].failed == 2  # the task, and the run
    assert (between.state, "away.git" in between.why) == ("running", False)
    assert carried["answers"]["carry_rollback"]["rollback"] == wish, said[-3000:]
    assert row_of(place, wish).state == "done"
