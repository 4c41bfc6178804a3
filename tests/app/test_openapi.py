"""The OpenAPI document tells the truth: its examples run, its answers fit it, and nothing is left undescribed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import jsonschema
import pytest

from app.main import create_app
from app.openapi import CREATIVE_EXAMPLE, CREATIVES_EXAMPLE, REQUEST_EXAMPLES
from app.problem import ProblemKind
from app.settings import Settings
from app.strict_json import StrictJsonRoute
from model.channel import ChannelSpec, channel, channels
from model.creative import Copy, Creative, Passport, creative_id
from model.product import Product
from model.prompt import VOICES
from tests.app.service_client import ServiceWriter, order, service


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
    return create_app(Settings(), writer=ServiceWriter()).openapi()


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
    if media_type.endswith("json"):
        check(answer.json(), content[media_type]["schema"], of)
        assert answer.json()  # a schema without required members would take {}


def requests_of(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What to send for each example of one operation; every parameter needs one, every body at least one."""
    query = {}
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["schema"]["examples"][0])
        elif parameter["in"] == "query":
            query[parameter["name"]] = _example(parameter["schema"])
    if "requestBody" not in operation:
        yield {"method": method, "url": path}
        if query:
            yield {"method": method, "url": path, "params": query}
        return
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        yield {"method": method, "url": path, "json": example["value"]}


def _example(schema: Mapping[str, Any]) -> str:
    examples: list[str] = schema["examples"]
    return examples[0]


@pytest.mark.anyio
async def test_every_example_of_the_document_runs_and_is_answered_as_documented() -> None:
    sent = []
    async with service(ExampleWriter()) as client:
        described = (await client.get("/openapi.json")).json()
        # Its own path first, so that the creative of the examples exists when it is looked up.
        for path, method, operation in operations(described):
            for request in requests_of(path, method, operation):
                answer = await client.request(**request)
                assert answer.status_code == 200, (request, answer.text)
                check_answer(answer, operation, described)
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
                shown = [each["value"] for each in content.get("examples", {}).values()]
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


def test_every_route_with_a_body_parses_it_strictly() -> None:
    app = create_app(Settings(), writer=ServiceWriter())
    with_body = [route for route in app.routes if getattr(route, "body_field", None) is not None]

    assert [route.path for route in with_body if isinstance(route, StrictJsonRoute)] == ["/v1/creatives"]
    assert len(with_body) == 1


def test_problem_types_are_unique_and_stable_names() -> None:
    types = [kind.type for kind in ProblemKind]

    assert len(set(types)) == len(types)
    assert all(each.removeprefix("urn:adloom:problem:").replace("-", "").isalpha() for each in types)
