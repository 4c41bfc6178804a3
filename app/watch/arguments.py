"""Numbers on a command line: within their bounds, or one line that says what to write. Knows no command."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def number(lowest: float, highest: float, what: str) -> Callable[[str], float]:
    """A type for argparse; `what` is said of everything else, NaN and words too."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(what)
        return value

    return read


def whole(lowest: int, highest: int, what: str) -> Callable[[str], int]:
    """The same of whole numbers."""

    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text[:20]) <= highest:
            raise argparse.ArgumentTypeError(what)
        return int(text)

    return read
