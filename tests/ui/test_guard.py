"""What every request passes: session, origin, token of the page, size; and the headers of every answer."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from app.ui.guard import BODY_BYTES_MAX, HEADERS
from tests.ui.page_client import PAGE, visitor
from tests.ui.page_parts import CLIENT

pytestmark = pytest.mark.anyio
CSV = b"sku,title\nBOWL,Blue bowl\n"


@pytest.mark.parametrize("path", ["/create", "/catalogue", "/model", "/health", "/data", "/nothing"])
async def test_a_page_leads_who_is_not_signed_in_to_the_sign_in_and_back(path):
    async with visitor(signed_in=False) as one:
        answer = await one.http.get(path, headers=PAGE)

    assert answer.status_code == 303
    assert answer.headers["location"] == f"/sign-in?next={path}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/channels"),
        ("POST", "/api/creatives"),
        ("GET", "/pictures/cr_00000000000000000000.svg"),
        ("POST", "/catalogue/upload"),
        ("GET", "/catalogue/download"),
        ("POST", "/api/retrains"),
    ],
)
async def test_a_script_that_is_not_signed_in_is_told_so(method, path):
    async with visitor(signed_in=False) as one:
        answer = await one.http.request(method, path)

    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:adloom:ui:signed-out"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": ""},
    ],
)
async def test_a_request_from_another_site_is_not_carried_out(headers):
    async with visitor() as one:
        answer = await one.http.post("/sign-out", headers=headers)

        assert answer.status_code == 403
        assert len(one.page.state.sessions) == 1


async def test_an_old_browser_is_known_by_its_origin():
    async with visitor() as one:
        answer = await one.http.post("/sign-out", headers={"Sec-Fetch-Site": "", "Origin": "http://page"})

        assert answer.status_code == 303
        assert len(one.page.state.sessions) == 0


async def test_a_change_needs_the_token_of_the_page():
    async with visitor() as one:
        without = await one.http.post("/catalogue/sample")
        wrong = await one.http.post("/catalogue/sample", headers={"X-CSRF-Token": "ü".encode()})
        right = await one.http.post("/catalogue/sample", headers=one.csrf())

    assert (without.status_code, wrong.status_code, right.status_code) == (403, 403, 200)
    assert "load it again" in without.json()["detail"]


@pytest.mark.parametrize("path", ["/sign-in", "/create", "/assets/page.css", "/api/channels", "/nothing"])
async def test_every_answer_carries_the_headers_of_safety(path):
    async with visitor() as one:
        answer = await one.http.get(path, headers=PAGE)

    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "strict-transport-security" not in answer.headers


async def test_behind_https_the_cookie_is_bound_to_the_host_and_browsers_stay_on_https():
    async with visitor(signed_in=False, public_url="https://ads.example") as one:
        answer = await one.sign_in()

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-adloom=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(("more", "status"), [(0, 422), (1, 413)])
async def test_a_body_at_the_bound_is_read_and_one_byte_more_is_not(more, status):
    async with visitor() as one:
        answer = await one.http.post("/catalogue/part", content=b" " * (BODY_BYTES_MAX + more), headers=one.csrf())
        if status == 422:
            await one.http.post("/catalogue/sample", headers=one.csrf())
            answer = await one.http.post("/catalogue/part", content=b" " * BODY_BYTES_MAX, headers=one.csrf())

    assert answer.status_code == status


async def test_a_body_that_does_not_say_its_length_is_counted_while_it_comes():
    async def pieces():
        for _ in range(3):
            yield b"x" * 1024

    async with visitor(upload_bytes_max=2048) as one:
        answer = await one.http.post(
            "/catalogue/upload", content=pieces(), headers={**one.csrf(), "X-File-Name": "a.csv"}
        )

    assert answer.status_code == 413


async def test_a_packed_file_is_refused_unread():
    async with visitor() as one:
        headers = {**one.csrf(), "X-File-Name": "products.csv"}
        answer = await one.http.post("/catalogue/upload", content=b"PK\x03\x04" + bytes(10_000), headers=headers)
        zipped = await one.http.post("/catalogue/upload", content=CSV, headers={**headers, "Content-Encoding": "gzip"})

    assert answer.status_code == 415
    assert "Unpack it" in answer.json()["detail"]
    assert zipped.status_code == 200  # the encoding is not undone: what came is read as it came


@pytest.mark.parametrize(
    "path",
    ["/api/batches/..%2F..%2Fmetrics", "/api/retrains/x", "/pictures/x.svg", "/pictures/cr_00000000000000000000.exe"],
)
async def test_only_ids_reach_the_service(path):
    async with visitor() as one:
        answer = await one.http.get(path)

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:adloom:ui:not-found"


async def test_an_upload_tells_what_was_read_and_what_was_refused():
    async with visitor() as one:
        headers = {**one.csrf(), "X-File-Name": "products.csv"}
        content = b"sku,title,price\nBOWL,Blue bowl,19.90 EUR\nX,,1\nVASE,Vase,cheap\n"
        answer = await one.http.post("/catalogue/upload", content=content, headers=headers)

    upload = answer.json()["upload"]
    assert (upload["products"], upload["rejected"]) == (1, 2)
    assert [row["line"] for row in upload["rejected_rows"]] == [3, 4]


async def test_a_catalogue_with_one_line_that_is_no_json_keeps_its_other_rows():
    good = [json.dumps({"sku": name, "title": f"Blue vase {name}"}) for name in ("A", "B", "C")]
    broken = json.dumps({"sku": "D", "title": "Half a sign \ud83e"})
    async with visitor() as one:
        headers = {**one.csrf(), "X-File-Name": "products.jsonl"}
        content = "\n".join([good[0], '{"sku": "X",', *good[1:], broken])
        answer = await one.http.post("/catalogue/upload", content=content, headers=headers)
        shown = (await one.http.get("/catalogue/state")).json()
        data = await one.http.get("/data", headers=PAGE)
        part, whole = [
            (await one.http.post("/catalogue/part", json={"skus": [sku]}, headers=one.csrf())).json() for sku in "BD"
        ]

    upload = answer.json()["upload"]
    assert (upload["products"], upload["rejected"]) == (4, 1)
    assert list(answer.json()["titles"]) == [row["sku"] for row in shown["rows"]] == ["A", "B", "C", "D"]
    assert data.status_code == 200
    assert (part["is_whole"], whole["is_whole"]) == (False, True)
    assert whole["snapshot"] == upload["digest"] != part["snapshot"]


@pytest.mark.parametrize(("path", "name"), [("/catalogue/part", "skus"), ("/catalogue/decisions", "accepted")])
async def test_a_body_nested_deeply_is_refused_like_any_other_that_cannot_be_read(path, name):
    async with visitor() as one:
        await one.http.post("/catalogue/sample", headers=one.csrf())
        answer = await one.http.post(path, content=f'{{"{name}":' + "[" * 100_000, headers=one.csrf())

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:adloom:ui:bad-request"


async def test_metrics_count_answers_sessions_and_sign_ins():
    async with visitor() as one:
        await one.http.get("/create", headers=PAGE)
        text = (await one.http.get("/metrics")).text

    assert 'adloom_ui_request_duration_seconds_count{method="GET",status="200"} 1.0' in text
    assert 'adloom_ui_sign_ins_total{outcome="opened"} 1.0' in text
    assert "adloom_ui_sessions 1.0" in text


def test_two_hundred_megabytes_are_refused_before_they_are_sent(here):
    address = urlsplit(here.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(
            b"POST /catalogue/upload HTTP/1.1\r\nHost: page\r\nSec-Fetch-Site: same-origin\r\n"
            b"X-File-Name: big.csv\r\nContent-Length: 209715200\r\n\r\nsku,title\r\n"
        )
        answer = connection.recv(65_536)
        rest = b"".join(iter(lambda: connection.recv(65_536), b""))  # ends, because the server closes

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"At most 32 MB" in answer + rest
    assert CLIENT.encode() not in answer
