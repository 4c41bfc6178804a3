"""What a fault is: how the stack has to stand for it, and what breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.drill.scene import Scene

SPEED = 60.0
"""An hour's window is a minute, five minutes are five seconds: samples come once a second, so no faster by default."""
DAY_SPEED = 720.0
"""For rules that look a day back: the day is two minutes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to cause one alert."""

    alert: str
    says: str
    """What breaks, for the table."""
    inject: Callable[[Scene], None]
    speed: float = SPEED
    """Durations of rules are divided by it, unless the command says otherwise."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """ADLOOM_* variables of the service."""
    needs: tuple[str, ...] = ()
    """Parts of the stack that are not on every machine."""
