"""
Bodies, ids and headers made to break a reader, on every route that takes them.

What POST /v1/creatives says to plain mistakes is in test_bad_requests.py; what needs a socket in test_slow_clients.py.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.problem import ProblemKind
from model.store import creatives
from tests.app.service_client import BOWL, order, parts_of, service
from tests.app.test_bad_requests import JSON, problem_of

pytestmark = pytest.mark.anyio

SECRET = "hunter2"
"""In everything that is sent here, and in nothing that comes back."""
NOWHERE = "cr_" + "0" * 20
WITH_JSON = (
    "/v1/creatives",
    "/v1/batches",
    f"/v1/creatives/{NOWHERE}/feedback",
    "/v2/models/adloom-writer/infer",
    "/v2/models/adloom-writer/versions/0/infer",
)
ROW = {"sku": "A", "title": SECRET}
SOON_SECONDS = 60.0
"""For what takes a second on a quiet machine, and minutes where its cost grows with the square."""


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """One service for all of them: what one attack breaks, the next ones notice."""
    async with service() as started:
        yield started


@pytest.fixture(autouse=True)
async def still_serving(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """After every attack the service still writes."""
    yield
    written = await client.post("/v1/creatives", json=order(candidates=1))
    assert written.status_code == 200
    with parts_of(client).database.connect() as connection:
        assert creatives.count(connection) >= 1


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """JSON of 100 MB in a body that every route is large enough for."""
    packed = gzip.compress(b'{"hunter2": "' + b"x" * 100 * 2**20 + b'"}')
    assert len(packed) < 200 * 1024
    return packed


def refused(answer: httpx.Response, kind: ProblemKind) -> dict[str, Any]:
    """The problem document of `answer`, which gives nothing back of what was sent, in its headers either."""
    assert SECRET not in answer.text + str(answer.headers)
    return problem_of(answer, kind)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"hunter2": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested too deeply"),
        (b'{"hunter2": ' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
        (b'{"hunter2": NaN}', "NaN is not JSON"),
        (b'{"hunter2": [-Infinity]}', "Infinity is not JSON"),
        (b'{"hunter2": 1e400}', "too large"),
        (b'{"hunter2": -1e400}', "too large"),
        (b'{"hunter2": 1, "\\u0068unter2": 2}', "same key twice"),
        (b'{"products": [{"hunter2": 1, "hunter2": 1}]}', "same key twice"),
        (b'{"hunter2": ' + b"9" * 5_000 + b"}", "more than 19 digits"),
        (b'{"hunter2": -' + b"1" * 200_000 + b"}", "more than 19 digits"),
        (b'{"hunter2": "\xc0\xaf"}', "not valid UTF-8"),
        (b'{"hunter2": "\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"hunter2": "\\ud800"}', "surrogate"),
        (b'{"hunter2": "\\udc00\\ud800"}', "surrogate"),
        (b'{"hunter2": "\x00"}', "control character"),
        (b'{"hunter2": 1}{"hunter2": 2}', "Extra data"),
        ('{"hunter2": 1}'.encode("utf-16"), "not valid UTF-8"),
        (b'{"hunter2": "' + b"x" * 1_000, "Unterminated string"),
    ],
    ids=lambda value: value[:28].decode("latin-1") if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("path", WITH_JSON)
async def test_a_body_that_readers_take_in_different_ways_is_400_on_every_route(
    client: httpx.AsyncClient, path: str, body: bytes, says: str
) -> None:
    answer = await client.post(path, content=body, headers=JSON)

    assert says in refused(answer, ProblemKind.MALFORMED_JSON)["detail"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip", "identity, gzip", "x-gzip"])
@pytest.mark.parametrize("path", [*WITH_JSON, "/v1/catalogue"])
async def test_a_gzip_bomb_is_415_and_never_inflated(
    client: httpx.AsyncClient, bomb: bytes, path: str, coding: str
) -> None:
    tracemalloc.start()
    answer = await client.post(path, content=bomb, headers={**JSON, "Content-Encoding": coding})
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    refused(answer, ProblemKind.UNSUPPORTED_MEDIA_TYPE)
    assert peak_bytes < 20_000_000  # of the 100 MB that are in it


async def test_a_compressed_form_is_no_form(client: httpx.AsyncClient) -> None:
    form = gzip.compress(b"grant_type=client_credentials&client_id=shop&client_secret=hunter2")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    request = client.build_request("POST", "/v1/token", content=form, headers=headers)
    del request.headers["authorization"]
    answer = await client.send(request)

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert SECRET not in answer.text


@pytest.mark.parametrize("depth", [50, 500, 900])
@pytest.mark.parametrize(
    ("path", "around"),
    [
        ("/v1/creatives", '{"channels": ["x"], "product": {"title": "hunter2", "attributes": %s}}'),
        (f"/v1/creatives/{NOWHERE}/feedback", '{"verdict": "edit", "edited": {"headlines": %s}}'),
        ("/v1/batches", '{"channels": %s, "products": [{"title": "hunter2"}]}'),
        ("/v2/models/adloom-writer/infer",
         '{"inputs": [{"name": "title", "shape": [1], "datatype": "BYTES", "data": %s}]}'),
    ],
)  # fmt: skip
async def test_json_that_is_deep_but_can_be_parsed_is_422(
    client: httpx.AsyncClient, path: str, around: str, depth: int
) -> None:
    answer = await client.post(path, content=around % ("[" * depth + "]" * depth), headers=JSON)

    refused(answer, ProblemKind.INVALID_REQUEST)


@pytest.mark.parametrize(
    "row",
    [
        {**ROW, "title": {"a": SECRET}},
        {**ROW, "title": SECRET * 150_000},
        {**ROW, "title": f"{SECRET}\0"},
        {**ROW, "price": 10**18},
        {**ROW, "attributes": {f"name-{number}": SECRET for number in range(100_000)}},
        {**ROW, "unknown": "'; DROP TABLE batches; --"},
        {**ROW, "sku": f"{SECRET}\0"},
        {"title": "\\" * 301},
    ],
    ids=lambda row: str(row)[:60],
)
async def test_a_hostile_row_of_a_batch_fails_alone(client: httpx.AsyncClient, row: dict[str, Any]) -> None:
    began_seconds = time.perf_counter()
    made = await client.post("/v1/batches", json={"products": [row, BOWL], "channels": ["x"], "candidates": 1})
    batch = made.json()
    results = await client.get(f"/v1/batches/{batch['id']}/results")
    first = json.loads(results.text.splitlines()[0])

    assert made.status_code == 202
    assert (batch["products"], batch["failed"]) == (2, 1)
    assert (first["place"], first["state"]) == (0, "failed")
    assert SECRET not in first["error"]
    assert time.perf_counter() - began_seconds < SOON_SECONDS


@pytest.mark.parametrize("path", ["/v1/creatives", f"/v1/creatives/{NOWHERE}/feedback"])
async def test_a_hundred_thousand_members_are_413(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json={f"{SECRET}-{number}": "x" for number in range(100_000)})

    refused(answer, ProblemKind.BODY_TOO_LARGE)


async def test_as_many_attributes_as_fit_into_a_body_are_422_at_once(client: httpx.AsyncClient) -> None:
    attributes = {f"{number:x}": "" for number in range(20_000)}
    began_seconds = time.perf_counter()
    answer = await client.post("/v1/creatives", json=order(product={"attributes": attributes}))

    refused(answer, ProblemKind.INVALID_REQUEST)
    assert time.perf_counter() - began_seconds < SOON_SECONDS


@pytest.mark.parametrize(
    ("path", "is_large"), [("/v1/batches", True), ("/v1/catalogue", True), ("/v1/creatives", False)]
)
async def test_each_route_has_its_own_bound_and_only_batches_and_catalogues_the_large_one(
    path: str, *, is_large: bool
) -> None:
    small, large = 4096, 16_384
    bound = large if is_large else small
    async with service(body_bytes_max=small, batch_body_bytes_max=large) as client:
        answers = [await client.post(path, content=b" " * size, headers=JSON) for size in (bound, bound + 1)]

    assert answers[0].status_code in {400, 422}
    assert f"{bound:,} bytes" in refused(answers[1], ProblemKind.BODY_TOO_LARGE)["detail"]


async def test_more_products_than_a_batch_may_have_are_422_before_any_is_looked_at(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/batches", json={"products": [{"title": SECRET}] * 10_001, "channels": ["x"]})

    assert refused(answer, ProblemKind.INVALID_REQUEST)["errors"][0]["pointer"] == "#/products"


@pytest.mark.parametrize(
    "catalogue",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'[{"sku": "A", "title": "hunter2", "price": NaN}]',
        b'[{"sku": "A", "title": "hunter2", "price": 1e400}]',
        b'[{"sku": "A", "title": "hunter2", "price": ' + b"9" * 5_000 + b"}]",
        b'[{"sku": "A", "title": "hunter2\xff"}]',
        b'[{"sku": "A", "title": "bowl", "title": "hunter2"}]',
        b"- &a [hunter2]\n- [*a, *a]\n",
        b"\x1f\x8b\x08hunter2",
        b"PK\x03\x04hunter2",
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
async def test_a_catalogue_that_is_no_plain_json_is_400(client: httpx.AsyncClient, catalogue: bytes) -> None:
    answer = await client.post("/v1/catalogue", content=catalogue, headers=JSON)

    refused(answer, ProblemKind.MALFORMED_JSON)


async def test_a_catalogue_with_a_title_of_a_megabyte_is_422(client: httpx.AsyncClient) -> None:
    catalogue = b'[{"sku": "A", "title": "' + b"hunter2" * 150_000 + b'"}]'
    answer = await client.post("/v1/catalogue", content=catalogue, headers=JSON)

    refused(answer, ProblemKind.INVALID_REQUEST)


IDS = [
    "..%2f..%2fetc%2fhunter2",
    "%2e%2e%2f%2e%2e%2fhunter2",
    "..%5c..%5chunter2",
    "hunter2%00.json",
    "hunter2'%20OR%20'1'='1",
    "hunter2;DROP%20TABLE%20creatives;--",
    "hunter2%0d%0aSet-Cookie:%20a=b",
    "%ff%fehunter2",
    "cr_" + "0" * 20 + "%0a",
    "{{7*7}}hunter2",
    "hunter2" * 1_000,
]


@pytest.mark.parametrize("hostile", IDS, ids=lambda text: text[:30])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/creatives/{}",
        "/v1/creatives/{}/image.svg",
        "/v1/batches/{}",
        "/v1/batches/{}/results",
        "/v1/feedback/{}",
        "/v1/catalogue/{}",
        "/v2/models/{}",
        "/v2/models/adloom-writer/versions/{}/ready",
    ],
)
async def test_a_path_or_sql_in_an_id_finds_nothing(client: httpx.AsyncClient, path: str, hostile: str) -> None:
    answer = await client.get(path.format(hostile))

    assert answer.status_code in {404, 422}
    refused(answer, next(kind for kind in ProblemKind if kind.type == answer.json()["type"]))


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        (f"/v1/creatives/{NOWHERE}/image.svg", "size"),
        (f"/v1/creatives/{NOWHERE}/image.png", "brand"),
        ("/v1/batches", "count"),
        ("/v1/batches", "cursor"),
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        "hunter2' OR 1=1",
        "hunter2\r\nSet-Cookie: a=b",
        "../../hunter2",
        "\0hunter2",
        "hunter2" * 1_000,
        "1e400",
        "٣",
        "[]",
    ],
    ids=lambda text: text[:20],
)
async def test_sql_and_line_ends_in_a_query_are_422(
    client: httpx.AsyncClient, path: str, parameter: str, value: str
) -> None:
    answer = await client.get(path, params={parameter: value})

    assert refused(answer, ProblemKind.INVALID_REQUEST)["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize(
    "forged",
    ["[]", "[1, 2]", "null", "[null, null]", '["2026-01-15", "ba_0"]', """["2026-01-15T09:30:00+00:00", "' OR 1=1"]"""],
)
async def test_a_cursor_that_was_forged_is_422(client: httpx.AsyncClient, forged: str) -> None:
    cursor = base64.urlsafe_b64encode(forged.encode()).decode()
    answer = await client.get("/v1/batches", params={"cursor": cursor})

    refused(answer, ProblemKind.INVALID_REQUEST)


@pytest.mark.parametrize("sent", ["hunter2 x", "hunter2\tx", "x" * 65, "hunter2/../x", "<hunter2>", ""])
async def test_a_request_id_of_another_form_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    answer = await client.get("/version", headers={"X-Request-ID": sent})

    assert answer.headers["x-request-id"].isalnum()
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("key", ["hunter2 x", "hunter2\tx", "x" * 256, "", "hunter2 \x7f", "hünter2"])
async def test_an_idempotency_key_that_a_header_or_a_log_could_misread_is_422(
    client: httpx.AsyncClient, key: str
) -> None:
    answer = await client.post("/v1/creatives", json=order(), headers={"Idempotency-Key": key.encode("latin-1")})

    assert refused(answer, ProblemKind.INVALID_REQUEST)["errors"][0]["parameter"] == "Idempotency-Key"


async def test_line_ends_in_a_product_never_reach_a_header(client: httpx.AsyncClient) -> None:
    hostile = "A\r\nSet-Cookie: hunter2=1\r\n\r\n<b>"
    product = {"sku": hostile, "title": f"Bowl {hostile}", "category": hostile, "brand": hostile}
    headers = {"Idempotency-Key": "line-ends"}
    answers = [await client.post("/v1/creatives", json=order(product=product), headers=headers) for _ in range(2)]
    written = answers[0].json()["creatives"][0]
    answers.append(await client.get(written["images"][0]["svg"]))
    answers.append(await client.post("/v1/batches", json={"products": [product], "channels": ["x"], "candidates": 1}))
    answers.append(await client.get(f"/v1/batches/{answers[-1].json()['id']}/results"))
    answers.append(await client.post("/v1/catalogue", json=[product]))
    verdict = {"verdict": "reject", "reason": hostile}
    answers.append(await client.post(f"/v1/creatives/{written['id']}/feedback", json=verdict))

    assert [answer.status_code for answer in answers] == [200, 200, 200, 202, 200, 201, 201]
    for answer in answers:
        assert "set-cookie" not in answer.headers
        assert not any(SECRET in value for value in answer.headers.values())


@pytest.mark.parametrize(
    "tensor",
    [
        {"shape": [2**62], "data": [SECRET]},
        {"shape": [-1], "data": [SECRET]},
        {"shape": [0], "data": []},
        {"shape": [1] * 10_000, "data": [SECRET]},
        {"shape": [1, 2**31, 2**31], "data": [SECRET]},
        {"shape": [1], "data": [[[[SECRET]]]] * 2},
        {"shape": [1], "datatype": "FP64", "data": [SECRET]},
        {"shape": [20_000], "data": ["x"] * 20_000},
    ],
    ids=lambda tensor: str(tensor)[:40],
)
async def test_a_tensor_that_lies_about_its_size_is_422(client: httpx.AsyncClient, tensor: dict[str, Any]) -> None:
    inputs = [{"name": "title", "datatype": "BYTES", **tensor}]
    answer = await client.post("/v2/models/adloom-writer/infer", json={"inputs": inputs})

    refused(answer, ProblemKind.INVALID_REQUEST)
