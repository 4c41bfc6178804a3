"""The OpenAPI document tells the truth: its examples run, its answers fit it, and nothing is left undescribed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi.routing import APIRoute
from PIL import Image

from app.client_secrets import hash_secret
from app.identity import SCOPES
from app.main import create_app
from app.openapi import CREATIVE_EXAMPLE, CREATIVES_EXAMPLE, REQUEST_EXAMPLES
from app.parts import Parts
from app.problem import ProblemKind
from app.settings import Settings
from app.strict_json import StrictJsonRoute
from model.channel import ChannelSpec, channel, channels
from model.creative import Copy, Creative, Passport, creative_id
from model.product import Product
from model.prompt import VOICES
from model.store import clients
from model.store.clients import Client
from tests.app.drift_rows import drift_report, keep_report
from tests.app.service_client import ServiceWriter, embedded, order, parts_of, service
from tests.app.version_rows import ledger_line, tell, version_row

FORM = "application/x-www-form-urlencoded"


class ExampleWriter(ServiceWriter):
    """Writes the creative that the document shows, for every product of its channel."""

    def words(
        self, product: Product, spec: ChannelSpec, voice: str, candidates: int, seed: int
    ) -> tuple[Creative, ...]:
        if spec.name != CREATIVE_EXAMPLE["channel"]:
            return super().words(product, spec, voice, candidates, seed)
        return (example_creative(),) * candidates


def example_creative() -> Creative:
    """The documented creative as the object it would be."""
    shown = CREATIVE_EXAMPLE
    words = Copy(
        tuple(shown["headlines"]), tuple(shown["descriptions"]), shown["call_to_action"], tuple(shown["hashtags"])
    )
    passport = Passport(**shown["passport"])
    return Creative(shown["id"], shown["sku"], shown["channel"], words, shown["validity"], (), passport)


def document() -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        return create_app(Settings(**embedded(folder)), writer=ServiceWriter()).openapi()


def operations(of: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) for each."""
    for path, methods in of["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def check(value: Any, schema: Mapping[str, Any], of: Mapping[str, Any]) -> None:
    """Raise jsonschema.ValidationError where `value` does not fit; references are looked up in the document."""
    jsonschema.Draft202012Validator({**schema, "components": of["components"]}).validate(value)


def check_answer(answer: httpx.Response, operation: Mapping[str, Any], of: Mapping[str, Any]) -> None:
    """Status, media type and body are documented."""
    responses = operation["responses"]
    content = responses.get(str(answer.status_code), responses["default"])["content"]
    media_type = answer.headers["content-type"].partition(";")[0]

    assert media_type in content
    if media_type == "application/json" or media_type.endswith("+json"):
        check(answer.json(), content[media_type]["schema"], of)
        assert answer.json()  # a schema without required members would take {}


def requests_of(
    path: str, method: str, operation: Mapping[str, Any], known: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What to send for each example of one operation; every parameter needs one, every body at least one."""
    query = {}
    for parameter in operation.get("parameters", []):
        example = _example(parameter)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", known.get(parameter["name"], example))
        elif parameter["in"] == "query" and parameter["name"] != "cursor":
            query[parameter["name"]] = example
    if "requestBody" not in operation:
        yield {"method": method, "url": path}
        if query:
            yield {"method": method, "url": path, "params": query}
        return
    for media_type, content in operation["requestBody"]["content"].items():
        for example in content["examples"].values():
            if "externalValue" in example:  # bytes have no place in a document of JSON
                headers = {"Content-Type": media_type}
                yield {"method": method, "url": path, "content": picture_of(media_type), "headers": headers}
                continue
            value = example["value"]
            if media_type == FORM:
                yield {"method": method, "url": path, "data": value}
            else:
                text = value if isinstance(value, str) else json.dumps(value)
                yield {"method": method, "url": path, "content": text, "headers": {"Content-Type": media_type}}


def picture_of(media_type: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (200, 200), "#a8341b").save(target, media_type.removeprefix("image/"))
    return target.getvalue()


def _example(parameter: Mapping[str, Any]) -> Any:
    schema = parameter["schema"]
    return schema["examples"][0] if parameter["in"] != "header" or "examples" in schema else ""


def learn(known: dict[str, str], operation: Mapping[str, Any], answer: httpx.Response) -> None:
    """Ids that the service made up: later paths need them."""
    names = {"createBatch": ("batch_id", "id"), "giveFeedback": ("feedback_id", "id")}
    names["startRetrain"] = ("retrain_id", "id")
    names["uploadPairs"] = ("set_id", "id")
    names["startRollback"] = ("rollback_id", "id")
    names["uploadCatalogue"] = ("digest", "digest")
    if operation["operationId"] in names:
        name, member = names[operation["operationId"]]
        known[name] = answer.json()[member]


def in_order_of_use(of: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """What makes a thing, what looks at it, and what ends it."""
    return sorted(operations(of), key=lambda each: ("post", "get", "delete").index(each[1]))


def example_client(parts: Parts, described: Mapping[str, Any]) -> None:
    """The client that the document's token request names."""
    form = described["paths"]["/v1/token"]["post"]["requestBody"]["content"][FORM]["examples"]
    sent = next(iter(form.values()))["value"]
    now = datetime.now(UTC)
    with parts.database.begin() as connection:
        hashed = hash_secret(sent["client_secret"])
        clients.insert(connection, Client(sent["client_id"], hashed, frozenset(SCOPES), {}, now, now))


@pytest.mark.anyio
async def test_every_example_of_the_document_runs_and_is_answered_as_documented() -> None:
    sent = []
    known: dict[str, str] = {}
    async with service(ExampleWriter()) as client:
        described = (await client.get("/openapi.json")).json()
        example_client(parts_of(client), described)
        keep_report(parts_of(client), drift_report())
        tell(parts_of(client), [version_row(8)], [ledger_line(1)])
        for path, method, operation in in_order_of_use(described):
            for request in requests_of(path, method, operation, known):
                built = client.build_request(**request)
                if not operation.get("security"):
                    del built.headers["authorization"]
                answer = await client.send(built)
                assert 200 <= answer.status_code < 300, f"{built.url}: {answer.text[:400]}"
                check_answer(answer, operation, described)
                learn(known, operation, answer)
                sent.append((method, path))

    assert set(sent) == {(method, path) for path, method, _ in operations(described)}
    assert sent.count(("post", "/v1/creatives")) == len(REQUEST_EXAMPLES)


@pytest.mark.anyio
async def test_the_documented_answer_is_the_answer_to_the_first_example() -> None:
    async with service(ExampleWriter()) as client:
        answer = await client.post("/v1/creatives", json=REQUEST_EXAMPLES["one_channel"]["value"])

    assert answer.json() == CREATIVES_EXAMPLE


def test_the_documented_creative_has_the_id_of_its_words_and_keeps_the_limits_of_its_channel() -> None:
    creative = example_creative()
    spec = channel(creative.channel)

    assert creative.id == creative_id(creative.sku, creative.channel, creative.copy, creative.passport)
    for field in spec.fields:
        texts = creative.copy.texts(field.name)
        assert field.count_min <= len(texts) <= field.count_max
        assert max(map(len, texts)) <= field.chars_max


def test_every_documented_example_fits_its_schema() -> None:
    described = document()
    checked = 0
    for _, _, operation in operations(described):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for holder in (*bodies, *operation["responses"].values()):
            for content in holder.get("content", {}).values():
                shown = [each["value"] for each in content.get("examples", {}).values() if "value" in each]
                shown += [content["example"]] if "example" in content else []
                for value in shown:
                    check(value, content["schema"], described)
                    checked += 1

    assert checked > 20


def test_an_example_that_does_not_fit_would_be_noticed() -> None:
    described = document()

    with pytest.raises(jsonschema.ValidationError):
        check({"creatives": [{**CREATIVE_EXAMPLE, "validity": 2}]}, {"$ref": "#/components/schemas/CreativesOut"},
              described)  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": ["myspace"]},
        {"candidates": 0},
        {"candidates": 33},
        {"seed": 2**32},
        {"voice": "Plain"},
        {"voice": ""},
        {"product": {"title": ""}},
        {"product": {"price": "1" * 51}},
        {"unknown": 1},
        {"brand_colours": {"background": "red", "foreground": "#ffffff", "accent": "#000000"}},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
@pytest.mark.anyio
async def test_what_the_document_forbids_the_service_refuses(wrong: dict[str, Any]) -> None:
    described = document()
    with pytest.raises(jsonschema.ValidationError):
        check(order(**wrong), {"$ref": "#/components/schemas/CreativesRequest"}, described)
    async with service() as client:
        answer = await client.post("/v1/creatives", json=order(**wrong))

    assert answer.status_code == 422


@pytest.mark.anyio
async def test_errors_fit_the_document_too() -> None:
    async with service() as client:
        described = (await client.get("/openapi.json")).json()
        write = described["paths"]["/v1/creatives"]["post"]
        look_up = described["paths"]["/v1/creatives/{creative_id}"]["get"]
        answers = [
            (await client.post("/v1/creatives", json=order(seed=-1)), write),
            (await client.post("/v1/creatives", content=b"{", headers={"Content-Type": "application/json"}), write),
            (await client.post("/v1/creatives", content=b"{}"), write),
            (await client.get(f"/v1/creatives/cr_{'0' * 20}"), look_up),
            (await client.get("/v1/creatives/x"), look_up),
        ]

    assert [answer.status_code for answer, _ in answers] == [422, 400, 415, 404, 422]
    for answer, operation in answers:
        check_answer(answer, operation, described)


def test_every_operation_is_named_described_tagged_and_documents_its_errors() -> None:
    described = document()
    tags = {tag["name"] for tag in described["tags"]}
    found = list(operations(described))

    assert len({operation["operationId"] for _, _, operation in found}) == len(found)
    for path, _, operation in found:
        assert operation["summary"], path
        assert operation["description"], path
        assert set(operation["tags"]) <= tags, path
        assert "default" in operation["responses"], path
        assert "422" in operation["responses"] or not operation.get("parameters"), path
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (path, parameter["name"])


def test_every_member_of_a_request_is_described_or_needs_no_words() -> None:
    schemas = document()["components"]["schemas"]
    silent = [
        name
        for schema in ("CreativesRequest", "ProductIn")
        for name, member in schemas[schema]["properties"].items()
        if not member.get("description")
    ]

    assert silent == ["product", "brand"]


def test_the_channels_of_the_document_are_those_of_the_catalogue_of_channels() -> None:
    items = document()["components"]["schemas"]["CreativesRequest"]["properties"]["channels"]["items"]

    assert items["enum"] == list(channels())


def test_the_voices_of_the_document_are_those_of_the_model_and_the_first_is_the_default() -> None:
    schemas = document()["components"]["schemas"]
    sent, answered = (schemas[name]["properties"]["voice"] for name in ("CreativesRequest", "PassportOut"))

    assert sent["enum"] == answered["enum"] == list(VOICES)
    assert sent["default"] == VOICES[0]


def test_frameworks_own_error_models_are_not_in_the_document() -> None:
    assert "HTTPValidationError" not in document()["components"]["schemas"]


def test_every_route_with_a_body_parses_it_strictly(tmp_path: Path) -> None:
    app = create_app(Settings(**embedded(tmp_path)), writer=ServiceWriter())
    with_body = [route for route in app.routes if getattr(route, "body_field", None) is not None]

    assert {route.path for route in with_body if isinstance(route, APIRoute)} >= {"/v1/creatives", "/v1/batches"}
    assert [route for route in with_body if not isinstance(route, StrictJsonRoute)] == []


def test_problem_types_are_unique_and_stable_names() -> None:
    types = [kind.type for kind in ProblemKind]

    assert len(set(types)) == len(types)
    assert all(each.removeprefix("urn:adloom:problem:").replace("-", "").isalpha() for each in types)
