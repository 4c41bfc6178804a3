"""When Git, the promotion ledger and the service disagree, and when nobody can tell: one metric of the exporter."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.exporter_sources import DIVERGENCE, all_sources
from app.exporter_truth import GitFile, TruthError, git_says, service_says
from model.truth import Side, comparable, disagreements, git_side, served_side
from tests.app.exporter_stores import Stores, answering_version

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ZEROS = "sha256:" + "0" * 64


def model_env(version: object, digest: str = DIGEST) -> str:
    return f"# What dev runs\nIMAGE=0.1.0@{digest}\nMODEL_VERSION={version}\n"


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path)


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, str]]]:
    with answering_version() as found:
        yield found


def told(stores: Stores, service: str = "", git: GitFile | None = None) -> list[float]:
    readings = all_sources(stores.database, stores.ledger_path, service, git=git)["truth"]()
    assert {reading.metric for reading in readings} <= {DIVERGENCE}
    return [reading.value for reading in readings]


@pytest.mark.parametrize(
    ("git", "ledger", "served", "expected"),
    [
        (7, 7, "7", [0]),
        (7, 7, "8", [1]),
        (7, 8, "7", [1]),
        (8, 7, "7", [1]),
        (7, 7, "", [0]),
        (7, 8, "", [1]),
        (None, 7, "7", [0]),
        (None, 7, "8", [1]),
        (7, None, "7", [0]),
        (7, None, "8", [1]),
        (0, 7, "7", [0]),
        (0, None, "7", []),
        (7, None, "", []),
        (None, 7, "", []),
        (None, None, "7", []),
    ],
)
def test_any_two_known_sides_that_disagree_are_told_and_one_alone_proves_nothing(
    stores: Stores,
    service: tuple[str, dict[str, str]],
    tmp_path: Path,
    git: int | None,
    ledger: int | None,
    served: str,
    expected: list[float],
) -> None:
    address, version = service
    version["registry_version"] = served
    if ledger is not None:
        stores.promote(ledger)
    path = tmp_path / "model.env"
    if git is not None:
        path.write_text(model_env(git, DIGEST if git else ZEROS))

    assert told(stores, address, GitFile(path.as_uri())) == expected


@pytest.mark.parametrize(("image", "expected"), [(DIGEST, [0]), (DIGEST[7:], [0]), (OTHER, [1]), ("", [0])])
def test_the_same_model_in_another_image_is_a_disagreement_too(
    stores: Stores, service: tuple[str, dict[str, str]], tmp_path: Path, image: str, expected: list[float]
) -> None:
    address, version = service
    version |= {"registry_version": "7", "image_digest": image}
    (tmp_path / "model.env").write_text(model_env(7))

    assert told(stores, address, GitFile((tmp_path / "model.env").as_uri())) == expected


def test_a_service_that_does_not_answer_hides_no_disagreement_of_the_others(stores: Stores, tmp_path: Path) -> None:
    stores.promote(8)
    (tmp_path / "model.env").write_text(model_env(7))
    sources = all_sources(
        stores.database, stores.ledger_path, "http://127.0.0.1:9", git=GitFile((tmp_path / "model.env").as_uri())
    )

    assert [reading.value for reading in sources["truth"]()] == [1]
    with pytest.raises(OSError, match="refused"):
        sources["service"]()
    assert sources["git"]() == []


def test_a_ledger_changed_by_hand_is_unknown(stores: Stores, tmp_path: Path) -> None:
    stores.ledger_path.write_bytes(b"{}\n")
    (tmp_path / "model.env").write_text(model_env(7))

    assert told(stores, git=GitFile((tmp_path / "model.env").as_uri())) == []


def test_without_service_and_git_nobody_is_asked(stores: Stores) -> None:
    assert not {"truth", "git", "service"} & set(all_sources(stores.database, stores.ledger_path, ""))


@contextlib.contextmanager
def answering(status: int, content: bytes, location: str = "") -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A stand-in for the address of a raw file; and the headers that it was asked with."""
    asked: list[dict[str, str]] = []

    class Raw(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(dict(self.headers))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Raw)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/raw", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_git_is_read_over_http_with_the_token_of_the_moment(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    with answering(200, model_env(7).encode()) as (address, asked):
        said = git_says(GitFile(address, token))
        token.write_text("second\n")
        git_says(GitFile(address, token))
        git_says(GitFile(address))

    assert said == Side("Git", 7, DIGEST)
    assert [each.get("Authorization") for each in asked] == ["Bearer first", "Bearer second", None]
    assert "raw" in asked[0]["Accept"]


def test_a_token_follows_no_redirect(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    with (
        answering(200, model_env(7).encode()) as (elsewhere, asked),
        answering(302, b"", elsewhere) as (address, _),
        pytest.raises(OSError, match="302"),
    ):
        git_says(GitFile(address, tmp_path / "token"))

    assert asked == []


@pytest.mark.parametrize(("status", "content"), [(404, b"none"), (500, b"")])
def test_an_address_that_answers_with_an_error_is_an_error(status: int, content: bytes) -> None:
    with answering(status, content) as (address, _), pytest.raises(OSError, match=str(status)):
        git_says(GitFile(address))


@pytest.mark.parametrize("content", [b"<html>sign in</html>", b"\xff\xfe", b""])
def test_what_is_no_model_env_is_no_side(content: bytes) -> None:
    with answering(200, content) as (address, _), pytest.raises(TruthError, match=r"address of model\.env"):
        git_says(GitFile(address))


@pytest.mark.parametrize("content", [b"hello", b"[]", b"[" * 5000])
def test_what_is_no_version_is_no_side(content: bytes) -> None:
    with answering(200, content) as (address, _), pytest.raises(TruthError, match="is no JSON"):
        service_says(address)


@pytest.mark.parametrize(
    ("side", "words"),
    [
        (git_side(model_env(7)), "model 7, image aaaaaaaaaaaa"),
        (git_side(model_env(0, ZEROS)), "unknown: nothing was ever deployed here"),
        (served_side("7"), "model 7"),
        (served_side("", ""), "unknown: it says no version"),
        (served_side("seven", DIGEST), "image aaaaaaaaaaaa"),
    ],
)
def test_a_side_says_what_it_knows(side: Side, words: str) -> None:
    assert str(side) == words


def test_each_two_that_disagree_are_named() -> None:
    sides = [Side("Git", 7), Side("ledger", 8), Side("service", 7)]

    assert disagreements(sides) == (
        "Git says model 7, ledger says model 8",
        "ledger says model 8, service says model 7",
    )
    assert not comparable([Side("Git", 7), Side("service", None, DIGEST)])
    assert comparable([Side("Git", 7), Side("service", 7)])
