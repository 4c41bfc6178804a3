"""The feature store on a real PostgreSQL and on S3 (moto's server): the same code, the same answers."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

pytest.importorskip("feast", reason="needs Feast: pip install 'adloom[pipelines]'")
pytest.importorskip("psycopg_pool", reason="needs psycopg's pool: pip install 'psycopg[pool]'")

from model.store import current_snapshots
from model.store.tables import Database, StoreError
from pipelines.features.publish import publish
from pipelines.features.store import SCHEMA, FeatureStoreError, open_features
from pipelines.features.training import Asked, training_rows
from pipelines.settings import PipelineSettings
from tests.pipelines.catalogues import FIRST, SECOND, bowl, put_snapshot
from tests.pipelines.test_features import online
from tests.real_parts import postgres_server, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture
def settings(postgres, s3, tmp_path, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    name = f"features_{uuid.uuid4().hex}"
    postgres.sql(f"CREATE DATABASE {name}")
    return PipelineSettings(
        database_url=postgres.url(name), objects_url=f"s3://{s3.new_bucket()}/adloom", features=tmp_path / "features"
    )


@pytest.fixture
def opened():
    """Opens feature stores; at the end their connections, which Feast leaves to the process's end, are closed."""
    stores = []

    def open_store(settings):
        stores.append(open_features(settings))
        return stores[-1]

    yield open_store
    for store in stores:
        if (pool := store._get_provider().online_store._conn_pool) is not None:
            pool.close()
        store.registry.write_engine.dispose()


@pytest.mark.proof
def test_publishing_reading_and_history_are_as_on_the_embedded_parts(settings, opened, postgres, tmp_path):
    database, objects = Database(settings.database_url), settings.open_objects()
    database.upgrade()
    put_snapshot(database, objects, [bowl("Old bowl"), bowl("Grey vase", "VASE")])
    put_snapshot(database, objects, [bowl("New bowl")], at=SECOND)
    put_snapshot(database, objects, [bowl("Their bowl")], client="other")
    with database.connect() as connection:
        history = current_snapshots.history(connection)
        [schema] = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename = 'feature_views'"
        ).one()
    store = opened(settings)
    first = [publish(store, objects, each, history).outcome for each in history]
    elsewhere = settings.model_copy(update={"features": tmp_path / "another-pod"})
    again = opened(elsewhere)
    second = publish(again, objects, history[-1], history).outcome
    asked = [Asked("shop", "BOWL", SECOND - timedelta(hours=1)), Asked("shop", "VASE", SECOND), Asked("x", "y", FIRST)]
    rows = training_rows(again, objects, elsewhere, asked)
    found = [online(again, client, sku) for client, sku in (("shop", "BOWL"), ("other", "BOWL"), ("shop", "VASE"))]
    postgres.stop()
    try:
        with pytest.raises(StoreError, match="the feature store cannot be used") as down:
            open_features(settings)
    finally:
        postgres.start()
    database.dispose()

    assert schema == 0, f"Feast's tables belong into {SCHEMA}"
    assert first == ["published"] * 3
    assert second == "unchanged"
    assert found == [bowl("New bowl"), bowl("Their bowl"), None]
    assert list(rows["title"]) == ["Old bowl", None, None]
    assert isinstance(down.value, FeatureStoreError)
    assert "127.0.0.1" not in str(down.value)
    assert "postgres" not in str(down.value)


def test_a_password_is_in_no_file(settings, opened):
    url = settings.database_url.replace("postgres@", "postgres:hunter2-secret@")
    opened(settings.model_copy(update={"database_url": url}))
    found = [path for path in settings.features.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    database = Database(url)
    with database.connect() as connection:
        tables = connection.exec_driver_sql(f"SELECT tablename FROM pg_tables WHERE schemaname = '{SCHEMA}'").all()
    database.dispose()

    assert found == []
    assert ("feature_views",) in tables
