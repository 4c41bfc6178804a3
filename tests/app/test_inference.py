"""The Open Inference Protocol: health, metadata, creatives as tensors, and errors a protocol client can read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from app import problem
from app.identity import CREATIVES_READ
from app.inference_examples import INFER_REQUEST_EXAMPLES, INFER_RESPONSE_EXAMPLE
from model.store import creatives
from tests.app.service_client import CLIENT, GatedWriter, ServiceWriter, bearer, parts_of, service

pytestmark = pytest.mark.anyio

INFER = "/v2/models/adloom-writer/infer"


def tensor(name: str, *data: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": "BYTES", "data": list(data), **changes}


def bowls(count: int = 1, **changes: Any) -> dict[str, Any]:
    """A valid request for `count` products."""
    inputs = [
        tensor("title", *(f"Blue ceramic bowl {number}" for number in range(count))),
        tensor("description", *["Holds 0.5 l."] * count),
        tensor("channel", *["instagram"] * count),
    ]
    return {"inputs": inputs, **changes}


def data_of(answer: httpx.Response, name: str) -> list[Any]:
    (found,) = [each for each in answer.json()["outputs"] if each["name"] == name]
    return list(found["data"])


def refused(answer: httpx.Response, status: int, kind: problem.ProblemKind) -> dict[str, Any]:
    """The problem document, with the member that the protocol wants."""
    document: dict[str, Any] = answer.json()

    assert (answer.status_code, document["type"]) == (status, kind.type), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["error"] == document["detail"]
    return document


async def test_the_server_its_health_and_its_model_are_described() -> None:
    async with service() as client:
        server, live, ready, model, model_ready = [
            (await client.get(f"/v2{path}")).json()
            for path in ("", "/health/live", "/health/ready", "/models/adloom-writer", "/models/adloom-writer/ready")
        ]

    assert (server["name"], server["extensions"]) == ("adloom-api", [])
    assert live == {"live": True}
    assert ready == {"live": True, "ready": True}
    assert model_ready == {"name": "adloom-writer", "ready": True}
    assert (model["name"], model["versions"], model["platform"]) == ("adloom-writer", ["0"], "onnx_onnxv1")
    assert [each["name"] for each in model["inputs"]][:3] == ["title", "description", "channel"]
    assert {(each["datatype"], *each["shape"]) for each in model["inputs"]} == {("BYTES", -1)}
    assert {each["name"]: each["datatype"] for each in model["outputs"]}["validity"] == "FP64"


async def test_only_writing_needs_a_token_and_its_scope() -> None:
    async with service(limit_default="1/minute") as client:
        other = bearer(parts_of(client), scopes=[CREATIVES_READ])
        client.headers.pop("authorization")
        probes = [(await client.get("/v2/health/ready")).status_code for _ in range(3)]
        model = await client.get("/v2/models/adloom-writer")
        nobody = await client.post(INFER, json=bowls())
        stranger = await client.post(INFER, json=bowls(), headers=other)

    assert probes == [200, 200, 200]
    assert model.status_code == 200
    refused(nobody, 401, problem.ProblemKind.UNAUTHENTICATED)
    refused(stranger, 403, problem.ProblemKind.FORBIDDEN)


async def test_past_its_limit_a_client_gets_429_in_the_protocols_form() -> None:
    async with service(limits={"infer": "1/minute"}) as client:
        first = await client.post(INFER, json=bowls())
        second = await client.post(INFER, json=bowls())

    assert first.status_code == 200
    refused(second, 429, problem.ProblemKind.RATE_LIMITED)


async def test_the_same_key_writes_once_and_gives_the_first_answer_again() -> None:
    writer = ServiceWriter()
    async with service(writer) as client:
        first, second = [
            await client.post(INFER, json=bowls(), headers={"Idempotency-Key": "order-42"}) for _ in range(2)
        ]

    assert first.status_code == 200
    assert (second.content, second.headers["idempotent-replayed"]) == (first.content, "true")
    assert len(writer.calls) == 1


async def test_a_writer_that_has_stopped_is_neither_alive_nor_ready() -> None:
    async with service(log_flush_seconds=3600) as client:
        parts = parts_of(client)
        parts.studio.close()
        for path in ("/health/live", "/health/ready", "/models/adloom-writer/ready"):
            refused(await client.get(f"/v2{path}"), 503, problem.ProblemKind.NOT_READY)


async def test_the_version_is_the_registrys_and_no_other_is_found() -> None:
    async with service(registry_version="7") as client:
        found = await client.get("/v2/models/adloom-writer/versions/7")
        is_ready = await client.get("/v2/models/adloom-writer/versions/7/ready")
        written = await client.post("/v2/models/adloom-writer/versions/7/infer", json=bowls())
        others = [
            await client.get("/v2/models/adloom-writer/versions/8"),
            await client.get("/v2/models/adloom-writer/versions/8/ready"),
            await client.post("/v2/models/adloom-writer/versions/8/infer", json=bowls()),
            await client.get("/v2/models/other"),
            await client.post("/v2/models/other/infer", json=bowls()),
        ]

    assert [answer.status_code for answer in (found, is_ready, written)] == [200, 200, 200]
    assert written.json()["model_version"] == "7"
    for answer in others:
        refused(answer, 404, problem.ProblemKind.MODEL_NOT_FOUND)


async def test_every_output_of_one_product_comes_back_in_its_form() -> None:
    async with service() as client:
        answer = await client.post(INFER, json=bowls(id="42"))
    found = {each["name"]: each for each in answer.json()["outputs"]}
    creative = json.loads(found["creative"]["data"][0])

    assert (answer.json()["model_name"], answer.json()["id"]) == ("adloom-writer", "42")
    assert list(found) == ["headline", "body", "call_to_action", "hashtags", "validity", "creative"]
    assert found["headline"] == {"name": "headline", "shape": [1], "datatype": "BYTES", "data": [creative["headline"]]}
    assert json.loads(found["hashtags"]["data"][0]) == creative["hashtags"]
    assert found["validity"]["data"] == [creative["validity"]]


async def test_without_an_id_the_answer_carries_that_of_the_request() -> None:
    async with service() as client:
        answer = await client.post(INFER, json=bowls(), headers={"X-Request-ID": "order-42"})

    assert answer.json()["id"] == "order-42"


async def test_sixteen_products_are_written_in_order_and_seventeen_are_refused() -> None:
    async with service(writers=4) as client:
        most = await client.post(INFER, json=bowls(16))
        too_many = await client.post(INFER, json=bowls(17))

    assert [headline.rpartition(" ")[2] for headline in data_of(most, "headline")] == [str(n) for n in range(16)]
    assert refused(too_many, 422, problem.ProblemKind.INVALID_REQUEST)["errors"][0]["pointer"] == "#/inputs/0/shape/0"


async def test_seed_candidates_voice_and_sku_reach_the_writer() -> None:
    writer = ServiceWriter()
    order = bowls(parameters={"seed": 7, "candidates": 2, "content_type": "str"})
    order["inputs"] += [tensor("sku", "BOWL"), tensor("voice", "premium")]
    async with service(writer) as client:
        answer = await client.post(INFER, json=order)

    assert answer.status_code == 200
    assert writer.calls == [("BOWL", "instagram", "premium", 2, 7)]


async def test_what_was_written_is_kept_logged_and_counted_for_its_client() -> None:
    async with service(log_flush_seconds=3600) as client:
        parts = parts_of(client)
        answer = await client.post(INFER, json=bowls(2))
        ids = [json.loads(text)["id"] for text in data_of(answer, "creative")]
        with parts.database.connect() as connection:
            kept = [creatives.find(connection, CLIENT, each) for each in ids]
        counted, held = parts.metrics.exposition()[0].decode(), parts.generations.held

    assert [each is not None and each.document["id"] for each in kept] == ids
    assert held == 2
    assert 'adloom_creatives_total{channel="instagram",outcome="written"} 2.0' in counted


async def test_only_the_outputs_that_were_asked_for_come_back_in_that_order() -> None:
    wanted = [{"name": "validity", "parameters": {"binary_data": False}}, {"name": "headline"}]
    async with service() as client:
        answer = await client.post(INFER, json=bowls(outputs=wanted))

    assert [each["name"] for each in answer.json()["outputs"]] == ["validity", "headline"]


async def test_elements_may_be_nested_by_their_shape() -> None:
    order = bowls(2)
    for each in order["inputs"]:
        each |= {"shape": [2, 1], "data": [[text] for text in each["data"]], "parameters": {"content_type": "str"}}
    async with service() as client:
        flat, nested = await client.post(INFER, json=bowls(2)), await client.post(INFER, json=order)

    assert nested.status_code == 200
    assert nested.json()["outputs"] == flat.json()["outputs"]


def _first(**changes: Any) -> dict[str, Any]:
    order = bowls(2)
    order["inputs"][0] |= changes
    return order


def _more(*tensors: dict[str, Any]) -> dict[str, Any]:
    order = bowls()
    order["inputs"] += tensors
    return order


REFUSED = [
    (_first(datatype="FP32"), "#/inputs/0/datatype"),
    (_first(shape=[3]), "#/inputs/0/data"),
    (_first(shape=[1], data=["Bowl"]), "#/inputs/1/shape"),
    (_first(shape=[2, 2]), "#/inputs/0/shape"),
    (_first(shape=[0]), "#/inputs/0/shape/0"),
    (_first(shape=[]), "#/inputs/0/shape"),
    (_first(shape=[2.0]), "#/inputs/0/shape/0"),
    (_first(data=["Bowl"]), "#/inputs/0/data"),
    (_first(data=["Bowl", 5]), "#/inputs/0/data/1"),
    (_first(data=["Bowl", None]), "#/inputs/0/data/1"),
    (_first(data=["Bowl", ""]), "#/inputs/0/data/1"),
    (_first(data=["Bowl", "..."]), "#/inputs/0/data/1"),
    (_first(data=["Bowl", "nul\0"]), "#/inputs/0/data/1"),
    (_first(data=["Bowl", "B" * 5001]), "#/inputs/0/data/1"),
    (_first(name="colour"), "#/inputs/0/name"),
    (_first(name="sku"), "#/inputs"),
    (_more(tensor("title", "Bowl")), "#/inputs/3/name"),
    (_more(tensor("voice", "shouting")), "#/inputs/3/data/0"),
    (_more(tensor("price", "1" * 51)), "#/inputs/3/data/0"),
    (_more(tensor("brand", "a", "b")), "#/inputs/3/shape"),
    (bowls(parameters={"seed": -1}), "#/parameters/seed"),
    (bowls(parameters={"candidates": 5}), "#/parameters/candidates"),
    (bowls(parameters={"sed": 1}), "#/parameters/sed"),
    (bowls(outputs=[{"name": "image"}]), "#/outputs/0/name"),
    (bowls(outputs=[{"name": "body"}, {"name": "body"}]), "#/outputs/1/name"),
    (bowls(id="a" * 257), "#/id"),
    (bowls(parameters={"binary_data_output": True}), "#/parameters/binary_data_output"),
    (bowls(outputs=[{"name": "body", "parameters": {"binary_data": True}}]), "#/outputs/0/parameters/binary_data"),
    (_first(parameters={"binary_data_size": 9}), "#/inputs/0/parameters/binary_data_size"),
]  # fmt: skip


async def test_a_request_that_does_not_fit_is_refused_with_the_place() -> None:
    writer = ServiceWriter()
    async with service(writer, candidates_max=4) as client:
        for order, pointer in REFUSED:
            document = refused(await client.post(INFER, json=order), 422, problem.ProblemKind.INVALID_REQUEST)
            assert document["errors"][0]["pointer"] == pointer, order

    assert writer.calls == []


async def test_channels_that_nobody_knows_are_named_by_their_place() -> None:
    order = bowls(2)
    order["inputs"][2]["data"] = ["instagram", "myspace"]
    async with service() as client:
        document = refused(await client.post(INFER, json=order), 422, problem.ProblemKind.INVALID_REQUEST)

    assert document["errors"][0]["pointer"] == "#/inputs/2/data/1"
    assert "instagram" in document["error"]
    assert "myspace" not in json.dumps(document)


async def test_binary_tensors_are_refused_by_name() -> None:
    headers = {"Inference-Header-Content-Length": "9", "Content-Type": "application/octet-stream"}
    async with service() as client:
        answer = await client.post(INFER, content=b"{}" + bytes(7), headers=headers)

    assert "binary" in refused(answer, 415, problem.ProblemKind.UNSUPPORTED_MEDIA_TYPE)["error"]


async def test_malformed_and_oversized_bodies_and_unknown_addresses_have_the_protocols_error_too() -> None:
    json_type = {"Content-Type": "application/json"}
    async with service(body_bytes_max=1024) as client:
        malformed = await client.post(INFER, content=b"{", headers=json_type)
        oversized = await client.post(INFER, content=b" " * 1025, headers=json_type)
        unknown = await client.get("/v2/nope")
        outside = await client.get("/v2nope")

    refused(malformed, 400, problem.ProblemKind.MALFORMED_JSON)
    refused(oversized, 413, problem.ProblemKind.BODY_TOO_LARGE)
    refused(unknown, 404, problem.ProblemKind.NOT_FOUND)
    assert outside.json()["type"] == problem.ProblemKind.NOT_FOUND.type
    assert "error" not in outside.json()


async def test_a_product_that_fails_fails_the_request_and_the_rest_is_not_begun() -> None:
    writer = ServiceWriter(fail_sku="CURSED")
    order = bowls(3)
    order["inputs"].append(tensor("sku", "A", "CURSED", "C"))
    async with service(writer) as client:
        failed = await client.post(INFER, json=order)
        next_one = await client.post(INFER, json=bowls())

    refused(failed, 500, problem.ProblemKind.GENERATION_FAILED)
    assert [call[0] for call in writer.calls[:2]] == ["A", "CURSED"]
    assert "C" not in [call[0] for call in writer.calls]
    assert next_one.status_code == 200


async def test_all_products_together_have_the_time_of_one_request() -> None:
    writer = GatedWriter()
    async with service(writer, request_timeout_seconds=0.2) as client:
        answer = await client.post(INFER, json=bowls(3))
        writer.gate.set()

    refused(answer, 504, problem.ProblemKind.DEADLINE_EXCEEDED)


async def test_the_documented_requests_run_and_the_documented_answer_has_their_form() -> None:
    async with service() as client:
        one, every = [await client.post(INFER, json=each["value"]) for each in INFER_REQUEST_EXAMPLES.values()]
    shown = {each["name"]: each for each in INFER_RESPONSE_EXAMPLE["outputs"]}

    assert {each["name"]: (each["datatype"], each["shape"]) for each in one.json()["outputs"]} == {
        name: (each["datatype"], each["shape"]) for name, each in shown.items()
    }
    assert set(one.json()) == set(INFER_RESPONSE_EXAMPLE)
    assert json.loads(one.json()["outputs"][-1]["data"][0]).keys() == json.loads(shown["creative"]["data"][0]).keys()
    assert [(each["name"], each["shape"]) for each in every.json()["outputs"]] == [
        ("headline", [2]),
        ("body", [2]),
        ("validity", [2]),
    ]
