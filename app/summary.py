"""
What a run came to, in numbers and in plain text: rows accounted for, validity, findings, speed.

Knows records (lines of creatives.jsonl) and counts; reads and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from app.run_folder import Record
from model.validity import FINDINGS, GROUNDING, STRUCTURAL


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows of the catalogue went. `products + rejected + merged == read`."""

    read: int
    products: int
    rejected: int
    merged: int
    """Variant rows that became part of another row's product."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything in summary.json. Shares are 0 to 1, and null where there is nothing to take a share of."""

    rows: Rows
    asked: int
    """Pairs of product and channel that this run was to cover."""
    written: int
    """Creatives that this run wrote; `asked` less what stood there already when it is complete."""
    creatives: int
    """Lines in creatives.jsonl, earlier runs included; every figure below is about all of them."""
    validity_mean: float | None
    grounded_share: float | None
    """Creatives that say nothing the product does not."""
    structure_share: float | None
    """Creatives that are whole: nothing missing, over the channel's limits or broken."""
    findings: Mapping[str, int]
    """How often each kind occurs, most frequent first."""
    channels: Mapping[str, int]
    voices: Mapping[str, int]
    seconds: float
    creatives_per_second: float
    complete: bool
    bundle_digest: str
    candidates: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def summarise(
    records: Sequence[Record],
    *,
    rows: Rows,
    asked: int,
    written: int,
    seconds: float,
    complete: bool,
    bundle_digest: str,
    candidates: int,
    seed: int,
) -> Summary:
    """Count `records`, every line that the folder now holds."""
    kinds = [[finding["kind"] for finding in record["findings"]] for record in records]
    return Summary(
        rows=rows,
        asked=asked,
        written=written,
        creatives=len(records),
        validity_mean=round(fmean(record["validity"] for record in records), 4) if records else None,
        grounded_share=_share_without(kinds, GROUNDING),
        structure_share=_share_without(kinds, STRUCTURAL),
        findings=dict(Counter(kind for found in kinds for kind in found).most_common()),
        channels=dict(Counter(record["channel"] for record in records)),
        voices=dict(Counter(voice_of(record) for record in records)),
        seconds=round(seconds, 3),
        creatives_per_second=round(written / seconds, 3) if seconds else 0.0,
        complete=complete,
        bundle_digest=bundle_digest,
        candidates=candidates,
        seed=seed,
    )


def voice_of(record: Record) -> str:
    """The brand voice it was written in; "" for a line from before there were voices."""
    return str(record.get("passport", {}).get("voice", ""))


def _share_without(kinds: Sequence[Iterable[str]], unwanted: Iterable[str]) -> float | None:
    banned = frozenset(unwanted)
    if not kinds:
        return None
    return round(sum(banned.isdisjoint(found) for found in kinds) / len(kinds), 4)


def as_text(summary: Summary) -> str:
    """The table that ends a run; reads well without colour."""
    rows = summary.rows
    account = f"{rows.products:,} products + {rows.rejected:,} rejected + {rows.merged:,} merged"
    lines = [
        f"rows        {rows.read:,} read = {account} into another row's product",
        f"creatives   {summary.creatives:,} ({summary.written:,} written now, {summary.asked:,} asked for)",
        f"validity    {_figure(summary.validity_mean)} on average, of 1",
        f"grounded    {_percent(summary.grounded_share)} say only what the product says",
        f"structure   {_percent(summary.structure_share)} are whole: nothing missing, too long or broken",
        f"speed       {summary.written:,} in {summary.seconds:.1f} s, {summary.creatives_per_second:.2f} a second",
    ]
    return "\n".join(lines + _findings_table(summary.findings)) + "\n"


def _findings_table(findings: Mapping[str, int]) -> list[str]:
    if not findings:
        return ["findings    none"]
    width = max(len(kind) for kind in findings)
    table = [f"  {count:>6,}  {kind:<{width}}  {FINDINGS.get(kind, '')}".rstrip() for kind, count in findings.items()]
    return ["findings", *table]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
