"""`adloom canary` against two real services, and what it says of pairs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.canary_command import CANNOT_SAY, NO_WORSE, PAIRS_MIN, WORSE, Answer, judged, main
from app.main import create_app
from app.settings import Settings
from model.channel import ChannelSpec
from model.creative import Creative, Finding
from model.product import Product
from tests.app.served_app import served
from tests.app.service_client import ServiceWriter, add_client, bearer, embedded
from tests.real_parts import free_port

FINE = Answer(1.0, 0.95, 1.0)
INVENTS = Answer(1.0, 0.5, 0.0)
SILENT = Answer()
PAIRS = str(PAIRS_MIN)


class InventingWriter(ServiceWriter):
    """Every third product gets an ad with an invented number and half the validity."""

    def words(
        self, product: Product, spec: ChannelSpec, voice: str, candidates: int, seed: int
    ) -> tuple[Creative, ...]:
        written = super().words(product, spec, voice, candidates, seed)
        if seed % 3:
            return written
        found = (Finding("unsupported_number", "headline", "50 %"),)
        return tuple(
            Creative(one.id, one.sku, one.channel, one.copy, one.validity / 2, found, one.passport) for one in written
        )


@contextmanager
def releases(folder: Path, *writers: ServiceWriter) -> Iterator[list[str]]:
    """Services with one database and one key, as releases of one environment have; and a token of theirs."""
    with ExitStack() as stack:
        addresses = []
        for place, writer in enumerate(writers):
            app = create_app(Settings(**embedded(folder)), writer=writer)
            host, port = stack.enter_context(served(app))
            addresses.append(f"http://{host}:{port}")
            if not place:
                add_client(app.state.parts)
                token = bearer(app.state.parts)["Authorization"].removeprefix("Bearer ")
                (folder / "token").write_text(f"{token}\n", encoding="utf-8")
        yield addresses


def compare(folder: Path, stable: str, canary: str, *more: str) -> int:
    return main(
        ["--stable", stable, "--canary", canary, "--token-file", str(folder / "token"), "--pairs", PAIRS, *more]
    )


@pytest.mark.slow
def test_two_releases_that_write_the_same_are_no_worse_than_each_other(tmp_path, capsys):
    with releases(tmp_path, ServiceWriter(), ServiceWriter()) as (stable, canary):
        assert compare(tmp_path, stable, canary) == NO_WORSE

    said = capsys.readouterr().out
    assert f"asked {PAIRS} of {PAIRS}" in said
    assert "no worse: the canary is no worse by more than 0.05" in said


@pytest.mark.slow
def test_a_release_that_answers_200_and_invents_is_worse(tmp_path, capsys):
    with releases(tmp_path, ServiceWriter(), InventingWriter()) as (stable, canary):
        assert compare(tmp_path, stable, canary) == WORSE
        assert compare(tmp_path, canary, stable) == NO_WORSE

    assert "worse: the canary is worse on validity, grounded" in capsys.readouterr().out


@pytest.mark.slow
def test_a_canary_that_is_down_is_worse_and_a_stable_release_that_is_down_says_nothing(tmp_path, capsys):
    nobody = f"http://127.0.0.1:{free_port()}"
    with releases(tmp_path, ServiceWriter()) as (alone,):
        assert compare(tmp_path, alone, nobody) == WORSE
        assert compare(tmp_path, nobody, alone) == CANNOT_SAY

    assert f"cannot say: the stable release answered 0 of {PAIRS}" in capsys.readouterr().out


def test_who_is_not_let_in_says_nothing_of_the_canary_and_shows_no_secret(tmp_path, capsys):
    with releases(tmp_path, ServiceWriter(), ServiceWriter()) as (stable, canary):
        (tmp_path / "token").write_text("hush-hush", encoding="utf-8")
        status = compare(tmp_path, stable, canary)
        for name in ("id", "secret"):
            (tmp_path / name).write_text("hush-hush", encoding="utf-8")
        files = ["--client-file", str(tmp_path / "id"), "--secret-file", str(tmp_path / "secret")]
        refused = main(["--stable", stable, "--canary", canary, *files])

    said = capsys.readouterr()
    assert (status, refused) == (CANNOT_SAY, CANNOT_SAY)
    assert "a release answers 401: check token, scopes and limits" in said.err
    assert "gave no token (401): check the client and its secret" in said.err
    assert "hush" not in said.out + said.err


def test_an_id_and_a_secret_give_a_token(tmp_path):
    from app.client_command import create_client

    with releases(tmp_path, ServiceWriter()) as (alone,):
        from model.store.tables import Database

        database = Database(f"sqlite:///{tmp_path}/adloom.db")
        secret = create_client(database, "canary", ("creatives:read", "creatives:write"))
        database.dispose()
        (tmp_path / "id").write_text("canary\n", encoding="utf-8")
        (tmp_path / "secret").write_text(f"{secret}\n", encoding="utf-8")
        files = ["--client-file", str(tmp_path / "id"), "--secret-file", str(tmp_path / "secret")]

        assert main(["--stable", alone, "--canary", alone, "--pairs", PAIRS, *files]) == NO_WORSE


@pytest.mark.parametrize(
    ("losses", "expected"),
    [(0, NO_WORSE), (1, NO_WORSE), (3, CANNOT_SAY), (10, WORSE), (100, WORSE)],
)
def test_of_a_hundred_pairs_one_lost_is_no_worse_three_show_nothing_and_ten_are_worse(losses, expected):
    pairs = [(FINE, INVENTS if place < losses else FINE) for place in range(100)]

    assert judged(pairs)[0] == expected


def test_too_few_pairs_say_nothing_however_good_they_are():
    assert judged([(FINE, FINE)] * (PAIRS_MIN - 1))[0] == CANNOT_SAY
    assert judged([(FINE, FINE)] * PAIRS_MIN)[0] == NO_WORSE
    assert judged([])[0] == CANNOT_SAY


def test_what_the_stable_release_did_not_answer_is_not_held_against_the_canary():
    pairs = [(SILENT, FINE)] * 20 + [(SILENT, SILENT)] * 20 + [(FINE, FINE)] * PAIRS_MIN

    assert judged(pairs)[0] == NO_WORSE
    assert judged([(FINE, SILENT)] * PAIRS_MIN)[0] == WORSE


def test_a_canary_that_loses_one_pair_in_twenty_passes_about_once_in_twenty_and_a_good_one_nearly_always():
    """By the binomial distribution, from the number of lost pairs up to which 200 pairs pass."""
    passes = [judged([(FINE, INVENTS)] * lost + [(FINE, FINE)] * (200 - lost))[0] == NO_WORSE for lost in range(11)]
    lost_max = passes.index(False) - 1

    def passing(share: float) -> float:
        return sum(math.comb(200, lost) * share**lost * (1 - share) ** (200 - lost) for lost in range(lost_max + 1))

    assert passing(0.05) < 0.07
    assert passing(0.005) > 0.99


@pytest.mark.parametrize(
    "wrong",
    [["--canary", "somewhere"], ["--pairs", "99"], ["--margin", "0"], ["--margin", "nan"], ["--parallel", "0"]],
)
def test_wrong_arguments_end_with_2_and_one_line(tmp_path, capsys, wrong):
    with pytest.raises(SystemExit) as ended:
        compare(tmp_path, "http://a", "http://b", *wrong)

    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_token_or_a_client_it_says_what_is_missing(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--stable", "http://a", "--canary", "http://b", "--client-file", "id"])

    assert ended.value.code == 2
    assert "give --client-file and --secret-file, or --token-file" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_no_verdict(tmp_path, capsys):
    assert compare(tmp_path, "http://a", "http://b") == CANNOT_SAY
    assert "cannot say: " in capsys.readouterr().err


@pytest.fixture
def stranger() -> Iterator[str]:
    """Something else than Adloom: it answers every POST with 200, and with no text that can be unpacked."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = b"{}" if self.path == "/v1/token" else b"no gzip"
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            if self.path != "/v1/token":
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_that_is_none_of_adlooms_is_no_verdict(tmp_path, capsys, stranger):
    (tmp_path / "token").write_text("a-token", encoding="utf-8")
    status = compare(tmp_path, stranger, stranger)
    said = capsys.readouterr().out

    assert status == CANNOT_SAY  # 1, which an error would end with, means worse
    assert "the stable release answered 0 of" in said


def test_a_token_that_does_not_come_is_no_verdict(tmp_path, capsys, stranger):
    for name in ("client", "secret"):
        (tmp_path / name).write_text("a-secret-of-this-test", encoding="utf-8")
    files = ["--client-file", str(tmp_path / "client"), "--secret-file", str(tmp_path / "secret")]
    status = main(["--stable", stranger, "--canary", stranger, *files])
    said = capsys.readouterr().err

    assert status == CANNOT_SAY
    assert "is no Adloom: check its address" in said
    assert "a-secret-of-this-test" not in said
