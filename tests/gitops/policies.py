"""
What a manifest of ours must be, judged one object at a time: images, safety, probes, limits, labels, secrets.

Each policy takes the objects of one environment and yields a line for whatever breaks it. What one object says of
another is in references.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.gitops.pods import LASTING, Pod, namespace_of, owner_of, pods

IMAGE = re.compile(r"(?P<registry>[a-z0-9-]+(\.[a-z0-9-]+)+)/[a-z0-9./_-]+:(?P<tag>[\w.-]+)@sha256:[0-9a-f]{64}")
FILLED_IN = {"docker.io/adloom/adloom-pipelines:set-by-airflow", "{{args.image}}"}
"""Images that a running part puts in: Airflow's executor its own, an analysis that of the Rollout it judges."""
WITH_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
SECRET_NAME = re.compile(r"(PASSWORD|TOKEN|SECRET|DATABASE_URL|LIMITS_URL|BACKEND_STORE_URI|_KEY)$")
OF_THE_CLUSTER = {"Namespace", "PriorityClass", "StorageClass", "ClusterRole", "ClusterRoleBinding"}
PODS_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of")
LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "adloom.io/environment")
LEVELS = ("enforce", "audit", "warn")


def images_are_pinned_by_digest(objects: list[dict]) -> Iterator[str]:
    """A tag can be moved; which registry is meant must not depend on the node."""
    for pod in pods(objects):
        for container in pod.containers:
            image = container["image"]
            found = IMAGE.fullmatch(image)
            if image not in FILLED_IN and (not found or found["tag"] == "latest"):
                yield f"{pod.owner}: {image} is not registry/name:tag@sha256:..."


def lasting_pods_have_probes(objects: list[dict]) -> Iterator[str]:
    """Nothing gets requests before it is ready, and what hangs is started again."""
    for pod in pods(objects):
        for container in pod.containers if pod.lasts else []:
            for probe in ("readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"{pod.owner}: {container['name']} has no {probe}"


def containers_have_requests_and_limits(objects: list[dict]) -> Iterator[str]:
    """Of memory both; of CPU a request, which shares it out, while a limit only makes somebody wait on an idle node."""
    for pod in pods(objects):
        for container in pod.containers:
            for side, needed in (("requests", {"cpu", "memory"}), ("limits", {"memory"})):
                missing = needed - container.get("resources", {}).get(side, {}).keys()
                if missing:
                    yield f"{pod.owner}: {container['name']} has no {side} of {', '.join(sorted(missing))}"


def pods_are_restricted(objects: list[dict]) -> Iterator[str]:
    """As PodSecurity's `restricted` has it, and a root file system that nobody writes to."""
    for pod in pods(objects):
        yield from (f"{pod.owner}: {what}" for what in _loose_in_pod(pod))
        for container in pod.containers:
            yield from (f"{pod.owner}: {container['name']} {what}" for what in _loose_in_container(container))


def _loose_in_pod(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "has no seccomp profile"
    if any(pod.spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares the node's network or processes"
    if any("hostPath" in volume for volume in pod.spec.get("volumes", [])):
        yield "mounts a folder of the node"


def _loose_in_container(container: dict) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain privileges"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
        yield "keeps capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root file system"
    if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
        yield "may run as root"


def pods_know_nothing_of_the_cluster(objects: list[dict]) -> Iterator[str]:
    """No token of the API that nobody uses; no ADLOOM_*_PORT=tcp://... of Services beside our settings."""
    for pod in pods(objects):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: mounts a token of the Kubernetes API"
        if pod.spec.get("enableServiceLinks") is not False and pod.owner.split()[0] != "AnalysisTemplate":
            yield f"{pod.owner}: gets the addresses of Services as variables"


def no_secret_is_written_down(objects: list[dict]) -> Iterator[str]:
    """Secrets come from Secrets Manager through External Secrets; Git has their names."""
    for each in objects:
        if each["kind"] == "Secret":
            yield f"{owner_of(each)}: a Secret in Git"
        for name, value in {**each.get("data", {}), **each.get("stringData", {})}.items():
            if WITH_PASSWORD.search(str(value)) or PRIVATE.search(str(value)):
                yield f"{owner_of(each)}: {name} holds a secret"
    for pod in pods(objects):
        for container in pod.containers:
            for variable in container.get("env", []):
                name, value = variable["name"], str(variable.get("value", ""))
                is_path = value.startswith("/")
                if value and (WITH_PASSWORD.search(value) or (SECRET_NAME.search(name) and not is_path)):
                    yield f"{pod.owner}: {name} is written down"


def objects_are_labelled(objects: list[dict]) -> Iterator[str]:
    """What it is, what it belongs to, and in which environment; pods also what they do."""
    for each in objects:
        missing = [name for name in LABELS if not each["metadata"].get("labels", {}).get(name)]
        if missing:
            yield f"{owner_of(each)}: has no label {', '.join(missing)}"
    for pod in pods(objects):
        missing = [name for name in PODS_LABELS if not pod.labels.get(name)]
        if missing:
            yield f"pods of {pod.owner}: have no label {', '.join(missing)}"


def objects_name_their_namespace(objects: list[dict]) -> Iterator[str]:
    """Applied by hand or by Argo CD, they land in the same place."""
    for each in objects:
        if each["kind"] not in OF_THE_CLUSTER and not namespace_of(each):
            yield f"{owner_of(each)}: names no namespace"


def replicas_are_not_in_git(objects: list[dict]) -> Iterator[str]:
    """Whoever writes the number fights whoever scales (architecture/decisions/0024)."""
    for each in objects:
        if each["kind"] in LASTING and "replicas" in each["spec"]:
            yield f"{owner_of(each)}: says replicas"


def namespaces_are_restricted(objects: list[dict]) -> Iterator[str]:
    """Kubernetes itself refuses what the policies above would have found."""
    for each in objects:
        if each["kind"] == "Namespace":
            labels = each["metadata"].get("labels", {})
            for level in LEVELS:
                if labels.get(f"pod-security.kubernetes.io/{level}") != "restricted":
                    yield f"{owner_of(each)}: does not {level} `restricted`"


def nothing_is_left_for_an_overlay(objects: list[dict]) -> Iterator[str]:
    """A base says set-by-overlay where it must not be applied alone."""
    for each in objects:
        if "set-by-overlay" in str(each):
            yield f"{owner_of(each)}: still says set-by-overlay"


POLICIES = (
    images_are_pinned_by_digest,
    lasting_pods_have_probes,
    containers_have_requests_and_limits,
    pods_are_restricted,
    pods_know_nothing_of_the_cluster,
    no_secret_is_written_down,
    objects_are_labelled,
    objects_name_their_namespace,
    replicas_are_not_in_git,
    namespaces_are_restricted,
    nothing_is_left_for_an_overlay,
)
