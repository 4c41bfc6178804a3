"""
Everything the page reads from its environment, once, in `adloom-ui`.

Host and port are flags: Kubernetes sets ADLOOM_UI_PORT=tcp://... in pods beside a Service named `adloom-ui`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Process configuration; each field is the variable ADLOOM_UI_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="ADLOOM_UI_", frozen=True, extra="forbid")

    api_url: str = Field(default="http://127.0.0.1:8000", pattern="^https?://")
    """Where the service is, as this process reaches it."""

    public_url: str = Field(default="", pattern="^(https?://.*)?$")
    """As browsers reach the page. With https, cookies are kept from plain http, and browsers are told to stay on it."""

    session_minutes: float = Field(default=30.0, gt=0, le=24 * 60)
    """A session that nobody uses ends after this."""

    session_minutes_max: float = Field(default=12 * 60.0, gt=0, le=7 * 24 * 60)
    """A session ends after this, however busy it is."""

    sessions_max: int = Field(default=200, ge=1)
    """
    Held at once; past it the one that was idle longest ends.

    Each may keep 16 MB of a catalogue and 10 MB of verdicts.
    """

    upload_bytes_max: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Size of a catalogue; what the service takes by default."""

    request_timeout_seconds: float = Field(default=90.0, gt=0, le=3600)
    """Longest silence of the service in one answer; above its own deadline, so that its words come first."""

    dashboards_url: str = Field(default="", pattern="^(https?://.*)?$")
    """Of Grafana, for the links of the health page; empty: no links."""

    oidc_issuer: str = Field(default="", pattern="^(https?://.*)?$")
    """OpenID provider that people sign in at; empty: they sign in with a client's id and secret."""

    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    """Empty for a public client, which PKCE alone protects."""

    oidc_scope: str = "openid creatives:write creatives:read feedback:write catalogue:write"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.oidc_issuer and not (self.oidc_client_id and self.public_url):
            raise ValueError("ADLOOM_UI_OIDC_ISSUER needs ADLOOM_UI_OIDC_CLIENT_ID and ADLOOM_UI_PUBLIC_URL beside it")
        return self

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the page by https."""
        return self.public_url.startswith("https://")
