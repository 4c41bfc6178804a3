"""
Where published models are kept: MLflow's registered model `adloom-writer`, its versions and aliases.

Knows how to find, point at and fetch a version. What makes one is in `registration`, who may become champion in
`promotion`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import shutil
import socket
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model.bundle import MANIFEST, open_bundle
from model.ledger import DEFAULT_FOLDER, exclusive

MODEL = "adloom-writer"
CANDIDATE, CHAMPION = "candidate", "champion"
DATABASE = "mlflow.db"
ANSWER_SECONDS = 5.0
"""A tracking server or database that does not answer within this is called unreachable."""
REQUEST_SECONDS = 30
"""One request to a tracking server, once it has answered; MLflow's own is 120."""
LEDGER_HEAD = "ledger_head"
"""Tag of the registered model: digest of the newest ledger line, so that lines cut off the end are missed."""
DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}


class RegistryError(RuntimeError):
    """The registry cannot be reached, or does not hold what was asked for; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the registered model, as its tags describe it."""

    number: int
    aliases: tuple[str, ...]
    created: str
    """UTC, ISO 8601, to the second."""
    run_id: str
    tags: Mapping[str, str]

    @property
    def bundle(self) -> str:
        """Digest of its bundle."""
        return self.tags.get("bundle", "")

    @property
    def means(self) -> dict[str, float]:
        """Mean of every score it was registered with."""
        means: dict[str, float] = json.loads(self.tags.get("scores", "{}"))
        return means

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "version": self.number,
            "aliases": list(self.aliases),
            "created": self.created,
            "bundle": self.bundle,
            "dataset": self.tags.get("dataset", ""),
            "scores": self.means,
            "certificate": self.tags.get("certificate", ""),
            "git_commit": self.tags.get("git_commit", ""),
            "run": self.run_id,
        }


class Registry:
    """A tracking server or database that answered when it was opened. Every call may raise RegistryError."""

    def __init__(self, folder: Path, uri: str, mlflow: Any) -> None:
        self.folder = folder
        self.uri = uri
        self.mlflow = mlflow
        self.client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    def versions(self) -> list[Version]:
        """Every version, oldest first."""
        with self.reached():
            found = self.client.search_model_versions(f"name='{MODEL}'", max_results=1000)
            # What the search returns has no aliases.
            model = self.client.get_registered_model(MODEL) if found else None
        aliases: dict[int, list[str]] = {}
        for alias, number in sorted(model.aliases.items() if model else ()):
            aliases.setdefault(int(number), []).append(alias)
        return sorted(
            (_version(one, tuple(aliases.get(int(one.version), ()))) for one in found), key=lambda one: one.number
        )

    def version(self, number: int) -> Version:
        """One version by its number; the error names those that exist."""
        versions = self.versions()
        found = next((one for one in versions if one.number == number), None)
        if found is None:
            known = ", ".join(str(one.number) for one in versions) or "none: register one with `adloom register`"
            raise RegistryError(f"{MODEL} has no version {number}; there are: {known}")
        return found

    def aliased(self, alias: str) -> Version | None:
        """The version that an alias points at."""
        return next((one for one in self.versions() if alias in one.aliases), None)

    def point(self, alias: str, number: int) -> None:
        """Let `alias` point at a version; it leaves the one it was at."""
        with self.reached():
            self.client.set_registered_model_alias(MODEL, alias, str(number))

    def tag(self, number: int, name: str, value: str) -> None:
        """Set a tag of a version."""
        with self.reached():
            self.client.set_model_version_tag(MODEL, str(number), name, value)

    def ledger_head(self) -> str:
        """Digest of the newest ledger line that this registry was told of; "" for none."""
        with self.reached():
            if not self.client.search_registered_models(f"name='{MODEL}'"):
                return ""
            return str(self.client.get_registered_model(MODEL).tags.get(LEDGER_HEAD, ""))

    def keep_ledger_head(self, digest: str) -> None:
        """Remember the newest line; nothing happens before a model is registered."""
        with self.reached():
            if self.client.search_registered_models(f"name='{MODEL}'"):
                self.client.set_registered_model_tag(MODEL, LEDGER_HEAD, digest)

    def report(self, version: Version, name: str) -> dict[str, Any]:
        """scores.json, certificate.json or samples.json of a version, as registered: changed bytes are refused."""
        with tempfile.TemporaryDirectory() as scratch, self.reached():
            path = Path(self.client.download_artifacts(version.run_id, name, scratch))
            content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != version.tags.get(f"{Path(name).stem}_sha256"):
            raise RegistryError(f"{name} of version {version.number} is not the file that was registered; restore it")
        table: dict[str, Any] = json.loads(content)
        return table

    def card(self, version: Version) -> str:
        """The model card of a version, in Markdown."""
        with tempfile.TemporaryDirectory() as scratch, self.reached():
            return Path(self.client.download_artifacts(version.run_id, "model_card.md", scratch)).read_text("utf-8")

    def fetch(self, version: Version, target: Path) -> bool:
        """
        Copy a version's bundle to `target`, its digests verified; False where the same bundle lies there already.

        The folder appears whole or not at all.
        """
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            if (target / MANIFEST).is_file() and open_bundle(target).digest == version.bundle:
                return False
            raise RegistryError(f"{target} holds something else already; delete it, or choose another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            with self.reached():
                uri = f"models:/{MODEL}/{version.number}"
                self.mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch)
            manifest = next(Path(scratch).glob(f"data/*/{MANIFEST}"), None)
            if manifest is None:
                raise RegistryError(f"version {version.number} of {MODEL} holds no bundle; register it again")
            bundle = open_bundle(manifest.parent)
            if bundle.digest != version.bundle:
                raise RegistryError(f"the bundle of version {version.number} is not the one that was registered")
            if target.exists():
                target.rmdir()
            shutil.move(manifest.parent, target)
        return True

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn whatever MLflow raises into one RegistryError."""
        self._choose()
        try:
            yield
        except OSError as error:
            if error.errno is not None:  # the disk's: its message names the file, and app.cli knows what to advise
                raise
            raise self._failed(error) from error  # the network's, from requests
        except self.mlflow.exceptions.MlflowException as error:
            raise self._failed(error) from error

    def _choose(self) -> None:
        """
        Logging a model and "models:/" addresses know no client, only one URI for the process: make it ours.

        MLflow exports that one to the environment as well; our caller's stays.
        """
        before = os.environ.get("MLFLOW_TRACKING_URI")
        self.mlflow.set_tracking_uri(self.uri)
        self.mlflow.set_registry_uri(self.uri)
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before

    def _failed(self, error: Exception) -> RegistryError:
        said = str(error).strip().partition("\n")[0]
        return RegistryError(f"the registry at {without_password(self.uri)} failed: {said}")


def open_registry(folder: Path = DEFAULT_FOLDER, uri: str | None = None) -> Registry:
    """
    Open the registry in `folder`, or the one that MLFLOW_TRACKING_URI names, making it where there is none.

    Raises RegistryError within seconds where it does not answer: MLflow alone would retry for minutes.
    """
    chosen = tracking_uri(folder, uri)
    _answers(chosen)
    mlflow = load_mlflow()
    folder.mkdir(parents=True, exist_ok=True)
    if chosen.startswith("sqlite:///"):
        with exclusive(folder / "database.lock"):
            _make_database(Path(chosen.removeprefix("sqlite:///")), mlflow)
    with _old_loader_strategy():
        return Registry(folder, chosen, mlflow)


def is_empty(folder: Path = DEFAULT_FOLDER, uri: str | None = None) -> bool:
    """Whether there is plainly no registry yet; says so without loading MLflow."""
    chosen = tracking_uri(folder, uri)
    return chosen.startswith("sqlite:///") and not Path(chosen.removeprefix("sqlite:///")).exists()


def tracking_uri(folder: Path, uri: str | None = None) -> str:
    """What MLflow is opened with: `uri`, MLFLOW_TRACKING_URI, or SQLite in `folder`."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / DATABASE}"


