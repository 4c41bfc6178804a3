"""
What every request to the page passes: size, origin, session, CSRF token; and the headers that every answer carries.

Plain ASGI, so that a body is counted while it comes and never read where it is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.problems import problem
from app.ui.sessions import Session, Sessions
from app.ui.settings import Settings

BODY_BYTES_MAX = 256 * 1024
"""Of everything but a catalogue: what the service takes of one request."""
UPLOAD_PATH = "/catalogue/upload"
PAIRS_PATH = "/api/pairs"
PAIRS_BYTES_MAX = 8 * 1024 * 1024
"""Of a file of training pairs: what the service takes."""
PHOTOGRAPH_PATH = "/api/photographs"
PHOTOGRAPH_BYTES_MAX = 8 * 1024 * 1024
"""As the service takes them."""
CSRF_HEADER = "x-csrf-token"
OPEN_PATHS = ("/sign-in", "/assets/", "/healthz", "/readyz", "/metrics")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def cookie_name(settings: Settings) -> str:
    """The prefix makes browsers refuse the cookie unless it is Secure, whole-site and of this host alone."""
    return "__Host-adloom" if settings.is_https else "adloom"


class BodyTooLargeError(ValueError):
    """More came than was announced or is taken."""


class Guard:
    """Wraps the application; puts the session, or None, into the request's state."""

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sender = self._sender(scope, send)
        cookie = _cookie(scope, cookie_name(self._settings))
        session = self._sessions.find(cookie) if cookie else None
        scope.setdefault("state", {}).update(session=session, cookie=cookie)
        bytes_max = self._bytes_max(scope["path"])
        refusal = self._refusal(scope, session, bytes_max)
        if refusal is not None:
            await refusal(scope, receive, sender)
            return
        try:
            await self._app(scope, _counted(receive, bytes_max), sender)
        except BodyTooLargeError:
            await _too_large(bytes_max)(scope, receive, sender)

    def _bytes_max(self, path: str) -> int:
        if path == UPLOAD_PATH:
            return self._settings.upload_bytes_max
        if path == PHOTOGRAPH_PATH:
            return PHOTOGRAPH_BYTES_MAX
        return PAIRS_BYTES_MAX if path == PAIRS_PATH else BODY_BYTES_MAX

    def _refusal(self, scope: Scope, session: Session | None, bytes_max: int) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > bytes_max:
            return _too_large(bytes_max)
        is_safe = scope["method"] in SAFE_METHODS
        if not is_safe and not _is_same_origin(headers):
            return problem(403, "foreign-origin", "This came from another site and was not carried out.")
        if path == "/" or path.startswith(OPEN_PATHS):
            return None
        if session is None:
            return _signed_out(scope)
        sent = headers.get(CSRF_HEADER, "")
        if not is_safe and path != "/sign-out" and not hmac.compare_digest(sent.encode(), session.csrf.encode()):
            return problem(403, "stale-page", "This page is older than your session: load it again.")
        return None

    def _sender(self, scope: Scope, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/assets/"):
                    headers.setdefault("Cache-Control", "no-store")
                if self._settings.is_https:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        return with_headers


def _is_same_origin(headers: Headers) -> bool:
    """By Fetch Metadata, which no page can forge, else by Origin; what sends neither is no browser."""
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == headers.get("host", "")


def _cookie(scope: MutableMapping[str, Any], name: str) -> str:
    try:
        found = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _signed_out(scope: Scope) -> Response:
    """A page sends the browser to sign in and comes back; a script is told, and goes there itself."""
    wants_page = scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")
    if not wants_page:
        return problem(401, "signed-out", "Your session has ended: sign in again.")
    ended = "&ended=1" if scope["state"]["cookie"] else ""
    return RedirectResponse(f"/sign-in?next={quote(scope['path'])}{ended}", 303)


def _too_large(bytes_max: int) -> Response:
    size = f"{bytes_max // 2**20} MB" if bytes_max >= 2**20 else f"{bytes_max // 2**10} KB"
    answer = problem(413, "too-large", f"At most {size} can be sent at once: split the file and send its parts.")
    answer.headers["Connection"] = "close"  # the rest of the body is not read
    return answer


def _counted(receive: Receive, bytes_max: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > bytes_max:
            raise BodyTooLargeError
        return message

    return counted
