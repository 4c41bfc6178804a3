"""The traffic generator: what it sends is mixed and bounded, and what cannot be reached is said in one line."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from app.client_command import create_client
from app.identity import SCOPES
from app.main import create_app
from app.overhead_servers import StubWriter
from app.settings import Settings
from app.watch.traffic import SHARES, Merchant, Plan, TrafficError, drive, main
from model.store.tables import Database
from tests.app.served_app import served
from tests.real_parts import free_port


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A running one without a model, that knows the client `shop`."""
    tmp_path = tmp_path_factory.mktemp("service")
    url = f"sqlite:///{tmp_path / 'adloom.db'}"
    database = Database(url)
    database.upgrade()
    secret = create_client(database, "shop", SCOPES)
    database.dispose()
    settings = Settings(database_url=url, objects_url=str(tmp_path / "objects"), issuer_key=tmp_path / "issuer.pem")
    with served(create_app(settings, writer=StubWriter())) as (host, port):
        yield SimpleNamespace(address=f"http://{host}:{port}", secret=secret)


@pytest.fixture
def merchant(service):
    made = Merchant(service.address, "shop", service.secret)
    yield made
    made.close()


def test_every_kind_of_request_is_sent_and_answered_as_it_should_be(merchant):
    tally = drive(merchant, Plan(seconds=60, rate=200, requests_max=300, seed=1))
    statuses = {kind: {status for (each, status) in tally.answers if each == kind} for kind in SHARES}

    assert statuses["nonsense"] == {422}
    assert statuses["no such ad"] == {404}
    assert statuses["stranger"] == {401}
    assert statuses["ad"] == {200}
    assert statuses["look up"] | statuses["statistics"] == {200}
    assert 201 in statuses["verdict"]
    assert statuses["batch"] == {202}


def test_the_shares_make_a_hundred_and_strangers_are_too_few_to_alarm():
    assert sum(SHARES.values()) == 100
    assert SHARES["stranger"] < 10  # AdloomAuthenticationFailures counts from one in ten


def test_no_more_is_sent_than_the_plan_says(merchant):
    workers = 3
    tally = drive(merchant, Plan(seconds=60, rate=100, workers=workers, requests_max=20))

    assert 20 <= tally.total < 20 + workers


def test_it_ends_with_its_time_and_keeps_to_its_rate(merchant):
    begun = time.monotonic()
    workers = 2
    tally = drive(merchant, Plan(seconds=1.0, rate=20, workers=workers))

    assert time.monotonic() - begun < 60
    assert 1 <= tally.total <= 20 + workers


def test_it_stops_when_it_is_told_to(merchant):
    stop, lines = threading.Event(), []
    threading.Timer(0.5, stop.set).start()
    begun = time.monotonic()
    drive(merchant, Plan(seconds=600, rate=20), stop=stop, tell=lines.append)

    assert time.monotonic() - begun < 60
    assert all("requests:" in line for line in lines)


def test_the_same_seed_sends_the_same_kinds(service):
    counts = []
    for _ in range(2):
        merchant = Merchant(service.address, "shop", service.secret)
        tally = drive(merchant, Plan(seconds=60, rate=500, workers=1, requests_max=60, seed=3))
        merchant.close()
        counts.append({kind: sum(n for (each, _), n in tally.answers.items() if each == kind) for kind in SHARES})

    assert counts[0] == counts[1]


def test_a_service_that_goes_away_is_counted_and_does_not_end_it(service):
    class Leaving(Merchant):
        def upload_catalogue(self):
            status = super().upload_catalogue()
            self._http.base_url = f"http://127.0.0.1:{free_port()}"
            return status

    merchant = Leaving(service.address, "shop", service.secret)
    tally = drive(merchant, Plan(seconds=60, rate=100, workers=1, requests_max=8))
    merchant.close()

    assert {status for _, status in tally.answers} == {0}
    assert tally.total == 8
    assert tally.line() == "8 requests: 8 x no answer"


def test_nobody_there_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setenv("ADLOOM_CLIENT_SECRET", "secret-of-nobody")
    status = main([f"http://127.0.0.1:{free_port()}", "--client", "shop", "--seconds", "1"])
    told = capsys.readouterr().err

    assert status == 1
    assert told.count("\n") == 1
    assert "the service does not answer" in told
    assert "secret-of-nobody" not in told


def test_a_wrong_secret_says_what_to_do(service, monkeypatch, capsys):
    monkeypatch.setenv("ADLOOM_CLIENT_SECRET", "wrong")
    status = main([service.address, "--client", "shop", "--seconds", "1"])
    told = capsys.readouterr().err

    assert status == 1
    assert "no token (401)" in told
    assert "adloom client rotate" in told


def test_without_a_secret_it_says_where_it_belongs(monkeypatch, capsys):
    monkeypatch.delenv("ADLOOM_CLIENT_SECRET", raising=False)

    assert main(["http://127.0.0.1:1", "--client", "shop"]) == 1
    assert "set ADLOOM_CLIENT_SECRET" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--rate", "0"), ("--workers", "0"), ("--seconds", "-1")])
def test_a_plan_that_sends_nothing_is_refused(option, value, monkeypatch, capsys):
    monkeypatch.setenv("ADLOOM_CLIENT_SECRET", "any")

    assert main(["http://127.0.0.1:1", "--client", "shop", option, value]) == 2
    assert option in capsys.readouterr().err


def test_a_client_that_is_unknown_is_raised_where_it_is_driven(service):
    merchant = Merchant(service.address, "nobody", "wrong")

    with pytest.raises(TrafficError, match="gives the client 'nobody' no token"):
        drive(merchant, Plan(seconds=1))
    merchant.close()
