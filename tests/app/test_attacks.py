"""Forged and odd tokens: each refused with 401, all alike to the last byte, and nothing given away."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from jose.backends.cryptography_backend import CryptographyECKey

from app.tokens import TOKEN_BYTES_MAX
from tests.app.forged_tokens import (
    HOUR_SECONDS,
    OUT_OF_REACH,
    answer_to,
    as_json,
    assert_refused,
    claims_of,
    encoded,
    signed,
    with_header,
)
from tests.app.guarded_service import AUDIENCE, EVERYTHING, Guarded, guarded

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """One for all who do not change its clients, with limits that no attack here reaches."""
    async with guarded(tmp_path_factory.mktemp("attacked"), default="10000/minute", operations=OUT_OF_REACH) as started:
        yield started


async def test_the_token_that_every_attack_here_changes_is_a_good_one(service: Guarded) -> None:
    answer = await answer_to(service, signed(service, claims_of(service)))

    assert (answer.status_code, answer.json()) == (200, {"client": "shop", "id": "1"})


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "none ", "", None, 0, ["none"], "null"])
@pytest.mark.parametrize("has_signature", [False, True])
async def test_a_token_without_a_signature_is_refused_however_it_says_so(
    service: Guarded, name: Any, has_signature: bool
) -> None:
    header = {"alg": name, "typ": "JWT", "kid": service.issuer.kid}
    token = signed(service, claims_of(service), header)

    assert_refused(await answer_to(service, token if has_signature else token.rpartition(".")[0] + "."))


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
@pytest.mark.parametrize("digest", ["HS256", "HS384", "HS512"])
async def test_the_public_key_is_no_secret_to_sign_with(service: Guarded, form: str, digest: str) -> None:
    public = service.issuer.public_key.key.prepared_key
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": public.public_bytes(serialization.Encoding.PEM, info),
        "der": public.public_bytes(serialization.Encoding.DER, info),
        "jwk": json.dumps(service.issuer.key_set()["keys"][0]).encode(),
    }[form]
    header = {"alg": digest, "typ": "JWT", "kid": service.issuer.kid}
    text = f"{encoded(as_json(header))}.{encoded(as_json(claims_of(service)))}"
    mark = hmac.new(secret, text.encode(), f"sha{digest[2:]}").digest()

    assert_refused(await answer_to(service, f"{text}.{encoded(mark)}"))


@pytest.mark.parametrize("name", ["RS256", "PS256", "ES384", "ES512", "EdDSA", "ES256K", "es256", "dir", "A128KW"])
async def test_an_algorithm_that_is_not_the_keys_own_is_refused(service: Guarded, name: str) -> None:
    assert_refused(await answer_to(service, with_header(service, alg=name)))


@pytest.mark.parametrize("name", ["ES256", "RS256"])
async def test_a_key_of_somebody_else_is_refused_under_our_key_id(service: Guarded, name: str) -> None:
    text = f"{encoded(as_json({'alg': name, 'kid': service.issuer.kid}))}.{encoded(as_json(claims_of(service)))}"
    if name == "ES256":
        mark = CryptographyECKey(ec.generate_private_key(ec.SECP256R1()), name).sign(text.encode())
    else:
        key = rsa.generate_private_key(65537, 2048)
        mark = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())

    assert_refused(await answer_to(service, f"{text}.{encoded(mark)}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": int(time.time()) - 31},
        {"nbf": int(time.time()) + HOUR_SECONDS},
        {"iat": int(time.time()) + HOUR_SECONDS},
        {"iat": 1},
        {"aud": "other"},
        {"aud": ["other", "adloom2"]},
        {"aud": []},
        {"aud": {"adloom": 1}},
        {"aud": [["adloom"]]},
        {"aud": "adloom "},
        {"iss": "urn:adloom:other"},
        {"iss": ["urn:adloom"]},
        {"iss": ""},
        {"sub": 7, "client_id": 7},
        {"client_id": "nobody"},
        {"client_id": ""},
        {"client_id": ["shop"]},
        {"client_id": "shop\r\nX-Admin: 1"},
        {"client_id": "shop' OR '1'='1"},
        {"client_id": "../shop"},
        {"client_id": "shop\u0000"},
        {"client_id": "s" * 129},
        {"scope": ["creatives:read"]},
        {"scope": 7},
        {"scp": [7], "scope": ""},
        {"exp": "4102444800"},
        {"exp": True},
        {"exp": [4102444800]},
        {"exp": -1},
        {"exp": 2**60},
        {"nbf": "0"},
        {"nbf": False},
        {"iat": "0"},
        {"iat": {}},
    ],
    ids=lambda changes: re.sub(r"\d{10}", "time", str(changes)),
)
async def test_a_signed_token_with_wrong_claims_is_refused(service: Guarded, changes: dict[str, Any]) -> None:
    assert_refused(await answer_to(service, signed(service, claims_of(service, **changes))))


@pytest.mark.parametrize("claim", ["iss", "aud", "iat", "nbf", "exp"])
async def test_a_token_that_lacks_a_claim_is_refused(service: Guarded, claim: str) -> None:
    assert_refused(await answer_to(service, signed(service, claims_of(service, **{claim: None}))))


async def test_a_token_that_names_no_client_is_refused(service: Guarded) -> None:
    assert_refused(await answer_to(service, signed(service, claims_of(service, client_id=None, sub=None))))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"exp": ', '"exp": NaN, "x": '),
        lambda text: text.replace('"exp": ', '"exp": Infinity, "x": '),
        lambda text: text.replace('"exp": ', '"exp": 1e400, "x": '),
        lambda text: text.replace('"exp": ', '"exp": 1' + "0" * 5000 + ', "x": '),
        lambda text: text.replace('"client_id": "shop"', '"client_id": "shop", "client_id": "shop"'),
        lambda text: text.replace('"aud": ', '"aud": "other", "aud": '),
        lambda text: text[:-1],
        lambda text: f"[{text}]",
        lambda text: f'"{AUDIENCE}"',
        lambda text: "[" * 2500 + "]" * 2500,
        lambda text: text.replace("shop", "\\ud800"),
        lambda text: "",
    ],
)
async def test_a_signed_payload_that_is_not_plain_json_is_refused(
    service: Guarded, change: Callable[[str], str]
) -> None:
    good = json.dumps(claims_of(service))
    changed = change(good)

    assert changed != good
    assert_refused(await answer_to(service, signed(service, changed.encode())))


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg": "ES256", "alg": "none", "kid": "KID"}',
        b'{"alg": "none", "alg": "ES256", "kid": "KID"}',
        b'{"alg": "ES256", "kid": "other", "kid": "KID"}',
        b'{"alg": "ES256", "kid": "KID"',
        b'["ES256", "KID"]',
        b'{"alg": "ES256", "kid": "KID", "x": NaN}',
        b"\xff\xfe",
        b"null",
        b"{}",
    ],
)
async def test_a_header_that_is_not_plain_json_is_refused(service: Guarded, header: bytes) -> None:
    header = header.replace(b"KID", service.issuer.kid.encode())

    assert_refused(await answer_to(service, signed(service, claims_of(service), header)))


@pytest.mark.parametrize(
    "kid",
    [
        "unknown",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR 1=1 --",
        "key.pem\x00",
        "| sleep 5",
        "k" * 10_000,
        "",
        None,
        7,
        ["KID"],
        {"KID": 1},
        "KID ",
    ],
    ids=lambda value: str(value)[:16],
)
async def test_a_key_id_is_looked_up_among_the_keys_and_nowhere_else(service: Guarded, kid: Any) -> None:
    if isinstance(kid, str):
        kid = kid.replace("KID", service.issuer.kid)

    assert_refused(await answer_to(service, with_header(service, kid=kid)))


async def test_a_token_without_a_key_id_is_refused(service: Guarded) -> None:
    assert_refused(await answer_to(service, signed(service, claims_of(service), {"alg": "ES256"})))


@pytest.mark.parametrize(
    "extra",
    [{"crit": ["exp"]}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"typ": "logout+jwt"}, {"typ": ["JWT"]}],
    ids=str,
)
async def test_a_token_that_asks_for_what_we_do_not_know_is_refused(service: Guarded, extra: dict[str, Any]) -> None:
    assert_refused(await answer_to(service, with_header(service, **extra)))


async def test_keys_that_a_token_brings_or_names_by_address_are_never_fetched_and_never_used(service: Guarded) -> None:
    key = CryptographyECKey(ec.generate_private_key(ec.SECP256R1()), "ES256")
    jwk = {name: str(value) for name, value in key.public_key().to_dict().items()} | {"kid": "evil"}
    fetched: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _key_server(jwk, fetched)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/jwks.json"
        for extra in ({"jku": address}, {"x5u": address}, {"jwk": jwk}, {"x5c": ["MIIB"]}, {"jku": address, "x5u": 7}):
            for kid in ("evil", service.issuer.kid):
                header = {"alg": "ES256", "typ": "JWT", "kid": kid, **extra}
                text = f"{encoded(as_json(header))}.{encoded(as_json(claims_of(service)))}"
                assert_refused(await answer_to(service, f"{text}.{encoded(key.sign(text.encode()))}"))
        async with httpx.AsyncClient() as client:
            reached = (await client.get(address)).status_code
        server.shutdown()

    assert reached == 200
    assert fetched == ["/jwks.json"]


def _key_server(jwk: dict[str, str], fetched: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            body = json.dumps({"keys": [jwk]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    return Handler


async def test_every_changed_character_of_a_token_breaks_it(service: Guarded) -> None:
    token = signed(service, claims_of(service))
    header, payload, mark = token.split(".")
    changed = json.dumps(claims_of(service, scope="models:admin")).encode()
    forged = [f"{header}.{encoded(changed)}.{mark}", f"{header}.{payload}.{mark[::-1]}", f"{header}.{payload}.{mark}A"]
    forged += [f"{header}.{payload}.", f"{header}.{payload}", f"{header}..{mark}", f".{payload}.{mark}", "..", "."]
    forged += [
        f"{token}.{mark}",
        f"{token}=",
        f"{header}=.{payload}.{mark}",
        f"{token}!",
        f"{header}. {payload}.{mark}",
    ]
    forged += [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in (0, 60, 200, 400)
    ]
    # r and s of zero: the "psychic" signature that a Java library once took for anything.
    forged += [f"{header}.{payload}.{encoded(bytes(64))}", f"{header}.{payload}.{encoded(bytes(63) + b'1')}"]
    for each in forged:
        assert_refused(await answer_to(service, each))
    assert (await answer_to(service, token)).status_code == 200


async def test_a_good_token_past_its_bound_is_refused_before_anything_in_it_is_read(service: Guarded) -> None:
    padded = [signed(service, claims_of(service, padding="x" * count)) for count in range(5600, 5900)]
    longest = max((token for token in padded if len(token) <= TOKEN_BYTES_MAX), key=len)
    too_long = min((token for token in padded if len(token) > TOKEN_BYTES_MAX), key=len)
    huge = signed(service, claims_of(service, padding="x" * 75_000))

    assert len(longest) > TOKEN_BYTES_MAX - 4
    assert (await answer_to(service, longest)).status_code == 200
    assert len(huge) > 100_000
    for token in (too_long, huge):
        assert_refused(await answer_to(service, token))


async def test_a_digest_of_a_good_token_is_no_token(service: Guarded) -> None:
    token = service.issuer.issue("shop", EVERYTHING)
    assert (await answer_to(service, token)).status_code == 200

    assert_refused(await answer_to(service, hashlib.sha256(token.encode()).hexdigest()))
