"""Numbers as people read them, by the unit of a panel. Knows no panel."""

from __future__ import annotations

from app.watch.panels import Unit

MINUTE, HOUR, DAY = 60, 3600, 86_400


def shown(value: float, unit: Unit, decimals: int | None = None) -> str:
    """Short enough for a tile: 1.2 s, 34 ms, 12.5 %, 1.4 GiB, 3.1 k."""
    if unit == "percentunit":
        return f"{_plain(100 * value, decimals)} %"
    if unit == "s":
        return _duration(value, decimals)
    if unit == "bytes":
        return _scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"), decimals)
    after = {"reqps": " req/s", "cpm": " a min", "cores": " cores"}.get(unit, "")
    if unit == "none":
        return _plain(value, decimals)
    return _scaled(value, 1000, ("", " k", " M", " G"), decimals) + after


def _duration(seconds: float, decimals: int | None) -> str:
    size = abs(seconds)
    if size >= 2 * DAY:
        return f"{_plain(seconds / DAY, decimals)} d"
    if size >= 2 * HOUR:
        return f"{_plain(seconds / HOUR, decimals)} h"
    if size >= 2 * MINUTE:
        return f"{_plain(seconds / MINUTE, decimals)} min"
    if size >= 1 or not seconds:
        return f"{_plain(seconds, decimals)} s"
    return f"{_plain(seconds * 1000, decimals)} ms"


def _scaled(value: float, factor: int, names: tuple[str, ...], decimals: int | None) -> str:
    for name in names[:-1]:
        if abs(value) < factor:
            return f"{_plain(value, decimals)}{name}"
        value /= factor
    return f"{_plain(value, decimals)}{names[-1]}"


def _plain(value: float, decimals: int | None) -> str:
    """Three digits that matter, where nothing else is asked for."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    size = abs(value)
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
