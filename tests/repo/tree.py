"""What the repository consists of, read through git, for the tests that compare one file with another."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked(*suffixes):
    """Files that are, or would be, committed: repository-relative, sorted; all of them without a suffix."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = sorted({Path(name) for name in listed if name and (ROOT / name).is_file()})
    return [path for path in paths if not suffixes or path.suffix in suffixes]


def modules():
    """Dotted name of every module of ours, by its path; without DAG files, which Airflow alone reads."""
    rooms = {"app", "model", "pipelines"}
    sources = [path for path in tracked(".py") if path.parts[0] in rooms and path.parts[:2] != ("pipelines", "dags")]
    return {path: ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in sources}


def project():
    """pyproject.toml as tables."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def make_targets():
    """Every target that `make help` lists, with what it depends on."""
    files = (ROOT / "Makefile", ROOT / "infra/infra.mk")
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    rules = [line.split("##")[0].split(":") for line in lines if "##" in line and line[:1].isalpha()]
    return {name.strip(): needs.split() for name, needs in rules}


def normal(name):
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
