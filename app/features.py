"""
What a client means by a sku: its product, from a Feast feature server or from its newest catalogues.

Knows Feast's HTTP interface and no Feast; a product found is the very one that was ingested, or none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Protocol

import anyio
import anyio.to_thread
import httpx

from app.catalogue_index import CatalogueIndex
from app.problem import Problem, ProblemKind
from model.feature_rows import REFERENCES, TornRowError, product_from_row
from model.product import Product
from model.store.objects import ObjectStore
from model.store.tables import Database

TIMEOUT_SECONDS = 0.5
"""A feature server answers in a few milliseconds; one that does not is down, and the client waits for an ad."""
KEPT_SECONDS = 5.0
"""How old an answer may be that is given again."""
KEPT_MAX = 1_000
"""Products of at most 20 kB."""
ANSWER_BYTES_MAX = 1024 * 1024
LOOKED_UP_AT_ONCE_MAX = 4
"""A large catalogue takes seconds to index, and must not take every thread of the service with it."""
RETRY_SECONDS = "5"


class FindsProducts(Protocol):
    """Where products come from; one for the life of the app."""

    async def find(self, client: str, sku: str) -> Product:
        """Raises a 404 Problem where the client has no such product, and 503 where nobody can tell."""
        ...

    async def close(self) -> None:
        """Nothing is found afterwards."""
        ...


def open_products(url: str, database: Database, objects: ObjectStore) -> FindsProducts:
    """The feature server at `url`, or the catalogues where there is none. Raises ValueError for another address."""
    return ServedProducts(url) if url else CatalogueProducts(CatalogueIndex(database, objects))


class ServedProducts:
    """Products of a feature server."""

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("ADLOOM_FEATURES_URL must begin with http:// or https://")
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, transport=transport)
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[float, Product | None]] = {}

    async def find(self, client: str, sku: str) -> Product:
        """As FindsProducts; a product may be KEPT_SECONDS old."""
        until, product = self._kept.get((client, sku), (0.0, None))
        if until <= self._clock():
            product = await self._read(client, sku)
            self._keep((client, sku), product)
        if product is None:
            raise not_found()
        return product

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _read(self, client: str, sku: str) -> Product | None:
        for _ in range(2):  # a row that is torn was read while it was written, which takes less than a request
            row = await self._row(client, sku)
            try:
                return product_from_row(sku, row)
            except TornRowError:
                continue
        raise _down("The catalogue is being published")

    async def _row(self, client: str, sku: str) -> dict[str, Any]:
        asked = {"features": list(REFERENCES), "entities": {"client": [client], "sku": [sku]}}
        try:
            with anyio.fail_after(TIMEOUT_SECONDS):
                answer = await self._http.post("/get-online-features", json=asked)
            answer.raise_for_status()
            return _row(answer.content)
        except (httpx.HTTPError, TimeoutError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise _down("The feature server does not answer") from error

    def _keep(self, key: tuple[str, str], product: Product | None) -> None:
        self._kept.pop(key, None)
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._clock() + KEPT_SECONDS, product)


class CatalogueProducts:
    """Products of the newest catalogue of each of the client's sources, in the object store."""

    def __init__(self, index: CatalogueIndex) -> None:
        self._index = index
        self._limiter = anyio.CapacityLimiter(LOOKED_UP_AT_ONCE_MAX)

    async def find(self, client: str, sku: str) -> Product:
        """As FindsProducts. Raises StoreError where a store is down."""
        product = await anyio.to_thread.run_sync(self._index.find, client, sku, limiter=self._limiter)
        if product is None:
            raise not_found()
        return product

    async def close(self) -> None:
        """Give the disk back."""
        self._index.close()


def not_found() -> Problem:
    """The client has no such product, whoever else has."""
    detail = "Upload a catalogue that has it, POST /v1/catalogue, or send the product with its title."
    return Problem(ProblemKind.PRODUCT_NOT_FOUND, detail)


def _down(what: str) -> Problem:
    detail = f"{what}: try again in {RETRY_SECONDS} s, or send the product with its title."
    return Problem(ProblemKind.FEATURES_DOWN, detail, headers={"Retry-After": RETRY_SECONDS})


def _row(content: bytes) -> dict[str, Any]:
    """The features by name. Raises ValueError, LookupError or TypeError for what is no such answer."""
    if len(content) > ANSWER_BYTES_MAX:
        raise ValueError("a product is smaller")
    answer = json.loads(content)
    names = answer["metadata"]["feature_names"]
    return {name: result["values"][0] for name, result in zip(names, answer["results"], strict=True)}
