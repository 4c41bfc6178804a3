"""What is served, as `GET /v1/models` tells it: the facts of the bundle and of the process, to those who may read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from app.identity import CREATIVES_READ, FEEDBACK_WRITE
from model.bundle import FILES, Manifest, open_bundle, seal
from model.channel import channels
from tests.app.service_client import ServiceWriter, bearer, parts_of, service

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class OpenedBundle:
    digest: str
    manifest: Manifest


def sealed(folder: Path) -> OpenedBundle:
    """A bundle whose files hold nothing that could write."""
    for name in FILES:
        (folder / name).write_text(name, encoding="utf-8")
    seal(
        folder, name="tiny", base="TinyLM", scheme="int8", prompt_digest="p" * 64, measured={}, built_with={},
        dataset_digest="d" * 64,
    )  # fmt: skip
    bundle = open_bundle(folder)
    return OpenedBundle(bundle.digest, bundle.manifest)


async def test_the_bundle_that_writes_is_told_with_its_digests(tmp_path: Path) -> None:
    writer = ServiceWriter()
    writer.bundle = sealed(tmp_path)  # type: ignore[assignment]
    async with service(writer, registry_version="7", git_commit="0123abc") as client:
        answer = await client.get("/v1/models")
        metadata = (await client.get("/v2/models/adloom-writer")).json()
    (model,) = answer.json()["models"]

    assert answer.status_code == 200
    assert (model["bundle"], model["base"], model["scheme"]) == ("tiny", "TinyLM", "int8")
    assert (model["bundle_digest"], model["dataset_digest"]) == (writer.bundle.digest, "d" * 64)
    assert model["git_commit"] == "0123abc"
    assert (model["name"], [model["version"]]) == (metadata["name"], metadata["versions"])
    assert model["channels"] == list(channels())


async def test_facts_that_nobody_told_are_empty() -> None:
    async with service() as client:
        (model,) = (await client.get("/v1/models")).json()["models"]

    assert (model["version"], model["base"], model["git_commit"], model["dataset_digest"]) == ("0", "", "", "")
    assert len(model["bundle_digest"]) == 64


async def test_the_scope_to_read_creatives_is_needed() -> None:
    async with service() as client:
        statuses = [
            (await client.get("/v1/models", headers=bearer(parts_of(client), scopes=[scope]))).status_code
            for scope in (CREATIVES_READ, FEEDBACK_WRITE)
        ]

    assert statuses == [200, 403]
