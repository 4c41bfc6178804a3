"""
What `create_app` built, as FastAPI dependencies: a route names the parts it uses in its signature.

Knows only their types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from app.batch_worker import BatchWorker
from app.deployment import Deployment
from app.features import FindsProducts
from app.idempotency import KeysInUse
from app.limits import Limits
from app.metrics import Metrics
from app.pictures import Pictures
from app.settings import Settings
from app.studio import Studio
from app.token_route import TokenDesk
from app.tokens import Tokens
from model.store.generation_log import GenerationLog
from model.store.objects import ObjectStore
from model.store.tables import Database
from model.store.write_queue import WriteQueue


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each for the life of the app; stands in `app.state.parts`."""

    settings: Settings
    studio: Studio
    pictures: Pictures
    database: Database
    writes: WriteQueue
    objects: ObjectStore
    generations: GenerationLog
    tokens: Tokens
    token_desk: TokenDesk
    limits: Limits
    keys: KeysInUse
    metrics: Metrics
    batches: BatchWorker
    products: FindsProducts
    deployment: Deployment


async def parts_of_app(request: Request) -> Parts:
    """Async, because FastAPI runs any other dependency in a thread."""
    return cast("Parts", request.app.state.parts)


PartsOfApp = Annotated[Parts, Depends(parts_of_app)]
