"""
The OpenAPI document: its prose, its examples, and the error responses that routes share.

A test sends every example here to the app and compares the answer with the document.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI

from app.problem import MEDIA_TYPE, Problem, ProblemKind, problem_document
from app.schemas import ProblemOut

DESCRIPTION = """
Adloom writes ad creatives from a product's own words, within the limits of the channel they will run on.

* All but probes, channels and tokens needs `Authorization: Bearer TOKEN`: exchange the client's secret for a token
  with `POST /v1/token`, or bring one of the OpenID provider that the service trusts.
* Requests are counted for each client and operation: see `RateLimit-Limit`, `RateLimit-Remaining`,
  `RateLimit-Reset`, and `Retry-After` of a 429.
* What a client makes, other clients do not find.
* Every answer carries an `X-Request-ID`: the one you sent, or a new one where it was not 1 to 64 of `A-Za-z0-9._-`.
* Every error is a problem document (RFC 9457, `application/problem+json`) with a stable `type`.
* Bodies are JSON in UTF-8 without duplicate keys, NaN or half surrogate pairs; catalogues in CSV and JSON Lines are
  read as files are, row by row, and what no row should hold is reported or cleaned away.
"""

TAGS = [
    {"name": "identity", "description": "Tokens for clients of this service, and the keys that they are checked with."},
    {"name": "creatives", "description": "Write ads and look them up."},
    {"name": "pictures", "description": "Ads as pictures, in the sizes of their channel."},
    {"name": "batches", "description": "Ads for thousands of products, and the catalogues that they come from."},
    {"name": "feedback", "description": "Say what became of an ad, and see what became of that."},
    {"name": "models", "description": "Versions of the model, how good they are, and how champions came and went."},
    {"name": "pairs", "description": "Training pairs in bulk, and the datasets that they became part of."},
    {"name": "retrains", "description": "Have the model learn anew, and see whether that helped."},
    {"name": "rollbacks", "description": "Have an earlier version come back, and see how far that is."},
    {"name": "drift", "description": "See whether what comes in and goes out is still like ordinary traffic."},
    {"name": "inference", "description": "The same writer by the Open Inference Protocol, version 2."},
    {"name": "operation", "description": "For probes and dashboards."},
]

FASTAPIS_ERROR = "HTTPValidationError"
EXAMPLE_REQUEST_ID = "5f0c2a9e4b7d4c1f9a3e8d6b2c1a0f7e"

REQUEST_EXAMPLES: dict[str, Any] = {
    "one_channel": {
        "summary": "One ad for Instagram",
        "value": {
            "product": {
                "sku": "LOCH-12",
                "title": "Gooseneck kettle Loch, 1.2 l",
                "description": "Brushed steel, 1,000 W. Temperature in 1-degree steps from 40 to 100 °C. Base 15 cm.",
                "category": "Kitchen",
                "price": "79.00 EUR",
            },
            "channels": ["instagram"],
        },
    },
    "every_option": {
        "summary": "Two channels in a playful voice, the best two of eight candidates, own colours",
        "value": {
            "product": {
                "sku": "PUDDLE",
                "title": "Dog raincoat Puddle",
                "description": "<p>Water-repellent, unlined. Reflective piping, slot for the leash.</p>",
                "category": "Pets",
                "brand": "Puddle",
                "price": "34.00 EUR",
                "image": "https://shop.example/puddle.jpg",
                "attributes": {"Back length": "20 to 60 cm"},
            },
            "channels": ["google_rsa", "instagram"],
            "voice": "playful",
            "candidates": 8,
            "return_candidates": 2,
            "seed": 7,
            "brand_colours": {"background": "#0a3d62", "foreground": "#ffffff", "accent": "#f6b93b"},
        },
    },
}

CREATIVE_EXAMPLE: dict[str, Any] = {
    "id": "cr_f03e4e56d1774f5aaa31",
    "sku": "LOCH-12",
    "channel": "instagram",
    "headline": "Set it to the degree",
    "body": "A gooseneck kettle in brushed steel: 1.2 l, 1,000 W, 1-degree steps from 40 to 100 °C.",
    "headlines": ["Set it to the degree"],
    "descriptions": ["A gooseneck kettle in brushed steel: 1.2 l, 1,000 W, 1-degree steps from 40 to 100 °C."],
    "call_to_action": "Check that the 15 cm base fits",
    "hashtags": ["#kettle", "#gooseneck", "#kitchen"],
    "validity": 1.0,
    "findings": [],
    "repairs": [],
    "passport": {
        "bundle_digest": "3b0f6f0d3e1c5f7a9d2b4c6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f20",
        "prompt_digest": "9c1185a5c5e9fc54612808977ee8f548b2258d31c3a1d0e6f7b8a9c0d1e2f304",
        "product_digest": "4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce",
        "seed": 0,
        "voice": "plain",
        "candidates": 4,
        "decoding": {"temperature": 0.8, "top_k": 40},
        "validity_version": "1",
        "git_commit": "",
        "image_digest": "",
        "registry_version": "",
        "dataset_digest": "",
    },
    "images": [
        {
            "size": size,
            "svg": f"/v1/creatives/cr_f03e4e56d1774f5aaa31/image.svg?size={size}",
            "png": f"/v1/creatives/cr_f03e4e56d1774f5aaa31/image.png?size={size}",
        }
        for size in ("1080x1080", "1080x1920")
    ],
}
CREATIVES_EXAMPLE = {"creatives": [CREATIVE_EXAMPLE]}

STREAM_EXAMPLE = (
    'event: progress\ndata: {"channel": "instagram", "begun": 3, "texts": 16}\n\n'
    'event: field\ndata: {"channel": "instagram", "rank": 0, "name": "headline", "place": 0, '
    '"text": "Set it to the degree"}\n\n'
    'event: creative\ndata: {"id": "cr_f03e4e56d1774f5aaa31", "...": "as without stream"}\n\n'
    'event: done\ndata: {"creatives": 1}\n\n'
)
STREAM_RESPONSE: dict[str, Any] = {
    "schema": {},
    "itemSchema": {  # of one event; OpenAPI 3.2 has it, FastAPI writes it into 3.1, and older readers pass over it
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["progress", "field", "creative", "done", "error"]},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    },
    "example": STREAM_EXAMPLE,
}
ACCESS_PROBLEMS = (
    ProblemKind.UNAUTHENTICATED,
    ProblemKind.FORBIDDEN,
    ProblemKind.RATE_LIMITED,
    ProblemKind.STORE_DOWN,
)
"""Of every route that needs a token."""
ONCE_PROBLEMS = (ProblemKind.KEY_REUSED, ProblemKind.KEY_BUSY)
"""Of every route that takes an Idempotency-Key."""
WRITING_PROBLEMS = (
    *ACCESS_PROBLEMS,
    *ONCE_PROBLEMS,
    ProblemKind.MALFORMED_JSON,
    ProblemKind.BODY_TOO_SLOW,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.UNSUPPORTED_MEDIA_TYPE,
    ProblemKind.INVALID_REQUEST,
    ProblemKind.GENERATION_FAILED,
    ProblemKind.OVERLOADED,
    ProblemKind.NOT_READY,
    ProblemKind.DEADLINE_EXCEEDED,
)
"""Of every route that has ads written while its client waits."""

_EXAMPLE_DETAILS = {
    ProblemKind.UNAUTHENTICATED: "Send a token: Authorization: Bearer ...; POST /v1/token gives one.",
    ProblemKind.FORBIDDEN: "The token lacks the scope creatives:write.",
    ProblemKind.RATE_LIMITED: "Try again in 12 s.",
    ProblemKind.STORE_DOWN: "Nothing was kept: try again in a while.",
    ProblemKind.KEY_REUSED: "Send this request with a key of its own.",
    ProblemKind.KEY_BUSY: "Try again in 2 s to get its answer.",
    ProblemKind.BATCH_NOT_FOUND: "Check the id: POST /v1/batches gave it.",
    ProblemKind.FEEDBACK_NOT_FOUND: "Check the id: the answer to the feedback gave it.",
    ProblemKind.SNAPSHOT_NOT_FOUND: "Upload the catalogue again: POST /v1/catalogue.",
    ProblemKind.PRODUCT_NOT_FOUND: "Upload a catalogue that has it, or send the product with its title.",
    ProblemKind.FEATURES_DOWN: "The feature server does not answer: try again in 5 s.",
    ProblemKind.RETRAIN_NOT_FOUND: "Check the id: POST /v1/retrains gave it.",
    ProblemKind.RETRAIN_OPEN: "Wait until rt_6a2f41a3c54c4d9b8b1f2c3d4e5f6071 has ended, which is running.",
    ProblemKind.ROLLBACK_NOT_FOUND: "Check the id: POST /v1/rollbacks gave it.",
    ProblemKind.ROLLBACK_OPEN: "Wait until rb_0b7d35a1c92e4f6f8a40d1e2f3a4b5c6 has ended, which is running.",
    ProblemKind.ROLLBACK_BEGUN: "It is running: GET /v1/rollbacks/rb_0b7d35a1c92e4f6f8a40d1e2f3a4b5c6 says more.",
    ProblemKind.PHOTOGRAPH_NOT_FOUND: "Send the file again with POST /v1/photographs, or no image.",
    ProblemKind.DRIFT_REPORT_NOT_FOUND: "Check the id: GET /v1/drift lists them.",
    ProblemKind.DRIFT_PAGE_NOT_FOUND: (
        "It has expired, and its figures stay: GET /v1/drift/dr_0670fe6ee9322ecf01e02c47b4853e56."
    ),
    ProblemKind.VERSION_NOT_FOUND: "Check the number: GET /v1/models/versions lists them.",
    ProblemKind.PAIR_SET_NOT_FOUND: "Check the id: GET /v1/pairs lists the last ones.",
    ProblemKind.MODEL_NOT_FOUND: "This service serves adloom-writer.",
    ProblemKind.CONFLICT: "The batch is done already.",
    ProblemKind.MALFORMED_JSON: "Line 1, column 12: Expecting ',' delimiter.",
    ProblemKind.CREATIVE_NOT_FOUND: "Send the request that wrote it again.",
    ProblemKind.BODY_TOO_SLOW: "Send the whole body within 60 s, or in smaller parts.",
    ProblemKind.BODY_TOO_LARGE: "Send at most 262,144 bytes: shorten the description or send fewer attributes.",
    ProblemKind.UNSUPPORTED_MEDIA_TYPE: "Send uncompressed JSON with the header Content-Type: application/json.",
    ProblemKind.INVALID_REQUEST: "1 value does not fit: see errors, correct them and send the request again.",
    ProblemKind.GENERATION_FAILED: "Change the product or the seed and try again; if it stays, report the request id.",
    ProblemKind.OVERLOADED: "Try again in 4 s, or send fewer requests at once.",
    ProblemKind.NOT_READY: "The writer has stopped and the service will be restarted: try again in a while.",
    ProblemKind.DEADLINE_EXCEEDED: "Ask for fewer channels or candidates in one request, or try again later.",
}


def problems(*kinds: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can end in these kinds; kinds of one status share an entry."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        entry = responses.setdefault(kind.status, _problem_entry(kind.title))
        if kind.title not in entry["description"]:
            entry["description"] += f", or: {kind.title[0].lower()}{kind.title[1:]}"
        examples = entry["content"][MEDIA_TYPE].setdefault("examples", {})
        examples[kind.value[0]] = {"summary": kind.title, "value": _problem_example(kind)}
        if kind.status == 503:
            wait = {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 1}}
            entry["headers"] = {"Retry-After": wait}
    return responses


def _problem_entry(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
    }


def _problem_example(kind: ProblemKind) -> dict[str, Any]:
    errors = []
    if kind is ProblemKind.INVALID_REQUEST:
        errors = [{"pointer": "#/product/title", "detail": "Field required"}]
    return problem_document(Problem(kind, _EXAMPLE_DETAILS[kind], errors=errors), EXAMPLE_REQUEST_ID)


def picture_response(media_type: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with a picture, or 304 to a client that has it."""
    etag = {"description": "Changes with the picture.", "schema": {"type": "string"}}
    missing = {
        "description": "`missing` where the product names a photograph that is kept no longer: drawn without it.",
        "schema": {"type": "string"},
    }
    return {
        200: {
            "description": "The picture. It may be kept for a day.",
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
            "headers": {"ETag": etag, "Adloom-Photograph": missing},
        },
        304: {"description": "The picture has not changed since the ETag was given.", "headers": {"ETag": etag}},
    }


class DocumentedApp(FastAPI):
    """FastAPI, with what its generator cannot know written into the document."""

    def openapi(self) -> dict[str, Any]:
        """Generated on first use; routes added later are not in it."""
        if self.openapi_schema:
            return self.openapi_schema
        document = super().openapi()
        definition = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**definition.pop("$defs"), "ProblemOut": definition}
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"]["default"] = _problem_entry("Anything else that goes wrong")
                # FastAPI adds its own model where a route has parameters and names no 422.
                if FASTAPIS_ERROR in json.dumps(operation["responses"].get("422", {})):
                    operation["responses"]["422"] = problems(ProblemKind.INVALID_REQUEST)[422]
        for name in (FASTAPIS_ERROR, "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document
