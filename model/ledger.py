"""
The promotion ledger: one JSON line an event, each holding the digest of the line before it.

Lines are only ever added, under a lock and forced to disk. Knows no MLflow; `promotion` decides what is written.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

LEDGER = "ledger.jsonl"
"""In the registry's folder."""
DEFAULT_FOLDER = Path(".adloom/registry")
REGISTRY_VARIABLE = "ADLOOM_REGISTRY"
"""Names another folder, for every command and every step of the pipelines."""
FORM = 1
FIRST = "0" * 64
"""What the first line holds in place of a digest."""
WAIT_SECONDS = 30.0
"""A promotion holds the lock for a second or two; who waits longer has met a process that hangs."""
POLL_SECONDS = 0.05

Action = Literal["promote", "rollback", "reversal", "refused", "mended"]
"""A reversal takes one environment back, in Git, registry and service; the move of the alias in it is a rollback."""
MOVES = ("promote", "rollback")
"""What moves the alias."""
State = Literal["intent", "done", "undone"]


class LedgerError(RuntimeError):
    """The ledger cannot be read or written, or was changed by hand; the message names the line."""


def registry_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where ledger and registry are unless an option says otherwise; an empty variable names nothing."""
    return Path(environ.get(REGISTRY_VARIABLE) or DEFAULT_FOLDER)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    action: Action
    state: State
    """intent before the alias moves, done after it; undone where it turned out not to have moved."""
    attempt: str
    """The same on an intent and on the line that settles it."""
    who: str
    why: str
    source: int | None
    """Champion before; None where there was none. "from" in the file."""
    target: int | None
    """Champion after, or asked for. "to" in the file."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Mean scores of both versions."""
    verdict: Mapping[str, Any] | None = None
    """What the gate said; None where it was not asked."""
    note: str = ""
    """Why it was refused, or what the program itself has to add."""
    git: Mapping[str, str] = field(default_factory=dict)
    """Of a reversal: the environment, and the commits of the GitOps repository that it goes "from" and "to"."""
    time: str = ""
    """UTC, ISO 8601; set by `append`."""
    previous: str = FIRST
    """sha256 of the line before this one; set by `append`."""

    def as_dict(self) -> dict[str, Any]:
        """JSON form, in the order of the file."""
        return {
            "form": FORM,
            "time": self.time,
            "who": self.who,
            "action": self.action,
            "state": self.state,
            "attempt": self.attempt,
            "from": self.source,
            "to": self.target,
            "why": self.why,
            "note": self.note,
            "scores": dict(self.scores),
            "verdict": self.verdict,
            **({"git": dict(self.git)} if self.git else {}),
            "previous": self.previous,
        }


class Ledger:
    """A ledger on disk. Reading needs no lock; writing happens inside `locked`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> tuple[Entry, ...]:
        """Every whole line, the chain checked. Raises LedgerError naming the first line that does not fit."""
        found: list[Entry] = []
        previous = FIRST
        for number, line in enumerate(_whole_lines(self._bytes()), start=1):
            entry = _entry(line, f"{self.path}, line {number}")
            if entry.previous != previous:
                raise LedgerError(
                    f"{self.path}, line {number} does not follow the line before it: a line was edited, cut out or "
                    "put in by hand; restore the file from a copy"
                )
            found.append(entry)
            previous = _digest(line)
        return tuple(found)

    def heads(self) -> tuple[str, ...]:
        """The digest of every line, oldest first. A head that was seen elsewhere has to be among them."""
        return tuple(_digest(line) for line in _whole_lines(self._bytes()))

    @contextmanager
    def locked(self, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Nobody else writes meanwhile. Raises LedgerError where another process does not let go."""
        with exclusive(self.path.with_suffix(".lock"), wait_seconds):
            yield

    def append(self, entry: Entry) -> Entry:
        """
        Add a line and force it to disk; returns it as it stands there. Call it inside `locked`.

        Where the disk is full nothing stays behind. A line that a kill cut short is taken off first, and said so.
        Nothing is added to a ledger that was changed by hand.
        """
        self.entries()
        torn = self._torn()
        if torn:
            os.truncate(self.path, self.path.stat().st_size - len(torn))
            what = f"took off {len(torn)} bytes of a line cut short, sha256 {hashlib.sha256(torn).hexdigest()}"
            self._write(Entry("mended", "done", new_attempt(), entry.who, what, None, None))
        return self._write(entry)

    def _write(self, entry: Entry) -> Entry:
        heads = self.heads()
        table = entry.as_dict() | {"time": _now(), "previous": heads[-1] if heads else FIRST}
        # Line separators that only some programs honour must not cut a line in two: ASCII alone.
        line = json.dumps(table, sort_keys=False, allow_nan=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))  # noqa: TRY301 - undone below
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        _sync_folder(self.path.parent)
        return _entry(line, str(self.path))

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def _torn(self) -> bytes:
        return self._bytes().rpartition(b"\n")[2]


def new_attempt() -> str:
    """A name for one attempt, told to nobody before."""
    return uuid.uuid4().hex[:12]


def unfinished(entries: Sequence[Entry]) -> Entry | None:
    """The intent to move the alias that nothing settled yet, if there is one."""
    return next((entry for entry in _open(entries) if entry.action in MOVES), None)


def unfinished_reversal(entries: Sequence[Entry], environment: str) -> Entry | None:
    """The reversal of an environment that was begun and not brought to its end."""
    of_ours = (entry for entry in _open(entries) if entry.action == "reversal")
    return next((entry for entry in of_ours if entry.git.get("environment") == environment), None)


def champions(entries: Sequence[Entry]) -> tuple[int, ...]:
    """
    The champions that a rollback can return through, the present one last.

    A promotion adds its version. A rollback takes off whatever stands after the version that it returns to, so that a
    second rollback goes further back and never forth again. A rollback to a version that was taken off adds it anew.
    """
    stack: list[int] = []
    for entry in entries:
        if entry.state != "done" or entry.target is None or entry.action not in MOVES:
            continue
        if entry.action == "rollback" and entry.target in stack:
            while stack[-1] != entry.target:
                stack.pop()
        else:
            stack.append(entry.target)
    return tuple(stack)


def ever_champions(entries: Sequence[Entry]) -> frozenset[int]:
    """Every version that has been champion."""
    return frozenset(
        entry.target
        for entry in entries
        if entry.state == "done" and entry.target is not None and entry.action in MOVES
    )


@contextmanager
def exclusive(path: Path, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends. Raises LedgerError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with path.open("a+b") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LedgerError(
                        f"another process holds {path} for more than {wait_seconds:g} s; let it end and try again"
                    ) from None
                time.sleep(POLL_SECONDS)
        yield


def _open(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Intents without a line that settles them, the newest first."""
    settled = {entry.attempt for entry in entries if entry.state != "intent"}
    return (entry for entry in reversed(entries) if entry.attempt not in settled)


def _whole_lines(content: bytes) -> list[bytes]:
    return content.split(b"\n")[:-1]


def _digest(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def _entry(line: bytes, where: str) -> Entry:
    try:
        table = json.loads(line)
        if table.pop("form") != FORM:
            raise LedgerError(f"{where} is of another form than {FORM}; use the version of Adloom that wrote it")
        return Entry(source=table.pop("from"), target=table.pop("to"), **table)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerError(f"{where} is no ledger line ({error}); restore the file from a copy") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _sync_folder(folder: Path) -> None:
    """A new file's name is on disk only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
