"""The environments differ where they must, agree where they must, and share one set of files."""

from __future__ import annotations

import ipaddress
import re
from itertools import combinations

import pytest

from app.settings import Settings
from infra.deploy import ENVIRONMENTS, ORDER, read_stack
from tests.repo.tree import ROOT

INFRA = ROOT / "infra"


def values(environment, deployment):
    """Simple settings of a file, as text."""
    text = (INFRA / "environments" / environment / f"{deployment}.tfvars").read_text(encoding="utf-8")
    return dict(re.findall(r"^\s*(\w+)\s*=\s*(.+)$", text, flags=re.MULTILINE))


def test_networks_do_not_overlap_and_each_reserves_the_others():
    ranges = {each: values(each, "network")["cidr"].strip('"') for each in ENVIRONMENTS}
    networks = [ipaddress.ip_network(each) for each in ranges.values()]

    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))
    for environment in ENVIRONMENTS:
        reserved = set(re.findall(r'"([^"]+)"', values(environment, "network")["reserved_cidrs"]))
        assert reserved == set(ranges.values()) - {ranges[environment]}


def test_every_environment_has_an_account_of_its_own():
    accounts = {read_stack(ROOT, each).account for each in ENVIRONMENTS}

    assert len(accounts) == len(ENVIRONMENTS)


@pytest.mark.parametrize("deployment", ORDER)
def test_environments_set_the_same_variables(deployment):
    required = {
        name
        for path in (INFRA / "deployments" / deployment).glob("*.tf")
        for name, body in re.findall(
            r'^variable "(\w+)" \{\n(.*?)^\}', path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        if not re.search(r"^  default ", body, re.MULTILINE)
    } - {"state_bucket"}

    for environment in ENVIRONMENTS:
        given = set(values(environment, deployment)) | set(values(environment, "shared"))
        assert required - given == set()


def test_what_deployments_share_is_one_text():
    copies = {(INFRA / "deployments" / each / "shared.tf").read_text(encoding="utf-8") for each in ORDER}
    locks = {(INFRA / "deployments" / each / ".terraform.lock.hcl").read_text(encoding="utf-8") for each in ORDER}

    assert len(copies) == 1
    assert len(locks) == 1


def test_prod_is_the_safe_one():
    prod = values("prod", "platform")

    assert prod["multi_az"] == "true"
    assert int(prod["backup_days"]) == 35
    assert values("prod", "network")["nat_per_zone"] == "true"


def test_what_the_service_is_told_are_settings_that_it_has():
    outputs = (INFRA / "deployments/platform/outputs.tf").read_text(encoding="utf-8")
    names = re.findall(r"^    (\w+) += ", outputs, flags=re.MULTILINE)
    ours = {name.removeprefix("ADLOOM_").lower() for name in names if name.startswith("ADLOOM_")}

    assert ours
    assert ours - set(Settings.model_fields) == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_overlay_that_has_a_platform_file_has_every_name_in_it(environment):
    path = ROOT / "gitops/apps/adloom-api/overlays" / environment / "platform.env"
    if not path.is_file():
        pytest.skip(f"{environment} has no platform.env: `make infra-env ENV={environment}` writes it")
    outputs = (INFRA / "deployments/platform/outputs.tf").read_text(encoding="utf-8")
    written = {line.split("=")[0] for line in path.read_text(encoding="utf-8").splitlines() if line[:1].isalpha()}

    assert written == set(re.findall(r"^    ([A-Z_]+) += ", outputs, flags=re.MULTILINE))


def test_every_skip_of_the_policy_scanner_has_its_reason():
    skips = [
        (path, found)
        for path in INFRA.rglob("*.tf")
        for found in re.findall(r"#checkov:skip=(.*)", path.read_text(encoding="utf-8"))
    ]

    assert skips
    assert [each for each in skips if not re.fullmatch(r"CKV2?_AWS_\d+:.{8,}", each[1])] == []


BRANCHES = {"deploy", "origin", "rollback"}
"""Beginnings of names in Git, which look like folders of the object store."""


def test_the_pipelines_may_write_what_they_write_and_nothing_else():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipelines").rglob("*.py"))
    keys = re.findall(r'"([a-z]+)/(?:\{|products/"|references"|reports")', sources)
    listed = re.search(r"pipeline_folders = \[(.+)\]", (ROOT / "infra/deployments/platform/workloads.tf").read_text())

    # Of the log, only the files that begin with batch-: the rest is the service's.
    assert sorted(set(keys) - {"generations", *BRANCHES}) == re.findall(r'"([a-z]+)"', listed[1])


def test_the_service_may_write_what_it_keeps_and_nothing_else():
    written = [*(ROOT / "app").glob("*.py"), *(ROOT / "model/store").glob("*.py")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in written)
    keys = re.findall(r'f"([a-z]+)/\{[^"]*(?:\.jsonl|\{reference\})"', sources)
    listed = re.search(r"sent_folders = \[(.+)\]", (ROOT / "infra/deployments/platform/workloads.tf").read_text())

    assert sorted(set(keys) - {"generations"}) == re.findall(r'"([a-z]+)"', listed[1])
