"""
Draws creatives in worker threads, so that a picture never holds up the event loop.

Knows neither HTTP nor the layout's inside; draws few at once, because each holds its pixels in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio
import anyio.to_thread

from app.studio import DeadlineError, StudioBusyError
from model.creative import Creative
from model.layout import Brand, render_png, render_svg
from model.photograph import kept_form
from model.product import Product

Result = TypeVar("Result")

WAITING_MAX = 64
"""Pictures waiting beyond this are refused; one takes a fraction of a second."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture as SVG; its PNG is a function of it, so one ETag names both forms."""

    svg: str

    def etag(self, form: str) -> str:
        """Strong entity tag, quotes included. It changes with the layout too, which an id would not."""
        return f'"{form}-{hashlib.sha256(self.svg.encode()).hexdigest()[:32]}"'


class Pictures:
    """At most `drawn_at_once_max` pictures at a time, each within `timeout_seconds`, waiting included."""

    def __init__(self, *, drawn_at_once_max: int, timeout_seconds: float) -> None:
        self._limiter = anyio.CapacityLimiter(drawn_at_once_max)
        self._photograph_limiter = anyio.CapacityLimiter(1)  # 40 megapixels take 240 MB while they are made small
        self._timeout_seconds = timeout_seconds

    async def drawing(
        self,
        creative: Creative,
        product: Product,
        size: tuple[int, int],
        brand: Brand | None,
        photograph: bytes | None = None,
    ) -> Drawing:
        """
        Lay the creative out. Raises LayoutError, StudioBusyError or DeadlineError.

        Of the product's own picture only a `photograph` that was sent here is drawn: fetching an address, or opening
        a path, that a client chose would let it read what this host can reach.
        """

        def draw() -> str:
            return render_svg(
                creative.copy,
                title=product.title,
                category=product.category,
                size=size,
                brand=brand,
                image=photograph,
            )

        return Drawing(await self._in_thread(draw, self._limiter))

    async def png(self, drawing: Drawing) -> bytes:
        """Turn a drawing into pixels. Raises StudioBusyError or DeadlineError."""
        return await self._in_thread(lambda: render_png(drawing.svg), self._limiter)

    async def photograph(self, sent: bytes) -> bytes:
        """The form in which it is kept. Raises PhotographError, StudioBusyError or DeadlineError."""
        return await self._in_thread(lambda: kept_form(sent), self._photograph_limiter)

    async def _in_thread(self, work: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
        if limiter.statistics().tasks_waiting >= WAITING_MAX:
            raise StudioBusyError(retry_after_seconds=1)
        try:
            with anyio.fail_after(self._timeout_seconds):
                return await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
        except TimeoutError:
            raise DeadlineError from None
