"""
The folder that `adloom generate` fills: creatives.jsonl line by whole line, everything else in one move.

Knows nothing of channels or HTML.
Whatever stops a run (a full disk, Ctrl-C, a kill), what stands in the folder is valid.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Record = dict[str, Any]
"""One line of creatives.jsonl: `Creative.as_dict()` with "images" and "product" beside it."""


class RunFolderError(ValueError):
    """The folder cannot take this run; the message says what to do about it."""


class RunFolder:
    """Names and readers of what one run leaves behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.creatives = path / "creatives.jsonl"
        self.rejected = path / "rejected.jsonl"
        self.summary = path / "summary.json"
        self.gallery = path / "index.html"
        self.pictures = path / "pictures"

    def prepare(self) -> None:
        """Make the folder and prove that it can be written to, before a model is loaded for it. Raises OSError."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".probe-", suffix=".tmp", dir=self.path)
        os.close(descriptor)
        Path(name).unlink()

    def has_creatives(self) -> bool:
        """Whether an earlier run left anything that a new one would mix with."""
        return self.creatives.exists() and self.creatives.stat().st_size > 0

    def set_aside(self) -> Path | None:
        """Move an earlier creatives.jsonl out of the way, losing nothing; where it went, or None."""
        if not self.has_creatives():
            return None
        number = 1
        while (target := self.path / f"creatives.{number}.jsonl").exists():
            number += 1
        self.creatives.rename(target)
        return target

    def clear(self) -> None:
        """Delete what a run makes, by name: the folder may hold other people's files."""
        for file in (self.creatives, self.rejected, self.summary, self.gallery):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.pictures, ignore_errors=True)

    def records(self) -> list[Record]:
        """Every whole line so far, in order. Raises RunFolderError naming a line that is not ours."""
        found: list[Record] = []
        if not self.creatives.exists():
            return found
        for number, line in enumerate(self.creatives.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break  # half a line: a kill in mid-write; WholeLines cuts it off
            found.append(self._record(line, number))
        return found

    def _record(self, line: bytes, number: int) -> Record:
        try:
            record: Record = json.loads(line)
            known = all(isinstance(record[key], str) for key in ("id", "sku", "channel"))
        except (ValueError, KeyError, TypeError):
            record, known = {}, False
        if not known:
            advice = "move the file away, or choose another --out"
            raise RunFolderError(f"{self.creatives}, line {number}: not a creative; {advice}")
        return record


class WholeLines:
    """
    An append-only JSON Lines file that never keeps half a line.

    Opening cuts off half a line that an earlier kill left, and locks the file: two runs in one folder would mix.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._size_bytes = 0

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock()
            self._size_bytes = self._cut_off_half_line()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line whole, or none of it. Raises OSError, for instance when the disk is full."""
        rest = memoryview(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        size_bytes = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BaseException:
            # A full disk takes the front of a line before it refuses; Ctrl-C may fall between two writes.
            os.ftruncate(self._descriptor, self._size_bytes)
            os.lseek(self._descriptor, self._size_bytes, os.SEEK_SET)
            raise
        self._size_bytes += size_bytes

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"{self._path}: another run is writing here; choose another --out") from None

    def _cut_off_half_line(self) -> int:
        content = self._path.read_bytes()
        whole_bytes = content.rfind(b"\n") + 1
        os.ftruncate(self._descriptor, whole_bytes)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        return whole_bytes


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one move: readers see the old file or the new one, never a part. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def json_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """JSON Lines, one line a record."""
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
