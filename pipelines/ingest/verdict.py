"""
Whether a catalogue as a whole may replace the one before it: a sentence that says why not, or none.

Knows counts alone. Rows are judged before, one by one; what is asked here is whether the export itself is broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.ingest.quality import Figures

REJECTED_SHARE_MAX = 0.2
"""More bad rows than that is a broken export and no handful of typing errors."""
KEPT_SHARE_MIN = 0.5
"""A catalogue that loses more than half of its products from one day to the next was cut off."""
FILLED_SHARE_MIN = 0.05
"""A column that held less in the last catalogue may be empty in this one."""
CHANGES_JUDGED_MIN = 50
"""Of an increment with fewer items the share of bad ones says nothing: one of three is no broken export."""


@dataclass(frozen=True, slots=True)
class LastKept:
    """What has to be known of the catalogue that would be replaced."""

    accepted: int
    filled: Mapping[str, int]
    """Products by column, as `filled_columns` gives them."""

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> LastKept:
        """Of its JSON form."""
        return cls(int(table["accepted"]), {str(name): int(count) for name, count in table["filled"].items()})


def filled_columns(figures: Figures) -> dict[str, int]:
    """Fields and attributes that count as columns: those that hold something in FILLED_SHARE_MIN of the products."""
    least = FILLED_SHARE_MIN * figures.products
    found = {**figures.filled, **{f"attribute {name}": count for name, count in figures.attributes.items()}}
    return {name: count for name, count in sorted(found.items()) if count and count >= least}


def row_verdict(rows: int, rejected: int, *, is_increment: bool = False) -> str:
    """Whether too many rows are bad; empty where they are not."""
    if is_increment and rows < CHANGES_JUDGED_MIN:
        return ""
    if rejected <= REJECTED_SHARE_MAX * rows:
        return ""
    return (
        f"{rejected:,} of {rows:,} rows are bad, {rejected / rows:.0%}, and at most {REJECTED_SHARE_MAX:.0%} may be: "
        "the export itself seems broken, see the quarantine"
    )


def catalogue_verdict(figures: Figures, last: LastKept | None) -> str:
    """Whether the catalogue has lost what the last one had; empty where it has not."""
    if not figures.products:
        return "no row is a product"
    if last is None:
        return ""
    if figures.products < KEPT_SHARE_MIN * last.accepted:
        return (
            f"{figures.products:,} products are left of {last.accepted:,}, less than half: the export seems cut off; "
            "if it is meant, say --accept"
        )
    present = {**figures.filled, **{f"attribute {name}": count for name, count in figures.attributes.items()}}
    gone = [name for name in last.filled if not present.get(name)]
    if gone:
        return (
            f"{_words(gone)} {'is' if len(gone) == 1 else 'are'} empty in every product and held something in the "
            "last catalogue: were columns renamed? Map them in the table of sources, or say --accept"
        )
    return ""


def _words(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
