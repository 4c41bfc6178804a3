"""
A folder where steps and Airflow find all they need: stores, registry, a bare Git repository, a tiny training.

Airflow runs in processes of its own: its warnings are errors under pytest, and it reads its settings once a process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from model.promotion import Asked, open_both, promote
from model.store import pipeline_runs, retrains
from model.store.tables import Database
from pipelines import local_airflow
from pipelines.settings import TASK
from tests import registrations
from tests.repo.tree import ROOT

CATALOGUE = ROOT / "model/data/catalogue.csv"
RUN_SECONDS_MAX = 900


def migrated_home(folder: Path) -> Path:
    """An Airflow with its tables made, which takes seconds: to be copied."""
    folder.mkdir(parents=True)
    local_airflow.migrate(local_airflow.environment(folder))
    return folder


@dataclass
class Place:
    """One test's own."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home, self.gitops, self.registry = self.folder / "airflow", self.folder / "git", self.folder / "registry"
        self.database = Database(f"sqlite:///{self.folder / 'adloom.db'}")
        self.database.upgrade()
        self.write_sources({"sample": CATALOGUE})
        self.settings |= {
            "ADLOOM_DATABASE_URL": f"sqlite:///{self.folder / 'adloom.db'}",
            "ADLOOM_OBJECTS_URL": str(self.folder / "objects"),
            "ADLOOM_ROOT": str(self.folder / "root"),
            "ADLOOM_REGISTRY": str(self.registry),
            "ADLOOM_FEATURES": str(self.folder / "features"),
            "ADLOOM_SOURCES": str(self.folder / "sources.yaml"),
            "ADLOOM_GITOPS_URL": str(self.gitops),
        }

    def environment(self, port: int = local_airflow.PORT) -> dict[str, str]:
        """For a process: our stores, the checkout on the path, nothing of the caller's Airflow."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(("ADLOOM_", "AIRFLOW"))}
        kept = {
            name: value for name, value in local_airflow.environment(self.home, port).items() if name[:7] == "AIRFLOW"
        }
        path = os.pathsep.join((str(Path(sys.executable).parent), given.get("PATH", os.defpath)))
        return {**given, **kept, **self.settings, "PYTHONPATH": str(ROOT), "PATH": path, "MLFLOW_TRACKING_URI": ""}

    def adloom(self, *arguments: object) -> dict:
        """A command's last line, in a process of its own that has to succeed."""
        done = self._run(arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    def run_dag(self, name: str, conf: dict | None = None) -> tuple[dict, str]:
        """How the run of a DAG ended, and everything that was said."""
        done = self._run(("run-dag", name, "--conf", json.dumps(conf or {}), "--retry-seconds", 0))
        said = done.stdout + done.stderr
        assert '"state": ' in done.stdout, said[-3000:]
        return json.loads(done.stdout.splitlines()[-1]), said

    def _run(self, arguments) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "app.cli", *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )

    def write_sources(self, sources: dict[str, object]) -> None:
        """The table of sources: files, each of a client of its own."""
        entries = [
            {"name": name, "client": f"{name}-shop", "kind": "file", "url": str(path)} for name, path in sources.items()
        ]
        (self.folder / "sources.yaml").write_text(yaml.safe_dump({"sources": entries}), encoding="utf-8")

    def tiny_recipe(self) -> dict[str, str]:
        """Parameters of a training that takes seconds, its base made; scored on too few rows for the gate."""
        base, stage, recipe = (self.folder / name for name in ("base", "stage.yaml", "recipe.yaml"))
        if not base.is_dir():
            done = self._run(("tiny-base", base))
            assert done.returncode == 0, done.stderr
        table = yaml.safe_load((ROOT / "model/training/configs/tiny-full.yaml").read_text(encoding="utf-8"))
        stage.write_text(yaml.safe_dump({**table, "steps_max": 2, "batch_pairs": 2, "validation_share": 0.01}))
        wanted = {"stages": [str(stage)], "base": "", "rows": 8, "candidates": 1, "certificate_rows": 1}
        recipe.write_text(yaml.safe_dump(wanted))
        return {"recipe": str(recipe), "base": str(base)}

    def make_gitops(self) -> None:
        """A bare repository with one commit."""
        work = self.folder / "first"
        identity = ["-c", "user.name=test", "-c", "user.email=test@adloom.invalid"]
        for command in (
            ["init", "--quiet", "--bare", "--initial-branch=main", str(self.gitops)],
            ["clone", "--quiet", str(self.gitops), str(work)],
            ["-C", str(work), *identity, "commit", "--quiet", "--allow-empty", "-m", "begin"],
            ["-C", str(work), "push", "--quiet", "origin", "HEAD:main"],
        ):
            subprocess.run(["git", *command], check=True, capture_output=True)
        shutil.rmtree(work)

    def commits(self) -> list[str]:
        """Titles in the GitOps repository, the newest first."""
        command = ["git", "-C", str(self.gitops), "log", "--format=%s", "main"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    def make_champion(self, tiny_bundle: Path) -> int:
        """A version with good scores, promoted through the gate."""
        made = registrations.fresh_registry(self.registry)
        number = registrations.put_in(made, tiny_bundle, self.folder / "champion", "champion")
        asked = Asked("promote", "test", "to begin with")
        registry, ledger = open_both(self.registry, asked, number)
        promote(registry, ledger, asked, version=number)
        return number

    def retrains(self) -> list[retrains.RetrainRow]:
        """Those that have ended, the newest first."""
        with self.database.connect() as connection:
            return retrains.last_ended(connection, TASK, limit=10)

    def ended(self) -> dict[str, pipeline_runs.Ended]:
        """What the callbacks wrote, by DAG."""
        with self.database.connect() as connection:
            return {each.dag: each for each in pipeline_runs.ended(connection)}
