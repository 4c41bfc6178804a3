"""
Examples of the Open Inference Protocol for the OpenAPI document; a test sends the requests and checks the answers.

Knows the creative that the document shows elsewhere, and shows the same as tensors.
"""

from __future__ import annotations

import json
from typing import Any

from app.openapi import CREATIVE_EXAMPLE, EXAMPLE_REQUEST_ID, REQUEST_EXAMPLES

_PRODUCTS = [example["value"]["product"] for example in REQUEST_EXAMPLES.values()]
_BARE = {name: value for name, value in CREATIVE_EXAMPLE.items() if name != "images"}


def _input(name: str, *data: str) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": "BYTES", "data": list(data)}


def _output(name: str, datatype: str, value: str | float) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": datatype, "data": [value]}


INFER_REQUEST_EXAMPLES: dict[str, Any] = {
    "one_product": {
        "summary": "One ad for Instagram",
        "value": {
            "inputs": [
                *(_input(name, _PRODUCTS[0][name]) for name in ("sku", "title", "description", "category", "price")),
                _input("channel", "instagram"),
            ],
        },
    },
    "every_option": {
        "summary": "Two products, a channel and a voice for each, only the words and the score",
        "value": {
            "id": "42",
            "parameters": {"seed": 7, "candidates": 8},
            "inputs": [
                *(_input(name, *(product[name] for product in _PRODUCTS)) for name in ("title", "description")),
                _input("channel", "instagram", "x"),
                _input("voice", "plain", "playful"),
            ],
            "outputs": [{"name": "headline"}, {"name": "body"}, {"name": "validity"}],
        },
    },
}

INFER_RESPONSE_EXAMPLE: dict[str, Any] = {
    "model_name": "adloom-writer",
    "model_version": "0",
    "id": EXAMPLE_REQUEST_ID,
    "outputs": [
        _output("headline", "BYTES", CREATIVE_EXAMPLE["headline"]),
        _output("body", "BYTES", CREATIVE_EXAMPLE["body"]),
        _output("call_to_action", "BYTES", CREATIVE_EXAMPLE["call_to_action"]),
        _output("hashtags", "BYTES", json.dumps(CREATIVE_EXAMPLE["hashtags"])),
        _output("validity", "FP64", CREATIVE_EXAMPLE["validity"]),
        _output("creative", "BYTES", json.dumps(_BARE, ensure_ascii=False)),
    ],
}
