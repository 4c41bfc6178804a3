"""
The data-quality report of a catalogue: JSON for programs, one small HTML page with bars for people.

Knows figures alone; the page needs no script, no network and no other file.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pipelines.ingest.intake import Intake
from pipelines.ingest.quality import AMOUNTS, LENGTHS, RULES_VERSION

FORM = 1
BARS_MAX = 20
LABEL_PIXELS, BAR_PIXELS, ROW_PIXELS = 220, 420, 22
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}"
    "h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}td{padding-right:1.5rem}text{font-size:13px}"
    ".refused{border-left:4px solid #D55E00;padding-left:.8rem}"
)


def quality_report(source: str, intake: Intake, why: str = "") -> dict[str, Any]:
    """JSON form; `why` is the verdict against it. The same rows give the same report."""
    return {
        "form": FORM,
        "rules": RULES_VERSION,
        "source": source,
        "snapshot": intake.digest,
        "why": why,
        "rows": intake.rows,
        "accepted": intake.accepted,
        "rejected": intake.rejected,
        "merged": intake.merged,
        **intake.figures.as_dict(),
    }


def page(report: Mapping[str, Any]) -> str:
    """The report as HTML."""
    products = max(1, int(report["products"]))
    filled = {name: count / products for name, count in {**report["filled"], **report["attributes"]}.items()}
    charts = [
        ("Completeness: share of products that have it", filled, "{:.1%}"),
        ("Characters of titles", _ranges(report["title_chars"], LENGTHS), "{:,}"),
        ("Characters of descriptions", _ranges(report["description_chars"], LENGTHS), "{:,}"),
        ("Amounts of prices, whatever their currency", _ranges(report["amounts"], AMOUNTS), "{:,}"),
        ("Products by category", report["categories"], "{:,}"),
        ("Rejected rows by reason", report["reasons"], "{:,}"),
    ]
    drawn = "".join(f"<h2>{html.escape(title)}</h2>{_bars(title, counts, form)}" for title, counts, form in charts)
    refused = f'<p class="refused"><b>Refused:</b> {html.escape(report["why"])}</p>' if report["why"] else ""
    counts = "".join(
        f"<tr><td>{name}</td><td>{report[name]:,}</td></tr>"
        for name in ("rows", "accepted", "rejected", "merged", "products")
    )
    title = f"Data quality of {html.escape(str(report['source']))}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{refused}"
        f"<p>Snapshot <code>{html.escape(str(report['snapshot']))}</code></p><table>{counts}</table>{drawn}"
        "</body></html>\n"
    )


def _ranges(counts: Mapping[str, int], ends: tuple[int, ...]) -> dict[str, int]:
    """Bins with both ends in their names."""
    named = [*(f"{low:,} to {high - 1:,}" for low, high in pairwise(ends)), f"{ends[-1]:,} and more"]
    return dict(zip(named, counts.values(), strict=True))


def _bars(title: str, counts: Mapping[str, float], form: str) -> str:
    if not any(counts.values()):
        return "<p>None.</p>"
    shown = list(counts.items())[:BARS_MAX]
    most = max(value for _, value in shown)
    rows = "".join(_bar(place, name, value / most, form.format(value)) for place, (name, value) in enumerate(shown))
    wide, high = LABEL_PIXELS + BAR_PIXELS + 80, ROW_PIXELS * len(shown)
    more = f"<p>And {len(counts) - len(shown):,} more.</p>" if len(counts) > len(shown) else ""
    label = html.escape(title, quote=True)
    return f'<svg role="img" aria-label="{label}" viewBox="0 0 {wide} {high}" width="100%">{rows}</svg>{more}'


def _bar(place: int, name: str, share: float, value: str) -> str:
    middle = ROW_PIXELS * place + ROW_PIXELS * 0.7
    short = name if len(name) <= 32 else f"{name[:31]}…"
    width = BAR_PIXELS * share
    return (
        f'<text x="{LABEL_PIXELS - 8}" y="{middle:.0f}" text-anchor="end">{html.escape(short)}</text>'
        f'<rect x="{LABEL_PIXELS}" y="{ROW_PIXELS * place + 4}" width="{width:.1f}" height="{ROW_PIXELS - 7}" '
        'fill="#0072B2"/>'
        f'<text x="{LABEL_PIXELS + width + 6:.1f}" y="{middle:.0f}">{html.escape(value)}</text>'
    )
