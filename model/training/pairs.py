"""
Files of training pairs, read to be learnt from; what a pair is stands in model/pair.py.

Knows the file's form; nothing of tokens or networks.
"""

from __future__ import annotations

import json
from pathlib import Path

from model.pair import Pair, copy_from, flaws, pair_from_dict

__all__ = ["Pair", "PairsError", "copy_from", "flaws", "pair_from_dict", "read_pairs"]


class PairsError(ValueError):
    """A file of pairs that cannot be learnt from; the message names file and line."""


def read_pairs(path: Path) -> list[Pair]:
    """Every pair of a JSON Lines file. Raises PairsError with the number of the first bad line."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)  # not splitlines(): a JSON string may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise PairsError(f"{path} cannot be read: {error}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        try:
            pairs.append(pair_from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PairsError(f"{path}, line {number}: not a training pair ({error!r})") from error
    if not pairs:
        raise PairsError(f"{path} holds no pairs")
    return pairs
