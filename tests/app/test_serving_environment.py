"""The serving extra alone serves the bundle: no training stack, and within the memory that a small pod has."""

from __future__ import annotations

import json
import shutil
import subprocess
import venv
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.app.service_client import order
from tests.app.service_process import ROOT, START_SECONDS_MAX, bearer_in, serving

pytestmark = pytest.mark.proof

ABSENT = ("torch", "transformers", "optimum", "airflow", "mlflow")
RESIDENT_MEGABYTES_MAX = 600
"""What a pod with a limit of 1 GB can spend with room for the page cache of the weights."""
INSTALL_SECONDS_MAX = 540
GENERATE_SECONDS_MAX = 300
"""Long, because memory is measured here and not speed. Eight candidates are as many as the writer has in flight."""


@pytest.fixture(scope="module")
def serving_python(tmp_path_factory: pytest.TempPathFactory, caller_environment: Mapping[str, str]) -> Path:
    """Python of a fresh environment with `adloom[app]` at the pinned versions; pip is configured as the caller's."""
    folder = tmp_path_factory.mktemp("serving") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    environment = {name: value for name, value in caller_environment.items() if name != "PYTHONPATH"}
    # A package without dependencies tells an index that cannot be reached from an environment that cannot be made.
    probe = [*pip, "download", "--no-deps", "--retries", "0", "--dest", str(folder / "probe"), *constraints, "h11"]
    if subprocess.run(probe, env=environment, check=False, capture_output=True, timeout=INSTALL_SECONDS_MAX).returncode:
        pytest.skip("pip cannot reach a package index")
    source = folder / "source"  # setuptools would leave a build folder in the checkout, and use what is left in one
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "out", "build", "*.egg-info"))
    install = [*pip, "install", *constraints, f"{source}[app]"]
    made = subprocess.run(
        install, env=environment, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX
    )
    assert made.returncode == 0, made.stderr
    return python


def test_the_serving_extra_alone_serves_the_bundle(serving_python: Path, bundle: Path, tmp_path: Path) -> None:
    present = importable(serving_python, (*ABSENT, "app", "onnxruntime"))
    command = [str(serving_python.parent / "adloom"), "serve", "--bundle", str(bundle)]
    patience = {"ADLOOM_REQUEST_TIMEOUT_SECONDS": str(GENERATE_SECONDS_MAX)}
    with serving(command, tmp_path / "log", PYTHONPATH="", **patience) as (process, address):
        httpx.get(f"{address}/readyz", timeout=START_SECONDS_MAX).raise_for_status()
        idle_megabytes = resident_megabytes_max(process.pid)
        body = order(channels=["google_rsa", "pinterest"], candidates=8)
        token = bearer_in(tmp_path)
        answer = httpx.post(f"{address}/v1/creatives", json=body, headers=token, timeout=GENERATE_SECONDS_MAX)
        answer.raise_for_status()
        for creative in answer.json()["creatives"]:
            picture = address + creative["images"][-1]["png"]
            httpx.get(picture, headers=token, timeout=START_SECONDS_MAX).raise_for_status()
        peak_megabytes = resident_megabytes_max(process.pid)
    measured = {
        "site_packages_megabytes": installed_megabytes(serving_python),
        "resident_megabytes_after_start": idle_megabytes,
        "resident_megabytes_max": peak_megabytes,
        "request": "google_rsa and pinterest, 8 candidates each, then one PNG for each",
    }
    report = ROOT / "out/test/serving.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")

    assert present == ["app", "onnxruntime"]
    assert len(answer.json()["creatives"]) == 2
    assert 0 < peak_megabytes < RESIDENT_MEGABYTES_MAX


def importable(python: Path, names: tuple[str, ...]) -> list[str]:
    """Those of `names` that `python` would find; isolated, so that neither this folder nor PYTHONPATH counts."""
    code = f"from importlib.util import find_spec; print(*(name for name in {names!r} if find_spec(name)))"
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()


def resident_megabytes_max(pid: int) -> float:
    """The most that was resident since the process began, in 10^6 bytes; from VmHWM, which counts in KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(kibibytes) * 1024 / 1e6, 1)


def installed_megabytes(python: Path) -> float:
    """What the installed packages take on disk, pip and setuptools included, in 10^6 bytes."""
    [site_packages] = python.parents[1].glob("lib/python3*/site-packages")
    return round(sum(path.stat().st_blocks * 512 for path in site_packages.rglob("*") if path.is_file()) / 1e6, 1)