def load_mlflow() -> Any:
    """
    MLflow with the parts used here, which reports to nobody and tries an unanswered request once more, not seven times.

    Takes seconds, so commands call it late. Settings of the caller's environment win.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
    with warnings.catch_warnings():
        # Notes to MLflow's own developers about type hints and deprecations, raised while its modules load.
        warnings.simplefilter("ignore")
        mlflow = importlib.import_module("mlflow")
        for part in ("artifacts", "data.meta_dataset", "entities", "exceptions", "models", "pyfunc", "types"):
            importlib.import_module(f"mlflow.{part}")
    # Every error is raised as well; the log would print it a second time, with a traceback.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def without_password(uri: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def _version(found: Any, aliases: tuple[str, ...]) -> Version:
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return Version(int(found.version), aliases, created.isoformat(timespec="seconds"), found.run_id, dict(found.tags))


def _answers(uri: str) -> None:
    """Raise RegistryError where nobody listens at `uri`, or the SQLite file is locked or none."""
    shown = without_password(uri)
    if uri.startswith("sqlite:///"):
        _sqlite_answers(Path(uri.removeprefix("sqlite:///")))
        return
    parts = urlsplit(uri)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme.partition("+")[0])
    if port is None or not parts.hostname:
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is {shown!r}; it takes sqlite:///FILE, http(s)://HOST:PORT or postgresql://..."
        )
    try:
        socket.create_connection((parts.hostname, port), ANSWER_SECONDS).close()
    except OSError as error:
        raise RegistryError(
            f"nobody answers at {shown} ({error}); start the tracking server, or correct MLFLOW_TRACKING_URI"
        ) from error


def _sqlite_answers(path: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=ANSWER_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        advice = "wait for the other process, or end it" if "locked" in str(error) else "restore the file from a copy"
        raise RegistryError(f"the registry {path} cannot be used: {error}; {advice}") from error


def _make_database(path: Path, mlflow: Any) -> None:
    """MLflow's tables, made elsewhere and moved into place: a kill in the middle leaves no half of them."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f"{path.name}.making-*"):
        stale.unlink()
    fresh = path.with_name(f"{path.name}.making-{os.getpid()}")
    with _old_loader_strategy():
        mlflow.MlflowClient(f"sqlite:///{fresh}").search_experiments(max_results=1)
    fresh.replace(path)


@contextmanager
def _old_loader_strategy() -> Iterator[None]:
    """MLflow's tables still use an SQLAlchemy option that SQLAlchemy 2.1 gives up; said once, when they are mapped."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
        yield
