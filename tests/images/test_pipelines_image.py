"""
The pipelines' image, without torch to be built in minutes, runs a step and parses the DAGs as Airflow's pods do.

It installs 1.5 GB of packages: `pytest -m proof --with network tests/images/test_pipelines_image.py`.
"""

from __future__ import annotations

import json

import pytest

from tests.images.engine import ROOT

pytestmark = [pytest.mark.proof, pytest.mark.network]

SOURCES = """
sources:
  - name: shop
    client: sample-shop
    kind: file
    url: /catalogue/catalogue.csv
"""
PARSE = """
import os
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
print(len(bag.dags), bag.import_errors)
"""


@pytest.fixture(scope="module")
def steps(engine, machine_options, say, measured):
    say("building the pipelines' image without torch, three minutes on the first run")
    built = engine.build("pipelines", "adloom-pipelines:test", "--target", "steps", *machine_options)

    assert built.status == 0, built.log[-3000:]
    measured["steps_image_megabytes"] = round(engine.inspect(built.said["id"])["Size"] / 1e6)
    return built.said["id"]


def test_a_step_runs_as_an_unprivileged_user_on_a_read_only_root(engine, steps, tmp_path):
    (tmp_path / "catalogue.csv").write_bytes((ROOT / "model/data/catalogue.csv").read_bytes())
    (tmp_path / "sources.yaml").write_text(SOURCES)
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o755)
    with engine.volume() as name:
        # By --mount: `--volume` would read a mode out of the folder's name. The folder's parents may be root's alone.
        options = ["--volume", f"{name}:/data", "--mount", f"type=bind,src={tmp_path},dst=/catalogue,readonly"]
        said = engine.once(
            steps, "adloom", "ingest", "shop", options=[*options, "--env", "ADLOOM_SOURCES=/catalogue/sources.yaml"]
        )
    answer = json.loads(said.splitlines()[-1])
    rows = len((tmp_path / "catalogue.csv").read_text().splitlines()) - 1

    assert answer["outcome"] == "kept"
    assert answer["rows"] == answer["accepted"] + answer["rejected"] + answer["merged"]
    assert 0 < answer["rows"] <= rows


def test_airflow_parses_every_dag_that_travels_in_the_image(engine, steps):
    command = ['airflow db migrate > /dev/null 2>&1 && python -c "$PARSE" 2> /dev/null']
    options = ["--tmpfs", "/opt/airflow:uid=10001", "--env", f"PARSE={PARSE}"]
    said = engine.once(steps, "-c", *command, options=options, entrypoint="sh").splitlines()[-1]
    files = [path for path in (ROOT / "pipelines/dags").glob("*.py") if path.name != "__init__.py"]

    assert said == f"{len(files)} {{}}"


def test_it_can_commit_and_holds_no_torch(engine, steps):
    assert engine.once(steps, "git", "--version").startswith("git version 2.")
    packages = engine.once(steps, "ls", "/opt/adloom/packages/lib/python3.11/site-packages").split()

    assert {"mlflow", "airflow", "evidently", "feast"} <= set(packages)
    assert not {"torch", "pip"} & set(packages)
