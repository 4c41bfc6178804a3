"""One request id, from the answer's header through the log to the stored creative, and back by `adloom trace`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from app.watch.stack import Stack
from model import trace_command
from model.request_trace import creatives_of, requests_of
from model.store.objects import ObjectStore
from tests.real_parts import wait_until
from tests.repo.tree import ROOT

GIVEN = "order-4711.a_b"
NOW = datetime(2026, 1, 15, 12, 59, 59, tzinfo=UTC)


def logged(objects, hour, *records):
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    objects.put(f"generations/date=2026-01-15/hour={hour}/host-0.jsonl", lines)


def ask(stack, **headers):
    """The request id of the answer, and the ids of its two creatives."""
    order = {"product": {"sku": "B", "title": "Blue ceramic bowl"}, "channels": ["instagram", "x"], "candidates": 1}
    request = urllib.request.Request(
        f"{stack.service_url}/v1/creatives",
        json.dumps(order | {"seed": len(headers)}).encode(),
        {"Authorization": f"Bearer {stack.token()}", "Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["x-request-id"], [each["id"] for each in json.load(answer)["creatives"]]


@pytest.mark.proof
def test_a_request_id_leads_from_the_answer_to_the_log_to_the_creative_and_back(tmp_path, capsys, monkeypatch):
    with Stack(tmp_path / "stack", speed=60, root=ROOT, is_embedded=True) as stack:
        given, written = ask(stack, **{"X-Request-ID": GIVEN})
        made, others = ask(stack)
        wait_until(lambda: len(creatives_of(ObjectStore(str(stack.objects)), made)) == 2, "the log to be written")
        lines = [
            json.loads(line) for line in stack.parts["service"].log.read_text().splitlines() if line.startswith("{")
        ]
        for name, value in stack.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        forth = trace_command.main([written[1]]), capsys.readouterr().out
        back = trace_command.main(["--request", made]), capsys.readouterr().out

    requests = [line for line in lines if line.get("request_id") == GIVEN and line["message"] == "request"]
    assert given == GIVEN
    assert [line["route"] for line in requests] == ["/v1/creatives"]
    assert forth[0] == back[0] == 0
    assert f"request            {GIVEN}" in forth[1]
    assert f"request            {made}" in back[1]
    assert all(each in back[1] for each in others)
    assert not any(each in back[1] for each in written)


def test_a_request_that_spans_two_hours_names_its_creatives_of_both(tmp_path):
    objects = ObjectStore(str(tmp_path))
    now = datetime.now(UTC)
    for back, creative in ((3, "cr_early"), (2, "cr_late")):
        at = now - timedelta(hours=back)
        record = json.dumps({"creative_id": creative, "request_id": "r"}).encode() + b"\n"
        objects.put(f"generations/{at:date=%Y-%m-%d/hour=%H}/host-0.jsonl", record)

    assert creatives_of(objects, "r") == ["cr_early", "cr_late"]
    assert creatives_of(objects, "r", hours_back=2) == []


def test_a_creative_that_two_requests_asked_for_names_both(tmp_path):
    objects = ObjectStore(str(tmp_path))
    logged(objects, "12", {"creative_id": "cr_1", "request_id": "a"}, {"creative_id": "cr_2", "request_id": "x"})
    logged(objects, "13", {"creative_id": "cr_1", "request_id": "b"}, {"creative_id": "cr_1", "request_id": "a"})

    assert requests_of(objects, "cr_1", NOW) == ["a", "b"]


def test_a_batch_and_a_log_of_another_hour_name_no_request(tmp_path):
    objects = ObjectStore(str(tmp_path))
    logged(objects, "11", {"creative_id": "cr_1", "request_id": "early"})
    logged(objects, "12", {"creative_id": "cr_1", "request_id": "", "batch_id": "ba_1"})

    assert requests_of(objects, "cr_1", NOW) == []


def test_a_request_that_is_not_in_the_log_is_said_to_be_late_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(trace_command.TraceError, match="a request that was refused wrote none"):
        trace_command.main(["--request", "nobody", "--objects", str(tmp_path / "objects")])
