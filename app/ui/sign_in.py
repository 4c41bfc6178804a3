"""
Signing in and out: with a client's id and secret, or at an OpenID provider.

The secret goes into the session's memory, and from there to the API alone.
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

import httpx
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.ui.api_client import ApiDownError
from app.ui.guard import cookie_name
from app.ui.metrics import Metrics
from app.ui.openid import CALLBACK, Attempt, Provider, SignInError
from app.ui.pages import page
from app.ui.sessions import ClientSecret, RefreshToken, Sessions, Token
from app.ui.settings import Settings

ATTEMPT_SECONDS_MAX = 600
FIELD_CHARS_MAX = 200
START = "/create"
PLACES = ("/create", "/catalogue", "/model", "/health", "/data")
"""Where a sign-in may lead: anything else in `next` could send a person to a foreign site."""


def routes() -> list[Route]:
    """The only addresses that a browser without a session reaches, beside pictures and scripts."""
    return [
        Route("/", begin),
        Route("/sign-in", show),
        Route("/sign-in", submit, methods=["POST"]),
        Route("/sign-in/provider", to_provider, methods=["POST"]),
        Route(CALLBACK, from_provider),
        Route("/sign-out", sign_out, methods=["POST"]),
    ]


async def begin(request: Request) -> Response:
    """To the first page; the guard sends whoever is not signed in on from there."""
    return RedirectResponse(START if request.state.session else "/sign-in", 303)


async def show(request: Request) -> Response:
    """The form; somebody who is signed in has no use for it."""
    if request.state.session:
        return RedirectResponse(_next(request), 303)
    notice = "Your session has ended, because nobody used it: sign in again." if "ended" in request.query_params else ""
    notice = "You are signed out." if "bye" in request.query_params else notice
    return _form(request, notice=notice)


async def submit(request: Request) -> Response:
    """Take id and secret; what is wrong is said beside the form, which keeps the id and forgets the secret."""
    fields = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
    name = fields.get("client_id", "").strip()[:FIELD_CHARS_MAX]
    secret = fields.get("client_secret", "").strip()[:FIELD_CHARS_MAX]
    if not name or not secret:
        return _form(request, trouble="Fill in both client id and secret.", name=name, status=422)
    try:
        token, credentials = await request.app.state.api.token_for(ClientSecret(name, secret))
    except SignInError as error:
        _count(request, "refused")
        return _form(request, trouble=str(error), name=name, status=401)
    except ApiDownError:
        _count(request, "failed")
        trouble = "The Adloom service does not answer. Your secret was not sent: try again in a minute."
        return _form(request, trouble=trouble, name=name, status=503)
    return _opened(request, name, credentials, token)


async def to_provider(request: Request) -> Response:
    """Send the browser there, with a cookie that ties its return to this browser."""
    provider: Provider | None = request.app.state.provider
    if provider is None:
        return RedirectResponse("/sign-in", 303)
    attempt = Attempt.new()
    try:
        answer = RedirectResponse(await provider.address(request.app.state.http, attempt), 303)
    except SignInError as error:
        return _form(request, trouble=str(error), status=503)
    _set_cookie(request, answer, "attempt", f"{attempt.state}.{attempt.verifier}", ATTEMPT_SECONDS_MAX)
    return answer


async def from_provider(request: Request) -> Response:
    """A code that this browser asked for becomes a session."""
    state, _, verifier = request.cookies.get(_attempt_cookie(request), "").partition(".")
    code = request.query_params.get("code", "")
    is_ours = state and hmac.compare_digest(state.encode(), request.query_params.get("state", "").encode())
    provider: Provider | None = request.app.state.provider
    if provider is None or not is_ours or not code:
        _count(request, "refused")
        return _form(request, trouble="That sign-in was not finished: begin it again here.", status=401)
    try:
        given = await provider.exchange(request.app.state.http, code, Attempt(state, verifier))
        token, credentials = request.app.state.api.read_token(given, RefreshToken(""))
    except (SignInError, KeyError, ValueError, httpx.HTTPError) as error:
        _count(request, "refused")
        trouble = str(error) if isinstance(error, SignInError) else "The provider gave no token: sign in again."
        return _form(request, trouble=trouble, status=401)
    answer = _opened(request, "signed in", credentials, token)
    answer.delete_cookie(_attempt_cookie(request), path="/")
    return answer


async def sign_out(request: Request) -> Response:
    """Secret, token and upload are forgotten at once; the cookie is worth nothing from then on."""
    sessions: Sessions = request.app.state.sessions
    sessions.close(request.state.cookie)
    answer = RedirectResponse("/sign-in?bye=1", 303)
    answer.delete_cookie(cookie_name(request.app.state.settings), path="/")
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


def _opened(request: Request, name: str, credentials: ClientSecret | RefreshToken, token: Token) -> Response:
    """A session under a new cookie, whatever cookie came: one that was planted opens nothing."""
    sessions: Sessions = request.app.state.sessions
    cookie, _ = sessions.open(name, credentials, token)
    _count(request, "opened")
    answer = RedirectResponse(_next(request), 303)
    _set_cookie(request, answer, "", cookie, None)
    return answer


def _set_cookie(request: Request, answer: Response, suffix: str, value: str, seconds: int | None) -> None:
    """Lax, so that a link from a dashboard or a provider's way back finds the session; the guard stops changes."""
    settings: Settings = request.app.state.settings
    answer.set_cookie(
        cookie_name(settings) + (f"-{suffix}" if suffix else ""),
        value,
        max_age=seconds,
        path="/",
        httponly=True,
        secure=settings.is_https,
        samesite="lax",
    )


def _attempt_cookie(request: Request) -> str:
    return f"{cookie_name(request.app.state.settings)}-attempt"


def _next(request: Request) -> str:
    wanted = request.query_params.get("next", "")
    return wanted if wanted in PLACES else START


def _count(request: Request, outcome: str) -> None:
    metrics: Metrics = request.app.state.metrics
    metrics.sign_ins.labels(outcome).inc()


def _form(request: Request, *, notice: str = "", trouble: str = "", name: str = "", status: int = 200) -> Response:
    return page(
        request,
        "sign_in.html",
        status=status,
        notice=notice,
        trouble=trouble,
        name=name,
        next=_next(request),
        by_provider=bool(request.app.state.settings.oidc_issuer),
    )
