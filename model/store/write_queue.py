"""
Group commit: one thread takes every change that waits and makes them in one transaction.

A commit forced to disk takes milliseconds and shares them among all that wait. Knows no table.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

from model.store.checkpoints import Checkpoints
from model.store.tables import Database, StoreConflictError, StoreDownError, translated

GROUP_MAX = 256
"""Changes of one transaction: a few ten milliseconds of SQL, so that nobody waits long for the others."""
ATTEMPTS = 3
"""Of a change that another transaction stood in the way of."""
JOIN_SECONDS_MAX = 20.0
"""How long `close` waits for what is left; the thread is a daemon and cannot keep the process alive."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    work: Callable[[Connection], Any]
    future: Future[Any] = field(default_factory=Future)

    def begin(self) -> bool:
        """False where its caller has left; from now on it is made, whether somebody waits or not."""
        return self.future.set_running_or_notify_cancel()


@dataclass(frozen=True, slots=True, eq=False)
class _LoopChange:
    """Of a coroutine, without a future between threads: to chain two costs more than a row."""

    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]

    def begin(self) -> bool:
        """As `_Change.begin`."""
        return not self.future.cancelled()


_Taken = _Change | _LoopChange


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class WriteQueue:
    """
    Changes to one database, in the order they came. Its thread starts with the first of them.

    A change may be run more than once before it is committed (its group was rolled back because of another),
    so beside the database it must do nothing.
    """

    def __init__(self, database: Database, *, depth_max: int) -> None:
        self._database = database
        self._depth_max = depth_max
        self._waiting: deque[_Taken] = deque()
        self._changed = threading.Condition()  # on an RLock: _next_group holds it around _take
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._trouble = ""
        self._checkpoints = Checkpoints(database)

    @property
    def depth(self) -> int:
        """Changes that wait, those in the present transaction not counted."""
        return len(self._waiting)

    def trouble(self) -> str:
        """Why the latest group was not committed; empty where it was."""
        return self._trouble

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returned, once it is committed; raises what it raised, or StoreDownError."""
        change = _LoopChange(work, asyncio.get_running_loop().create_future())
        self._enqueue(change)
        return cast("T", await change.future)

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """For threads: as `run`. Raises StoreDownError at once where the queue is full or closed."""
        change = _Change(work)
        self._enqueue(change)
        return cast("Future[T]", change.future)

    def close(self) -> None:
        """Finish what waits and take no more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS_MAX)
        self._checkpoints.close()

    def _enqueue(self, change: _Taken) -> None:
        with self._changed:
            if self._is_closed:
                raise StoreDownError("the database cannot be used: this process is stopping")
            if len(self._waiting) >= self._depth_max:
                raise StoreDownError("the database cannot be used: too many changes wait for it")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="adloom-writes", daemon=True)
                self._thread.start()
            self._waiting.append(change)
            self._changed.notify()

    def _work(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                outcomes = self._committed(group)
                self._trouble = ""
            except StoreDownError as error:
                self._trouble = str(error)
                # Those who came while we tried would only wait for the same answer.
                group += self._take(len(self._waiting))
                outcomes = [_Outcome(error=StoreDownError(str(error))) for _ in group]
            except Exception as error:  # noqa: BLE001 -- this thread is the only one that writes: it must go on
                self._trouble = f"unexpected {type(error).__name__}"
                outcomes = [_Outcome(error=error) for _ in group]
            _tell(group, outcomes)
            if self._database.is_sqlite:
                self._checkpoints.count(len(group))

    def _next_group(self) -> list[_Taken] | None:
        """Waits for work; None where there will be none."""
        with self._changed:
            while not self._waiting:
                if self._is_closed:
                    return None
                self._changed.wait()
            return self._take(GROUP_MAX)

    def _take(self, count_max: int) -> list[_Taken]:
        """Of those that wait; one whose caller has left is dropped here, before it is begun."""
        taken: list[_Taken] = []
        with self._changed:
            while self._waiting and len(taken) < count_max:
                change = self._waiting.popleft()
                if change.begin():
                    taken.append(change)
        return taken

    def _committed(self, group: Sequence[_Taken]) -> list[_Outcome]:
        """Raises StoreDownError where nothing of the group was committed, or nobody knows."""
        try:
            with self._database.begin() as connection:
                return [_Outcome(change.work(connection)) for change in group]
        except StoreDownError:
            raise
        except Exception:  # noqa: BLE001 -- one of them raised: the second try finds out which
            return self._committed_apart(group)

    def _committed_apart(self, group: Sequence[_Taken]) -> list[_Outcome]:
        """
        One transaction again, and in it a savepoint for each: only what raises is undone.

        A client that is refused again and again must not make the others pay for a commit each.
        """
        try:
            with self._database.begin() as connection:
                outcomes = [_at_savepoint(connection, change) for change in group]
        except StoreConflictError:
            outcomes = [_Outcome(error=StoreConflictError("the group was in the way of another")) for _ in group]
        return [
            self._alone(change) if isinstance(outcome.error, StoreConflictError) else outcome
            for change, outcome in zip(group, outcomes, strict=True)
        ]

    def _alone(self, change: _Taken) -> _Outcome:
        """What two replicas did to the same rows in another order; alone, one of them gets through."""
        failure = _Outcome()
        for _ in range(ATTEMPTS):
            try:
                with self._database.begin() as connection:
                    value = change.work(connection)
                return _Outcome(value)
            except StoreConflictError as error:
                failure = _Outcome(error=StoreDownError(str(error)))
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is the caller's to know
                return _Outcome(error=error)
        return failure


def _at_savepoint(connection: Connection, change: _Taken) -> _Outcome:
    try:
        with translated(), connection.begin_nested():
            value = change.work(connection)
    except StoreDownError:
        raise
    except Exception as error:  # noqa: BLE001 -- the guilty one; the others go on
        return _Outcome(error=error)
    return _Outcome(value)


def _tell(group: Sequence[_Taken], outcomes: Sequence[_Outcome]) -> None:
    """A loop is woken once for all of its own: each wake-up is a system call, and a fight for the interpreter."""
    of_loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], _Outcome]]] = {}
    for change, outcome in zip(group, outcomes, strict=True):
        if isinstance(change, _LoopChange):
            of_loops.setdefault(change.future.get_loop(), []).append((change.future, outcome))
        else:
            _settle([(change.future, outcome)])
    for loop, pairs in of_loops.items():
        with suppress(RuntimeError):  # the loop is closed, and nobody waits in it
            loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: Sequence[tuple[Future[Any] | asyncio.Future[Any], _Outcome]]) -> None:
    for future, outcome in pairs:
        if future.done():  # its coroutine was cancelled while the change was made
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)
