"""
What `create_app` built, as FastAPI dependencies: a route names the parts it uses in its signature.

Knows only their types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from app.pictures import Pictures
from app.recent import RecentCreatives
from app.settings import Settings
from app.studio import Studio


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each for the life of the app; stands in `app.state.parts`."""

    settings: Settings
    studio: Studio
    pictures: Pictures
    recent: RecentCreatives


def _parts(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)


PartsOfApp = Annotated[Parts, Depends(_parts)]
