"""The stores that steps work on: embedded, and as production has them; named to a step by its environment."""

from __future__ import annotations

import json
import shutil

import pytest

from pipelines.settings import PipelineSettings
from tests.pipelines.drift_log import Plant
from tests.real_parts import postgres_server, s3_server


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def closed_databases(monkeypatch):
    """A step's process ends with it; here many share one, and what they opened is closed after the test."""
    opened = []
    real = PipelineSettings.open_database

    def open_database(settings):
        opened.append(real(settings))
        return opened[-1]

    monkeypatch.setattr(PipelineSettings, "open_database", open_database)
    yield
    for database in opened:
        database.dispose()


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working folder with embedded stores, where every step finds its defaults."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def production(workplace, postgres, s3, monkeypatch):
    """The same with PostgreSQL and S3."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ADLOOM_DATABASE_URL", postgres.new_database())
    monkeypatch.setenv("ADLOOM_OBJECTS_URL", f"s3://{s3.new_bucket()}/adloom")
    return workplace


@pytest.fixture(params=["embedded", "production"])
def stores(request):
    """Database and object store of the steps, empty."""
    request.getfixturevalue("workplace" if request.param == "embedded" else "production")
    settings = PipelineSettings()
    database = settings.open_database()
    database.upgrade()
    return database, settings.open_objects()


@pytest.fixture
def plant(calibrated, tmp_path, monkeypatch):
    """A copy of the module's own `calibrated`, a log with a reference, that a test may change."""
    shutil.copytree(calibrated, tmp_path / "plant")
    made = Plant(tmp_path / "plant")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.database.dispose()


@pytest.fixture
def step(capfd):
    """Calls a step as `adloom` does and returns its status and its answer, the last line."""

    def call(main, *arguments):
        capfd.readouterr()
        status = main([str(each) for each in arguments])
        lines = capfd.readouterr().out.splitlines()
        return status, json.loads(lines[-1])

    return call
