"""
Every pod that a set of manifests leads to, whatever makes it: workloads, jobs, analyses, templates that Airflow fills.

Knows which fields hold a pod and how selectors match; judges nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import yaml

LASTING = ("Deployment", "Rollout", "StatefulSet", "DaemonSet")
"""Kinds whose pods are meant to stay."""
STEP_PODS = "adloom-step-pods"
"""ConfigMap whose values are pods as text."""
LAST_WAVE = 99


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as some object asks for it."""

    owner: str
    """Kind and name of the object."""
    kind: str
    namespace: str
    labels: dict[str, str]
    spec: dict
    wave: int
    """Of the object, in Argo CD's order."""

    @property
    def containers(self) -> list[dict]:
        """Init containers first, as they run."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def lasts(self) -> bool:
        """False for what ends by itself."""
        return self.kind in LASTING


def pods(objects: list[dict]) -> list[Pod]:
    """In the order of the objects."""
    return [pod for each in objects for pod in _pods_of(each)]


def wave_of(each: dict) -> int:
    """0 where nothing is said."""
    return int(each["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0"))


def namespace_of(each: dict) -> str:
    """Empty for what belongs to the cluster, or says none."""
    return each["metadata"].get("namespace", "")


def owner_of(each: dict) -> str:
    """As messages name an object."""
    return f"{each['kind']} {each['metadata']['name']}"


def matches(selector: dict, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels. An empty one takes all."""
    said = selector.get("matchLabels", {})
    return all(labels.get(name) == value for name, value in said.items()) and all(
        _holds(each, labels) for each in selector.get("matchExpressions", [])
    )


def _holds(expression: dict, labels: dict[str, str]) -> bool:
    value, operator = labels.get(expression["key"]), expression["operator"]
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    return (value in expression["values"]) == (operator == "In")


def _pods_of(each: dict) -> Iterator[Pod]:
    kind, namespace = each["kind"], namespace_of(each)
    if kind in (*LASTING, "Job"):
        yield _pod(each, kind, namespace, each["spec"]["template"])
    elif kind == "CronJob":
        yield _pod(each, kind, namespace, each["spec"]["jobTemplate"]["spec"]["template"])
    elif kind == "AnalysisTemplate":
        for metric in each["spec"]["metrics"]:
            if job := metric["provider"].get("job"):
                yield _pod(each, "Job", namespace, job["spec"]["template"])
    elif kind == "ConfigMap" and each["metadata"]["name"] == STEP_PODS:
        for text in each["data"].values():
            pod = _parsed(text)
            # Airflow makes it long after everything was applied, whenever the text itself was.
            yield replace(_pod(each, "Pod", namespace_of(pod), pod), wave=LAST_WAVE)


@functools.cache
def _parsed(text: str) -> dict:
    return yaml.load(text, yaml.CSafeLoader)


def _pod(each: dict, kind: str, namespace: str, template: dict) -> Pod:
    labels = template.get("metadata", {}).get("labels", {})
    return Pod(owner_of(each), kind, namespace, labels, template["spec"], wave_of(each))
