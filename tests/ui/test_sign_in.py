"""Signing in and out, and what happens when a token or a session runs out."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from app.ui.openid import Attempt, Provider, SignInError
from app.ui.settings import Settings
from tests.app.service_client import bearer
from tests.ui.page_client import NAME, PAGE, visitor

pytestmark = pytest.mark.anyio


async def test_signing_in_leads_to_the_page_that_was_wanted():
    async with visitor(signed_in=False) as one:
        form = {"client_id": NAME, "client_secret": one.secret}
        wanted = await one.http.post("/sign-in?next=/health", data=form)
        foreign = await one.http.post("/sign-in?next=https://evil.example", data=form)

    assert wanted.headers["location"] == "/health"
    assert foreign.headers["location"] == "/create"


async def test_a_wrong_secret_is_refused_with_what_to_do_and_is_not_repeated():
    async with visitor(signed_in=False) as one:
        answer = await one.sign_in(client_secret="ads_wrong-secret-of-mine")

    assert answer.status_code == 401
    assert "adloom client rotate" in answer.text
    assert f'value="{NAME}"' in answer.text
    assert "wrong-secret-of-mine" not in answer.text


@pytest.mark.parametrize("missing", ["client_id", "client_secret"])
async def test_an_empty_field_is_said(missing):
    async with visitor(signed_in=False) as one:
        answer = await one.sign_in(**{missing: " "})

    assert answer.status_code == 422


async def test_what_was_typed_is_text_on_the_page_that_comes_back():
    async with visitor(signed_in=False) as one:
        answer = await one.sign_in(client_id='"><script>alert(1)</script>')

    assert "<script>alert" not in answer.text


async def test_no_page_holds_the_secret_or_the_token():
    async with visitor() as one:
        texts = [(await one.http.get(path, headers=PAGE)).text for path in ("/create", "/model", "/health", "/data")]
        texts.append((await one.http.get("/catalogue/state")).text)
        token = one.session.token.value

    assert all(one.secret not in text and token not in text for text in texts)


async def test_signing_out_forgets_the_session_at_once():
    async with visitor() as one:
        cookie = one.http.cookies["adloom"]
        answer = await one.http.post("/sign-out")
        one.http.cookies.set("adloom", cookie)
        again = await one.http.get("/api/channels")

        assert answer.headers["location"] == "/sign-in?bye=1"
        assert again.status_code == 401
        assert len(one.page.state.sessions) == 0


async def test_a_session_that_nobody_used_says_so_at_the_sign_in():
    async with visitor() as one:
        now = one.page.state.sessions.now()
        one.page.state.sessions.now = lambda: now + 31 * 60
        answer = await one.http.get("/create", headers=PAGE)
        shown = await one.http.get(answer.headers["location"], headers=PAGE)

    assert answer.headers["location"] == "/sign-in?next=/create&ended=1"
    assert "Your session has ended" in shown.text


async def test_a_new_sign_in_takes_no_cookie_that_was_planted():
    async with visitor(signed_in=False) as one:
        one.http.cookies.set("adloom", "planted")
        answer = await one.sign_in()

    assert "planted" not in answer.headers["set-cookie"]


async def test_a_token_that_has_run_out_is_renewed_on_the_way():
    async with visitor() as one:
        session = one.session
        session.token.value = bearer(one.service, "nobody-knows")["Authorization"].removeprefix("Bearer ") + "x"
        answer = await one.http.get("/api/channels")
        models = await one.http.get("/model", headers=PAGE)

        assert answer.status_code == 200
        assert "adloom-writer" in models.text


async def test_a_client_that_was_given_a_new_secret_has_to_sign_in_again():
    async with visitor() as one:
        one.session.token.value = "no.such.token"
        one.session.credentials = type(one.session.credentials)(NAME, "ads_old")
        as_script = await one.http.post("/catalogue/sample", headers=one.csrf())
        gone = await one.http.get("/create", headers=PAGE)

    assert as_script.status_code == 401
    assert as_script.json()["type"] == "urn:adloom:ui:signed-out"
    assert gone.headers["location"].startswith("/sign-in")


async def test_a_client_without_the_scope_sees_no_retrain_button():
    async with visitor(scopes=("creatives:read",)) as one:
        page = (await one.http.get("/model", headers=PAGE)).text

    assert "models:admin" in page
    assert 'id="retrain"' not in page


async def test_a_service_that_is_away_is_said_on_pages_and_to_scripts():
    async with visitor() as one:
        one.page.state.http._transport = httpx.AsyncHTTPTransport()
        one.page.state.http.base_url = "http://127.0.0.1:9"
        page = await one.http.get("/model", headers=PAGE)
        script = await one.http.get("/api/channels")
        form = await one.sign_in()

    assert page.status_code == 503
    assert "does not answer" in page.text
    assert script.json()["type"] == "urn:adloom:ui:service-down"
    assert "try again in a minute" in form.text


class StandInProvider:
    """A stand-in for an OpenID provider: it signs anybody in, and checks what RFC 7636 makes it check."""

    issuer = "http://127.0.0.1:9/stand-in"

    def __init__(self, access_token):
        self.access_token = access_token
        self.challenges = {}
        self.renewals = 0
        self.app = Starlette(
            routes=[
                Route("/stand-in/.well-known/openid-configuration", self.discovery),
                Route("/stand-in/authorize", self.authorize),
                Route("/stand-in/token", self.token, methods=["POST"]),
            ]
        )

    async def discovery(self, _request):
        endpoints = {
            f"{name}_endpoint": f"{self.issuer}/{path}"
            for name, path in [("authorization", "authorize"), ("token", "token")]
        }
        return JSONResponse({"issuer": self.issuer, **endpoints})

    async def authorize(self, request):
        query = request.query_params
        self.challenges["code-1"] = query["code_challenge"]
        return RedirectResponse(f"{query['redirect_uri']}?code=code-1&state={query['state']}")

    async def token(self, request):
        form = parse_qs((await request.body()).decode())
        if form["grant_type"] == ["refresh_token"]:
            self.renewals += 1
            return JSONResponse({"access_token": self.access_token(), "expires_in": 300, "refresh_token": "next"})
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != self.challenges.get(form["code"][0]):
            return JSONResponse({"error": "invalid_grant"}, 400)
        scope = "creatives:read creatives:write"
        return JSONResponse(
            {"access_token": self.access_token(), "expires_in": 300, "refresh_token": "first", "scope": scope}
        )


class Both(httpx.AsyncBaseTransport):
    """The service, and the provider under its own address."""

    def __init__(self, service, provider):
        self.service = service
        self.provider = httpx.ASGITransport(provider)

    async def handle_async_request(self, request):
        chosen = self.provider if request.url.path.startswith("/stand-in/") else self.service
        return await chosen.handle_async_request(request)


OIDC = {"oidc_issuer": StandInProvider.issuer, "oidc_client_id": "adloom-ui", "public_url": "http://page"}


async def open_at_provider(one):
    """Press the button, follow the provider's redirect, and come back."""
    token = lambda: bearer(one.service, NAME)["Authorization"].removeprefix("Bearer ")  # noqa: E731
    provider = StandInProvider(token)
    one.page.state.http._transport = Both(one.page.state.http._transport, provider.app)
    pressed = await one.http.post("/sign-in/provider")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(provider.app)) as elsewhere:
        returned = await elsewhere.get(pressed.headers["location"])
    return provider, returned.headers["location"]


