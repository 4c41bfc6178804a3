"""
One fault for each policy, and more where a policy looks at several things: a change that makes good manifests bad.

A policy that stays silent over its fault looks at nothing; test_policies.py tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.gitops import policies, references
from tests.gitops.rendering import only

Fault = Callable[[list[dict]], Any]


def pod(objects: list[dict], kind: str = "Rollout", name: str = "adloom-api") -> dict:
    return only(objects, kind, name)["spec"]["template"]


def container(objects: list[dict], kind: str = "Rollout", name: str = "adloom-api") -> dict:
    return pod(objects, kind, name)["spec"]["containers"][0]


def spec(objects: list[dict], kind: str, name: str = "adloom-api") -> dict:
    return only(objects, kind, name)["spec"]


def policy_of(objects: list[dict], name: str, namespace: str = "adloom") -> dict:
    return next(
        each
        for each in objects
        if each["kind"] == "NetworkPolicy"
        and (each["metadata"]["name"], each["metadata"]["namespace"]) == (name, namespace)
    )


def variable(objects: list[dict], name: str) -> dict:
    return next(each for each in container(objects)["env"] if each["name"] == name)


def write_down(objects: list[dict], name: str, value: str) -> None:
    each = variable(objects, name)
    each.clear()
    each.update(name=name, value=value)


def settings(objects: list[dict]) -> dict:
    return next(e for e in objects if e["kind"] == "ConfigMap" and "ADLOOM_AUDIENCE" in e["data"])["data"]


def secret() -> dict:
    metadata = {"name": "written", "namespace": "adloom", "labels": {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": "word"}}


def remove(objects: list[dict], kind: str, name: str) -> None:
    objects.remove(only(objects, kind, name))


FAULTS: dict[Callable, dict[str, Fault]] = {
    policies.images_are_pinned_by_digest: {
        "tag alone": lambda o: container(o).update(image="docker.io/adloom/adloom-api:0.1.0"),
        "no registry": lambda o: container(o).update(image="adloom/adloom-api:1@sha256:" + "a" * 64),
        "latest": lambda o: container(o).update(image="docker.io/adloom/adloom-api:latest@sha256:" + "a" * 64),
        "third party": lambda o: container(o, "Deployment", "adloom-limits").update(image="docker.io/valkey/valkey:8"),
        "init": lambda o: pod(o)["spec"].update(initContainers=[{"name": "first", "image": "busybox"}]),
    },
    policies.lasting_pods_have_probes: {
        "readiness": lambda o: container(o).pop("readinessProbe"),
        "liveness": lambda o: container(o, "Deployment", "mlflow").pop("livenessProbe"),
    },
    policies.containers_have_requests_and_limits: {
        "none": lambda o: container(o, "Job", "adloom-migrations").pop("resources"),
        "memory without end": lambda o: container(o)["resources"]["limits"].pop("memory"),
        "no share of CPU": lambda o: container(o)["resources"]["requests"].pop("cpu"),
    },
    policies.pods_are_restricted: {
        "root": lambda o: pod(o)["spec"]["securityContext"].update(runAsNonRoot=False),
        "root by number": lambda o: container(o)["securityContext"].update(runAsUser=0),
        "seccomp": lambda o: pod(o)["spec"]["securityContext"].pop("seccompProfile"),
        "writable": lambda o: container(o)["securityContext"].update(readOnlyRootFilesystem=False),
        "capabilities": lambda o: container(o)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}),
        "added": lambda o: container(o)["securityContext"]["capabilities"].update(add=["SYS_PTRACE"]),
        "escalation": lambda o: container(o)["securityContext"].pop("allowPrivilegeEscalation"),
        "node's network": lambda o: pod(o)["spec"].update(hostNetwork=True),
        "node's folder": lambda o: pod(o)["spec"]["volumes"].append({"name": "x", "hostPath": {"path": "/var"}}),
    },
    policies.pods_know_nothing_of_the_cluster: {
        "token": lambda o: pod(o)["spec"].pop("automountServiceAccountToken"),
        "links": lambda o: pod(o, "Deployment", "adloom-ui")["spec"].pop("enableServiceLinks"),
    },
    policies.no_secret_is_written_down: {
        "a Secret": lambda o: o.append(secret()),
        "address with a password": lambda o: settings(o).update(ADLOOM_FEATURES_URL="http://me:word@features"),
        "a key": lambda o: settings(o).update(ADLOOM_NOTE="-----BEGIN EC PRIVATE KEY-----"),
        "a variable": lambda o: write_down(o, "ADLOOM_DATABASE_URL", "postgresql://adloom@db/adloom"),
    },
    policies.objects_are_labelled: {
        "object": lambda o: only(o, "Service", "adloom-api")["metadata"]["labels"].pop("app.kubernetes.io/name"),
        "environment": lambda o: only(o, "Rollout", "adloom-api")["metadata"]["labels"].pop("adloom.io/environment"),
        "pod": lambda o: pod(o)["metadata"]["labels"].pop("app.kubernetes.io/component"),
    },
    policies.objects_name_their_namespace: {
        "none": lambda o: only(o, "Ingress", "adloom-api")["metadata"].pop("namespace"),
    },
    policies.replicas_are_not_in_git: {
        "autoscaled": lambda o: spec(o, "Rollout").update(replicas=2),
        "single": lambda o: spec(o, "Deployment", "adloom-exporter").update(replicas=1),
    },
    policies.namespaces_are_restricted: {
        "baseline": lambda o: only(o, "Namespace", "mlflow")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
    },
    policies.nothing_is_left_for_an_overlay: {
        "host": lambda o: spec(o, "Ingress")["rules"][0].update(host="set-by-overlay"),
    },
    references.every_pod_has_network_policies: {
        "no default": lambda o: o.remove(policy_of(o, "default-deny")),
        "default with a hole": lambda o: policy_of(o, "default-deny", "mlflow")["spec"].update(ingress=[{}]),
        "none of its own": lambda o: remove(o, "NetworkPolicy", "adloom-exporter"),
        "one side": lambda o: policy_of(o, "adloom-ui")["spec"].update(policyTypes=["Ingress"]),
        "another label": lambda o: pod(o)["metadata"]["labels"].update({"app.kubernetes.io/name": "adloom-app"}),
    },
    references.network_policies_select_pods: {
        "a label that nobody has": lambda o: policy_of(o, "cloud")["spec"]["podSelector"]["matchLabels"].update(
            {"adloom.io/uses-cloud": "yes"}
        ),
    },
    references.public_workloads_have_disruption_budgets: {
        "none": lambda o: remove(o, "PodDisruptionBudget", "adloom-ui"),
        "of nobody": lambda o: spec(o, "PodDisruptionBudget")["selector"].update(matchLabels={"app": "adloom-api"}),
    },
    references.services_lead_to_pods: {
        "selector": lambda o: spec(o, "Service", "mlflow")["selector"].update({"app.kubernetes.io/name": "ml-flow"}),
        "name of a port": lambda o: spec(o, "Service")["ports"][0].update(targetPort="web"),
        "number of a port": lambda o: spec(o, "Service", "adloom-exporter")["ports"][0].update(port=80),
    },
    references.monitors_find_services: {
        "selector": lambda o: spec(o, "ServiceMonitor")["selector"]["matchLabels"].update({"adloom.io/scrape": "yes"}),
        "port": lambda o: spec(o, "ServiceMonitor", "adloom-exporter")["endpoints"][0].update(port="http"),
        "twice": lambda o: spec(o, "ServiceMonitor")["selector"]["matchLabels"].pop("adloom.io/scrape"),
        "kept out": lambda o: pod(o)["metadata"]["labels"].pop("adloom.io/scraped"),
        "job": lambda o: spec(o, "ServiceMonitor").update(jobLabel="job"),
    },
    references.ingresses_lead_to_services: {
        "metrics": lambda o: _path(o).update(path="/metrics"),
        "service": lambda o: _path(o)["backend"]["service"].update(name="adloom-app"),
        "port": lambda o: _path(o, "adloom-ui", 1)["backend"]["service"]["port"].update(name="web"),
        "nobody's annotation": lambda o: spec(o, "Rollout")["strategy"]["canary"].pop("trafficRouting"),
    },
    references.scalers_find_their_target: {
        "kind": lambda o: spec(o, "ScaledObject")["scaleTargetRef"].update(kind="Deployment"),
        "fewer without metrics": lambda o: spec(o, "ScaledObject")["fallback"].update(replicas=1),
        "none at all": lambda o: spec(o, "ScaledObject").update(minReplicaCount=0),
    },
    references.pods_find_what_they_name: {
        "settings": lambda o: container(o)["envFrom"][0]["configMapRef"].update(name="adloom-settings"),
        "secret": lambda o: remove(o, "ExternalSecret", "adloom-issuer"),
        "key of a secret": lambda o: variable(o, "ADLOOM_LIMITS_URL")["valueFrom"]["secretKeyRef"].update(key="url"),
        "account": lambda o: pod(o)["spec"].update(serviceAccountName="adloom"),
        "claim": lambda o: remove(o, "PersistentVolumeClaim", "adloom-ledger"),
        "too late": lambda o: only(o, "ExternalSecret", "adloom-api")["metadata"]["annotations"].update(
            {"argocd.argoproj.io/sync-wave": "1"}
        ),
    },
    references.migrations_come_before_what_needs_them: {
        "beside": lambda o: only(o, "Job", "adloom-migrations")["metadata"]["annotations"].update(
            {"argocd.argoproj.io/sync-wave": "0"}
        ),
        "none": lambda o: [o.remove(each) for each in list(o) if each["kind"] == "Job"],
    },
    references.pods_may_finish_what_they_began: {
        "grace": lambda o: pod(o)["spec"].update(terminationGracePeriodSeconds=75),
        "at once": lambda o: container(o).pop("lifecycle"),
    },
    references.what_mounts_the_ledger_shares_a_node: {
        "anywhere": lambda o: pod(o, "Deployment", "adloom-exporter")["spec"].pop("affinity"),
        "no label": lambda o: pod(o, "Deployment", "adloom-exporter")["metadata"]["labels"].pop("adloom.io/ledger"),
    },
}


def _path(objects: list[dict], name: str = "adloom-api", index: int = 0) -> dict:
    return spec(objects, "Ingress", name)["rules"][0]["http"]["paths"][index]
