"""
One engine, one base, one registry and one image of the service, made once a session.

`pytest -m proof tests/images --record-images` keeps the figures.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.images.engine import ROOT, base_image, docker_engine
from tests.images.registry import guarded_registry
from tests.real_parts import postgres_server
from tests.tiny import build_tiny_bundle

MEASURED = ROOT / "architecture/measured/images.json"
MARK = "adloom-test-secret-5b1f"
"""Stands in the pip configuration and the certificates that a build is given, and must stand nowhere else."""


def pytest_addoption(parser):
    parser.addoption("--record-images", action="store_true", help="write architecture/measured/images.json")


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    with docker_engine(tmp_path_factory.mktemp("docker")) as running:
        yield running


@pytest.fixture(scope="session")
def say(pytestconfig):
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")
    return lambda line: terminal.write_line(f"    {line}")


@pytest.fixture(scope="session")
def machine_options(engine, caller_environment, tmp_path_factory, say):
    """What a build needs to work on this machine: a base, and the index and the authority that its pip goes by."""
    folder = tmp_path_factory.mktemp("pip")
    options = ["--base", base_image(engine, caller_environment, say)]
    lines = ["[global]", f"# {MARK}"]
    for name in ("index-url", "extra-index-url", "trusted-host"):
        value = caller_environment.get(f"PIP_{name.upper().replace('-', '_')}", "")
        lines += [f"{name} = {value}"] if value else []
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    options += ["--pip-conf", str(folder / "pip.conf")]
    names = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    authority = next((value for name in names if (value := caller_environment.get(name))), "")
    if authority:
        (folder / "ca.pem").write_text(f"# {MARK}\n{Path(authority).read_text()}")
        options += ["--ca-bundle", str(folder / "ca.pem")]
    return options


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    pytest.importorskip("optimum", reason="optimum is not installed: run `make test`, or pip install '.[train]'")
    return build_tiny_bundle(tmp_path_factory.mktemp("tiny")).folder


@pytest.fixture(scope="session")
def registry(tmp_path_factory, tiny):
    """Version 1 is the tiny bundle; version 2 the built one, where there is one. The last is champion."""
    real = (ROOT / ".adloom/bundle").resolve()
    with guarded_registry(tmp_path_factory.mktemp("registry"), [tiny, *([real] if real.is_dir() else [])]) as running:
        yield running


@pytest.fixture(scope="session")
def build_options(machine_options, registry):
    return [*machine_options, "--registry", registry.uri, "--registry-credentials", str(registry.credentials)]


@pytest.fixture(scope="session")
def image(engine, build_options, say):
    """The service with the champion in it."""
    say("building the image of the service, a minute or two on the first run")
    built = engine.build("api", "adloom-api:test", "--model", "@champion", *build_options)

    assert built.status == 0, built.log[-3000:]
    return built.said["id"]


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def measured(pytestconfig):
    """Figures by name; kept in the repository where that was asked for."""
    figures = {}
    yield figures
    if figures and pytestconfig.getoption("--record-images", default=False):
        known = json.loads(MEASURED.read_text()) if MEASURED.is_file() else {}
        text = json.dumps({**known, **figures}, indent=2, sort_keys=True) + "\n"
        scratch = MEASURED.with_suffix(".tmp")
        scratch.write_text(text)
        shutil.move(scratch, MEASURED)
