"""What gitops/ and infra/ both say: outputs, secrets, service accounts, subnets and bucket names are compared."""

from __future__ import annotations

import ipaddress
import re

import pytest

from tests.gitops.pods import namespace_of, pods
from tests.gitops.rendering import APPS, ENVIRONMENTS, GITOPS, ROOT, env_file, environment_objects, only, render

INFRA = ROOT / "infra"
environments = pytest.mark.parametrize("environment", ENVIRONMENTS)


def tfvars(environment: str, name: str) -> str:
    return (INFRA / f"environments/{environment}/{name}.tfvars").read_text(encoding="utf-8")


def value(text: str, name: str) -> str:
    return re.search(rf'^{name}\s*=\s*"([^"]*)"', text, flags=re.MULTILINE)[1]


def subnets(environment: str, bits: int, first: int) -> list[ipaddress.IPv4Network]:
    """As infra/modules/network/main.tf cuts them: cidrsubnet(cidr, bits, first + i), one a zone."""
    text = tfvars(environment, "network")
    network = ipaddress.ip_network(value(text, "cidr"))
    zones = re.search(r"zones\s*=\s*\[([^\]]*)\]", text)[1].count('"') // 2
    return list(network.subnets(prefixlen_diff=bits))[first : first + zones]


@environments
def test_the_platform_file_has_what_terraform_gives(environment):
    outputs = (INFRA / "deployments/platform/outputs.tf").read_text(encoding="utf-8")
    body = re.search(r'output "platform_env" \{(.*?)\n\}', outputs, flags=re.DOTALL)[1]
    path = APPS / f"adloom-api/overlays/{environment}/platform.env"

    assert set(env_file(path)) == set(re.findall(r"^\s+([A-Z][A-Z0-9_]+)\s*=", body, flags=re.MULTILINE))
    assert re.match(r"# (PLACEHOLDER|Written by)", path.read_text(encoding="utf-8"))


@environments
def test_secrets_are_named_as_terraform_makes_them(environment):
    made = set(re.findall(r'^\s+"([a-z-]+/[a-z-]+)"\s*=', tfvars(environment, "platform"), flags=re.MULTILINE))
    asked = {
        entry["remoteRef"]["key"]
        for each in environment_objects(environment)
        if each["kind"] == "ExternalSecret"
        for entry in each["spec"]["data"]
    }

    assert asked - made == set()


@environments
def test_every_secret_comes_from_the_one_store_and_outlives_its_absence(environment):
    specs = [each["spec"] for each in environment_objects(environment) if each["kind"] == "ExternalSecret"]

    assert {(spec["secretStoreRef"]["kind"], spec["secretStoreRef"]["name"]) for spec in specs} == {
        ("ClusterSecretStore", "secrets-manager")
    }
    assert {spec["target"]["deletionPolicy"] for spec in specs} == {"Retain"}


@environments
def test_the_store_puts_the_environments_prefix_before_each_name(environment):
    store = only(render(GITOPS / f"platform/overlays/{environment}/core"), "ClusterSecretStore", "secrets-manager")
    said = env_file(APPS / f"adloom-api/overlays/{environment}/platform.env")

    assert store["spec"]["provider"]["aws"]["prefix"] == said["SECRETS_PREFIX"] == f"adloom-{environment}/"
    assert store["spec"]["provider"]["aws"]["region"] == said["AWS_REGION"]
    (allowed,) = store["spec"]["conditions"]
    asking = {namespace_of(each) for each in environment_objects(environment) if each["kind"] == "ExternalSecret"}
    assert asking <= set(allowed["namespaces"])


@environments
def test_whoever_calls_aws_has_the_service_account_that_terraform_knows(environment):
    text = (INFRA / "deployments/platform/workloads.tf").read_text(encoding="utf-8")
    known = set(re.findall(r'^    ([a-z-]+) = \{\n\s+namespace\s*=\s*"([a-z-]+)"', text, flags=re.MULTILINE))
    objects = environment_objects(environment)
    callers = {
        (pod.spec["serviceAccountName"], pod.namespace)
        for pod in pods(objects)
        if pod.labels.get("adloom.io/uses-cloud") == "true" or pod.labels["app.kubernetes.io/name"] == "mlflow"
    }

    assert callers
    assert callers <= known
    assert {(e["metadata"]["name"], namespace_of(e)) for e in objects if e["kind"] == "ServiceAccount"} <= known


@environments
def test_ranges_hold_the_subnets_that_terraform_cuts(environment):
    said = env_file(APPS / f"adloom-api/overlays/{environment}/environment.env")
    rules = env_file(APPS / f"airflow/overlays/{environment}/environment.env")
    public, data, private = subnets(environment, 8, 240), subnets(environment, 8, 250), subnets(environment, 4, 0)

    ranges = {name: ipaddress.ip_network(each) for name, each in {**said, **rules}.items() if name.endswith("_CIDR")}
    assert all(each.subnet_of(ranges["LOAD_BALANCER_CIDR"]) for each in public)
    assert all(each.subnet_of(ranges["DATABASE_CIDR"]) for each in data)
    assert all(each.subnet_of(ranges["KUBERNETES_API_CIDR"]) for each in private)
    assert not any(ranges["LOAD_BALANCER_CIDR"].overlaps(each) for each in [*private, *data])
    assert not any(ranges["DATABASE_CIDR"].overlaps(each) for each in [*private, *public])


def test_subnets_are_cut_as_this_file_thinks():
    text = (INFRA / "modules/network/main.tf").read_text(encoding="utf-8")

    for line in ("cidrsubnet(var.cidr, 4, i)", "cidrsubnet(var.cidr, 8, 240 + i)", "cidrsubnet(var.cidr, 8, 250 + i)"):
        assert line in text


@environments
def test_mlflow_is_told_the_bucket_that_terraform_makes(environment):
    shared = tfvars(environment, "shared")
    said = env_file(APPS / f"mlflow/overlays/{environment}/environment.env")
    network = env_file(APPS / f"adloom-api/overlays/{environment}/environment.env")

    assert said["MLFLOW_ARTIFACTS_URL"] == f"s3://adloom-{environment}-{value(shared, 'account_id')}-mlflow"
    assert said["AWS_REGION"] == value(shared, "region")
    assert said["DATABASE_CIDR"] == network["DATABASE_CIDR"]


def test_the_kubernetes_service_has_the_first_address_of_its_range():
    text = (INFRA / "deployments/cluster/variables.tf").read_text(encoding="utf-8")
    services = ipaddress.ip_network(re.search(r'default\s+= "([0-9.]+/16)"', text)[1])
    policy = (APPS / "airflow/base/network-policies.yaml").read_text(encoding="utf-8")

    assert f"{services[1]}/32" in policy
