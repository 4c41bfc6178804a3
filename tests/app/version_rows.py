"""Versions of the model and lines of its ledger, told to a service as whoever changes the registry tells them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.versions_route import SAMPLE_EXAMPLE, TASK
from model.store import model_versions
from model.store.model_versions import FullVersionRow, PromotionRow

AT = datetime(2026, 1, 15, 11, 20, tzinfo=UTC)


def version_row(number: int, **given: Any) -> FullVersionRow:
    """One that the gate refused."""
    values: dict[str, Any] = {
        "aliases": [], "created_at": AT, "bundle_digest": "b" * 64, "dataset_digest": "", "git_commit": "",
        "run_id": "run", "certificate": "passed", "scores": {"validity": {"mean": 0.97, "low": 0.96, "high": None}},
        "gate": {"passed": False, "reasons": ["No better."]}, "card": "# Card\n", "samples": [SAMPLE_EXAMPLE],
    }  # fmt: skip
    return FullVersionRow(number=number, **values | given)


def ledger_line(number: int) -> PromotionRow:
    """A promotion, made `number` minutes after AT."""
    return PromotionRow(number, AT + timedelta(minutes=number), "Ada", "promote", "done", "", "1", "better", "a note")


def tell(parts: Any, versions: Sequence[FullVersionRow], lines: Sequence[PromotionRow]) -> None:
    """Replace what the service behind `parts` knows."""
    with parts.database.begin() as connection:
        before = model_versions.edition(connection, TASK)
        assert model_versions.replace(connection, TASK, before, AT, versions, lines)
