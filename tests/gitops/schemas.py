"""
Is a manifest what Kubernetes and the controllers take: their own schemas, with unknown fields refused.

Kubernetes' schemas are those that the package kubernetes-validate carries. Custom resources are judged by the schemas
of their definitions, kept beside the repository.
"""

from __future__ import annotations

import functools
import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
from referencing import Registry, Resource

CARRIED = "kubernetes-json-schema"
"""Folder of the package, with a folder for each minor version."""


def is_custom(each: dict) -> bool:
    """Whether some controller defines it."""
    group = each["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def troubles(each: dict, version: str) -> list[str]:
    """Of a built-in object under one minor version of Kubernetes, such as 1.35; one that it lacks is trouble."""
    folder = files("kubernetes_validate") / CARRIED / f"v{version}.0-local-strict"
    if not folder.is_dir():
        return [f"the package kubernetes-validate carries no Kubernetes {version}: take a newer one"]
    validator = _builtin(Path(str(folder)), each["kind"], each["apiVersion"])
    if validator is None:
        return [f"Kubernetes {version} has no {each['apiVersion']} {each['kind']}"]
    return _told(validator, each)


def custom_troubles(each: dict, folder: Path) -> list[str]:
    """Of a custom resource; one without a schema is trouble."""
    group, _, version = each["apiVersion"].rpartition("/")
    path = folder / f"{group}_{version}_{each['kind']}.json"
    return _told(_custom(path), each) if path.is_file() else [f"no schema {path.name}"]


def _told(validator: jsonschema.Draft202012Validator, each: dict) -> list[str]:
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(each)]


@functools.cache
def _definitions(folder: Path) -> Registry:
    """Megabytes, and the same for every kind of a version."""
    return Resource.from_contents(_table(folder / "_definitions.json")) @ Registry()


@functools.cache
def _builtin(folder: Path, kind: str, api_version: str) -> jsonschema.Draft202012Validator | None:
    """Files are named by kind, first part of the group, and version: deployment-apps-v1.json."""
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    path = folder / f"{kind.lower()}-{group}.json"
    if not path.is_file():
        return None
    schema = _table(path)
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(folder))


@functools.cache
def _custom(path: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_strict(_table(path)))


def _table(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _strict(schema: dict, name: str = "") -> dict:
    """An unknown field is an error, as the API server's field validation has it."""
    strict = {key: _part(key, value) for key, value in schema.items()}
    if strict.pop("x-kubernetes-int-or-string", False):
        strict["type"] = ["integer", "number", "string"]
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not is_open:
        # The API server knows these of every object, wherever the schema begins.
        known = {"apiVersion": {}, "kind": {}, "metadata": {}} if name == "" else {}
        strict["properties"] = {**known, **strict["properties"]}
        strict["additionalProperties"] = False
    return strict


def _part(key: str, value: object) -> object:
    if key == "properties" and isinstance(value, dict):
        return {name: _strict(each, name) for name, each in value.items()}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _strict(value, key)
    return value
