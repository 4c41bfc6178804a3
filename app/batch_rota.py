"""
Whose turn it is: round robin over clients, and over the batches of each, so that a small one is not stuck behind any.

Knows no database and no thread; the worker calls it under its own lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from model.store.batches import BatchItem, BatchRow


class Held:
    """A batch that this process works on, and those of its items that are at hand."""

    def __init__(self, row: BatchRow) -> None:
        self.row = row
        self.is_ours = True
        """False once it was cancelled, has ended, or lost its lease."""
        self._ready: deque[BatchItem] = deque()
        self._in_hand: set[int] = set()
        """Places that threads are writing."""
        self._suspect: int | None = None
        """The place in hand that was in hand before when a process ended."""
        self._is_fetching = False
        self._settled: set[int] = set()
        """Places finished since the fetch began: what it found may be older."""
        self._is_drained = False
        """The database has no more that wait but those in hand."""

    @property
    def is_finished(self) -> bool:
        """Nothing waits and nothing is in hand."""
        return self._is_drained and not self._in_hand

    @property
    def has_turn(self) -> bool:
        """Whether there is something to do for it."""
        return bool(self._ready) or not (self._is_fetching or self._is_drained)

    @property
    def is_busy(self) -> bool:
        """Whether a thread writes one of its items."""
        return bool(self._in_hand)

    @property
    def writes_suspect(self) -> bool:
        """Whether that item may end the process."""
        return self._suspect is not None

    @property
    def comes_with_suspect(self) -> bool:
        """Whether its next item was in hand when a process ended, and had perhaps a part in it."""
        return bool(self._ready) and self._ready[0].attempts > 0

    def take(self) -> BatchItem | None:
        """The next item; None where the caller has to read some, and then to call `fetched`."""
        if not self._ready:
            self._is_fetching = True
            self._settled.clear()
            return None
        self._suspect = self._ready[0].place if self.comes_with_suspect else None
        item = self._ready.popleft()
        self._in_hand.add(item.place)
        return item

    def fetched(self, items: Sequence[BatchItem]) -> None:
        """`items` wait in the database, those in hand among them."""
        self._is_fetching = False
        known = self._in_hand | self._settled | {item.place for item in self._ready}
        self._ready.extend(item for item in items if item.place not in known)
        self._is_drained = not self._ready

    def put_down(self, item: BatchItem, *, again: bool) -> None:
        """The item is finished, or it has to be tried again, after those that are ready."""
        self._in_hand.discard(item.place)
        self._suspect = None if self._suspect == item.place else self._suspect
        if again:
            self._ready.append(item)
        else:
            self._settled.add(item.place)
        if not self._in_hand:
            self._is_drained = False  # look once more: what was in hand may have come back, or all is done


class Rota:
    """The batches at hand, in the order of their turns."""

    def __init__(self) -> None:
        self._by_client: dict[str, deque[Held]] = {}
        """Clients in the order of their turns: who was served goes to the end, and so does the batch."""

    def batches(self) -> list[Held]:
        """All of them."""
        return [held for queue in self._by_client.values() for held in queue]

    def add(self, held: Held) -> None:
        """Before the client's others, so that a small one is soon done; a client without others comes first."""
        if held.row.client not in self._by_client:
            self._by_client = {held.row.client: deque(), **self._by_client}
        self._by_client[held.row.client].appendleft(held)

    def remove(self, held: Held) -> None:
        """Does nothing where it is gone."""
        queue = self._by_client.get(held.row.client)
        if queue is not None and held in queue:
            queue.remove(held)
            if not queue:
                del self._by_client[held.row.client]

    def next_turn(self) -> tuple[Held, BatchItem | None] | None:
        """
        The next item, or None beside a batch whose items have to be read; None where there is nothing to do.

        An item that was in hand when a process ended is written alone: where it takes the next process with it, no
        neighbour is charged an attempt.
        """
        if any(held.writes_suspect for held in self.batches()):
            return None
        is_busy = any(held.is_busy for held in self.batches())
        for client, queue in self._by_client.items():
            turns = (each for each in queue if each.has_turn)
            held = next((each for each in turns if not (is_busy and each.comes_with_suspect)), None)
            if held is None:
                continue
            item = held.take()
            if item is not None:
                queue.remove(held)
                queue.append(held)
                self._by_client[client] = self._by_client.pop(client)
            return held, item
        return None
