"""
Where requests are counted: in this process, or in a Redis that replicas share, with this process to fall back on.

Storages for slowapi, found by the scheme of their address. They know windows and nothing of clients or routes.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, cast

from limits.storage import Storage
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

WINDOWS_MAX = 100_000
"""About 20 MB. Only addresses can make that many; the windows that end first are then given up."""
SWEEP_SECONDS = 10.0
"""Between two looks for windows that are over."""
REDIS_SECONDS_MAX = 0.05
"""To connect, and to answer. Both together are what a Redis that hangs can add to a request, before it is left out."""
PROBE_SECONDS = 1.0
"""Between two looks whether Redis is back; by a thread of its own, so that no request pays for it."""

COUNT_SCRIPT = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    left = tonumber(ARGV[2])
end
return {count, left}
"""
"""Count and milliseconds left in one round trip, and never a key without an end."""

log = logging.getLogger("adloom.limits")


class Counts(Storage):
    """
    In memory. Threads may share it.

    Not the library's own, which starts a thread for every 10 ms of traffic and looks through every key in it.
    """

    STORAGE_SCHEME = ["adloom+memory"]  # noqa: RUF012 -- the library's metaclass wants a list

    def __init__(self, uri: str | None = None, **_options: Any) -> None:
        super().__init__(uri)
        self._windows: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._swept_at = time.time()

    @property
    def base_exceptions(self) -> type[Exception]:
        """Of a storage that can fail; this one cannot."""
        return RedisError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """The count after `amount` more; the window ends `expiry` seconds after its first."""
        now = time.time()
        with self._lock:
            count, ends_at = self._windows.get(key, (0, 0.0))
            if ends_at <= now:
                count, ends_at = 0, now + expiry
            self._windows[key] = (count + amount, ends_at)
            if now - self._swept_at > SWEEP_SECONDS or len(self._windows) > WINDOWS_MAX:
                self._sweep(now)
        return count + amount

    def get(self, key: str) -> int:
        """The count, 0 where the window is over."""
        count, ends_at = self._windows.get(key, (0, 0.0))
        return count if ends_at > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since 1970."""
        return max(self._windows.get(key, (0, 0.0))[1], time.time())

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int | None:
        """Forget every window."""
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one window."""
        with self._lock:
            self._windows.pop(key, None)

    def _sweep(self, now: float) -> None:
        """Half of all are kept where too many are running: a sweep for each request would cost more than they do."""
        running = {key: window for key, window in self._windows.items() if window[1] > now}
        if len(running) > WINDOWS_MAX:
            latest = sorted(running.items(), key=lambda entry: entry[1][1])[-WINDOWS_MAX // 2 :]
            running = dict(latest)
        self._windows = running
        self._swept_at = now

    def _learn(self, key: str, count: int, ends_at: float) -> None:
        """Take over what another storage says."""
        with self._lock:
            self._windows[key] = (count, ends_at)
            if time.time() - self._swept_at > SWEEP_SECONDS or len(self._windows) > WINDOWS_MAX:
                self._sweep(time.time())


class SharedCounts(Counts):
    """
    In Redis. What it last said stays in memory, so a process that loses Redis counts on from there.

    Without Redis each process counts for itself: N replicas then let through up to N times the limit, which is
    better than refusing everybody and better than refusing nobody.
    """

    STORAGE_SCHEME = ["adloom+redis", "adloom+rediss"]  # noqa: RUF012 -- the library's metaclass wants a list

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri)
        self._redis = Redis.from_url(
            uri.removeprefix("adloom+"),
            socket_timeout=REDIS_SECONDS_MAX,
            socket_connect_timeout=REDIS_SECONDS_MAX,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
        self._count = self._redis.register_script(COUNT_SCRIPT)
        self._is_down = False
        self._down_lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def is_down(self) -> bool:
        """Whether this process counts for itself at the moment."""
        return self._is_down

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """As in memory; never raises and never waits for a Redis that is known to be gone."""
        if self._is_down:
            return super().incr(key, expiry, amount)
        try:
            count, left_milliseconds = cast("list[int]", self._count([f"adloom:{key}"], [amount, expiry * 1000]))
        except (RedisError, OSError) as error:
            self._leave(error)
            return super().incr(key, expiry, amount)
        self._learn(key, count, time.time() + left_milliseconds / 1000)
        return count

    def close(self) -> None:
        """Stop looking for Redis and close the connections."""
        self._closed.set()
        self._redis.close()

    def _leave(self, error: Exception) -> None:
        """Say it once, and look for Redis from now on."""
        with self._down_lock:
            if self._is_down or self._closed.is_set():
                return
            self._is_down = True
        log.warning(
            "Redis is gone (%s): each process counts requests for itself until it is back", type(error).__name__
        )
        threading.Thread(target=self._look, name="adloom-limits", daemon=True).start()

    def _look(self) -> None:
        while not self._closed.wait(PROBE_SECONDS):
            try:
                self._redis.connection_pool.disconnect()  # those from before lead nowhere
                self._redis.ping()
            except (RedisError, OSError):
                continue
            self._is_down = False
            log.warning("Redis is back: requests are counted together again")
            return
