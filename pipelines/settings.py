"""
Where the steps find things: read from the environment once, passed down.

The stores are the service's own: the same variables name them in both rooms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

import model
from model.ledger import DEFAULT_FOLDER
from model.store.objects import ObjectStore
from model.store.tables import Database

TASK = "ad_writer"
"""The one model that the platform looks after today; rows about it carry this name, so that a second can come."""


class PipelineSettings(BaseSettings):
    """Everything that the steps read from their environment; each field is the variable ADLOOM_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="ADLOOM_", env_ignore_empty=True, frozen=True, extra="forbid")

    database_url: str = "sqlite:///.adloom/service/adloom.db"
    """As the service has it."""

    objects_url: str = ".adloom/service/objects"
    """As the service has it: a folder, or s3://bucket/prefix."""

    root: Path = Path(".adloom")
    """Bundles, runs and reports of this machine; a pod's own disk will do, what lasts goes to the object store."""

    registry: Path = DEFAULT_FOLDER
    """Folder of the promotion ledger, and of MLflow's database where no tracking server is named."""

    sources: Path = Path("pipelines/sources.yaml")
    """The table of catalogues to ingest."""

    pairs: Path = Path(str(model.__file__)).parent / "data" / "pairs.jsonl"
    """The curated training pairs; those of the package where nobody keeps others."""

    features: Path = Path(".adloom/features")
    """Folder of the feature store: its registry, and its data where no PostgreSQL and S3 are named."""

    service_url: str = ""
    """http address of the running service, for what has to be seen from outside; empty: not looked at."""

    gitops_url: str = ""
    """The Git repository that a release is committed to: anything that `git clone` takes."""

    environment: Literal["", "dev", "staging", "prod"] = ""
    """Which environment of that repository is this one's to roll back; empty: there is the registry alone."""

    step_seconds_max: float = Field(default=6 * 3600, gt=0)
    """A command of ours that a step starts is ended after this long."""

    def open_database(self) -> Database:
        """The service's database, its tables made where it is embedded. Raises StoreDownError or ValueError."""
        database = Database(self.database_url)
        if database.is_sqlite:
            database.upgrade()
        return database

    def open_objects(self) -> ObjectStore:
        """The service's object store. Raises ValueError for an address that names none."""
        return ObjectStore(self.objects_url)
