"""What is deployed where, over HTTP: three sides, each found where it is; none holds the answer up, none leaks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import deployment, deployment_route
from app.deployment import KEPT_SECONDS, Deployment
from app.exporter_truth import ANSWER_BYTES_MAX, GitFile
from app.identity import CREATIVES_READ
from app.main import create_app
from app.settings import Settings
from model.ledger import Entry, Ledger
from model.store import model_versions
from model.store.model_versions import PromotionRow
from model.truth import Side, served_side
from tests.app.memory_client import bearer, parts_of, remembering
from tests.app.service_client import ServiceWriter, embedded

pytestmark = pytest.mark.anyio

TASK = "ad_writer"
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NOW = datetime(2026, 1, 15, tzinfo=UTC)
TOKEN = "ghs_t0ken"


def model_env(version: object, digest: str = DIGEST) -> bytes:
    return f"# What dev runs\nIMAGE=0.1.0@{digest}\nMODEL_VERSION={version}\n".encode()


class Raw:
    """A stand-in for the address of model.env, that answers what the test says, and counts."""

    def __init__(self) -> None:
        self.status, self.content, self.location = 200, model_env(8), ""
        self.drip_seconds = 0.0
        self.asked: list[str] = []

    @contextmanager
    def served(self) -> Iterator[str]:
        raw = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                raw.answer(self)

            def log_message(self, *_: object) -> None:
                """Silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/secret-place"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.headers.get("Authorization", ""))
        handler.send_response(self.status)
        if self.location:
            handler.send_header("Location", self.location)
        handler.send_header("Content-Length", str(len(self.content)))
        handler.end_headers()
        try:
            for byte in self.content if self.drip_seconds else ():
                handler.wfile.write(bytes([byte]))
                time.sleep(self.drip_seconds)
            if not self.drip_seconds:
                handler.wfile.write(self.content)
        except OSError:
            """Nobody reads any more."""


@pytest.fixture
def raw() -> Raw:
    return Raw()


@pytest.fixture
def address(raw: Raw) -> Iterator[str]:
    with raw.served() as found:
        yield found


def publish(client: httpx.AsyncClient, *moves: tuple[str, str, str]) -> None:
    """The ledger's lines (action, state, target), as the pipelines bring them."""
    lines = [
        PromotionRow(number, NOW, "ci", action, state, "", target, "", "")
        for number, (action, state, target) in enumerate(moves, start=1)
    ]
    with parts_of(client).database.begin() as connection:
        assert model_versions.replace(connection, TASK, 0, NOW, [], lines)


async def told(client: httpx.AsyncClient, service: Side, **changes: Any) -> dict[str, Any]:
    parts = parts_of(client)
    parts.deployment = Deployment(parts.database, TASK, service, **changes)
    answer = await client.get("/v1/deployment")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def git_of(found: dict[str, Any]) -> dict[str, str]:
    side: dict[str, str] = found["sides"][0]
    return side


ROUTERS = [deployment_route.router]


@pytest.mark.parametrize(
    ("git", "champion", "served", "agree", "differences"),
    [
        ("8", "8", "8", True, 0),
        ("8", "8", "7", False, 2),
        ("8", "7", "8", False, 2),
        ("7", "8", "9", False, 3),
        ("0", "8", "8", True, 0),
        ("8", "", "8", True, 0),
        ("8", "8", "", True, 0),
        ("0", "", "8", None, 0),
        ("0", "", "", None, 0),
    ],
)
async def test_any_two_that_say_something_agree_or_not_and_one_alone_proves_nothing(
    tmp_path: Path, git: str, champion: str, served: str, agree: bool | None, differences: int
) -> None:
    (tmp_path / "model.env").write_bytes(model_env(git, DIGEST if git != "0" else "sha256:" + "0" * 64))
    async with remembering(tmp_path, ROUTERS) as client:
        if champion:
            publish(client, ("promote", "done", champion))
        found = await told(client, served_side(served), git=GitFile((tmp_path / "model.env").as_uri()))

    assert [side["name"] for side in found["sides"]] == ["Git", "registry", "service"]
    assert [side["version"] for side in found["sides"]] == [git if git != "0" else "", champion, served]
    assert (found["agree"], len(found["disagreements"])) == (agree, differences)


@pytest.mark.parametrize(("image", "agree"), [(DIGEST, True), (OTHER, False), ("", True)])
async def test_the_same_model_in_another_image_is_a_disagreement(tmp_path: Path, image: str, agree: bool) -> None:
    (tmp_path / "model.env").write_bytes(model_env(8))
    async with remembering(tmp_path, ROUTERS) as client:
        found = await told(client, served_side("8", image), git=GitFile((tmp_path / "model.env").as_uri()))

    assert (git_of(found)["image"], found["sides"][2]["image"]) == (DIGEST, image)
    assert found["agree"] is agree


@pytest.mark.parametrize(
    ("moves", "champion"),
    [
        ([], ""),
        ([("promote", "intent", "7")], ""),
        ([("promote", "done", "7"), ("promote", "done", "8"), ("rollback", "done", "7")], "7"),
        ([("promote", "done", "7"), ("refused", "done", "8")], "7"),
    ],
)
async def test_the_champion_is_who_the_published_lines_say(
    tmp_path: Path, moves: list[tuple[str, str, str]], champion: str
) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        publish(client, *moves)
        side = (await told(client, served_side("")))["sides"][1]

    assert (side["version"], bool(side["trouble"])) == (champion, not champion)


