"""The links of the drift loop: what the service logs, what the exporter publishes, and the stores of production."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from app.exporter_sources import all_sources
from model.channel import channel
from model.generation_record import generation
from model.product import Product
from model.store import drift_reports
from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines.drift.ad_record import record_of
from pipelines.drift.log import Stretch
from pipelines.drift.traffic import Traffic, records
from pipelines.steps import monitor_drift
from tests.fakes import FakeWriter
from tests.pipelines.drift_log import HOUR, START, answer, decide, drift
from tests.real_parts import postgres_server, s3_server

BOWL = Product(sku="BOWL", title="Blue ceramic bowl", description="Holds 0.5 l.", category="Bowls", price="24.90 EUR")


@pytest.fixture(scope="module")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


def test_what_the_service_logs_is_what_drift_reads():
    creative = FakeWriter().write(BOWL, channel("google_rsa"), seed=1)[0]
    logged = generation("shop", BOWL, creative, 1.0, request_id="rq_1", at=START)
    record = record_of(json.dumps(logged).encode())

    assert (record.time, record.request_id, record.channel) == (logged["time"], "rq_1", "google_rsa")
    assert (record.product.title, record.product.price) == (BOWL.title, BOWL.price)
    assert record.product.digest == creative.passport.product_digest
    assert (record.headlines, record.descriptions) == (logged["headlines"], logged["descriptions"])
    assert (record.validity, record.bundle_digest) == (creative.validity, creative.passport.bundle_digest)


def test_made_up_traffic_has_the_form_of_the_services_log():
    creative = FakeWriter().write(BOWL, channel("google_rsa"), seed=1)[0]
    logged = generation("shop", BOWL, creative, 1.0)
    made = next(records(Traffic(1), START, START + HOUR, 1))

    assert set(made) <= set(logged)
    assert set(made["product"]) <= {*logged["product"], "digest"}


@pytest.mark.parametrize("offset", ["+00:00", "Z", "+02:00"])
def test_a_record_is_placed_by_its_time_in_any_offset(tmp_path, offset):
    objects = ObjectStore(str(tmp_path))
    made = next(records(Traffic(1), START + HOUR, START + 2 * HOUR, 1))
    hour = "03" if offset == "+02:00" else "01"
    line = json.dumps({**made, "time": f"2026-01-01T{hour}:00:00.000{offset}"}).encode()
    objects.put("generations/date=2026-01-01/hour=01/a.jsonl", line)
    found = [
        len(list(Stretch(objects, START + start, START + end).records()))
        for start, end in ((HOUR, 2 * HOUR), (HOUR + timedelta(milliseconds=1), 2 * HOUR), (0 * HOUR, HOUR))
    ]

    assert found == [1, 0, 0]


@pytest.mark.proof
def test_on_postgresql_and_s3_shifted_traffic_reaches_metric_and_decision(postgres, s3, tmp_path, monkeypatch, capsys):
    url, bucket = postgres.new_database(), f"s3://{s3.new_bucket()}/below"
    for name, value in {**s3.environment, "ADLOOM_DATABASE_URL": url, "ADLOOM_OBJECTS_URL": bucket}.items():
        monkeypatch.setenv(name, value)
    objects, database = ObjectStore(bucket), Database(url)
    database.upgrade()
    for hour in range(5):
        traffic = Traffic(hour, shifted_share=0.5 if hour > 2 else 0.0)
        lines = [json.dumps(record) for record in records(traffic, START + hour * HOUR, START + (hour + 1) * HOUR, 600)]
        objects.put(f"generations/date=2026-01-01/hour={hour:02}/a.jsonl", "\n".join(lines).encode())
    times = [START.isoformat(), (START + 3 * HOUR).isoformat()]
    monitor_drift.main(["reference", "--since", times[0], "--until", times[1], "--draws", "200"])
    reference = answer(capsys)["reference"]
    read = all_sources(database, tmp_path / "ledger.jsonl", "")["drift"]
    before = read()
    verdicts = [drift(capsys, hour)["verdict"] for hour in (3, 4)]
    after = {reading.metric.name: reading.value for reading in read()}
    decided = decide(capsys, 5)
    with database.connect() as connection:
        rows = drift_reports.latest(connection, "ad_writer", "online", 10)
    database.dispose()

    assert before == []
    assert verdicts == ["drift", "drift"]
    assert [row.reference for row in rows] == [reference, reference]
    assert (after["adloom_drift_share_ratio"], after["adloom_drift_hurts"]) == (rows[0].share, 1)
    assert (decided["decision"], decided["trigger"]) == ("retrain", "drift")
