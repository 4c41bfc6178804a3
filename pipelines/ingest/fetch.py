"""
A source's present content in a local file, and what has to be remembered to ask for less the next time.

Knows no rows. A file is used where it is, an object of S3 and the pages of an API are copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from model.store.objects import ObjectMissingError, ObjectStore, ObjectStoreDownError
from pipelines.ingest.paged_api import (
    Patience,
    SourceAnswerError,
    SourceDownError,
    fetch_pages,
    first_address,
)
from pipelines.ingest.sources import Source

SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".tsv", ".txt")
"""Of what counts as an export in a folder."""
BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """What was remembered of the last time; empty where there was none."""

    etag: str = ""
    address: str = ""
    """Whose ETag it is."""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source gave."""

    path: Path | None
    """None where the source says that nothing has changed."""
    digest: str
    """sha256 of the content, hex; of an answer without content, of what it refers to."""
    memory: Memory
    is_increment: bool = False
    """Whether it holds changes to the last catalogue and no catalogue."""
    items: int = 0


def fetch(
    source: Source, folder: Path, memory: Memory, environment: Mapping[str, str], patience: Patience | None = None
) -> Fetched:
    """
    Fetch it into `folder`. Raises SourceDownError, SourceAnswerError, or OSError for a local file.

    `environment` holds the token of a source that names a variable for it.
    """
    if source.kind == "api":
        return _from_api(source, folder, memory, environment, patience)
    path = _object(source, folder) if source.url.startswith("s3://") else _local(source)
    return Fetched(path, _digest(path), Memory())


def _from_api(
    source: Source, folder: Path, memory: Memory, environment: Mapping[str, str], patience: Patience | None
) -> Fetched:
    token = environment.get(source.token_variable, "") if source.token_variable else ""
    if source.token_variable and not token:
        raise SourceAnswerError(f"source {source.name} needs its token in the variable {source.token_variable}")
    address = first_address(source, memory.since)
    etag = memory.etag if memory.address == address else ""
    path = folder / "items.jsonl"
    pages = fetch_pages(source, path, since=memory.since, etag=etag, token=token, patience=patience)
    if pages.is_unchanged:
        digest = hashlib.sha256(f"{address}\n{etag}".encode()).hexdigest()
        return Fetched(None, digest, memory, is_increment=source.updated_since is not None)
    seen = Memory(pages.etag, address, pages.since)
    return Fetched(path, pages.digest, seen, is_increment=source.updated_since is not None, items=pages.items)


def _object(source: Source, folder: Path) -> Path:
    address = urlsplit(source.url)
    key = address.path.lstrip("/")
    path = folder / f"object{Path(key).suffix}"
    try:
        ObjectStore(f"s3://{address.netloc}").get_file(key, path)
    except ObjectMissingError:
        raise SourceAnswerError(f"source {source.name}: the bucket has no object with this key") from None
    except ObjectStoreDownError as error:
        reason = str(error).replace("the object store cannot be used", "its bucket cannot be read")
        raise SourceDownError(f"source {source.name}: {reason}") from None
    return path


def _local(source: Source) -> Path:
    path = Path(source.url)
    if not path.is_dir():
        return path
    exports = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
    if not exports:
        raise SourceAnswerError(f"source {source.name}: there is no export in its folder ({', '.join(SUFFIXES)})")
    return exports[-1]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
