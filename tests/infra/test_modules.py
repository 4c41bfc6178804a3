"""Every module and deployment is formatted, valid, and passes its own tests, the refused values among them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.repo.tree import ROOT

INFRA = ROOT / "infra"
MODULES = sorted(path.parent for path in (INFRA / "modules").glob("*/main.tf"))
DEPLOYMENTS = sorted(path.parent for path in (INFRA / "deployments").glob("*/main.tf"))


def terraform(environment, folder, *arguments):
    command = ["terraform", *arguments, "-no-color"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.fixture
def copied(tmp_path):
    """A copy of infra/: a module has no lock file of its own, and Terraform writes one where it runs."""
    return shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns(".terraform", "__pycache__"))


def test_every_file_is_formatted(terraform_environment):
    found = terraform(terraform_environment, INFRA, "fmt", "-check", "-recursive", "-diff")

    assert found.stdout == ""
    assert found.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("folder", MODULES + DEPLOYMENTS, ids=lambda path: path.name)
@pytest.mark.proof
def test_each_is_valid_and_passes_its_own_tests(folder, copied, terraform_environment, mirror):
    here = copied / folder.relative_to(INFRA)
    begun = terraform(terraform_environment, here, "init", "-backend=false", "-input=false", f"-plugin-dir={mirror}")
    valid = terraform(terraform_environment, here, "validate")
    tested = terraform(terraform_environment, here, "test")

    assert begun.returncode == 0, begun.stderr
    assert valid.returncode == 0, valid.stdout + valid.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", tested.stdout)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_variable_with_a_validation_is_refused_somewhere(module):
    text = (module / "variables.tf").read_text(encoding="utf-8")
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, flags=re.DOTALL | re.MULTILINE)
    tests = "".join(path.read_text(encoding="utf-8") for path in (module / "tests").glob("*.tftest.hcl"))
    refused = set(re.findall(r"expect_failures = \[var\.(\w+)", tests))

    assert refused
    assert {name for name, body in blocks if "validation {" in body} - refused == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_variables_are_described_typed_and_in_order(module):
    text = (module / "variables.tf").read_text(encoding="utf-8")
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, flags=re.DOTALL | re.MULTILINE)
    names = [name for name, _ in blocks]

    assert names == sorted(names)
    assert [name for name, body in blocks if "  description " not in body] == []
    assert [name for name, body in blocks if not re.search(r"^  type +=", body, re.MULTILINE)] == []


def test_no_child_module_configures_a_provider():
    files = [path for module in MODULES for path in module.glob("*.tf")]

    assert files
    assert [path for path in files if re.search(r"^provider ", path.read_text("utf-8"), re.MULTILINE)] == []


def test_deployments_hold_modules_and_no_resources():
    files = [path for folder in DEPLOYMENTS for path in folder.glob("*.tf")]

    assert files
    assert [path for path in files if re.search(r"^resource ", path.read_text("utf-8"), re.MULTILINE)] == []


def test_every_module_is_used():
    used = {
        found
        for path in INFRA.rglob("*.tf")
        for found in re.findall(r'source += "\.\.(?:/\.\./modules)?/(\w+)"', path.read_text(encoding="utf-8"))
    }

    assert used == {module.name for module in MODULES}
