"""Faults of the service and of those who call it: it dies, a bad version comes, too much or the wrong is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from app.drill.fault import DAY_SPEED, Fault
from app.drill.scene import Scene
from app.watch.processes import wait_for
from app.watch.stub_service import Control

BAD_VERSION = "2"
MANY_WRITERS = {"ADLOOM_WRITERS": "32"}
"""So that slow answers still come several times a second, as those of several instances do."""
FAST = 20.0
"""Requests a second of a busy minute."""


def bad_version(behaviour: Control, **traffic: Any) -> Callable[[Scene], None]:
    """A release whose writer behaves so, while merchants go on asking."""

    def inject(scene: Scene) -> None:
        scene.stack.control(behaviour)
        scene.stack.deploy(BAD_VERSION)
        scene.start_traffic(**traffic)

    return inject


def kill_service(scene: Scene) -> None:
    """As a node that loses power."""
    scene.stack.crash("service")


def kill_writer(scene: Scene) -> None:
    """The engine's thread ends; the process goes on. Another process is well."""
    scene.stack.control(Control(is_dead=True, started_before_seconds=time.time()))


def ask_too_much(workers: int) -> Callable[[Scene], None]:
    """So many merchants at once, each ad two seconds of work."""

    def inject(scene: Scene) -> None:
        scene.stack.control(Control(latency_seconds=2.0))
        scene.start_traffic(workers=workers, per_second=0)

    return inject


def forge_tokens(scene: Scene) -> None:
    """Somebody tries."""
    scene.start_traffic(per_second=5, is_forged=True)


def pass_limit(scene: Scene) -> None:
    """One client in a loop."""
    scene.start_traffic(per_second=FAST)


def reject_ads(scene: Scene) -> None:
    """A version whose ads merchants reject; they say so of each."""
    bad_version(Control(validity=0.5, finding="unsupported_number", version=BAD_VERSION), per_second=10, judges=True)(
        scene
    )
    wait_for(lambda: scene.traffic is not None and scene.traffic.statuses[200] > 40, "merchants to reject forty ads")


SERVICE_FAULTS = (
    Fault("AdloomServiceDown", "the service is killed", kill_service),
    Fault(
        "AdloomAvailabilityBurnFast",
        "a version is released that fails on every ad",
        bad_version(Control(fails=True, version=BAD_VERSION), per_second=10),
    ),
    Fault(
        "AdloomAvailabilityBurnSlow",
        "a version is released that fails on one ad in twenty",
        bad_version(Control(fails=True, every=20, version=BAD_VERSION), per_second=FAST),
        DAY_SPEED,
    ),
    Fault(
        "AdloomLatencyBurnFast",
        "a version is released that takes 6 s for each ad",
        bad_version(Control(latency_seconds=6.0, version=BAD_VERSION), workers=24, per_second=0),
        settings=MANY_WRITERS,
    ),
    Fault(
        "AdloomLatencyBurnSlow",
        "a version is released that takes 6 s for one ad in three",
        bad_version(Control(latency_seconds=6.0, every=3, version=BAD_VERSION), workers=24, per_second=12),
        DAY_SPEED,
        MANY_WRITERS,
    ),
    Fault("AdloomBundleLoadFailed", "the writer's engine ends while its process goes on", kill_writer),
    Fault(
        "AdloomValidityLow",
        "a version is released whose ads score 0.5",
        bad_version(Control(validity=0.5, version=BAD_VERSION), per_second=10),
    ),
    Fault(
        "AdloomFindingsHigh",
        "a version is released that invents a number in every ad",
        bad_version(Control(validity=0.5, finding="unsupported_number", version=BAD_VERSION), per_second=10),
    ),
    Fault(
        "AdloomQueueSaturated", "19 merchants ask at once, each ad takes 2 s, 4 are written at a time", ask_too_much(19)
    ),
    Fault("AdloomLoadShedding", "40 merchants ask at once, each ad takes 2 s, 20 have room", ask_too_much(40)),
    Fault(
        "AdloomAuthenticationFailures",
        "forged tokens, five a second",
        forge_tokens,
        # At this speed a minute's limit of refusals is a second's of the rule: it would turn 401 into 429 too soon.
        settings={"ADLOOM_LIMITS": json.dumps({"refuseToken": "100000/minute"})},
    ),
    Fault(
        "AdloomRateLimiting",
        "one client asks 20 times a second and may 60 times a minute",
        pass_limit,
        settings={"ADLOOM_LIMITS": json.dumps({"writeCreatives": "60/minute"})},
    ),
    Fault("AdloomFeedbackNegative", "a version is released whose ads merchants reject", reject_ads, DAY_SPEED),
)
