"""
The secrets of our own clients: made, hashed, and compared in bounded time and memory.

Knows no HTTP and no table; whoever is not there is compared with too, so that time tells nothing.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from model.store.clients import Client

SECRET_PREFIX = "ads_"  # noqa: S105 -- what every secret begins with: scanners for leaked ones can find ours
SECRET_BYTES = 32
SECRET_CHARS_MAX = 200
"""What is compared of one; ours have 47, so nothing that was cut can be right."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of our own clients; what a provider may call its own is wider (tokens.CLIENT_PATTERN)."""
HASHES_AT_ONCE = 2
HASHES_WAITING_MAX = 32
"""About half a second of work; past it the answer is 503 and not a queue."""

# Argon2id at OWASP's lower bound: 19 MiB, two passes, one lane. The secrets are 256 random bits, which no guessing
# reaches at any cost, so more would protect nothing; less than the bound would have to be explained to every auditor.
# What it must not be is a way to fill our memory: two at once take 38 MiB.
HASH_MEMORY_KIB = 19 * 1024
HASH_PASSES = 2
HASH_LANES = 1


class SecretsBusyError(RuntimeError):
    """More secrets wait to be compared than can be in a moment."""


class SecretCheck:
    """Compares secrets with their hashes, in threads of its own and few at a time. For the event loop."""

    def __init__(self) -> None:
        self._hasher = _hasher()
        self._nobody = self._hasher.hash(new_secret())
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, "adloom-secrets")
        self._waiting = 0

    async def matches(self, client: Client | None, secret: str) -> bool:
        """As slow for a client that is not there as for one that is. Raises SecretsBusyError."""
        if self._waiting >= HASHES_WAITING_MAX:
            raise SecretsBusyError("too many secrets wait to be compared; try again in a second")
        known = self._nobody if client is None else client.secret_hash
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            is_right = await loop.run_in_executor(self._threads, self._compare, known, secret[:SECRET_CHARS_MAX])
        finally:
            self._waiting -= 1
        return is_right and client is not None and client.revoked_at is None

    def close(self) -> None:
        """Takes no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compare(self, known: str, secret: str) -> bool:
        try:
            return self._hasher.verify(known, secret)
        except (VerificationError, InvalidHashError):
            return False


def new_secret() -> str:
    """256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hash_secret(secret: str) -> str:
    """What the database keeps: the hash, with its salt and cost in it."""
    return _hasher().hash(secret)


def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=HASH_PASSES, memory_cost=HASH_MEMORY_KIB, parallelism=HASH_LANES)