async def test_a_ledger_that_is_named_comes_before_what_was_published_of_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append(Entry("promote", "done", "one", "test", "test", None, 9))
    async with remembering(tmp_path, ROUTERS) as client:
        publish(client, ("promote", "done", "8"))
        good = await told(client, served_side(""), ledger=path)
        path.write_bytes(b"{}\n")
        bad = await told(client, served_side(""), ledger=path)

    assert good["sides"][1]["version"] == "9"
    assert (bad["sides"][1]["version"], "changed by hand" in bad["sides"][1]["trouble"]) == ("", True)
    assert str(tmp_path) not in str(bad)


async def test_git_is_asked_once_in_half_a_minute_however_many_look_and_with_the_token_of_the_moment(
    tmp_path: Path, raw: Raw, address: str
) -> None:
    seconds = [0.0]
    token = tmp_path / "token"
    token.write_text("first\n")
    async with remembering(tmp_path, ROUTERS) as client:
        git = GitFile(address, token)
        first = await told(client, served_side(""), git=git, clock=lambda: seconds[0])
        await asyncio.gather(*(client.get("/v1/deployment") for _ in range(10)))
        token.write_text("second\n")
        seconds[0] = KEPT_SECONDS - 0.1
        await client.get("/v1/deployment")
        before = list(raw.asked)
        seconds[0] = KEPT_SECONDS
        await asyncio.gather(*(client.get("/v1/deployment") for _ in range(10)))

    assert git_of(first)["version"] == "8"
    assert before == ["Bearer first"]
    assert raw.asked == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("drip_seconds", [0.02, 60.0])
async def test_a_git_that_is_slow_is_given_up_and_holds_nobody_else_up(
    tmp_path: Path, raw: Raw, address: str, monkeypatch: pytest.MonkeyPatch, drip_seconds: float
) -> None:
    """A byte every 0.02 s is never silent, and would take half an hour."""
    raw.content, raw.drip_seconds = model_env(8) * 500, drip_seconds
    for seconds in (0.5, 2.0, 8.0):  # a busy machine may keep us from everything else for half a second
        monkeypatch.setattr(deployment, "ANSWER_SECONDS", seconds)
        async with remembering(tmp_path, ROUTERS) as client:
            asking = asyncio.create_task(told(client, served_side("8"), git=GitFile(address)))
            ticks = 0
            while not asking.done():
                await asyncio.sleep(0.01)
                ticks += 1
            found = await asking
        if ticks > 10:
            break

    assert git_of(found)["trouble"] == f"it did not answer within {seconds:g} s"
    assert ticks > 10


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (404, b"none", "it answers 404"),
        (500, b"", "it answers 500"),
        (200, b"<html>sign in</html>", "lacks MODEL_VERSION"),
        (200, b"\xff\xfe", "holds no text"),
        (200, b"MODEL_VERSION=8\n" + b"#" * ANSWER_BYTES_MAX, "more than 65,536 bytes"),
        (200, model_env(0, "sha256:" + "0" * 64), "nothing was ever deployed"),
    ],
)
async def test_a_git_that_says_nothing_useful_is_unknown_and_nothing_of_where_it_is_gets_out(
    tmp_path: Path, raw: Raw, address: str, status: int, content: bytes, words: str
) -> None:
    raw.status, raw.content = status, content
    (tmp_path / "token").write_text(TOKEN)
    async with remembering(tmp_path, ROUTERS) as client:
        found = await told(client, served_side("8"), git=GitFile(address, tmp_path / "token"))

    assert words in git_of(found)["trouble"]
    assert (git_of(found)["version"], found["agree"]) == ("", None)
    assert not [word for word in (TOKEN, "secret-place", "127.0.0.1", str(tmp_path)) if word in str(found)]


async def test_a_token_follows_no_redirect(tmp_path: Path, raw: Raw, address: str) -> None:
    (tmp_path / "token").write_text(TOKEN)
    elsewhere = Raw()
    with elsewhere.served() as other:
        raw.status, raw.location = 302, other
        async with remembering(tmp_path, ROUTERS) as client:
            found = await told(client, served_side("8"), git=GitFile(address, tmp_path / "token"))

    assert (git_of(found)["trouble"], elsewhere.asked) == ("it answers 302", [])


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        ("http://127.0.0.1:9/raw", b"", "cannot be reached"),
        ("http://127.0.0.1:9/raw", None, "token cannot be read"),
        ("http://127.0.0.1:9/raw", "ähm\nX-Evil: 1".encode(), "cannot be"),
        ("file:///no/such/model.env", b"", "its file"),
    ],
)
async def test_a_place_or_a_token_that_cannot_be_had_is_trouble_and_no_error(
    tmp_path: Path, url: str, token: bytes | None, words: str
) -> None:
    if token is not None:
        (tmp_path / "token").write_bytes(token)
    async with remembering(tmp_path, ROUTERS) as client:
        found = await told(client, served_side("8"), git=GitFile(url, tmp_path / "token"))

    assert words in git_of(found)["trouble"]
    assert not [word for word in ("127.0.0.1", "/no/such", str(tmp_path), "Evil") if word in str(found)]


async def test_where_nothing_was_set_the_answer_says_what_to_set(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        found = await told(client, served_side(""))

    assert "ADLOOM_GIT_URL" in git_of(found)["trouble"]
    assert found["agree"] is None


async def test_only_those_who_look_after_models_see_it(tmp_path: Path) -> None:
    async with remembering(tmp_path, ROUTERS) as client:
        answer = await client.get("/v1/deployment", headers=bearer("shop", CREATIVES_READ))

    assert answer.status_code == 403


def test_a_service_does_not_start_with_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ADLOOM_GIT_URL"):
        create_app(Settings(**(embedded(tmp_path) | {"git_url": "git@example.com"})), writer=ServiceWriter())
