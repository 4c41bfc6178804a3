"""
What each place says is running: Git, registry, ledger and service; and where two of them disagree.

Reads none of them. Whoever asks hands in what was found, and an unknown side contradicts nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

NO_MODEL = 0
"""The version that a file holds before the first deploy."""
DIGEST_PREFIX = "sha256:"
DIGEST_CHARS = 12
"""How much of a digest a person is shown."""


@dataclass(frozen=True, slots=True)
class Side:
    """One place. Version None and an empty digest: it does not say."""

    name: str
    version: int | None = None
    image: str = ""
    """Digest of the image, with its sha256: prefix."""
    trouble: str = ""
    """Why nothing is known, for a person."""

    @property
    def is_known(self) -> bool:
        """Whether it says anything that can be compared."""
        return self.version is not None or bool(self.image)

    def __str__(self) -> str:
        if not self.is_known:
            return f"unknown{f': {self.trouble}' if self.trouble else ''}"
        image = f"image {self.image.removeprefix(DIGEST_PREFIX)[:DIGEST_CHARS]}" if self.image else ""
        version = f"model {self.version}" if self.version is not None else ""
        return ", ".join(part for part in (version, image) if part)


def read_values(text: str) -> dict[str, str]:
    """NAME=value lines; comments and empty ones are left out."""
    rows = (line.partition("=") for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in rows}


def model_number(text: str) -> int | None:
    """The registered model's version; None for what is none, or the placeholder before the first deploy."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return None
    return int(text) if int(text) != NO_MODEL else None


def git_side(text: str) -> Side:
    """What an environment's model.env tells it to run."""
    values = read_values(text)
    digest = values.get("IMAGE", "").partition("@")[2]
    has_image = digest.startswith(DIGEST_PREFIX) and set(digest.removeprefix(DIGEST_PREFIX)) != {"0"}
    version = model_number(values.get("MODEL_VERSION", ""))
    trouble = "" if version is not None or has_image else "nothing was ever deployed here"
    return Side("Git", version, digest if has_image else "", trouble)


def served_side(version: str, image: str = "") -> Side:
    """What a service's /version says; both may be empty, where it was started from a folder."""
    number = model_number(version)
    digest = f"{DIGEST_PREFIX}{image.removeprefix(DIGEST_PREFIX)}" if image else ""
    return Side("service", number, digest, "" if number or image else "it says no version")


def disagreements(sides: Sequence[Side]) -> tuple[str, ...]:
    """A sentence for each two sides that say different things; what only one of two says is no disagreement."""
    found = []
    for one, other in combinations(sides, 2):
        if None not in (one.version, other.version) and one.version != other.version:
            found.append(f"{one.name} says model {one.version}, {other.name} says model {other.version}")
        elif one.image and other.image and one.image != other.image:
            found.append(f"{one.name} and {other.name} say different images: {one}; {other}")
    return tuple(found)


def comparable(sides: Sequence[Side]) -> bool:
    """Whether at least two sides say something about the same thing: else nothing was proven."""
    versions = sum(side.version is not None for side in sides)
    images = sum(bool(side.image) for side in sides)
    return versions > 1 or images > 1
