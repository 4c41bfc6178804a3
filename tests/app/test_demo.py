"""
What the demo shows and sends, without running it: `pytest tests/app/test_demo.py`.

tests/e2e runs it with the built model.
"""

from __future__ import annotations

import json
import shlex
from itertools import product as pairs

import pytest

from app.demo import REQUEST, as_text, curl, rotating_tasks
from app.schemas import CreativesRequest
from model.catalogue import Catalogue
from model.channel import channels
from model.product import Product
from model.prompt import VOICES


def catalogue_of(count):
    products = tuple(Product(f"SKU-{number}", f"Lamp number {number}") for number in range(count))
    return Catalogue(products, (), count, 0)


@pytest.mark.parametrize("count", [12, 18])
def test_no_channel_is_shown_twice_in_the_same_voice(count):
    tasks = rotating_tasks(catalogue_of(20), count)
    shown = {(task.spec.name, task.voice) for task in tasks}

    assert [task.product.sku for task in tasks] == [f"SKU-{number}" for number in range(count)]
    assert len(shown) == count
    assert shown <= set(pairs(channels(), VOICES))
    assert {task.spec.name for task in tasks} == set(channels())


def test_the_line_it_prints_sends_a_request_that_the_service_takes():
    token, call = curl("http://127.0.0.1:8080", "ads_secret").split("\n")
    words = shlex.split(call)
    sent = json.loads(words[words.index("-d") + 1])

    assert sent == REQUEST
    assert CreativesRequest.model_validate(sent).voice in VOICES
    assert "client_secret=ads_secret" in token
    assert words[words.index("-H") + 1] == "Authorization: Bearer $TOKEN"


def test_a_creative_is_shown_with_its_channel_and_voice_and_without_empty_fields():
    record = {
        "product": {"title": "Blue ceramic bowl"},
        "channel": "x",
        "headlines": [],
        "descriptions": ["Stoneware, 14 cm across."],
        "call_to_action": "",
        "hashtags": ["#bowl", "#stoneware"],
        "validity": 1.0,
        "findings": [],
        "passport": {"voice": "premium"},
    }

    assert as_text(record).splitlines() == [
        "Blue ceramic bowl  [X post, premium]",
        "  body            Stoneware, 14 cm across.",
        "  hashtags        #bowl #stoneware",
        "  validity        1.00",
    ]
