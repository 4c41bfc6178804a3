"""
The gallery: one HTML file that shows a run's creatives, opens anywhere and asks the network for nothing.

Everything from a product or a model is escaped here, and the page's policy runs no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from app.run_folder import Record, RunFolder
from app.summary import Summary, voice_of
from model.channel import channels
from model.validity import FINDINGS

EMBEDDED_BYTES_MAX = 48 * 1024 * 1024
"""Browsers open a page of this size in a second or two; the pictures past it are linked from pictures/ instead."""

VALIDITY_GOOD = 0.8
VALIDITY_FAIR = 0.5
"""Colours of the bar, not gates: the number stands beside it."""

SVG_SAFE = " ~!@$*()_+-=[];:,./?"
"""Characters of an SVG that may stand in a data URI as they are: escaping all of them would add two thirds."""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#1c1a22"/>'
    '<g stroke-width="4" stroke-linecap="round"><path d="M8 11h16M8 21h16" stroke="#ff9273"/>'
    '<path d="M11 8v5m0 6v5M21 8v0m0 6v10" stroke="#f6f4ef"/></g></svg>'
)

PRODUCT_FIELDS = (
    ("title", "Title"),
    ("brand", "Brand"),
    ("category", "Category"),
    ("price", "Price"),
    ("description", "Description"),
)


def page(folder: RunFolder, summary: Summary, *, title: str, embedded_bytes_max: int = EMBEDDED_BYTES_MAX) -> str:
    """The gallery of every creative in the folder. Raises OSError when its pictures cannot be read."""
    records = folder.records()
    pictures = _pictures(records, folder.path, embedded_bytes_max)
    template = files("app").joinpath("gallery.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        policy=_policy(template),
        icon=svg_uri(ICON),
        title=escape(title),
        lead=escape(_lead(records, summary)),
        figures=_figures(summary),
        notice=_notice(summary, linked=sum(not uri.startswith("data:") for uri in pictures if uri)),
        chips=_chips(records),
        categories=_categories(records),
        findings=_finding_options(records),
        cards="\n".join(_card(record, uri) for record, uri in zip(records, pictures, strict=True)),
    )


def svg_uri(svg: str) -> str:
    """The picture as an address. Scripts inside an image never run, whatever the SVG holds."""
    return "data:image/svg+xml," + quote(svg, safe=SVG_SAFE)


def _policy(template: str) -> str:
    """
    Only this page's own script, known by its digest, and no network.

    A product text that got past the escaping would still find nobody to run it.
    """
    script = template.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-{digest}';"
        " base-uri 'none'; form-action 'none'"
    )


def _pictures(records: Sequence[Record], folder: Path, embedded_bytes_max: int) -> list[str]:
    """The address of each creative's first picture: embedded while there is room, then linked; "" for none."""
    addresses = []
    embedded_bytes = 0
    for record in records:
        name = record["images"][0]["svg"] if record.get("images") else ""
        file = folder / name
        # A line may come from an earlier run whose pictures somebody has deleted since.
        if not name or not file.is_file():
            addresses.append("")
            continue
        address = quote(name)
        if embedded_bytes < embedded_bytes_max:
            address = svg_uri(file.read_text(encoding="utf-8"))
            embedded_bytes += len(address)
        addresses.append(address)
    return addresses


def _lead(records: Sequence[Record], summary: Summary) -> str:
    products = _counted(len({record["sku"] for record in records}), "product")
    spread = _counted(len({record["channel"] for record in records}), "channel")
    creatives = _counted(len(records), "creative")
    named = [voice for voice in summary.voices if voice]
    voices = f" in the {_listed(named)} voice{'s' if len(named) > 1 else ''}" if named else ""
    how = f"each the best of {summary.candidates}, written with seed {summary.seed}"
    return f"{creatives} for {products} on {spread}{voices}, {how}."


def _figures(summary: Summary) -> str:
    figures = [
        (f"{summary.creatives:,}", "creatives"),
        ("-" if summary.validity_mean is None else f"{summary.validity_mean:.2f}", "mean validity, of 1"),
        (_percent(summary.grounded_share), "say only what the product says"),
        (_percent(summary.structure_share), "whole: nothing missing or broken"),
        (f"{summary.creatives_per_second:.1f}", "creatives a second"),
    ]
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for value, name in figures)


def _notice(summary: Summary, *, linked: int) -> str:
    notices = []
    if not summary.complete:
        notices.append("This run was cut short: the page shows what was written. Go on with --resume.")
    if summary.rows.rejected:
        rows = _counted(summary.rows.rejected, "row")
        notices.append(f"{rows} of the catalogue could not be read; rejected.jsonl says why.")
    if linked:
        notices.append(
            f"{_counted(linked, 'picture')} too many to embed: the page reads them from the folder pictures/ beside it."
        )
    return "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)


def _chips(records: Sequence[Record]) -> str:
    counts = Counter(record["channel"] for record in records)
    chips = [("", "All channels", len(records))]
    chips += [(name, _channel_title(name), counts[name]) for name in counts]
    return "".join(
        f'<button type="button" class="chip" value="{escape(name)}" aria-pressed="{str(not name).lower()}">'
        f"{escape(title)} <small>{count:,}</small></button>"
        for name, title, count in chips
    )


