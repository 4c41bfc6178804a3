"""
Products by sku in the newest catalogues: a file on this machine and the place of each line in it.

16 bytes of memory a product; a catalogue is copied and indexed at the first question about it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
import numpy.typing as npt

from model.product import Product, product_from_dict
from model.store import current_snapshots
from model.store.objects import ObjectStore, ObjectStoreDownError
from model.store.snapshots import Snapshot
from model.store.tables import Database

INDEXES_MAX = 16
"""Catalogues at hand at once: on disk, a gigabyte each at the worst."""
CLIENTS_MAX = 1_000
CURRENT_SECONDS = 2.0
"""How long a newer catalogue may not be seen."""


class CatalogueIndex:
    """Of every client; threads may share it."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._building = threading.Lock()
        self._using = threading.Lock()
        self._opened: OrderedDict[str, _Lines] = OrderedDict()
        """By digest: two clients may have the same catalogue."""
        self._current: OrderedDict[str, tuple[float, list[Snapshot]]] = OrderedDict()

    def find(self, client: str, sku: str) -> Product | None:
        """From the newest source that has it. Raises StoreError."""
        for snapshot in self._snapshots(client):
            line = self._line(snapshot, sku)
            if line is not None:
                try:
                    return product_from_dict(json.loads(line))
                except TypeError:
                    continue  # an object that was changed by hand: the sku is there, and no product
        return None

    def close(self) -> None:
        """Remove the copies."""
        with self._using:
            while self._opened:
                self._opened.popitem()[1].close()

    def _snapshots(self, client: str) -> list[Snapshot]:
        with self._using:
            until, found = self._current.get(client, (0.0, []))
        if until > time.monotonic():
            return found
        with self._database.connect() as connection:
            found = [each.snapshot for each in current_snapshots.current(connection, client)]
        with self._using:
            self._current[client] = (time.monotonic() + CURRENT_SECONDS, found)
            self._current.move_to_end(client)
            while len(self._current) > CLIENTS_MAX:
                self._current.popitem(last=False)
        return found

    def _line(self, snapshot: Snapshot, sku: str) -> bytes | None:
        with self._using:
            if lines := self._opened.get(snapshot.digest):
                self._opened.move_to_end(snapshot.digest)
                return lines.find(sku)
        # One at a time: who asked for the same catalogue finds it made.
        with self._building:
            if snapshot.digest not in self._opened:
                made = _read(self._objects, snapshot)
                with self._using:
                    self._opened[snapshot.digest] = made
                    while len(self._opened) > INDEXES_MAX:
                        self._opened.popitem(last=False)[1].close()
        return self._line(snapshot, sku)


class _Lines:
    """The lines of one catalogue, by sku."""

    def __init__(self, file: IO[bytes], hashes: array[int], offsets: array[int]) -> None:
        unsorted = np.frombuffer(hashes, np.uint64)
        order = np.argsort(unsorted, kind="stable")
        self._file = file
        self._hashes: npt.NDArray[np.uint64] = unsorted[order]
        self._starts: npt.NDArray[np.int64] = np.frombuffer(offsets, np.int64)[:-1][order]
        self._ends: npt.NDArray[np.int64] = np.frombuffer(offsets, np.int64)[1:][order]

    def find(self, sku: str) -> bytes | None:
        """Lines whose skus share a hash are told apart by reading them."""
        key = np.uint64(_hash(sku))
        first, last = (int(np.searchsorted(self._hashes, key, side)) for side in ("left", "right"))
        for place in range(first, last):
            start, end = int(self._starts[place]), int(self._ends[place])
            line = os.pread(self._file.fileno(), end - start, start)
            if json.loads(line)["sku"] == sku:
                return line
        return None

    def close(self) -> None:
        """The file has no name: it is gone with its last user."""
        self._file.close()


def _read(objects: ObjectStore, snapshot: Snapshot) -> _Lines:
    with _disk_errors():
        file: IO[bytes] = tempfile.TemporaryFile(prefix="adloom-catalogue-")  # noqa: SIM115 - _Lines closes it
        try:
            hashes, offsets = array("Q"), array("q", [0])
            for line in objects.open_lines(snapshot.object_key):
                sku = _sku(line)
                if sku is None:
                    continue
                file.write(line)
                hashes.append(_hash(sku))
                offsets.append(offsets[-1] + len(line))
            file.flush()
        except BaseException:
            file.close()
            raise
    return _Lines(file, hashes, offsets)


def _sku(line: bytes) -> str | None:
    """None for a line that is no product; the others are found all the same."""
    try:
        sku = json.loads(line)["sku"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return sku if isinstance(sku, str) else None


def _hash(sku: str) -> int:
    return int.from_bytes(hashlib.blake2b(sku.encode(errors="surrogatepass"), digest_size=8).digest())


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or "its disk fails"
        raise ObjectStoreDownError(f"a catalogue cannot be copied to this machine: {reason}") from error
