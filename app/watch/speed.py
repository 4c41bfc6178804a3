"""
Prometheus rules and Alertmanager routes with every duration divided by a factor, so that a drill need not wait hours.

Thresholds, expressions and labels stay as they are: only `for`, `interval`, ranges, offsets and the waits of routes
shrink. Knows no alert by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

MILLISECONDS = {
    "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000,
}  # fmt: skip
_DURATION = r"(?:[0-9]+(?:ms|[smhdwy]))+"
_PIECE = re.compile(r"([0-9]+)(ms|[smhdwy])")
_TEXT = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_RANGE = re.compile(rf"\[\s*({_DURATION})\s*(?:(:)\s*({_DURATION})?\s*)?\]")
_OFFSET = re.compile(rf"\boffset(\s+-?\s*)({_DURATION})")
RULE_DURATIONS = ("for", "keep_firing_for")
ROUTE_DURATIONS = ("group_wait", "group_interval", "repeat_interval")
RANGE_MS_MIN = 4_000
"""A rate over less than this has too few of the samples that come once a second."""
STEP_MS_MIN = 100


class DurationError(ValueError):
    """No duration as Prometheus writes it."""


def milliseconds(duration: str) -> int:
    """Of "1h30m". Raises DurationError."""
    if duration == "0":
        return 0
    if not re.fullmatch(_DURATION, duration):
        raise DurationError(f"{duration!r} is no duration: write it like 5m or 1h30m")
    return sum(int(number) * MILLISECONDS[unit] for number, unit in _PIECE.findall(duration))


def seconds(duration: str) -> float:
    """Of "1h30m". Raises DurationError."""
    return milliseconds(duration) / 1_000


def shorter(duration: str, speed: float, *, ms_min: int = 0) -> str:
    """The duration, `speed` times as short, but never below `ms_min` unless it was before."""
    before = milliseconds(duration)
    after = max(round(before / speed), min(ms_min, before))
    return f"{after}ms" if after else "0s"


def faster_expression(expression: str, speed: float) -> str:
    """PromQL with shorter ranges, subqueries and offsets; what stands in quotes is left alone."""
    parts = _TEXT.split(expression)
    return "".join(part if place % 2 else _faster_code(part, speed) for place, part in enumerate(parts))


def faster_rules(content: str, speed: float) -> str:
    """A rule file's text, `speed` times as fast."""
    tree = yaml.safe_load(content)
    for group in tree.get("groups", []):
        group.pop("interval", None)  # Prometheus' own is the shortest that samples allow
        for rule in group["rules"]:
            rule["expr"] = faster_expression(str(rule["expr"]), speed)
            rule.update(
                {name: shorter(str(rule[name]), speed) for name in RULE_DURATIONS if name in rule},
            )
    text: str = yaml.safe_dump(tree, sort_keys=False, width=120)
    return text


def faster_routes(content: str, speed: float, webhook: str) -> str:
    """
    An Alertmanager configuration, `speed` times as fast, whose receivers all call `webhook/<their name>`.

    Routes and inhibitions stay; secrets, templates and real receivers do not.
    """
    tree = yaml.safe_load(content)
    _faster_route(tree["route"], speed)
    names = [each["name"] for each in tree["receivers"]]
    told: dict[str, Any] = {
        "global": {"resolve_timeout": shorter("5m", speed, ms_min=3_000)},
        "route": tree["route"],
        "receivers": [
            {"name": name, "webhook_configs": [{"url": f"{webhook}/{name}", "send_resolved": True}]} for name in names
        ],
    }
    told |= {name: tree[name] for name in ("inhibit_rules",) if name in tree}
    text: str = yaml.safe_dump(told, sort_keys=False, width=120)
    return text


def _faster_code(code: str, speed: float) -> str:
    def ranged(found: re.Match[str]) -> str:
        length = shorter(found[1], speed, ms_min=RANGE_MS_MIN)
        step = shorter(found[3], speed, ms_min=STEP_MS_MIN) if found[3] else ""
        return f"[{length}{found[2] or ''}{step}]"

    code = _RANGE.sub(ranged, code)
    return _OFFSET.sub(lambda found: f"offset{found[1]}{shorter(found[2], speed)}", code)


def _faster_route(route: Mapping[str, Any], speed: float) -> None:
    assert isinstance(route, dict)
    for name in ROUTE_DURATIONS:
        if name in route:
            route[name] = shorter(str(route[name]), speed, ms_min=1_000)
    route.pop("mute_time_intervals", None)
    route.pop("active_time_intervals", None)
    for below in route.get("routes", []):
        _faster_route(below, speed)
