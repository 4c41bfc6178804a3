"""
What an environment costs a month at rest, from its own variables and published prices.

Counts what is billed by the hour; what is billed by use (traffic, objects, samples, logs) is for the bill to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from infra.terraform import DeployError

HOURS = 730
"""Of a month, as AWS's calculator counts."""
KEYS = 6
"""Customer-managed keys of one environment: one for each use of the module encryption_key."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD an hour in a region of the USA; Frankfurt is 10 to 20 % above."""

    usd: float
    source: str
    """Page that gave it, and the day that it speaks of."""


_EC2 = "c3x.dev/blog/m5-vs-m6i-vs-m7i-cost-performance gives m7i.xlarge, 2026; sizes double"
_NETWORK = "zacfukuda.com/blog/aws-nat-gateway-vs-vpc-endpoint, 2026-06-01"
PRICES = {
    "control plane": Price(0.10, "cloudburn.io/blog/amazon-eks-pricing, 2026-04-01; 0.60 out of standard support"),
    "m7i.large": Price(0.1008, _EC2),
    "m7i.xlarge": Price(0.2016, _EC2),
    "gateway": Price(0.045, _NETWORK),
    "endpoint": Price(0.010, _NETWORK),
    "db.t4g.medium": Price(0.065, "infratally.com/articles/aws-rds-pricing-explained-2026.html"),
    "db.m7g.large": Price(0.168, "hashicorp/terraform-provider-aws, its tests' list of classes, 2024-02-02, MySQL"),
    "key": Price(1 / HOURS, "aws.amazon.com/kms/pricing: 1 USD a month"),
}


def monthly_table(environments: Path) -> str:
    """One row a driver, one column an environment, the sum last. Raises DeployError for what has no price."""
    names = ("dev", "staging", "prod")
    drivers = {name: _drivers(environments / name) for name in names}
    lines = ["| driver | dev | staging | prod |", "|---|---|---|---|"]
    lines += [
        f"| {driver} | {' | '.join(_cell(*drivers[name][driver]) for name in names)} |" for driver in drivers["dev"]
    ]
    sums = (sum(count * _usd(kind) * HOURS for count, kind in drivers[name].values()) for name in names)
    lines.append(f"| **at rest** | {' | '.join(f'**{usd:,.0f} USD**' for usd in sums)} |")
    lines += ["", "| price of | USD an hour | from |", "|---|---|---|"]
    lines += [f"| {kind} | {price.usd:.4f} | {price.source} |" for kind, price in PRICES.items()]
    return "\n".join(lines)


def _drivers(folder: Path) -> dict[str, tuple[int, str]]:
    """How many of what, by the row's name."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tfvars")))
    zones = len(_list(text, "zones"))
    node = re.search(r"service = \{ instance_types = \[\"([\w.]+)\"\], nodes_min = (\d+)", text)
    if node is None:
        raise DeployError(f"{folder.name}: the node group `service` is not written as infra/costs.py reads it")
    return {
        "control plane": (1, "control plane"),
        "nodes of the service, fewest": (int(node[2]), node[1]),
        "ways out": (zones if _word(text, "nat_per_zone") == "true" else 1, "gateway"),
        "private endpoints": (zones * len(_list(text, "interface_endpoints")), "endpoint"),
        "database": (2 if _word(text, "multi_az") == "true" else 1, _word(text, "instance_class").strip('"')),
        "keys": (KEYS, "key"),
    }


def _cell(count: int, kind: str) -> str:
    return f"{count} x {kind}: {count * _usd(kind) * HOURS:,.0f}"


def _usd(kind: str) -> float:
    if kind not in PRICES:
        raise DeployError(f"infra/costs.py knows no price of {kind}: add it with its source")
    return PRICES[kind].usd


def _word(text: str, name: str) -> str:
    found = re.search(rf"^ *{name} += (\S+)$", text, re.MULTILINE)
    if found is None:
        raise DeployError(f"no environment file says {name}")
    return found[1]


def _list(text: str, name: str) -> list[str]:
    found = re.search(rf"^{name} += \[(.*)\]$", text, re.MULTILINE)
    return re.findall(r'"([^"]+)"', found[1]) if found else []
