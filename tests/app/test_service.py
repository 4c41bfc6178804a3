"""The routes on good requests: creatives, their pictures, probes and versions."""

from __future__ import annotations

import json
import logging
import struct
import threading

import anyio
import anyio.to_thread
import pytest

import app.pictures
from app.request_log import JsonFormatter
from model.channel import channel, channels
from model.prompt import VOICES
from tests.app.service_client import WAIT_SECONDS_MAX, ServiceWriter, order, service

pytestmark = pytest.mark.anyio


async def test_one_creative_comes_back_for_each_channel_in_the_order_of_the_request() -> None:
    async with service() as client:
        answer = await client.post("/v1/creatives", json=order(channels=["x", "instagram", "google_rsa"]))

    assert answer.status_code == 200
    assert [creative["channel"] for creative in answer.json()["creatives"]] == ["x", "instagram", "google_rsa"]


async def test_voice_candidates_and_seed_reach_the_writer_and_default_to_plain_4_and_0() -> None:
    writer = ServiceWriter()
    async with service(writer) as client:
        await client.post("/v1/creatives", json=order())
        await client.post("/v1/creatives", json=order(voice="premium", candidates=32, seed=2**32 - 1))

    assert writer.calls == [
        ("BOWL", "instagram", "plain", 4, 0),
        ("BOWL", "instagram", "premium", 32, 2**32 - 1),
    ]


async def test_as_many_ranked_candidates_come_back_as_were_asked_for() -> None:
    async with service() as client:
        answer = await client.post("/v1/creatives", json=order(candidates=5, return_candidates=3))
    validities = [creative["validity"] for creative in answer.json()["creatives"]]

    assert len(validities) == 3
    assert validities == sorted(validities, reverse=True)


async def test_the_answer_names_the_seed_that_was_used() -> None:
    async with service() as client:
        default = await client.post("/v1/creatives", json=order())
        chosen = await client.post("/v1/creatives", json=order(seed=7))

    assert default.json()["creatives"][0]["passport"]["seed"] == 0
    assert chosen.json()["creatives"][0]["passport"]["seed"] == 7


async def test_the_answer_names_the_voice_it_was_written_in_and_each_voice_has_its_own_id() -> None:
    async with service() as client:
        answers = [await client.post("/v1/creatives", json=order(voice=voice)) for voice in VOICES]
    creatives = [answer.json()["creatives"][0] for answer in answers]

    assert [creative["passport"]["voice"] for creative in creatives] == list(VOICES)
    assert len({creative["id"] for creative in creatives}) == len(VOICES)


async def test_the_same_request_gives_the_same_answer() -> None:
    async with service() as client:
        first = await client.post("/v1/creatives", json=order(seed=7))
        second = await client.post("/v1/creatives", json=order(seed=7))

    assert first.content == second.content


async def test_a_creative_can_be_looked_up_by_its_id() -> None:
    async with service() as client:
        written = (await client.post("/v1/creatives", json=order())).json()["creatives"][0]
        answer = await client.get(f"/v1/creatives/{written['id']}")

    assert answer.status_code == 200
    assert answer.json() == written


async def test_every_size_of_every_channel_is_linked_and_drawn_in_its_pixels() -> None:
    async with service() as client:
        answer = await client.post("/v1/creatives", json=order(channels=list(channels())))
        drawn = []
        for creative in answer.json()["creatives"]:
            for links in creative["images"]:
                picture = await client.get(links["png"])
                drawn.append((creative["channel"], struct.unpack(">II", picture.content[16:24])))

    assert drawn == [(name, size) for name, spec in channels().items() for size in spec.images]


async def test_a_picture_without_a_size_has_the_first_size_of_its_channel() -> None:
    async with service() as client:
        written = (await client.post("/v1/creatives", json=order(channels=["pinterest"]))).json()["creatives"][0]
        picture = await client.get(f"/v1/creatives/{written['id']}/image.png")

    assert struct.unpack(">II", picture.content[16:24]) == channel("pinterest").images[0]


async def test_an_svg_is_served_so_that_nothing_in_it_may_run_or_load() -> None:
    async with service() as client:
        sent = order(product={"title": "Bowl <script>alert(1)</script>", "description": "<img src=x onerror=y>"})
        written = (await client.post("/v1/creatives", json=sent)).json()["creatives"][0]
        picture = await client.get(written["images"][0]["svg"])

    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert picture.headers["content-security-policy"].startswith("default-src 'none'")
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert "<script" not in picture.text
    assert "<img" not in picture.text


