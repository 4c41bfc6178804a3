"""The step as a process that is held at a named place until somebody kills it: `python -m ... PLACE ARGUMENTS`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.store import ingests
from model.store.objects import ObjectStore
from pipelines.ingest import run
from pipelines.steps import ingest as step

PLACES = ("fetched", "taken in", "snapshot put", "quality put", "before the commit")


def main() -> None:
    """PLACE is one of PLACES; the file `held` says that it has been reached."""
    place, *arguments = sys.argv[1:]
    if place == "fetched":
        run.take_in = held_before(run.take_in)  # type: ignore[assignment]
    elif place == "taken in":
        ObjectStore.put_file = held_before(ObjectStore.put_file)  # type: ignore[method-assign]
    elif place == "snapshot put":
        ObjectStore.put = held_before(ObjectStore.put)  # type: ignore[method-assign]
    elif place == "quality put":
        ingests.move_cursor = held_before(ingests.move_cursor)
    elif place == "before the commit":
        ingests.note = held_after(ingests.note)
    step.main(arguments)


def hold() -> None:
    """Until killed."""
    Path("held").touch()
    time.sleep(600)


def held_before(work: Callable[..., Any]) -> Callable[..., Any]:
    def holding(*_arguments: Any, **_named: Any) -> Any:
        hold()

    return holding


def held_after(work: Callable[..., Any]) -> Callable[..., Any]:
    def holding(*arguments: Any, **named: Any) -> Any:
        work(*arguments, **named)
        hold()

    return holding


if __name__ == "__main__":
    main()
