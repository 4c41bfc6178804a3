"""
The servers that `adloom overhead` compares: the whole service around a writer that answers at once, and bare FastAPI.

Run as a process of its own: `python -m app.overhead_servers service|bare|null FOLDER`; SIGUSR1 samples its stacks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from app.main import create_app
from app.openapi import CREATIVE_EXAMPLE, CREATIVES_EXAMPLE
from app.request_log import configure_logging
from app.schemas import CreativesRequest
from app.serve import keep_for_good, listen, new_server, share_interpreter
from app.settings import Settings
from model.channel import ChannelSpec
from model.creative import Copy, Creative, Passport, creative_id
from model.product import Product
from model.tally import EngineCounts
from model.tickets import Watch

PROFILE = "profile.json"
PROFILE_SECONDS = 3.0
SAMPLE_SECONDS = 0.002
SHOWN = 15
OURS = ("app", "model")
LIMIT = "100000000/minute"
"""Counted like any other limit, and never met."""


@dataclass(frozen=True, slots=True)
class StubBundle:
    """What the service reads of a bundle."""

    digest: str = hashlib.sha256(b"stub").hexdigest()
    manifest: None = None


class StubWriter:
    """Answers at once with the documented words, under an id and a passport of the request's own."""

    def __init__(self) -> None:
        self.bundle = StubBundle()
        self.counts = EngineCounts()
        self.queued = 0
        self.alive = True
        shown = CREATIVE_EXAMPLE
        self._words = Copy(
            tuple(shown["headlines"]), tuple(shown["descriptions"]), shown["call_to_action"], tuple(shown["hashtags"])
        )

    def write(
        self,
        product: Product,
        spec: ChannelSpec,
        *,
        voice: str,
        candidates: int,
        seed: int,
        interactive: bool,  # noqa: ARG002 -- as the service calls it
        cancelled: Callable[[], bool],  # noqa: ARG002 -- as above
        watch: Watch,  # noqa: ARG002 -- as above
    ) -> tuple[Creative, ...]:
        """One creative: what is measured is what the service does around it."""
        passport = Passport(
            bundle_digest=self.bundle.digest,
            prompt_digest=self.bundle.digest,
            product_digest=product.digest(),
            seed=seed,
            voice=voice,
            candidates=candidates,
            decoding=CREATIVE_EXAMPLE["passport"]["decoding"],
            validity_version="stub",
        )
        identity = creative_id(product.sku, spec.name, self._words, passport)
        return (Creative(identity, product.sku, spec.name, self._words, 1.0, (), passport),)


def main(kind: str, folder: Path) -> None:
    """Serve on a free port, which is the first line of standard output, until SIGTERM."""
    listener = listen("127.0.0.1", 0)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    if kind == "null":
        asyncio.run(_serve_null(listener))
        return
    settings = settings_in(folder)
    app = create_app(settings, writer=StubWriter()) if kind == "service" else _bare_app()
    configure_logging()
    sampler = _Sampler(folder / PROFILE)
    signal.signal(signal.SIGUSR1, sampler.start)
    keep_for_good()
    share_interpreter()
    new_server(app, settings).run(sockets=[listener])


def settings_in(folder: Path) -> Settings:
    """Of a service whose stores lie in `folder`."""
    return Settings(
        database_url=f"sqlite:///{folder / 'adloom.db'}",
        objects_url=str(folder / "objects"),
        issuer_key=folder / "issuer.pem",
        limit_default=LIMIT,
        queue_depth_max=256,
    )


def _bare_app() -> FastAPI:
    """The same body, read by the same model, and an answer of the same size; nothing else."""
    app = FastAPI()

    @app.post("/v1/creatives")
    async def write_creatives(order: CreativesRequest) -> JSONResponse:  # noqa: ARG001 -- reading it is the point
        return JSONResponse(CREATIVES_EXAMPLE)

    return app


class _Null(asyncio.Protocol):
    """Answers whatever arrives with the same bytes: as fast as a server in Python can be."""

    _body = json.dumps(CREATIVES_EXAMPLE).encode()
    _answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(_body), _body)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 -- a request is small and comes in one piece
        self._transport.write(self._answer)


async def _serve_null(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Null, sock=listener)
    await server.serve_forever()


class _Sampler:
    """
    Looks at the stacks of all threads whenever the process has worked for some milliseconds, and counts where they are.

    A thread that waits is not counted, so the shares are of work and not of time. A timer of CPU time interrupts the
    main thread; a thread of its own would see the others only where they let go of the interpreter's lock.
    """

    IDLE = frozenset({"Condition.wait", "Runner.run", "EpollSelector.select", "_worker"})

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts = {name: Counter[str]() for name in ("threads", "packages", "functions")}
        self._samples = 0
        self._ends_at_seconds = 0.0

    def start(self, *_: object) -> None:
        """Signal handler."""
        self._ends_at_seconds = time.monotonic() + PROFILE_SECONDS
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def _sample(self, _signal: int, interrupted: FrameType | None) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        frames = {**sys._current_frames(), threading.get_ident(): interrupted}  # noqa: SLF001 -- no other way to it
        for ident, frame in frames.items():
            if frame is None or frame.f_code.co_qualname in self.IDLE:
                continue
            self._samples += 1
            self._counts["threads"][names.get(ident, "?").rstrip("0123456789-_")] += 1
            self._counts["packages"][_package(frame)] += 1
            self._counts["functions"].update(_functions(frame))
        if time.monotonic() > self._ends_at_seconds:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._write()

    def _write(self) -> None:
        shares = {name: _shares(each, self._samples) for name, each in self._counts.items()}
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps({"samples": self._samples, **shares}), encoding="utf-8")
        partial.replace(self._path)


def _package(frame: FrameType) -> str:
    """Whose code it is in."""
    parts = Path(frame.f_code.co_filename).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return next((room for room in OURS if room in parts), "python")


def _functions(frame: FrameType | None) -> set[str]:
    """Each function of ours in a stack, once, however often it stands in it."""
    found: set[str] = set()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if _package(frame) in OURS and path.stem != Path(__file__).stem:
            found.add(f"{path.parent.name}/{path.stem}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found


def _shares(counted: Counter[str], samples: int) -> dict[str, float]:
    return {name: round(count / max(1, samples), 4) for name, count in counted.most_common(SHOWN)}


def read_profile(folder: Path) -> dict[str, Any] | None:
    """What the sampler wrote; None where it has not finished."""
    path = folder / PROFILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
