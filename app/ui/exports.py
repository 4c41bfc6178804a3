"""
Ads as the files that ad platforms take: one CSV form each, with cells that no spreadsheet runs as a formula.

Knows columns; where a platform's page could not be read, that is said beside the form.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Ad = Mapping[str, Any]
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""OWASP, CSV Injection: a cell that begins so may be run. The full-width ones are read alike in some locales."""
CAMPAIGN = "Adloom"
GOOGLE_HEADLINES, GOOGLE_DESCRIPTIONS = 15, 4
PINTEREST_TITLE_CHARS_MAX, PINTEREST_ROWS_MAX = 100, 100


@dataclass(frozen=True, slots=True)
class Format:
    """One platform's file. `missing` says what only the advertiser can fill in."""

    title: str
    file: str
    channels: tuple[str, ...]
    columns: tuple[str, ...]
    row: Callable[[Ad], Sequence[str]]
    source: str
    missing: str


def neutral(cell: str) -> str:
    """With an apostrophe in front where a spreadsheet would take it for a formula; the apostrophe stays in the text."""
    return f"'{cell}" if cell.lstrip(" ").startswith(FORMULA_STARTS) else cell


def as_csv(form: Format, ads: Iterable[Ad]) -> str:
    """With the mark that Excel knows UTF-8 by, header included; of ads, those of the form's channels."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(form.columns)
    for ad in ads:
        if not form.channels or ad["channel"] in form.channels:
            writer.writerow([neutral(str(cell)) for cell in form.row(ad)])
    return "\ufeff" + text.getvalue()


def _filled(texts: Sequence[str], count: int) -> list[str]:
    return [*texts[:count], *[""] * (count - len(texts))]


def _google(ad: Ad) -> list[str]:
    return [
        CAMPAIGN,
        str(ad["sku"]),
        "Responsive search ad",
        "Paused",
        *_filled(ad["headlines"], GOOGLE_HEADLINES),
        *_filled(ad["descriptions"], GOOGLE_DESCRIPTIONS),
        "",
    ]


def _meta(ad: Ad) -> list[str]:
    body = " ".join(part for part in (*ad["descriptions"], " ".join(ad["hashtags"])) if part)
    name = f"{ad['sku']} {ad['channel']}"
    return [CAMPAIGN, str(ad["sku"]), name, "PAUSED", " ".join(ad["headlines"][:1]), body, ""]


def _pinterest(ad: Ad) -> list[str]:
    title = (ad["headlines"] or ad["descriptions"] or [""])[0][:PINTEREST_TITLE_CHARS_MAX]
    description = " ".join(part for part in (*ad["descriptions"], ad["call_to_action"]) if part)
    keywords = ", ".join(tag.removeprefix("#") for tag in ad["hashtags"])
    return [title, "", "", "", description, "", "", keywords]


def _plain(ad: Ad) -> list[str]:
    return [
        str(ad["sku"]),
        str(ad["channel"]),
        " | ".join(ad["headlines"]),
        " | ".join(ad["descriptions"]),
        str(ad["call_to_action"]),
        " ".join(ad["hashtags"]),
        f"{ad['validity']:.4f}",
        ", ".join(finding["kind"] for finding in ad["findings"]),
        str(ad.get("verdict", "")),
        str(ad["id"]),
    ]


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "google_ads": Format(
            "Google Ads Editor",
            "google-ads-editor.csv",
            ("google_rsa",),
            (
                "Campaign",
                "Ad Group",
                "Ad type",
                "Status",
                *(f"Headline {number}" for number in range(1, GOOGLE_HEADLINES + 1)),
                *(f"Description {number}" for number in range(1, GOOGLE_DESCRIPTIONS + 1)),
                "Final URL",
            ),
            _google,
            "https://support.google.com/google-ads/editor/answer/57747",
            "Final URL, and your own campaign and ad groups",
        ),
        "meta": Format(
            "Meta Ads Manager",
            "meta-ads-manager.csv",
            ("facebook", "instagram"),
            ("Campaign Name", "Ad Set Name", "Ad Name", "Ad Status", "Title", "Body", "Link"),
            _meta,
            "",  # unconfirmed: Meta's page on importing in bulk could not be read; compare with an export of your own
            "Link, picture, and your own campaign and ad sets",
        ),
        "pinterest": Format(
            "Pinterest Pin Builder",
            "pinterest-pins.csv",
            ("pinterest",),
            ("Title", "Media URL", "Pinterest board", "Thumbnail", "Description", "Link", "Publish date", "Keywords"),
            _pinterest,
            "https://www.pinbuddy.net/blog/pinterest-csv-upload-guide/",
            f"Media URL, board and link; {PINTEREST_ROWS_MAX} rows a file",
        ),
        "plain": Format(
            "All channels, plain",
            "ads.csv",
            (),
            (
                "sku",
                "channel",
                "headlines",
                "descriptions",
                "call_to_action",
                "hashtags",
                "validity",
                "findings",
                "verdict",
                "id",
            ),
            _plain,
            "",
            "",
        ),
    }
)
"""LinkedIn and X have no public form for ads in CSV; theirs are in the plain file."""
