"""
What the page asks of the API, over HTTP and in the name of a session: tokens, single answers, streams.

Knows addresses and errors, and nothing of what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from app.ui.openid import Provider, SignInError
from app.ui.sessions import ClientSecret, RefreshToken, Session, Token

EARLY_SECONDS = 20.0
"""A token is renewed this long before it ends, so that none ends on the way."""
CONNECT_SECONDS_MAX = 5.0
KEPT_SECONDS_MAX = 2.0
"""Of an idle connection. uvicorn closes it after five, and a request that meets the closing fails."""


class ApiDownError(RuntimeError):
    """The service cannot be reached."""


class ApiClient:
    """One pool of connections for all sessions. `now` is the clock that tokens expire by."""

    def __init__(self, http: httpx.AsyncClient, now: Callable[[], float], provider: Provider | None = None) -> None:
        self._http = http
        self._now = now
        self._provider = provider
        self.failures = 0

    async def token_for(self, credentials: ClientSecret | RefreshToken) -> tuple[Token, ClientSecret | RefreshToken]:
        """A new token, and what to ask for the next with. Raises SignInError, ApiDownError."""
        if isinstance(credentials, RefreshToken):
            if self._provider is None or not credentials.token:
                raise SignInError("Your sign-in has run out: sign in again.")
            return self.read_token(await self._provider.renew(self._http, credentials.token), credentials)
        form = {
            "grant_type": "client_credentials",
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
        }
        answer = await self._sent(self._http.build_request("POST", "/v1/token", data=form))
        if answer.status_code != httpx.codes.OK:
            raise SignInError(_sign_in_trouble(answer))
        return self.read_token(answer.json(), credentials)

    def read_token(
        self, answer: Mapping[str, Any], credentials: ClientSecret | RefreshToken
    ) -> tuple[Token, ClientSecret | RefreshToken]:
        """The members of a token endpoint's answer (RFC 6749, 5.1)."""
        seconds = float(answer.get("expires_in", 300))
        token = Token(
            str(answer["access_token"]),
            self._now() + max(1.0, seconds - EARLY_SECONDS),
            frozenset(str(answer.get("scope", "")).split()),
        )
        if isinstance(credentials, RefreshToken):
            credentials = RefreshToken(str(answer.get("refresh_token", credentials.token)))
        return token, credentials

    async def ask(
        self,
        session: Session,
        method: str,
        path: str,
        *,
        stream: bool = False,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """
        The answer, whatever its status; a token that has run out is renewed once and the request sent again.

        With `stream` the body is left to be read and closed by the caller. Raises ApiDownError, SignInError.
        """
        token = await self._valid_token(session)
        for is_last in (False, True):
            bearer = {"Authorization": f"Bearer {token.value}"}
            request = self._http.build_request(
                method, path, content=content, params=params, headers={**(headers or {}), **bearer}
            )
            answer = await self._sent(request, stream=stream)
            if answer.status_code != httpx.codes.UNAUTHORIZED or is_last:
                return answer
            await answer.aclose()
            token = await self._renewed(session, token)
        raise AssertionError("the loop returns on its last round")

    async def open_to_all(self, path: str) -> httpx.Response:
        """What needs no token: /version, /readyz, /metrics. Raises ApiDownError."""
        return await self._sent(self._http.build_request("GET", path))

    async def _valid_token(self, session: Session) -> Token:
        if session.token.expires_at > self._now():
            return session.token
        return await self._renewed(session, session.token)

    async def _renewed(self, session: Session, old: Token) -> Token:
        """One renewal for all requests of the session that found the same token to be old."""
        async with session.renewing:
            if session.token is old:
                session.token, session.credentials = await self.token_for(session.credentials)
            return session.token

    async def _sent(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return await self._sent_again(request, stream=stream)
        except httpx.HTTPError as error:
            self.failures += 1
            raise ApiDownError("The Adloom service does not answer.") from error

    async def _sent_again(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        """Once more where nothing can have been changed, and a kept connection was closed while it was taken up."""
        try:
            return await self._http.send(request, stream=stream)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if request.method != "GET":
                raise
        return await self._http.send(request, stream=stream)


def _sign_in_trouble(answer: httpx.Response) -> str:
    """What to do, by the status alone: the service's own words are for programs."""
    if answer.status_code in (400, 401):
        return "Client id and secret do not match: check both, or have `adloom client rotate` give you a new secret."
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return f"Too many attempts: wait {answer.headers.get('Retry-After', '60')} seconds and try again."
    if answer.status_code == httpx.codes.NOT_FOUND:
        return "This service takes the tokens of an OpenID provider: set ADLOOM_UI_OIDC_ISSUER for this page."
    return "The service cannot sign anybody in at the moment: try again in a minute."
