"""Three champions in turn, where `adloom carry-rollback` finds them."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest

from pipelines import environment_rollback
from pipelines.steps import carry_rollback
from tests.pipelines.rollback_place import RollbackPlace, answering_service, three_deploys


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return three_deploys(tmp_path_factory.mktemp("three"))


@pytest.fixture
def alias_only(three, workplace, monkeypatch):
    """No environment: the embedded default."""
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "ADLOOM_GITOPS_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(carry_rollback, "LEASE", timedelta(seconds=1))
    monkeypatch.setattr(carry_rollback, "BEAT_SECONDS", 0.1)
    for name in ("registry", "gitops.git"):
        shutil.copytree(three / name, workplace / name)
    monkeypatch.setenv("ADLOOM_REGISTRY", str(workplace / "registry"))
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{workplace / 'adloom.db'}")
    return RollbackPlace(workplace, "", {})


@pytest.fixture
def place(alias_only, monkeypatch):
    """The same deployed to dev, with a service that says model 3 until a test has it say something else."""
    monkeypatch.setattr(environment_rollback, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(environment_rollback, "GIT_POLL_SECONDS", 0.05)
    monkeypatch.setenv("ADLOOM_ENVIRONMENT", "dev")
    monkeypatch.setenv("ADLOOM_GITOPS_URL", str(alias_only.bare))
    with answering_service() as (address, version):
        monkeypatch.setenv("ADLOOM_SERVICE_URL", address)
        made = RollbackPlace(alias_only.folder, address, version)
        made.serve(3)
        yield made


@pytest.fixture
def synced(place, monkeypatch):
    """As Argo CD does: what Git says is served at once."""
    real = environment_rollback._in_git

    def in_git(*arguments):
        commit = real(*arguments)
        place.serve(place.git)
        return commit

    monkeypatch.setattr(environment_rollback, "_in_git", in_git)
    return place
