"""
One engine in a process of its own, and the handle that asks it: JSON lines on standard input and output.

Knows no engine by name: it imports what it is told to. Run by benchmark.py as `python -m model.training.bench_worker`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TextIO

from model.training.peers import Answer, Peer, Setup, resolve

CLOSE_SECONDS = 5.0


class WorkerError(RuntimeError):
    """The worker raised, died or gave no answer in time; the message says which, and the last line of its log."""


class Worker:
    """
    The parent's end. Use it as a context manager; whatever happened, the process is gone afterwards.

    `limit_seconds` is the longest that one answer may take. What the worker's libraries print goes to `log`.
    """

    def __init__(self, log: Path, limit_seconds: float, settings: Mapping[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._limit_seconds = log, limit_seconds
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        self.started = time.perf_counter()
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "model.training.bench_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": path, **(settings or {})},
            )
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, **message: Any) -> dict[str, Any]:
        """Send one message and wait for its answer. Raises WorkerError; after it, close the worker."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **message}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._epitaph()) from None
        answer: dict[str, Any] = json.loads(self._line())
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process: at the end of its input it leaves by itself, else it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(CLOSE_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        end = time.monotonic() + self._limit_seconds
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self._process.kill()
                raise WorkerError(f"gave no answer in {self._limit_seconds:.0f} s")
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                raise WorkerError(self._epitaph())
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _epitaph(self) -> str:
        status = self._process.wait()
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"left with status {status}"
        last = [line.strip() for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines() if line]
        return f"its process {how}{f': {last[-1]}' if last else ''}"


def main() -> int:
    """Answer messages until standard input ends."""
    channel = _private_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends its workers itself
    session = _Session()
    for line in sys.stdin:
        message = json.loads(line)
        try:
            answer = session.answer(message.pop("do"), message)
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; the parent reports it
            words = " ".join(str(error).split()) or "no message"
            answer = {"error": f"{type(error).__name__}: {words[:500]}"}
        print(json.dumps(answer), file=channel, flush=True)
    return 0


class _Session:
    """What a worker has opened."""

    def __init__(self) -> None:
        self._peer: Peer | None = None
        self._last: tuple[float, float] | None = None
        """Clock and processor seconds at the end of the last answer."""

    def answer(self, do: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """One message's answer."""
        if do == "call":
            return {"returned": resolve(message["function"])(*message["arguments"])}
        if do == "open":
            self._peer = resolve(message["opener"])(Setup(**message["setup"]))
            return {}
        assert self._peer is not None
        if do == "reserve":
            self._peer.reserve(message["rows"], message["capacity"])
            _forget_peak_memory()
            return {}
        idle = self._idle_share()
        answers = timed(self._peer.write, message["prompts"], message["tokens"])
        self._last = (time.perf_counter(), time.process_time())
        return {**answers, "idle_cpu_share": idle, "peak_bytes": _peak_memory_bytes()}

    def _idle_share(self) -> float:
        """Cores that this process kept busy since its last answer, when it had nothing to do."""
        if self._last is None:
            return 0.0
        wall, cpu = self._last
        return (time.process_time() - cpu) / max(1e-9, time.perf_counter() - wall)


def timed(
    write: Callable[[Sequence[Sequence[int]], int], list[Answer]], prompts: Sequence[Sequence[int]], tokens: int
) -> dict[str, Any]:
    """Run one group; raises RuntimeError where an answer has another length than asked for: not comparable."""
    start = time.perf_counter()
    answers = write(prompts, tokens)
    seconds = time.perf_counter() - start
    if lengths := sorted({len(answer.ids) for answer in answers} - {tokens}):
        raise RuntimeError(f"an answer has {lengths[0]} tokens instead of {tokens}")
    if len(answers) != len(prompts):
        raise RuntimeError(f"{len(answers)} answers to {len(prompts)} prompts")
    return {"seconds": seconds, "answers": [asdict(answer) for answer in answers]}


def _private_stdout() -> TextIO:
    """Standard output for us alone: what a library prints there goes to standard error from now on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _forget_peak_memory() -> None:
    """Let the kernel's high-water mark begin anew; where it may not, peaks are those since the process began."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_memory_bytes() -> int:
    """Most memory this process held, mapped files included. Not getrusage: that inherits the parent's mark on Linux."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, the only other system this runs on


if __name__ == "__main__":
    raise SystemExit(main())