async def test_signing_in_at_a_provider_opens_a_session_whose_token_is_renewed():
    async with visitor(signed_in=False, **OIDC) as one:
        provider, back = await open_at_provider(one)
        answer = await one.http.get(back, headers=PAGE)
        one.session.token.expires_at = 0.0
        channels = await one.http.get("/model", headers=PAGE)

        assert answer.headers["location"] == "/create"
        assert channels.status_code == 200
        assert provider.renewals == 1
        assert one.session.credentials.token == "next"


@pytest.mark.parametrize("change", ["state=stolen", "code="])
async def test_a_return_that_this_browser_did_not_begin_opens_nothing(change):
    async with visitor(signed_in=False, **OIDC) as one:
        _, back = await open_at_provider(one)
        name = change.partition("=")[0]
        query = {key: values[0] for key, values in parse_qs(urlsplit(back).query).items()} | {
            name: change.partition("=")[2]
        }
        answer = await one.http.get("/sign-in/callback", params=query, headers=PAGE)

        assert answer.status_code == 401
        assert "begin it again" in answer.text
        assert len(one.page.state.sessions) == 0


async def test_a_code_is_worth_nothing_without_its_verifier():
    async with visitor(signed_in=False, **OIDC) as one:
        _, back = await open_at_provider(one)
        state = parse_qs(urlsplit(back).query)["state"][0]
        one.http.cookies.set("adloom-attempt", f"{state}.another-verifier")
        answer = await one.http.get(back, headers=PAGE)

        assert answer.status_code == 401
        assert len(one.page.state.sessions) == 0


def test_the_challenge_is_that_of_the_example_in_rfc_7636():
    attempt = Attempt("state", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")

    assert attempt.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


async def test_a_provider_with_another_name_is_refused():
    settings = Settings(oidc_issuer="http://127.0.0.1:9/stand-in/other", oidc_client_id="x", public_url="http://page")
    provider = StandInProvider(lambda: "")
    provider.app.routes.append(Route("/stand-in/other/.well-known/openid-configuration", provider.discovery))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(provider.app)) as http:
        with pytest.raises(SignInError, match="another issuer"):
            await Provider(settings).address(http, Attempt.new())


def test_an_issuer_needs_a_client_and_a_public_address():
    with pytest.raises(ValueError, match="ADLOOM_UI_OIDC_CLIENT_ID"):
        Settings(oidc_issuer="https://login.example")
