"""Photographs over HTTP: sent once, drawn with by their client alone, left out of the drawing once they are gone."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import ExifTags, Image

from app.identity import CREATIVES_READ
from app.photographs_route import BYTES_MAX, PHOTOGRAPH_HEADER
from model.product import Product
from tests.app.service_client import CLIENT, add_client, bearer, order, parts_of, service

pytestmark = pytest.mark.anyio
PLACE = "48 deg 12 N"


def picture(colour="#d01010", form="JPEG", size=(600, 400)):
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = PLACE
    target = io.BytesIO()
    Image.new("RGB", size, colour).save(target, form, exif=exif)
    return target.getvalue()


async def send(client, content=None, media_type="image/jpeg", **headers):
    sent = picture() if content is None else content
    return await client.post("/v1/photographs", content=sent, headers={"Content-Type": media_type, **headers})


async def write(client, image, **headers):
    return await client.post("/v1/creatives", json=order(product={"image": image}), headers=headers)


async def draw(client, creative, form="svg", **headers):
    return await client.get(f"/v1/creatives/{creative['id']}/image.{form}", headers=headers)


def photographs_in(svg):
    return re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", svg)


def stored(client):
    parts = parts_of(client)
    return [(key, parts.objects.get(key)) for key in parts.objects.list("photographs/")]


async def test_an_ad_is_drawn_with_the_photograph_that_its_product_names():
    async with service() as client:
        image = (await send(client)).json()["image"]
        with_it = (await write(client, image)).json()["creatives"][0]
        without = (await write(client, "")).json()["creatives"][0]
        drawn, plain = await draw(client, with_it), await draw(client, without)
        png = await draw(client, with_it, "png")

    (embedded,) = photographs_in(drawn.text)
    red, _, blue = Image.open(io.BytesIO(base64.b64decode(embedded))).convert("RGB").getpixel((20, 20))
    assert red - blue > 120
    assert photographs_in(plain.text) == []
    assert drawn.headers["etag"] != plain.headers["etag"]
    assert PHOTOGRAPH_HEADER not in drawn.headers
    assert Image.open(io.BytesIO(png.content)).size == (1080, 1080)


async def test_the_reference_is_of_the_bytes_and_the_digest_of_the_product_covers_it():
    async with service() as client:
        first, again = await send(client), await send(client)
        other = await send(client, picture("#1010d0"))
        ads = [(await write(client, each.json()["image"])).json()["creatives"][0] for each in (first, other)]

    assert first.status_code == 201
    assert first.json() == again.json() != other.json()
    digests = [ad["passport"]["product_digest"] for ad in ads]
    bowl = order()["product"]
    expected = Product(bowl["sku"], bowl["title"], bowl["description"], image=first.json()["image"]).digest()
    assert digests[0] == expected != digests[1]
    assert ads[0]["id"] != ads[1]["id"]
    assert ads[0]["headlines"] == ads[1]["headlines"]


async def test_what_a_camera_wrote_beside_the_pixels_is_not_kept():
    async with service() as client:
        await send(client)
        ((key, kept),) = stored(client)

    assert PLACE.encode() in picture()
    assert PLACE.encode() not in kept
    assert CLIENT not in key


async def test_the_photograph_of_another_client_is_not_found():
    async with service() as client:
        image = (await send(client)).json()["image"]
        add_client(parts_of(client), "rival")
        rival = bearer(parts_of(client), "rival")
        refused = await write(client, image, **rival)
        streamed = await client.post("/v1/creatives?stream=true", json=order(product={"image": image}), headers=rival)
        unknown = await write(client, f"ph_{'0' * 32}")
        sent = await send(client, **rival)
        allowed = await write(client, image, **rival)

    for each in (refused, streamed, unknown):
        assert each.status_code == 404
        assert each.json()["type"] == "urn:adloom:problem:photograph-not-found"
    assert sent.json()["image"] == image
    assert allowed.status_code == 200


async def test_one_that_has_expired_is_left_out_and_said_and_the_same_file_brings_it_back(tmp_path):
    async with service(objects_url=str(tmp_path)) as client:
        image = (await send(client)).json()["image"]
        ad = (await write(client, image)).json()["creatives"][0]
        whole = await draw(client, ad)
        ((key, _),) = stored(client)
        (tmp_path / key).unlink()
        without = await draw(client, ad)
        unchanged = await draw(client, ad, **{"If-None-Match": without.headers["etag"]})
        again = await write(client, image)
        await send(client)
        back = await draw(client, ad)

    assert photographs_in(without.text) == []
    assert without.headers[PHOTOGRAPH_HEADER] == unchanged.headers[PHOTOGRAPH_HEADER] == "missing"
    assert "no-cache" in without.headers["cache-control"]
    assert unchanged.status_code == 304
    assert again.status_code == 404
    assert back.text == whole.text


async def test_an_address_is_still_kept_and_never_fetched():
    async with service() as client:
        ad = (await write(client, "https://shop.example/bowl.jpg")).json()["creatives"][0]
        drawn = await draw(client, ad)

    assert drawn.status_code == 200
    assert PHOTOGRAPH_HEADER not in drawn.headers
    assert "shop.example" not in drawn.text


async def test_a_key_gives_the_first_answer_again_and_is_refused_for_another_picture():
    async with service() as client:
        first = await send(client, **{"Idempotency-Key": "one"})
        again = await send(client, **{"Idempotency-Key": "one"})
        other = await send(client, picture("#1010d0"), **{"Idempotency-Key": "one"})

    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert other.json()["type"] == "urn:adloom:problem:idempotency-key-reused"


@pytest.mark.parametrize(
    ("content", "media_type", "status", "said"),
    [
        (b"%PDF-1.7", "application/pdf", 415, "image/png, image/jpeg, image/webp"),
        (b"<svg/>", "image/svg+xml", 415, "image/png, image/jpeg, image/webp"),
        (picture(), "", 415, "Content-Type"),
        (b"", "image/png", 422, "send a whole PNG"),
        (b"no picture", "image/png", 422, "send a whole PNG"),
        (picture()[:300], "image/jpeg", 422, "whole"),
        (picture(size=(600, 99)), "image/jpeg", 422, "at least 100 pixels"),
        (bytes(BYTES_MAX), "image/png", 422, "send a whole PNG"),
        (bytes(BYTES_MAX + 1), "image/png", 413, "make the file smaller"),
    ],
    ids=["pdf", "svg", "untyped", "empty", "text", "cut off", "too small", "at the bound", "past the bound"],
)
async def test_what_is_no_photograph_is_refused_in_words_that_say_what_to_send(content, media_type, status, said):
    async with service() as client:
        answer = await send(client, content, media_type)
        kept = stored(client)

    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert kept == []


async def test_who_may_only_read_cannot_send_one():
    async with service() as client:
        answer = await send(client, **bearer(parts_of(client), scopes=[CREATIVES_READ]))

    assert answer.status_code == 403
