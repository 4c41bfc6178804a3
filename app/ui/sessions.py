"""
Who is signed in: sessions in this process's memory, with what they uploaded and decided.

A browser has a random cookie and nothing else; secrets and tokens never leave this memory but to the API.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.ui.upload import Upload

ADMIN = "models:admin"
"""The scope of a model's owner."""
COOKIE_BYTES = 32
DECISIONS_MAX = 50_000
"""Verdicts that one session remembers, as many as one download has ads; 10 MB."""


@dataclass(frozen=True, slots=True, repr=False)
class ClientSecret:
    """Client credentials (RFC 6749, 4.4), kept to renew a token without asking again."""

    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True, repr=False)
class RefreshToken:
    """What an OpenID provider gave to renew a token with; empty where it gave nothing."""

    token: str


@dataclass(slots=True, repr=False)
class Token:
    """An access token of the API. `expires_at` by the clock of Sessions, some seconds early."""

    value: str
    expires_at: float
    scopes: frozenset[str]


@dataclass(slots=True)
class Decision:
    """What was said of a creative in this session; `edited` is the ad as it should have been."""

    verdict: str
    edited: dict[str, Any] | None = None


@dataclass(slots=True, repr=False)
class Session:
    """One signed-in browser. Has no repr, so that no log can hold a secret by accident."""

    name: str
    credentials: ClientSecret | RefreshToken
    token: Token
    csrf: str
    opened_at: float
    seen_at: float
    upload: Upload | None = None
    decisions: dict[str, Decision] = field(default_factory=dict)
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def decide(self, creative_id: str, decision: Decision) -> None:
        """The latest verdict counts; the oldest are forgotten past DECISIONS_MAX."""
        self.decisions.pop(creative_id, None)
        self.decisions[creative_id] = decision
        if len(self.decisions) > DECISIONS_MAX:
            del self.decisions[next(iter(self.decisions))]


class Sessions:
    """Open sessions by the digest of their cookie: memory that leaks gives nobody a cookie that works."""

    def __init__(
        self,
        *,
        idle_seconds_max: float,
        seconds_max: float,
        count_max: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle_seconds_max = idle_seconds_max
        self._seconds_max = seconds_max
        self._count_max = count_max
        self._open: dict[str, Session] = {}
        self.now = now

    def __len__(self) -> int:
        return len(self._open)

    def open(self, name: str, credentials: ClientSecret | RefreshToken, token: Token) -> tuple[str, Session]:
        """A new session and its cookie; the one that was idle longest makes room where there are too many."""
        self._forget_old()
        while len(self._open) >= self._count_max:
            del self._open[min(self._open, key=lambda key: self._open[key].seen_at)]
        cookie = secrets.token_urlsafe(COOKIE_BYTES)
        session = Session(name, credentials, token, secrets.token_urlsafe(COOKIE_BYTES), self.now(), self.now())
        self._open[_key(cookie)] = session
        return cookie, session

    def find(self, cookie: str) -> Session | None:
        """The session, which is in use from now on; None where it has ended or never was."""
        session = self._open.get(_key(cookie))
        if session is None:
            return None
        if self._is_over(session):
            self.close(cookie)
            return None
        session.seen_at = self.now()
        return session

    def close(self, cookie: str) -> None:
        """Forget it with all it holds; nothing where it has ended already."""
        self._open.pop(_key(cookie), None)

    def _is_over(self, session: Session) -> bool:
        now = self.now()
        return now - session.seen_at > self._idle_seconds_max or now - session.opened_at > self._seconds_max

    def _forget_old(self) -> None:
        for key in [key for key, session in self._open.items() if self._is_over(session)]:
            del self._open[key]


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
