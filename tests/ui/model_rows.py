"""Rows that fill the page Model: versions as a registry publishes them, ledger lines, and what owners asked for."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.parts import Parts
from app.retrains_route import TASK
from model.store import model_versions, pair_sets, retrains, rollbacks
from model.store.model_versions import FullVersionRow, PromotionRow
from model.store.retrains import Ended, NewRetrain, Trigger
from model.store.rollbacks import NewRollback

HOSTILE = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">'
START = datetime(2026, 1, 10, 9, 30, tzinfo=UTC)
PRODUCTS = (
    "Enamel kettle Tern, 1.5 l",
    "Wool throw Heath, 130 x 180 cm",
    f"Desk lamp {HOSTILE}",
    "حذاء جلدي بني",
    "Ribbed socks 🧦, two pairs",
    "Oak shelf with a name so long that no telephone shows it in one line whatever its owner does",
)
MEANS = {
    "validity": 0.98,
    "valid": 0.96,
    "grounded": 0.99,
    "structural": 1.0,
    "makes_sense": 0.93,
    "relevance": 0.83,
    "rouge_l": 0.29,
    "chrf": 0.31,
    "untouched": 0.25,
    "memorised_words": 3.0,
}
CARD = f"""# adloom-writer

Writes ads. {HOSTILE}

[a link](https://example.com/card) and [none](javascript:window.hacked=1)

| score | mean |
|---|--:|
| validity | 0.98 |

- It is a small model.
"""


def scores(seed: int, **means: float) -> dict[str, Any]:
    """Each mean a little off, within an interval of four hundredths."""
    draw = random.Random(seed)
    found = {name: means.get(name, mean - draw.random() / 100) for name, mean in MEANS.items()}
    return {
        name: {"mean": mean, "low": mean - 0.02, "high": mean + 0.02 if mean > 1 else min(1.0, mean + 0.02)}
        for name, mean in found.items()
    }


def sample(place: int, number: int) -> dict[str, Any]:
    """The ad of a version for one held-out product."""
    return {
        "row": f"h{place:04}",
        "product": PRODUCTS[place],
        "channel": ("google_rsa", "instagram", "x")[place % 3],
        "headlines": [f"Headline {place} by {number}", "Made to last"][: 2 - place % 2],
        "bodies": [f"Version {number} says only what the product says. {HOSTILE if place == 1 else ''}".strip()],
        "call_to_action": "See the colours" if place % 2 else "",
        "hashtags": ["#kitchen", "#oak"] if place % 2 else [],
        "validity": 0.6 if place == 2 else 1.0,
        "findings": ["unsupported_number"] if place == 2 else [],
    }


def version(number: int, *aliases: str, **changes: Any) -> FullVersionRow:
    """One version; `changes` to its columns."""
    row = FullVersionRow(
        number=number,
        aliases=list(aliases),
        created_at=START + timedelta(days=number),
        bundle_digest=f"{number:02}" * 32,
        dataset_digest=f"d{number}" * 32,
        git_commit="0d004c4b6b4e8f1d2c3a495867a1b0c9d8e7f6a5",
        run_id="4f2c9b1e0d3a4c5b8e7f6a5d4c3b2a19",
        certificate="passed",
        scores=scores(number),
        gate={"passed": True, "reasons": ["Not worse on validity and grounded; better on relevance."]},
        card=CARD,
        samples=[sample(place, number) for place in range(len(PRODUCTS))],
    )
    return replace(row, **changes)


REFUSED = {"passed": False, "reasons": ["validity is lower by 0.0900 over 151 rows.", f"grounded {HOSTILE}"]}
VERSIONS = [
    version(8, "candidate", scores=scores(8, validity=0.89, memorised_words=2.5), gate=REFUSED),
    version(7, "champion"),
    version(6, gate=None, samples=[], card=""),
    version(5, certificate="failed", gate={"passed": False, "reasons": ["The certificate did not pass."]}),
]


def line(number: int, action: str, source: str, target: str, why: str, state: str = "done", note: str = "") -> Any:
    """Of the ledger; the number orders them."""
    at = START + timedelta(days=number)
    return PromotionRow(number, at, "Platform on call", action, state, source, target, why, note)


LINES = [
    line(1, "promote", "", "6", "first champion"),
    line(2, "promote", "6", "7", "better on relevance", "intent"),
    line(3, "promote", "6", "7", "better on relevance"),
    line(4, "refused", "7", "8", f"the monthly retrain {HOSTILE}", "undone", f"the gate refuses version 8 {HOSTILE}"),
]


def publish(parts: Parts, versions: Any = None, lines: Any = None) -> None:
    """As the registry's owner does after a change."""
    rows = VERSIONS if versions is None else versions
    with parts.database.begin() as connection:
        edition = model_versions.edition(connection, TASK)
        now = datetime.now(UTC)
        assert model_versions.replace(connection, TASK, edition, now, rows, LINES if lines is None else lines)


def use_pairs(parts: Parts, set_id: str, why: str = "") -> None:
    """As the step that builds a dataset does."""
    with parts.database.begin() as connection:
        assert pair_sets.use(connection, set_id, "ab" * 32, learnt=2, why=why, at=datetime.now(UTC))


def begin_rollback(parts: Parts) -> Any:
    """As the step that carries one out does; the row."""
    now = datetime.now(UTC)
    with parts.database.begin() as connection:
        until = now + timedelta(minutes=5)
        row = rollbacks.claim(connection, TASK, "a carrier", now=now, until=until, environment="prod")
    assert row is not None
    return row


def end_rollback(parts: Parts, rollback_id: str, state: rollbacks.Ended, why: str, **facts: str) -> None:
    """The same, at its end."""
    with parts.database.begin() as connection:
        ended = {"at": datetime.now(UTC), "why": why}
        assert rollbacks.finish(connection, rollback_id, "a carrier", state, **ended, **facts)


def ask_for_retrain(parts: Parts, trigger: Trigger = "drift", **cause: Any) -> str:
    """As the pipelines do where their rules say so, or another client; the id."""
    new = NewRetrain(TASK, trigger, cause, "somebody else", datetime.now(UTC))
    with parts.database.begin() as connection:
        return retrains.ask(connection, new).id


def end_retrain(parts: Parts, retrain_id: str, state: Ended, **facts: str) -> None:
    """As the pipelines do."""
    with parts.database.begin() as connection:
        assert retrains.start(connection, retrain_id, datetime.now(UTC))
        assert retrains.finish(connection, retrain_id, state, at=datetime.now(UTC), **facts)


def ask_for_rollback(parts: Parts, reason: str) -> str:
    """As another client does; the id."""
    with parts.database.begin() as connection:
        return rollbacks.ask(connection, NewRollback(TASK, "6", reason, "somebody else", datetime.now(UTC))).id
