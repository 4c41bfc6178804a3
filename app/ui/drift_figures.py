"""
Drift reports of the service as figures: each window's verdict in words, and how far each feature was away, over time.

Knows the reports' shape; charts.py draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from app.ui import charts
from app.ui.charts import Cell, Strip
from app.ui.data_figures import Figure

Report = Mapping[str, Any]
WINDOWS_SHOWN, FEATURES_SHOWN, REPORTS_LISTED = 24, 12, 12
MODES = {"online": "Traffic", "batch": "Catalogue"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One report as a line of the table. `level` is a colour of the style sheet; the words say it, too."""

    id: str
    when: str
    of: str
    rows: int
    verdict: str
    level: str
    drifted: str
    validity: str
    why: str
    has_page: bool


@dataclass(frozen=True, slots=True)
class Drift:
    """What the page shows of all reports; without any, `listed` is empty."""

    listed: tuple[Listed, ...]
    drawing: Markup
    sentences: str
    framed: Listed | None
    """Whose page stands inside."""


def drift_of(reports: Sequence[Report], framed_id: str = "") -> Drift:
    """`reports` newest first, as the service gives them; `framed_id` chooses a page, else it is the newest there is."""
    listed = tuple(map(_listed, reports[:REPORTS_LISTED]))
    with_page = [each for each in listed if each.has_page]
    chosen = next((each for each in with_page if each.id == framed_id), None)
    windows = _windows(reports)
    strips = _strips(windows)
    says = _sentences(windows, strips)
    ends = (_day(windows[0]), _day(windows[-1])) if windows else ("", "")
    drawing = charts.strips(strips, ends, says) if strips else Markup()
    return Drift(listed, drawing, says, chosen or next(iter(with_page), None))


def feature_over_time(reports: Sequence[Report]) -> Figure | None:
    """The feature that drifted most, window by window; None where fewer than two windows say anything of one."""
    windows = _windows(reports)
    strips = _strips(windows)
    if not strips or sum(cell.share is not None for cell in strips[0].cells) < 2:
        return None
    strip = strips[0]
    shares = [cell.share for cell in strip.cells]
    known = [share for share in shares if share is not None]
    away = f"from {known[0]:.0%} to {known[-1]:.0%} of what counts as drift"
    means = (
        f"It is past that in {strip.times_over} of {_count(len(known), 'window')}: what the writer gets is not what it "
        f"was trained on, and {'its ads have become worse' if windows[-1]['hurts'] else 'its ads hold so far'}."
        if strip.times_over
        else "No feature of any window is past that, so the writer gets what it was trained on."
    )
    says = f"Distance of {strip.name} from the reference, window by window, {away}."
    return Figure(
        "Drift of a feature over time",
        charts.trace(shares, (_day(windows[0]), _day(windows[-1])), says),
        f"Over the last {_count(len(windows), 'window')} of {MODES[windows[-1]['mode']].lower()} the distance of "
        f"“{strip.name}” from the reference goes {away}.",
        means,
    )


def _windows(reports: Sequence[Report]) -> list[Report]:
    """The latest of one kind, oldest first: those of traffic where there are any, because they follow each other."""
    online = [report for report in reports if report["mode"] == "online"]
    return list(reversed((online or list(reports))[:WINDOWS_SHOWN]))


def _strips(windows: Sequence[Report]) -> list[Strip]:
    """One a feature, those that drifted most often first."""
    found = [{each["name"]: each for each in window["features"]} for window in windows]
    names = dict.fromkeys(name for features in found for name in features)
    strips = [
        Strip(name.replace("_", " "), tuple(_cell(w, f.get(name)) for w, f in zip(windows, found, strict=True)))
        for name in names
    ]
    strips.sort(key=lambda strip: (-strip.times_over, -strip.most))
    return strips[:FEATURES_SHOWN]


def _cell(window: Report, feature: Mapping[str, Any] | None) -> Cell:
    if feature is None or feature["distance"] is None:
        return Cell(None, is_over=False, says=f"{_day(window)}: too few rows")
    share = feature["distance"] / feature["threshold"] if feature["threshold"] else 0.0
    says = f"{_day(window)}: {feature['distance']:.3f}, drift from {feature['threshold']:.3f}"
    return Cell(share, is_over=bool(feature["drifted"]), says=says)


def _sentences(windows: Sequence[Report], strips: Sequence[Strip]) -> str:
    """Two: what was seen, and what it means for the model."""
    if not strips:
        return ""
    over = [strip for strip in strips if strip.times_over]
    judged = sum(
        any(cell.share is not None for cell in column) for column in zip(*(s.cells for s in strips), strict=True)
    )
    latest = windows[-1]
    if not over:
        seen = f"In {_count(judged, 'window')} no feature came as far from the reference as would count as drift."
    else:
        most = over[0]
        seen = f"“{most.name}” drifted in {most.times_over} of {_count(judged, 'window')}, more often than any other."
    if latest["hurts"]:
        return f"{seen} In the latest one the ads are worse than the margin allows: a retrain is due."
    if latest["verdict"] == "drift":
        return (
            f"{seen} The latest one drifts and its ads are as valid as before: look again before you ask for a retrain."
        )
    return f"{seen} The latest one gives no reason for a retrain."


def _listed(report: Report) -> Listed:
    level, verdict = _verdict(report)
    drifted = [each["name"].replace("_", " ") for each in report["features"] if each["drifted"]]
    return Listed(
        id=str(report["id"]),
        when=_window(report),
        of=MODES.get(report["mode"], str(report["mode"])),
        rows=int(report["rows"]),
        verdict=verdict,
        level=level,
        drifted=", ".join(drifted[:3]) + (f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""),
        validity=_validity(report["validity"]),
        why=str(report["why"]),
        has_page=bool(report["has_page"]),
    )


def _verdict(report: Report) -> tuple[str, str]:
    if report["hurts"]:
        return "poor", "Drift, and worse ads" if report["verdict"] == "drift" else "Worse ads"
    return {
        "drift": ("fair", "Drift, ads hold"),
        "steady": ("good", "Steady"),
    }.get(report["verdict"], ("soft", "Too few rows to say"))


def _validity(validity: Mapping[str, float | None]) -> str:
    now, before = validity["current"], validity["reference"]
    if now is None:
        return "–"
    return f"{now:.2f}" if before is None else f"{now:.2f}, was {before:.2f}"


def _window(report: Report) -> str:
    start, end = (datetime.fromisoformat(report[name]) for name in ("window_start", "window_end"))
    day = f"{start.day} {start:%b %Y, %H:%M}"
    if end <= start:
        return day
    return f"{day} to {end:%H:%M}" if end.date() == start.date() else f"{day} to {end.day} {end:%b, %H:%M}"


def _day(report: Report) -> str:
    end = datetime.fromisoformat(report["window_end"])
    return f"{end.day} {end:%b, %H:%M}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
