"""
Training datasets in the object store: `datasets/<digest>/pairs.jsonl`, named by the sha256 of that file.

Knows bytes and digests; what a line means is the business of whoever makes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.store.objects import ObjectMissingError, ObjectStore


class DatasetError(ValueError):
    """A dataset is missing or not what its name says; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What was put together, and from what."""

    digest: str
    lines: int
    manifest: Mapping[str, Any]


def put(objects: ObjectStore, lines: Sequence[str], manifest: Mapping[str, Any]) -> tuple[Dataset, bool]:
    """
    Keep the lines, and say whether they are new; the same lines give the same dataset.

    The manifest comes last, so that a dataset with one is whole.
    """
    content = "".join(f"{line}\n" for line in lines).encode()
    digest = hashlib.sha256(content).hexdigest()
    if (known := find(objects, digest)) is not None:
        return known, False
    told = {"digest": digest, "lines": len(lines), **manifest}
    objects.put(_key(digest, "pairs.jsonl"), content)
    objects.put(_key(digest, "manifest.json"), json.dumps(told, indent=1).encode())
    return Dataset(digest, len(lines), told), True


def find(objects: ObjectStore, digest: str) -> Dataset | None:
    """None where no such dataset was put together."""
    try:
        manifest = json.loads(objects.get(_key(digest, "manifest.json")))
    except ObjectMissingError:
        return None
    return Dataset(digest, int(manifest["lines"]), manifest)


def fetch(objects: ObjectStore, digest: str, target: Path) -> None:
    """The lines as a file. Raises DatasetError where they are not those of the digest."""
    try:
        content = objects.get(_key(digest, "pairs.jsonl"))
    except ObjectMissingError:
        raise DatasetError(f"there is no dataset {digest}; make it with `adloom build-dataset`") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise DatasetError(f"the dataset {digest[:12]} was changed in the object store; restore it, or build another")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _key(digest: str, name: str) -> str:
    return f"datasets/{digest}/{name}"
