"""
What gitops/ comes to: every base and overlay rendered as Argo CD renders it, as objects.

Knows no policy and no schema. Needs kubectl, which brings Kustomize along.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITOPS = ROOT / "gitops"
APPS = GITOPS / "apps"
ENVIRONMENTS = ("dev", "staging", "prod")
RENDER_SECONDS_MAX = 180
NEVER_REMOTE = ("https://", "http://", "git@", "ssh://")


class RenderError(AssertionError):
    """Kustomize refuses the folder; the message is its own."""


def render(path: Path | str) -> list[dict]:
    """Objects of one folder with a kustomization.yaml, given absolutely or below the repository. Raises RenderError."""
    return [dict(each) for each in _rendered(ROOT / path)]


def render_text(path: Path) -> str:
    """As Argo CD gets it. Raises RenderError."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl: see https://kubernetes.io/docs/tasks/tools/")
    command = ["kubectl", "kustomize", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RENDER_SECONDS_MAX)
    if done.returncode != 0:
        raise RenderError(f"{path}: {done.stderr.strip()}")
    return done.stdout


@functools.cache
def _rendered(path: Path) -> tuple[dict, ...]:
    return tuple(each for each in yaml.load_all(render_text(path), yaml.CSafeLoader) if each)


def kustomizations(under: Path = GITOPS) -> list[Path]:
    """Folders that render by themselves: no components, no transformers, and nothing that is fetched from elsewhere."""
    found = []
    for file in sorted(under.rglob("kustomization.yaml")):
        table = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        parts = [str(each) for each in table.get("resources", [])]
        is_remote = any(part.startswith(NEVER_REMOTE) for part in parts)
        if table.get("kind") != "Component" and file.parent.name != "transformers" and not is_remote:
            found.append(file.parent)
    return found


def overlays(environment: str | None = None) -> list[Path]:
    """Folders that Argo CD applies, of one environment or of all."""
    return sorted(each.parent for each in APPS.glob(f"*/overlays/{environment or '*'}/kustomization.yaml"))


def environment_objects(environment: str) -> list[dict]:
    """All that one environment gets from gitops/apps."""
    return [each for path in overlays(environment) for each in render(path)]


def named(path: Path) -> str:
    """A folder as test ids have it."""
    return str(path.relative_to(GITOPS))


def only(objects: list[dict], kind: str, name: str) -> dict:
    """The one object of that kind and name."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def env_file(path: Path) -> dict[str, str]:
    """NAME=value lines, as Kustomize reads them."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