def _options(options: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options)


def _categories(records: Sequence[Record]) -> str:
    counts = Counter(_category(record) for record in records)
    # The = in front keeps a category called "" or "any" apart from the choices that are none.
    named = [(f"={name}", f"{name or 'No category'} ({count:,})") for name, count in sorted(counts.items())]
    return _options([("", "Every category"), *named])


def _finding_options(records: Sequence[Record]) -> str:
    counts = Counter(kind for record in records for kind in set(_kinds(record)))
    clean = sum(not _kinds(record) for record in records)
    options = [("", "Findings: all"), ("none", f"Findings: none ({clean:,})")]
    if counts:
        options.append(("any", f"Findings: any ({len(records) - clean:,})"))
    return _options(options + [(f"={kind}", f"{_words(kind)} ({count:,})") for kind, count in counts.most_common()])


def _card(record: Record, picture: str) -> str:
    product: Mapping[str, Any] = record.get("product", {})
    return (
        f'    <li data-channel="{escape(record["channel"])}" data-category="{escape(_category(record))}"'
        f' data-findings="{escape(" ".join(_kinds(record)))}"><article class="card">'
        f"{_picture(record, picture)}{_words_of(record)}{_judged(record)}"
        f'<div class="foot"><details><summary>What the product says</summary>{_source(product)}</details>'
        f'<button type="button" class="copy" value="{escape(_plain_text(record))}">Copy text</button></div>'
        "</article></li>"
    )


def _picture(record: Record, address: str) -> str:
    if not address:
        return '<p class="nothing">No picture</p>'
    image = record["images"][0]
    title = record.get("product", {}).get("title", record["sku"])
    says = f": {record['headline']}" if record["headline"] else ""
    alt = f"{_channel_title(record['channel'])} for {title}{says}"
    # Not lazy: the addresses hold the pictures themselves, and a printed page needs them all.
    return (
        f'<button type="button" class="picture" aria-label="Enlarge the picture: {escape(alt)}">'
        f'<img src="{escape(address)}" alt="{escape(alt)}" width="{image["width"]}" height="{image["height"]}"'
        ' decoding="async"></button>'
    )


def _words_of(record: Record) -> str:
    title = record.get("product", {}).get("title", record["sku"])
    parts = [
        f'<p class="meta"><span>{escape(_where_and_how(record))}</span>',
        f"<span>{escape(record['sku'])}</span></p>",
    ]
    # A channel without headlines still needs a heading for those who listen; it is not part of the ad.
    parts.append(f"<h2>{escape(record['headline'])}</h2>" if record["headline"] else _unseen_heading(title))
    if further := record["headlines"][1:]:
        parts.append('<ul class="also" aria-label="Further headlines">' + _items(further) + "</ul>")
    paragraph = "<p>" if record["headline"] else '<p class="lone">'
    parts += [f"{paragraph}{escape(text)}</p>" for text in record["descriptions"]]
    if record["call_to_action"]:
        parts.append(f'<p class="cta"><span>{escape(record["call_to_action"])}</span></p>')
    if record["hashtags"]:
        parts.append(f'<p class="tags">{escape(" ".join(record["hashtags"]))}</p>')
    return f'<div class="words">{"".join(parts)}</div>'


def _unseen_heading(title: str) -> str:
    return f'<h2 class="unseen">{escape(title)}</h2>'


def _items(texts: Iterable[str]) -> str:
    return "".join(f"<li>{escape(text)}</li>" for text in texts)


def _judged(record: Record) -> str:
    validity = float(record["validity"])
    level = "good" if validity >= VALIDITY_GOOD else "fair" if validity >= VALIDITY_FAIR else "poor"
    width = round(100 * min(max(validity, 0.0), 1.0))
    score = (
        f'<div class="score">Validity <b>{validity:.2f}</b>'
        f'<span class="bar {level}" aria-hidden="true"><i style="width:{width}%"></i></span></div>'
    )
    findings = "".join(
        f"<li>{escape(FINDINGS.get(finding['kind'], _words(finding['kind'])))}"
        f"<span>{escape(finding['detail'])}</span></li>"
        for finding in record["findings"]
    )
    return f'<div class="judged">{score}{f"<ul class=findings>{findings}</ul>" if findings else ""}</div>'


def _source(product: Mapping[str, Any]) -> str:
    rows = [(name, product.get(key, "")) for key, name in PRODUCT_FIELDS]
    rows += [(name, value) for name, value in product.get("attributes", ())]
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows if value)
    return f'<dl class="source">{body}</dl>'


def _plain_text(record: Record) -> str:
    lines = [*record["headlines"], *record["descriptions"], record["call_to_action"], " ".join(record["hashtags"])]
    return "\n".join(line for line in lines if line)


def _kinds(record: Record) -> list[str]:
    return [finding["kind"] for finding in record["findings"]]


def _category(record: Record) -> str:
    return str(record.get("product", {}).get("category", ""))


def _channel_title(name: str) -> str:
    """A channel of an earlier run may have left channels.toml since."""
    return channels()[name].title if name in channels() else name


def _where_and_how(record: Record) -> str:
    """Channel and voice, as a card names them."""
    return ", ".join(filter(None, (_channel_title(record["channel"]), voice_of(record))))


def _words(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