@pytest.mark.parametrize("form", ["svg", "png"])
async def test_a_client_that_has_the_picture_gets_304(form: str) -> None:
    async with service() as client:
        written = (await client.post("/v1/creatives", json=order())).json()["creatives"][0]
        links = written["images"]
        first = await client.get(links[0][form])
        known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
        again = await client.get(links[0][form], headers=known)
        other_size = await client.get(links[1][form], headers=known)

    assert first.headers["cache-control"] == "private, max-age=86400"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert other_size.status_code == 200


async def test_brand_colours_change_the_picture_and_not_the_creative() -> None:
    colours = {"background": "#0A3D62", "foreground": "#ffffff", "accent": "#f6b93b"}
    async with service() as client:
        plain = (await client.post("/v1/creatives", json=order())).json()["creatives"][0]
        branded = (await client.post("/v1/creatives", json=order(brand_colours=colours))).json()["creatives"][0]
        pictures = [await client.get(each["images"][0]["svg"]) for each in (plain, branded)]

    assert branded["images"][0]["svg"].endswith("&brand=0a3d62-ffffff-f6b93b")
    assert branded["id"] == plain["id"]
    assert [picture.status_code for picture in pictures] == [200, 200]
    assert pictures[0].content != pictures[1].content
    assert "0a3d62" in pictures[1].text.lower()


async def test_other_requests_are_answered_while_a_picture_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow_png(svg: str) -> bytes:
        begun.set()
        assert gate.wait(WAIT_SECONDS_MAX)
        return svg.encode()

    monkeypatch.setattr(app.pictures, "render_png", slow_png)
    async with service() as client, anyio.create_task_group() as tasks:
        written = (await client.post("/v1/creatives", json=order())).json()["creatives"][0]
        tasks.start_soon(client.get, written["images"][0]["png"])
        drawing_begun = await anyio.to_thread.run_sync(begun.wait, WAIT_SECONDS_MAX)
        answer = await client.get("/healthz")
        still_drawing = not gate.is_set()
        gate.set()

    assert drawing_begun
    assert still_drawing
    assert answer.status_code == 200


async def test_channels_are_listed_with_their_limits_and_sources() -> None:
    async with service() as client:
        listed = (await client.get("/v1/channels")).json()["channels"]
    first_field = listed[0]["fields"][0]

    assert [each["name"] for each in listed] == list(channels())
    assert (first_field["name"], first_field["count_max"], first_field["chars_max"]) == ("headline", 15, 30)
    assert all(field["source"].startswith("https://") for each in listed for field in each["fields"])


async def test_a_running_service_is_alive_and_ready() -> None:
    async with service() as client:
        answers = [await client.get(path) for path in ("/healthz", "/readyz")]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "ok"), (200, "ready")]


async def test_version_names_commit_image_and_the_bundle_of_the_passports() -> None:
    facts = {"git_commit": "0123abc", "image_digest": "sha256:" + "a" * 64}
    async with service(ServiceWriter(digest="b" * 64), **facts) as client:
        version = (await client.get("/version")).json()
        creative = (await client.post("/v1/creatives", json=order())).json()["creatives"][0]

    assert {name: version[name] for name in facts} == facts
    assert version["bundle_digest"] == creative["passport"]["bundle_digest"] == "b" * 64


async def test_the_root_leads_to_a_reference_that_needs_no_other_host() -> None:
    async with service() as client:
        page = await client.get("/", follow_redirects=True)

    assert page.url.path == "/docs"
    assert page.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "POST /v1/creatives" in page.text
    assert "<script" not in page.text
    assert 'src="http' not in page.text


@pytest.mark.parametrize("given", ["order-42", "a" * 64])
async def test_a_sane_request_id_is_kept(given: str) -> None:
    async with service() as client:
        answer = await client.get("/healthz", headers={"X-Request-ID": given})

    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 65, "two words", 'quo"te', "a\tb", "é"])
async def test_any_other_request_id_is_replaced(given: str) -> None:
    async with service() as client:
        answer = await client.get("/healthz", headers={"X-Request-ID": given.encode("latin-1")})

    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


async def test_each_request_is_one_json_line_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="adloom.request")
    async with service() as client:
        await client.post("/v1/creatives?token=hunter2", json=order(), headers={"X-Request-ID": "order-42"})
        await client.get("/v1/creatives/cr_%0Aforged")
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name == "adloom.request"]
    first, second = map(json.loads, lines)

    assert (first["method"], first["route"], first["status"]) == ("POST", "/v1/creatives", 200)
    assert first["request_id"] == "order-42"
    assert first["duration_seconds"] > 0
    assert second["status"] == 422
    assert not any(secret in line for line in lines for secret in ("hunter2", "Blue ceramic", "\n"))
