"""
A stand-in for the workflow release.yml: it builds what Git wants and deploys it to the first environment.

Its image is a folder with the bundle, named by the bundle's digest; the commit that deploys it is the real command's.
"""

from __future__ import annotations

from pathlib import Path

from model.bundle import open_bundle
from pipelines.deployment import wanted_model
from pipelines.loop.workshop import LoopError, Workshop

TAG = "0.1.0"


class Factory:
    """Builds each image once."""

    def __init__(self, workshop: Workshop, environment: str) -> None:
        self._workshop = workshop
        self._environment = environment

    def release(self) -> str:
        """Build and deploy what Git wants now; returns the version. Raises LoopError."""
        wanted = wanted_model(str(self._workshop.gitops))
        version, digest = wanted.get("MODEL_VERSION", ""), wanted.get("BUNDLE_DIGEST", "")
        folder = image_folder(self._workshop, digest)
        registry = self._workshop.environment["ADLOOM_REGISTRY"]
        self._workshop.step("models", "--registry", registry, "fetch", version, "--to", folder)
        found = open_bundle(folder).digest
        if found != digest:
            raise LoopError(f"Git wants bundle {digest[:12]} of version {version}, and the registry has {found[:12]}")
        image, why = f"{TAG}-model-{version}@sha256:{digest}", f"Version {version} is wanted."
        self._workshop.step("deploy", self._environment, "--image", image, "--model", version, "--why", why)
        return version


def image_folder(workshop: Workshop, digest: str) -> Path:
    """Where the stand-in for an image registry keeps one."""
    return workshop.folder / "images" / digest
