"""
Sign-in at an OpenID provider: the authorization code flow with PKCE (RFC 7636), and renewal by refresh token.

The access token is for the API, which checks it; this page reads nothing out of it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from app.ui.settings import Settings

CALLBACK = "/sign-in/callback"


class SignInError(ValueError):
    """Nobody can be signed in with what was given; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the browser has to bring back, and what only we know."""

    state: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        """43 characters of verifier at least, by RFC 7636, 4.1."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        """S256."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Provider:
    """One OpenID provider, found through its discovery document when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: dict[str, Any] = {}

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser back to; has to be registered there."""
        return self._settings.public_url.rstrip("/") + CALLBACK

    async def address(self, http: httpx.AsyncClient, attempt: Attempt) -> str:
        """Where the browser goes to sign in. Raises SignInError."""
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self._settings.oidc_scope,
            "state": attempt.state,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        endpoint = str((await self._endpoints(http))["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def exchange(self, http: httpx.AsyncClient, code: str, attempt: Attempt) -> dict[str, Any]:
        """The answer of the token endpoint to a code. Raises SignInError."""
        return await self._token(
            http,
            grant_type="authorization_code",
            code=code,
            redirect_uri=self.redirect_uri,
            code_verifier=attempt.verifier,
        )

    async def renew(self, http: httpx.AsyncClient, refresh_token: str) -> dict[str, Any]:
        """The answer of the token endpoint to a refresh token. Raises SignInError."""
        return await self._token(http, grant_type="refresh_token", refresh_token=refresh_token)

    async def _token(self, http: httpx.AsyncClient, **form: str) -> dict[str, Any]:
        secret = self._settings.oidc_client_secret.get_secret_value()
        fields = {**form, "client_id": self._settings.oidc_client_id, **({"client_secret": secret} if secret else {})}
        endpoint = str((await self._endpoints(http))["token_endpoint"])
        try:
            answer = await http.post(endpoint, data=fields)
        except httpx.HTTPError as error:
            raise SignInError("The sign-in provider does not answer: try again in a minute.") from error
        if answer.status_code != httpx.codes.OK:
            raise SignInError("The sign-in provider refused: sign in again.")
        read: dict[str, Any] = answer.json()
        return read

    async def _endpoints(self, http: httpx.AsyncClient) -> dict[str, Any]:
        if not self._found:
            address = self._settings.oidc_issuer.rstrip("/") + "/.well-known/openid-configuration"
            try:
                answer = (await http.get(address)).raise_for_status()
            except httpx.HTTPError as error:
                raise SignInError("The sign-in provider does not answer: try again in a minute.") from error
            read = answer.json()
            if str(read.get("issuer", "")).rstrip("/") != self._settings.oidc_issuer.rstrip("/"):
                raise SignInError("The sign-in provider names another issuer: check ADLOOM_UI_OIDC_ISSUER.")
            self._found = read
        return self._found
