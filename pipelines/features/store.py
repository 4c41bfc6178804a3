"""
Feast, configured in code from the pipelines' settings: SQLite and a folder, or PostgreSQL and S3.

No secret is written to a file. Knows no product; errors of the drivers leave as FeatureStoreError.
"""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from model.store.tables import StoreError
from pipelines.features.definitions import DEFINITION_TAG, PROJECT, VIEWS, definition, entities, feature_views
from pipelines.settings import PipelineSettings

if TYPE_CHECKING:  # Feast makes files when it is imported, and takes seconds: the functions import it
    from feast import FeatureStore, RepoConfig

SCHEMA = "adloom_features"
"""Of PostgreSQL: Feast's tables have names that the service's could have, too."""
REGISTRY_SECONDS = 60
"""How long a feature server may not know of a changed definition."""
CONNECT_SECONDS = 3
POSTGRES_PORT = 5432


class FeatureStoreError(StoreError):
    """The feature store did not do what it was asked; the message is fit for a log."""


def open_features(settings: PipelineSettings) -> FeatureStore:
    """The store, its definitions applied and its tables made. Raises FeatureStoreError or ValueError."""
    folder = settings.features.absolute()
    with feature_errors():
        partitions(settings).mkdir(parents=True, exist_ok=True)
        config = _config(settings, folder)
        try:
            store = _applied(config, partitions(settings))
        except Exception as error:
            if type(error).__name__ != "DecodeError":  # protobuf's, which Feast brings along
                raise
            # A file that was cut short; it says nothing that the definitions do not say.
            (folder / "registry.db").unlink(missing_ok=True)
            store = _applied(config, partitions(settings))
    return store


def partitions(settings: PipelineSettings) -> Path:
    """Where Feast reads history: this machine's copy of the Parquet files in the object store."""
    return settings.features.absolute() / "offline"


@contextmanager
def feature_errors() -> Iterator[None]:
    """Errors of Feast and of its drivers as ours, without address, SQL or path."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Feast and Dask warn of their own insides
            yield
    except OSError as error:
        raise FeatureStoreError(f"the feature store cannot be used: {error.strerror or 'its files fail'}") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise FeatureStoreError(f"the feature store cannot be used: {_reason(error)}") from error
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("feast", "psycopg", "psycopg_pool"):
            raise FeatureStoreError(f"the feature store cannot be used: {_reason(error)}") from error
        raise


def _reason(error: Exception) -> str:
    """Of a driver only the kind of error: its words name hosts, users and statements."""
    return f"its database refuses ({type(error).__name__})"


def _config(settings: PipelineSettings, folder: Path) -> RepoConfig:
    from feast import RepoConfig  # noqa: PLC0415 -- as above

    logging.getLogger("feast").setLevel(logging.ERROR)
    url = make_url(settings.database_url)
    is_shared = url.get_backend_name() == "postgresql"
    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry=_sql_registry(url) if is_shared else {"registry_type": "file", "path": str(folder / "registry.db")},
        online_store=_postgres(url) if is_shared else {"type": "sqlite", "path": str(_sqlite(folder))},
        offline_store={"type": "dask"},
        repo_path=folder,
        entity_key_serialization_version=3,
    )


def _sqlite(folder: Path) -> Path:
    """Readers of a file in WAL mode are not stopped by who publishes; the mode stays with the file."""
    path = folder / "online.db"
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    return path


def _sql_registry(url: URL) -> dict[str, Any]:
    _make_schema(url)
    options = f"{url.query.get('options', '')} -csearch_path={SCHEMA}".strip()
    address = url.update_query_dict({"options": options}).render_as_string(hide_password=False)
    kwargs = {"echo": False, "pool_pre_ping": True, "hide_parameters": True}
    return {
        "registry_type": "sql",
        "path": address,
        "cache_ttl_seconds": REGISTRY_SECONDS,
        "sqlalchemy_config_kwargs": kwargs,
    }


def _make_schema(url: URL) -> None:
    engine = sa.create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS})
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    finally:
        engine.dispose()


def _postgres(url: URL) -> dict[str, Any]:
    if not url.host or not url.username or not url.database:
        raise ValueError("the feature store needs host, user and database in ADLOOM_DATABASE_URL")
    return {
        "type": "postgres",
        "host": url.host,
        "port": url.port or POSTGRES_PORT,
        "database": url.database,
        "db_schema": SCHEMA,
        "user": url.username,
        "password": url.password or "",
        "sslmode": str(url.query.get("sslmode", "prefer")),
        "conn_type": "pool",
    }


def _applied(config: RepoConfig, folder: Path) -> FeatureStore:
    """Applied only where something changed: applying rewrites a registry that others read."""
    from feast import FeatureStore  # noqa: PLC0415 -- as above

    store = FeatureStore(config=config)
    known = {view.name: view.tags.get(DEFINITION_TAG) for view in store.list_feature_views()}
    if known != dict.fromkeys(VIEWS, definition(folder)):
        store.apply([*entities(), *feature_views(folder)])
    return store
