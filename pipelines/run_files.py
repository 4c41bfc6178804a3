"""
What a training run leaves for other machines: `runs/<key>/...` in the object store, its record last.

Knows files and no training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.bundle import file_sha256
from model.store.objects import ObjectMissingError, ObjectStore

RECORD = "run.json"
LEFT_BEHIND = frozenset({"checkpoint.pt"})
"""Only the machine that trains has use for it, and it is the largest file."""


def finished(objects: ObjectStore, run: str) -> dict[str, Any] | None:
    """The record of a run that was put away whole; None for any other."""
    try:
        table: dict[str, Any] = json.loads(objects.get(f"runs/{run}/{RECORD}"))
    except ObjectMissingError:
        return None
    return table


def put(objects: ObjectStore, run: str, folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Every file below `folder`, then the record with their digests: who finds it finds the rest."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in LEFT_BEHIND and not path.name.startswith(".")
    )
    for name in names:
        objects.put_file(_key(run, name), folder / name)
    kept = {**record, "files": {name: file_sha256(folder / name) for name in names}}
    objects.put(f"runs/{run}/{RECORD}", json.dumps(kept, indent=1).encode())
    return kept


def fetch(objects: ObjectStore, run: str, folder: Path) -> dict[str, Any]:
    """
    The files of a finished run below `folder`; those that lie there already are left alone.

    Raises ValueError where there is no such run, or its files are not those that were put away.
    """
    record = finished(objects, run)
    if record is None:
        raise ValueError(f"there is no finished run {run}; make it with `adloom train-candidate`")
    for name, digest in record["files"].items():
        target = folder / name
        if target.is_file() and file_sha256(target) == digest:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            objects.get_file(_key(run, name), target)
        except ObjectMissingError:
            target.unlink(missing_ok=True)
        if not target.is_file() or file_sha256(target) != digest:
            raise ValueError(
                f"{name} of run {run} is gone from the object store, or was changed there: restore runs/{run}, or "
                "delete it and train again"
            )
    return record


def _key(run: str, name: str) -> str:
    return f"runs/{run}/files/{name}"
