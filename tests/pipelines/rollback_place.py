"""Three deploys of three champions to dev, and a service that serves what a test says: where rollbacks are tried."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from model.ledger import LEDGER, Ledger
from model.promotion import Asked, open_both, promote
from model.registration import register
from model.registry import CHAMPION, open_registry
from model.submission import read_submission
from pipelines.deployment import Order, deploy, deployed, image_from, want_model, wanted_model
from tests.pipelines.gitops_place import image, repository
from tests.pipelines.versions import empty_bundle
from tests.registrations import COMMIT, fresh_registry, hand_in

ASKED = Asked("promote", "Ada", "better")


@dataclass
class RollbackPlace:
    """One test's own."""

    folder: Path
    service: str
    version: dict[str, str]
    """What the service answers; a test changes it."""

    def __post_init__(self) -> None:
        self.registry, self.bare = self.folder / "registry", self.folder / "gitops.git"

    def arguments(self, *more: str) -> list[str]:
        """Of `adloom rollback` for dev."""
        where = ["--repository", str(self.bare), "--registry", str(self.registry), "--service", self.service]
        return ["--env", "dev", "--why", "odd ads", "--who", "Ada", *where, *more]

    def promote(self, number: int) -> None:
        registry, ledger = open_both(self.registry)
        promote(registry, ledger, ASKED, version=number, without_gate="a test")

    def release(self, number: int, environment: str = "dev", model: int | None = None, force: str = "a test") -> str:
        """The image of that number, holding the model of that number unless told otherwise."""
        order = Order(environment, image_from(image(number)), model or number, "Because.", force)
        return deploy(str(self.bare), order).commit

    def want(self, number: int) -> None:
        want_model(str(self.bare), number, open_registry(self.registry).version(number).bundle, "Champion.")

    def serve(self, number: int) -> None:
        self.version |= {"registry_version": str(number), "image_digest": image_from(image(number)).digest}

    @property
    def git(self) -> int:
        return int(deployed(str(self.bare), "dev").values["MODEL_VERSION"])

    @property
    def wanted(self) -> str:
        return wanted_model(str(self.bare))["MODEL_VERSION"]

    @property
    def champion(self) -> int:
        found = open_registry(self.registry).aliased(CHAMPION)
        assert found is not None
        return found.number

    @property
    def lines(self) -> list[tuple[str, str, int | None, int | None]]:
        """The ledger from the first line that is no promotion."""
        every = [(one.action, one.state, one.source, one.target) for one in Ledger(self.registry / LEDGER).entries()]
        return [one for one in every if one[0] != "promote"]


def three_deploys(folder: Path) -> Path:
    """A folder where 1, 2 and 3 were promoted, wanted and deployed in turn; it takes seconds, and is to be copied."""
    made = fresh_registry(folder / "registry")
    place = RollbackPlace(folder, "", {})
    repository(folder)
    for number in (1, 2, 3):
        bundle = empty_bundle(folder / f"bundle-{number}")
        scores, certificate = hand_in(bundle, folder / f"reports-{number}")
        submission = read_submission(bundle.folder, scores=scores, certificate=certificate, run=None)
        register(made, submission, lambda _line: None, git_commit=COMMIT)
        place.promote(number)
        place.want(number)
        place.release(number)
    return folder


@contextmanager
def answering_service() -> Iterator[tuple[str, dict[str, str]]]:
    """A stand-in for the service: /version and nothing else."""
    version: dict[str, str] = {"registry_version": "", "image_digest": ""}

    class Version(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(version).encode()
            self.send_response(200 if self.path == "/version" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Version)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", version
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
