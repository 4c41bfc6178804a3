"""
Thousands of requests made from the OpenAPI document, right ones and wrong ones, against the service behind its server.

Run with `PYTHONHASHSEED=0 pytest -m proof -s tests/e2e/test_fuzz.py`: then the cases are the same in every run, and
without the variable nearly so (schemathesis goes through sets of names).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from app.pairs_route import JSON_LINES_EXAMPLE
from app.settings import Settings
from tests.app.drift_rows import drift_report, keep_report
from tests.app.served_app import served
from tests.app.service_client import ServiceWriter, add_client, bearer, embedded, order
from tests.app.version_rows import ledger_line, tell, version_row
from tests.e2e.faults.load import say

pytestmark = pytest.mark.proof

CASES_MIN = 5_000
ANSWER_SECONDS_MAX = 120.0
EXAMPLES_WITH_BODY, EXAMPLES = 330, 60
"""Of each operation in each mode; one without parameters has but one."""
FORM_EXAMPLES = 60
"""Of the token endpoint, where each wrong secret costs a slow hash."""
NO_LIMIT = "10000000/minute"
SEED = 20_260_115
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass
class Tally:
    """What was sent, and what came back."""

    cases: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """By operation and status."""
    undocumented: set[str] = field(default_factory=set)
    """Those that only the document's `default` covers."""


@dataclass(frozen=True)
class Fuzzed:
    """The running service, and ids of things that are in it."""

    address: str
    headers: dict[str, str]
    document: dict[str, Any]
    known: dict[str, str]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    limits = dict.fromkeys(("issueToken", "guessSecret", "refuseToken"), NO_LIMIT)
    return create_app(
        Settings(**{**embedded(folder), "limit_default": NO_LIMIT, "limits": limits}), writer=ServiceWriter()
    )


@pytest.fixture(scope="module")
def fuzzed(app: FastAPI) -> Iterator[Fuzzed]:
    add_client(app.state.parts)
    tell(app.state.parts, [version_row(8)], [ledger_line(1)])
    headers = bearer(app.state.parts)
    with served(app) as (host, port), requests.Session() as session:
        address = f"http://{host}:{port}"
        session.headers.update(headers)
        creative = session.post(f"{address}/v1/creatives", json=order()).json()["creatives"][0]["id"]
        batch = {"products": [order()["product"]], "channels": ["x"]}
        verdict = session.post(f"{address}/v1/creatives/{creative}/feedback", json={"verdict": "accept"}).json()
        known = {
            "creative_id": creative,
            "batch_id": session.post(f"{address}/v1/batches", json=batch).json()["id"],
            "digest": session.post(f"{address}/v1/catalogue", json=batch["products"]).json()["digest"],
            "feedback_id": verdict["id"],
            "retrain_id": session.post(f"{address}/v1/retrains", json={"reason": "a fuzzed service"}).json()["id"],
            "rollback_id": session.post(f"{address}/v1/rollbacks", json={"reason": "a fuzzed service"}).json()["id"],
            "set_id": upload(session, f"{address}/v1/pairs"),
            "report_id": keep_report(app.state.parts, drift_report()),
            "model": "adloom-writer",
            "version": "0",
            "model_version": "8",
        }
        yield Fuzzed(address, headers, session.get(f"{address}/openapi.json").json(), known)


def upload(session: requests.Session, address: str) -> str:
    """A set of training pairs; returns its id."""
    sent = session.post(address, data=JSON_LINES_EXAMPLE.encode(), headers={"Content-Type": "application/x-ndjson"})
    made: str = sent.json()["id"]
    return made


def send(case: Any, fuzzed: Fuzzed, session: requests.Session, tally: Tally, checks: Sequence[Any]) -> None:
    response = case.call(base_url=fuzzed.address, session=session, timeout=ANSWER_SECONDS_MAX)
    operation = case.operation.definition.raw
    answer = f"{operation['operationId']} {response.status_code}"
    tally.cases += 1
    tally.answers[answer] += 1
    if str(response.status_code) not in operation["responses"]:
        tally.undocumented.add(answer)
    case.validate_response(response, checks=checks)


def strategies(operation: Any, fuzzed: Fuzzed, mode: GenerationMode) -> Iterator[Any]:
    """Once with ids that are made up too, and once with those of things that exist."""
    raw = operation.definition.raw
    headers = fuzzed.headers if raw.get("security") else {}
    kinds = Counter(each["in"] for each in raw.get("parameters", ()))
    others = "requestBody" in raw or kinds["query"]
    if mode is GenerationMode.POSITIVE or others or kinds["path"]:
        yield operation.as_strategy(generation_mode=mode, headers=headers)
    if kinds["path"] and (mode is GenerationMode.POSITIVE or others):
        names = [each["name"] for each in raw["parameters"] if each["in"] == "path"]
        known = {name: fuzzed.known[name] for name in names}
        yield operation.as_strategy(generation_mode=mode, headers=headers, path_parameters=known)


def examples_of(operation: Any) -> int:
    body = operation.definition.raw.get("requestBody", {"content": {}})["content"]
    if "application/x-www-form-urlencoded" in body:
        return FORM_EXAMPLES
    return EXAMPLES_WITH_BODY if body else EXAMPLES


def fuzz(operation: Any, fuzzed: Fuzzed, session: requests.Session, tally: Tally, mode: GenerationMode) -> None:
    """Raises what the first request that was answered wrongly is refused with."""
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
    found = list(strategies(operation, fuzzed, mode))
    for strategy in found:

        @seed(SEED)
        @settings(
            max_examples=examples_of(operation) // len(found),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def each(case: Any) -> None:
            send(case, fuzzed, session, tally, checks)

        each()


def test_no_request_that_the_document_can_think_of_gets_an_answer_that_it_does_not_describe(fuzzed: Fuzzed) -> None:
    described = schemathesis.openapi.from_dict(fuzzed.document)
    tally, wrong = Tally(), []
    began_seconds = time.monotonic()
    with requests.Session() as session:
        for found in described.get_all_operations():
            operation = found.ok()
            for mode in GenerationMode:
                try:
                    fuzz(operation, fuzzed, session, tally, mode)
                except Exception as error:  # noqa: BLE001 -- of every operation, not of the first alone
                    wrong.append(f"{operation.label}, {mode.value} data: {error}")
    for answer, count in sorted(tally.answers.items()):
        say(f"{answer:<45} {count:>5}")
    say(f"{tally.cases} cases in {time.monotonic() - began_seconds:.0f} s")

    assert wrong == []
    assert tally.undocumented == set()
    assert not [answer for answer in tally.answers if int(answer.split()[-1]) >= 500]
    assert {answer.split()[0] for answer in tally.answers} == operation_ids(fuzzed.document)
    assert tally.cases >= CASES_MIN


def operation_ids(document: dict[str, Any]) -> set[str]:
    return {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
