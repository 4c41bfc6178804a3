"""
What every test may lean on: an environment without ADLOOM_ variables, the built bundle, the public catalogues.

A test whose marker needs something outside this machine says so as a skip; `pytest --with MARKER` runs it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {
    "gpu": "needs an accelerator",
    "cluster": "needs a Kubernetes cluster",
    "network": "needs the package registries",
}


def pytest_configure():
    # A job that a shell started in the background ignores SIGINT, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--with", action="append", default=[], choices=OUTSIDE, dest="outside", help="run this marker too")


def pytest_collection_modifyitems(config, items):
    for item in items:
        for marker, reason in OUTSIDE.items():
            if item.get_closest_marker(marker) and marker not in config.getoption("outside"):
                item.add_marker(pytest.mark.skip(reason=f"{reason}: run `pytest --with {marker}`"))


@pytest.fixture(scope="session")
def caller_environment():
    """The environment as the caller of pytest set it, read before any test changes it."""
    return dict(os.environ)


@pytest.fixture(autouse=True)
def clean_environment(caller_environment, monkeypatch):
    """A developer's own settings must not decide whether a test passes."""
    for name in caller_environment:
        if name.startswith("ADLOOM_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def bundle(caller_environment):
    """Folder of the built bundle: ADLOOM_BUNDLE, or where `make bundle` puts it."""
    path = Path(caller_environment.get("ADLOOM_BUNDLE") or ROOT / ".adloom/bundle")
    if not path.is_dir():
        pytest.skip("no bundle: run `make bundle`")
    return path


@pytest.fixture(scope="session")
def shared_data(caller_environment):
    """Folder with public catalogues: ADLOOM_SHARED_DATA, or shared/data beside the repository."""
    path = Path(caller_environment.get("ADLOOM_SHARED_DATA") or ROOT.parent / "shared/data")
    if not path.is_dir():
        pytest.skip("no public catalogues: set ADLOOM_SHARED_DATA to a folder that holds catalogue/")
    return path
