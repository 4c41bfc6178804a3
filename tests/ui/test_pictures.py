"""A picture on its way through the page: how long browsers keep it, and what it says of its photograph."""

from __future__ import annotations

import io
import re
import shutil

import pytest
from PIL import Image

from app.photographs_route import PHOTOGRAPH_HEADER
from app.ui.forward import PICTURE_SECONDS
from tests.ui.page_client import visitor

pytestmark = pytest.mark.anyio


async def test_a_picture_without_its_photograph_says_so_and_is_not_kept_for_when_it_is_back():
    photograph = io.BytesIO()
    Image.new("RGB", (300, 200), "#d01010").save(photograph, "PNG")
    async with visitor() as one:

        async def send():
            headers = {**one.csrf(), "Content-Type": "image/png"}
            sent = await one.http.post("/api/photographs", content=photograph.getvalue(), headers=headers)
            return sent.json()["image"]

        product = {"title": "Blue ceramic bowl", "image": await send()}
        order = {"product": product, "channels": ["instagram"], "candidates": 1}
        written = await one.http.post("/api/creatives", json=order, headers=one.csrf())
        address = f"/pictures/{re.search(r'cr_[0-9a-f]{20}', written.text).group()}.svg"
        whole = await one.http.get(address)
        shutil.rmtree(f"{one.service.settings.objects_url}/photographs")
        without = await one.http.get(address)
        await send()
        back = await one.http.get(address)

    assert whole.headers["cache-control"] == back.headers["cache-control"] == f"private, max-age={PICTURE_SECONDS}"
    assert without.headers["cache-control"] == "private, no-cache"
    assert without.headers[PHOTOGRAPH_HEADER] == "missing"
    assert PHOTOGRAPH_HEADER not in whole.headers
    assert "data:image" in back.text
    assert "data:image" not in without.text
