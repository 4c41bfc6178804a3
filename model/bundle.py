"""
What a published model is: a folder of files, the sha256 of each, and the facts a passport needs.

Nothing is loaded before every file is verified.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFEST = "bundle.json"
FORMAT = 1
FILES = ("config.json", "model.onnx", "model.onnx.data", "prompt.json", "tokenizer.json")
"""What serving needs. Others (Optimum's generation_config.json) may be listed too and are verified alike."""


class BundleError(ValueError):
    """A bundle is missing, incomplete, altered or of another format; the message names the file."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """bundle.json. Its digest covers everything but `built_with`, which records where and how it was made."""

    name: str
    base: str
    """Where the weights came from, with their sha256 when they are a file."""
    scheme: str
    """Quantization scheme, see training/quantize.py."""
    prompt_digest: str
    files: Mapping[str, FileEntry]
    measured: Mapping[str, float]
    """What quantization cost, from training/certificate."""
    built_with: Mapping[str, str]
    dataset_digest: str = ""
    """sha256 of the training pairs, where they are known: of the same weights, so no part of the digest."""

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"format": FORMAT, **asdict(self)}

    def digest(self) -> str:
        """sha256, hex: equal for equal weights, prompt and scheme wherever they were built."""
        identity = [FORMAT, self.name, self.base, self.scheme, self.prompt_digest]
        entries = sorted((name, entry.sha256) for name, entry in self.files.items())
        return hashlib.sha256(json.dumps([identity, entries]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk."""

    folder: Path
    manifest: Manifest
    digest: str


def open_bundle(folder: Path) -> Bundle:
    """Read the manifest and verify every file against it. Raises BundleError."""
    manifest = _read_manifest(folder)
    for name, entry in manifest.files.items():
        _verify(folder / name, entry)
    return Bundle(folder, manifest, manifest.digest())


def seal(
    folder: Path,
    *,
    name: str,
    base: str,
    scheme: str,
    prompt_digest: str,
    measured: Mapping[str, float],
    built_with: Mapping[str, str],
    dataset_digest: str = "",
) -> Bundle:
    """Write bundle.json over the files that lie in `folder`."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
    missing = sorted(set(FILES) - set(names))
    if missing:
        raise BundleError(f"{folder} lacks {', '.join(missing)}")
    entries = {item: FileEntry(file_sha256(folder / item), (folder / item).stat().st_size) for item in names}
    manifest = Manifest(name, base, scheme, prompt_digest, entries, dict(measured), dict(built_with), dataset_digest)
    text = json.dumps(manifest.as_dict(), indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return Bundle(folder, manifest, manifest.digest())


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"no bundle at {folder}: {MANIFEST} is missing; build one with `make bundle`")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table.pop("format") != FORMAT:
            raise BundleError(f"{path} has another format than {FORMAT}; build the bundle again with `make bundle`")
        table["files"] = {name: FileEntry(**entry) for name, entry in table["files"].items()}
        manifest = Manifest(**table)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} is not a bundle manifest ({error}); build it again with `make bundle`") from error
    if missing := sorted(set(FILES) - set(manifest.files)):
        raise BundleError(f"{path} does not list {', '.join(missing)}; build it again with `make bundle`")
    if strays := [name for name in manifest.files if Path(name).name != name]:
        raise BundleError(f"{path} lists a file outside its folder: {strays[0]}")
    return manifest


def _verify(path: Path, entry: FileEntry) -> None:
    if not path.is_file():
        raise BundleError(f"bundle file {path} is missing; build it again with `make bundle`")
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(f"bundle file {path} has {size} bytes instead of {entry.bytes}; build it again")
    if file_sha256(path) != entry.sha256:
        raise BundleError(f"bundle file {path} does not match its sha256; build it again with `make bundle`")
