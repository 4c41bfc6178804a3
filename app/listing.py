"""What routes that list rows share: how many, and a look at the database beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import anyio.to_thread
from fastapi import Query
from sqlalchemy import Connection

from app.parts import Parts

LIST_MAX, LIST_DEFAULT = 100, 30

Limit = Annotated[int, Query(ge=1, le=LIST_MAX, description="How many, the newest first.", examples=[10])]

T = TypeVar("T")


async def looked(parts: Parts, look: Callable[[Connection], T]) -> T:
    """What `look` finds; raises what it raises."""

    def connect_and_look() -> T:
        with parts.database.connect() as connection:
            return look(connection)

    return await anyio.to_thread.run_sync(connect_and_look)
