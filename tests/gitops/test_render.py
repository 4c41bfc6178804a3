"""Every folder of gitops/ renders, and what comes out is what Kubernetes and the controllers take."""

from __future__ import annotations

import copy
import os
import re
from collections import Counter

import pytest
import yaml

from tests.gitops.rendering import (
    APPS,
    ENVIRONMENTS,
    GITOPS,
    ROOT,
    environment_objects,
    kustomizations,
    named,
    only,
    overlays,
    render,
)
from tests.gitops.schemas import custom_troubles, is_custom, troubles

AHEAD = 1
"""Minor versions of Kubernetes after the cluster's that have to take it too: upgrades must not wait for manifests."""


def cluster_versions():
    """Kubernetes as infra/ builds it in each environment, and the next."""
    files = (ROOT / f"infra/environments/{each}/cluster.tfvars" for each in ENVIRONMENTS)
    minors = {int(re.search(r'kubernetes_version = "1\.(\d+)"', file.read_text(encoding="utf-8"))[1]) for file in files}
    return [f"1.{minor}" for minor in range(min(minors), max(minors) + AHEAD + 1)]


@pytest.mark.parametrize("folder", kustomizations(APPS), ids=named)
def test_a_folder_renders_and_names_nothing_twice(folder):
    objects = render(folder)

    names = Counter((each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects)
    assert objects
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_two_applications_render_the_same_object(environment):
    names = Counter(
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in environment_objects(environment)
    )

    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("version", cluster_versions())
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_kubernetes_takes_every_object_of_its_own(environment, version):
    objects = [each for each in environment_objects(environment) if not is_custom(each)]

    assert len(objects) > 30
    assert {each["metadata"]["name"]: troubles(each, version) for each in objects if troubles(each, version)} == {}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_controllers_take_every_custom_resource(environment, crd_schemas):
    objects = [each for each in environment_objects(environment) if is_custom(each)]

    found = {each["metadata"]["name"]: custom_troubles(each, crd_schemas) for each in objects}
    assert {each["kind"] for each in objects} >= {"Rollout", "ExternalSecret", "ScaledObject", "ServiceMonitor"}
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("Rollout", "adloom-api", lambda spec: spec["strategy"]["canary"].update(stepps=[])),
        ("Rollout", "adloom-api", lambda spec: spec["template"]["spec"]["containers"][0].update(image=7)),
        ("ScaledObject", "adloom-api", lambda spec: spec.update(minReplicas=2)),
        ("ServiceMonitor", "adloom-api", lambda spec: spec["endpoints"][0].update(timeout="10s")),
        ("ExternalSecret", "adloom-api", lambda spec: spec["target"].update(deletionPolicy="Never")),
    ],
)
def test_a_wrong_field_of_a_custom_resource_is_found(kind, name, change, crd_schemas):
    wrong = copy.deepcopy(only(environment_objects("prod"), kind, name))
    change(wrong["spec"])

    assert custom_troubles(wrong, crd_schemas)


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("Deployment", "adloom-exporter", lambda spec: spec["template"]["spec"]["containers"][0].update(ports=[{}])),
        ("NetworkPolicy", "default-deny", lambda spec: spec.update(policyType=["Ingress"])),
        ("PodDisruptionBudget", "adloom-api", lambda spec: spec.update(maxUnavailable=[1])),
    ],
)
def test_a_wrong_field_of_a_builtin_object_is_found(kind, name, change):
    wrong = copy.deepcopy(
        next(e for e in environment_objects("prod") if (e["kind"], e["metadata"]["name"]) == (kind, name))
    )
    change(wrong["spec"])

    assert troubles(wrong, cluster_versions()[0])


def test_the_pods_that_airflow_fills_in_are_pods():
    templates = only(environment_objects("prod"), "ConfigMap", "adloom-step-pods")["data"]

    found = {name: [*troubles(yaml.safe_load(text), "1.35")] for name, text in templates.items()}
    assert found == {"step.yaml": [], "training-step.yaml": []}


def test_no_two_files_of_overlays_are_the_same():
    files = [path for path in GITOPS.glob("apps/*/overlays/**/*") if path.is_file()]
    contents = Counter(path.read_bytes() for path in files)

    assert len(files) > 20
    assert [str(path.relative_to(GITOPS)) for path in files if contents[path.read_bytes()] > 1] == []


def test_every_application_has_an_overlay_for_every_environment():
    applications = {path.parent.name for path in APPS.glob("*/overlays")}

    missing = [
        f"{name}/{each}"
        for name in applications
        for each in ENVIRONMENTS
        if not (APPS / name / "overlays" / each / "kustomization.yaml").is_file()
    ]
    assert {"adloom-api", "adloom-ui", "adloom-pipelines", "airflow", "mlflow"} <= applications
    assert missing == []
    assert len(overlays()) == len(applications) * len(ENVIRONMENTS)


def test_scripts_can_be_executed_and_explain_themselves():
    scripts = sorted((GITOPS / "bin").iterdir())

    assert scripts
    assert [each.name for each in scripts if not os.access(each, os.X_OK)] == []
    assert [each.name for each in scripts if "example" not in each.read_text(encoding="utf-8").lower()] == []
