"""The hook that Alertmanager calls: who may, what it takes, and that it asks the one authority."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from model.store import drift_reports, retrains
from model.store.drift_reports import DriftReport
from model.store.tables import Database
from pipelines import alert_hook
from pipelines.alert_hook import BODY_BYTES_MAX, create_hook, decider, read_notification
from pipelines.retraining import RetrainRules
from tests.pipelines.drift_log import HOUR, START

TOKEN = "a-token-of-the-tests"
NOW = START + 6 * HOUR


def notification(*names: str, status: str = "firing") -> dict[str, object]:
    """As Alertmanager 0.25 sends it."""
    alerts = [
        {"status": status, "labels": {"alertname": name}, "annotations": {}, "startsAt": NOW.isoformat(),
         "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "0" * 16}
        for name in names
    ]  # fmt: skip
    return {
        "version": "4", "groupKey": '{}:{alertname="AdloomDriftHurts"}', "truncatedAlerts": 0, "status": status,
        "receiver": "retrain-hook", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "",
        "alerts": alerts,
    }  # fmt: skip


HURTS = notification("AdloomDriftHurts")


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'adloom.db'}")
    made.upgrade()
    yield made
    made.dispose()


def report_drift(database, hours: int, *, hurts: bool = True) -> None:
    with database.begin() as connection:
        for number in range(hours):
            end = NOW - number * HOUR
            row = DriftReport(
                id=f"dr_{number}", task="ad_writer", mode="online", window_start=end - HOUR, window_end=end, rows=900,
                reference="r" * 64, verdict="drift", why="", share=0.5, hurts=hurts,
                columns={"measured": [], "validity": None, "bundles": {}}, report_key="", created_at=end,
            )  # fmt: skip
            drift_reports.insert(connection, row)


def asked(database) -> list[retrains.RetrainRow]:
    with database.connect() as connection:
        return retrains.since(connection, "ad_writer", START)


@asynccontextmanager
async def hook(database, token: str = TOKEN, now=NOW):
    app = create_hook(decider(database, RetrainRules(), lambda: now), lambda: token)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hook", headers=headers) as client:
        yield client


@pytest.mark.anyio
async def test_drift_that_hurts_in_enough_windows_leaves_a_retrain_waiting(database):
    report_drift(database, 2)
    async with hook(database) as client:
        answer = await client.post("/v1/alerts", json=HURTS)
    rows = asked(database)

    assert answer.status_code == 200
    assert answer.json()["decision"] == "retrain"
    assert [(row.id, row.trigger, row.state) for row in rows] == [(answer.json()["retrain"], "drift", "waiting")]


@pytest.mark.anyio
async def test_the_same_group_again_finds_the_retrain_of_the_first_call(database):
    report_drift(database, 2)
    async with hook(database) as client:
        answers = [(await client.post("/v1/alerts", json=HURTS)).json() for _ in range(3)]

    assert [answer["decision"] for answer in answers] == ["retrain"] * 3
    assert len({answer["retrain"] for answer in answers}) == 1
    assert len(asked(database)) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("told", "windows"),
    [
        (notification("AdloomDriftHurts", status="resolved"), 2),
        (notification("AdloomDriftFound"), 2),
        (notification(), 2),
        (HURTS, 1),
    ],
)
async def test_what_is_no_firing_drift_that_hurts_often_enough_asks_for_nothing(database, told, windows):
    report_drift(database, windows)
    async with hook(database) as client:
        answer = await client.post("/v1/alerts", json=told)

    assert answer.status_code == 200
    assert answer.json()["decision"] in ("none", "no")
    assert asked(database) == []


@pytest.mark.anyio
async def test_the_cooldown_of_the_one_authority_holds_here_too(database):
    report_drift(database, 2)
    with database.begin() as connection:
        old = retrains.ask(connection, retrains.NewRetrain("ad_writer", "manual", {}, "test", NOW - timedelta(days=6)))
        retrains.finish(connection, old.id, "refused", at=NOW - timedelta(days=6))
    async with hook(database) as client:
        early = (await client.post("/v1/alerts", json=HURTS)).json()
    async with hook(database, now=NOW + timedelta(days=2)) as client:
        late = (await client.post("/v1/alerts", json=HURTS)).json()

    assert (early["decision"], "cooldown" in early["why"]) == ("no", True)
    assert late["decision"] == "no"  # the windows are too old by then, and say so
    assert "no drift report" in late["why"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
)
async def test_without_the_token_nothing_is_read_and_nothing_is_asked(database, header):
    report_drift(database, 2)
    async with hook(database) as client:
        answer = await client.post("/v1/alerts", json=HURTS, headers={"Authorization": header})

    assert answer.status_code == 401
    assert TOKEN not in answer.text
    assert asked(database) == []


@pytest.mark.anyio
async def test_a_token_that_is_gone_lets_nobody_in(database):
    def gone() -> str:
        raise FileNotFoundError("no-such-file")

    app = create_hook(decider(database, RetrainRules()), gone)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hook") as client:
        answer = await client.post("/v1/alerts", json=HURTS, headers={"Authorization": "Bearer "})

    assert answer.status_code == 401


@pytest.mark.anyio
@pytest.mark.parametrize(("extra", "status"), [(0, 400), (1, 413)])
async def test_a_body_may_be_as_large_as_a_mebibyte_and_not_a_byte_more(database, extra, status):
    async with hook(database) as client:
        answer = await client.post("/v1/alerts", content=b" " * (BODY_BYTES_MAX + extra))

    assert answer.status_code == status


@pytest.mark.anyio
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"version": 4}', b"[" * 100_000,
        json.dumps({**HURTS, "version": "3"}).encode(),
        json.dumps({**HURTS, "alerts": {}}).encode(),
        json.dumps({**HURTS, "alerts": [1]}).encode(),
        json.dumps({**HURTS, "alerts": [{"status": "firing"}]}).encode(),
        json.dumps({**HURTS, "groupKey": None}).encode(),
    ],
)  # fmt: skip
async def test_nonsense_is_told_so_and_nothing_is_asked(database, content):
    report_drift(database, 2)
    async with hook(database) as client:
        answer = await client.post("/v1/alerts", content=content)

    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert asked(database) == []


@pytest.mark.anyio
async def test_without_its_tables_the_caller_is_told_to_come_again_and_nothing_is_leaked(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    async with hook(database) as client:
        answer = await client.post("/v1/alerts", json=HURTS)
    database.dispose()

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "sqlite" not in answer.text.lower()
    assert str(tmp_path) not in answer.text


@pytest.mark.anyio
async def test_probes_need_no_token_and_other_methods_are_refused(database):
    async with hook(database) as client:
        live = await client.get("/healthz", headers={"Authorization": ""})
        other = await client.get("/v1/alerts")

    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert other.status_code == 405


def test_labels_that_nobody_expects_do_no_harm():
    told = {**HURTS, "alerts": [{"status": "firing", "labels": {"alertname": 7, "x": {}}}]}

    assert read_notification(json.dumps(told).encode()).firing == ("7",)


@pytest.mark.parametrize("content", ["", "short", " " * 40])
def test_it_does_not_start_with_a_token_that_is_none(tmp_path, monkeypatch, content):
    file = tmp_path / "token"
    file.write_text(content)
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{tmp_path / 'adloom.db'}")

    with pytest.raises(ValueError, match="holds no token"):
        alert_hook.main(["--token-file", str(file), "--port", "0"])


def test_it_does_not_say_that_it_listens_where_another_does(tmp_path, monkeypatch, capsys):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{tmp_path / 'adloom.db'}")
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(RuntimeError, match="--port gives another"):
        alert_hook.main(["--token-file", str(file), "--port", str(other.getsockname()[1])])

    assert "listens on" not in capsys.readouterr().err


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_what_is_no_port_is_refused(port, capsys):
    with pytest.raises(SystemExit, match="2"):
        alert_hook.main(["--token-file", "x", "--port", port])

    assert "--port" in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        alert_hook.main(["--help"])

    assert "adloom alert-hook --port 9110 --token-file hook-token" in capsys.readouterr().out
