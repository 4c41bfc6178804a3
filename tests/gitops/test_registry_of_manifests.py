"""
MLflow as its manifests start it: commands, settings and probes of apps/mlflow, on a real PostgreSQL and an S3 server.

What stands in: the machine for the container, moto for S3.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.gitops.pods import Pod, pods
from tests.gitops.rendering import environment_objects
from tests.gitops.test_settings_of_manifests import SECRETS, variables
from tests.real_parts import free_port, postgres_server, s3_server, wait_until

pytestmark = pytest.mark.proof
START_SECONDS_MAX = 300
HOST = "mlflow.mlflow.svc:5000"
"""As the pipelines' settings name it."""


def pod(name: str) -> tuple[Pod, list[dict]]:
    objects = environment_objects("prod")
    (found,) = [each for each in pods(objects) if each.labels["app.kubernetes.io/name"] == name]
    return found, objects


def status(port: int, method: str, path: str, *, host: str = HOST, body: bytes = b"") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Host": host, "Content-Type": "application/json"})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.fixture(scope="module")
def stores():
    with postgres_server() as postgres, s3_server() as objects:
        yield postgres, objects


@pytest.fixture
def environment(stores, tmp_path, monkeypatch):
    """As the pod has it, but for the two addresses."""
    postgres, objects = stores
    postgres.sql("CREATE DATABASE mlflow")
    monkeypatch.setitem(SECRETS, "database-url", postgres.url("mlflow"))
    server, rendered = pod("mlflow")
    named = {**variables(server, rendered), "MLFLOW_ARTIFACTS_URL": f"s3://{objects.new_bucket()}"}
    programs = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    return {**named, **objects.environment, "PGSSLMODE": "disable", "PATH": programs, "HOME": str(tmp_path)}


def filled_in(arguments: list[str], environment: dict[str, str]) -> list[str]:
    for name, value in environment.items():
        arguments = [each.replace(f"$({name})", value) for each in arguments]
    return arguments


def migrate(environment: dict[str, str], folder: Path) -> None:
    job, _ = pod("mlflow-migrations")
    command = filled_in(job.containers[0]["command"], environment)
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=START_SECONDS_MAX)


def test_the_server_keeps_runs_in_postgres_and_artifacts_in_the_bucket(environment, stores, tmp_path):
    migrate(environment, tmp_path)
    migrate(environment, tmp_path)  # a sync without anything new
    server, _ = pod("mlflow")
    port = free_port()
    arguments = filled_in(server.containers[0]["args"], environment)
    local = [each.replace("--port=5000", f"--port={port}").replace("0.0.0.0", "127.0.0.1") for each in arguments]
    probe = server.containers[0]["readinessProbe"]["httpGet"]["path"]
    command = [*server.containers[0]["command"], *local]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: status(port, "GET", probe, host=f"10.0.0.7:{port}") == 200, "MLflow", START_SECONDS_MAX)
        created = status(port, "POST", "/api/2.0/mlflow/experiments/create", body=json.dumps({"name": "one"}).encode())
        stored = status(port, "PUT", "/api/2.0/mlflow-artifacts/artifacts/folder/kept.txt", body=b"kept")
        refused = status(port, "POST", "/api/2.0/mlflow/experiments/search", host="elsewhere.example", body=b"{}")
    finally:
        os.killpg(process.pid, 15)
        process.wait(60)
        log.close()

    bucket = environment["MLFLOW_ARTIFACTS_URL"].removeprefix("s3://")
    kept = stores[1].client.get_object(Bucket=bucket, Key="folder/kept.txt")["Body"].read()
    assert (created, stored, refused) == (200, 200, 403)
    assert kept == b"kept"
