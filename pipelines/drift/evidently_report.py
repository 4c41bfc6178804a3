"""
Evidently's own report of a window: one `ValueDrift` a column, method and threshold pinned.

A picture for people: the verdict comes from `judgement`. Evidently takes seconds to import, so only `report` does.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.drift.ad_record import COLUMNS
from pipelines.drift.columns import Measured
from pipelines.drift.judgement import ColumnVerdict, Judgement
from pipelines.drift.reference import Reference

ROWS_MAX = 5000
"""Of a window: more make no other picture. Drawn with the reference's seed; the verdict rests on all rows."""


@dataclass(frozen=True, slots=True)
class EvidentlyReport:
    """What Evidently makes of it."""

    html: str
    version: str
    rows: int
    """Of the longer side, after drawing."""
    distances: dict[str, float]
    """By column."""


def report(reference: Reference, window: Measured, judgement: Judgement) -> EvidentlyReport | None:
    """None where no column has enough rows. Raises RuntimeError where Evidently fails."""
    shown = [column for column in judgement.columns if column.verdict != "too_few"]
    if not shown:
        return None
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Evidently reports its use to its makers unless told not to
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's, of every import
        import evidently  # noqa: PLC0415 -- see above
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 -- see above
        from evidently.metrics import ValueDrift  # noqa: PLC0415 -- see above

        definition = DataDefinition(
            numerical_columns=[column.name for column in shown if column.method == "wasserstein"],
            categorical_columns=[column.name for column in shown if column.method != "wasserstein"],
        )
        metrics = [
            ValueDrift(column=column.name, method=column.method, threshold=max(column.floor, column.limit))
            for column in shown
        ]
        frames = [_frame(part, shown, reference.rules.seed) for part in (window, reference.tables)]
        run = Report(metrics, include_tests=True).run(
            *(Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
        )
        values = run.dict()["metrics"]
        html = run.get_html_str(as_iframe=False)
    return EvidentlyReport(
        html=html,
        version=evidently.__version__,
        rows=len(frames[0]),
        distances={metric["config"]["column"]: round(float(metric["value"]), 6) for metric in values},
    )


def _as_text(label: str) -> str:
    """A category is a merchant's own words; Evidently puts them into a script as they are, tags and all."""
    return label.replace("<", "‹").replace(">", "›")


def _frame(measured: Measured, shown: Sequence[ColumnVerdict], seed: int) -> Any:
    """One frame for both sides: the shorter one ends in rows that say nothing, which Evidently leaves out."""
    import pandas as pd  # noqa: PLC0415 -- as Evidently

    names = {column.name for column in shown}
    columns: dict[str, Any] = {}
    for table in measured.values():
        rows = np.arange(table.rows)
        if table.rows > ROWS_MAX:
            rows = np.sort(np.random.default_rng(seed).choice(table.rows, ROWS_MAX, replace=False))
        taken = table.taken(rows)
        for column in COLUMNS:
            if column.name in names and column.name in taken.numbers:
                columns[column.name] = pd.Series(taken.numbers[column.name])
            elif column.name in names and column.name in taken.words:
                words = taken.words[column.name]
                labels = [_as_text(label) for label in words.labels]
                columns[column.name] = pd.Series([labels[code] for code in words.codes], dtype=object)
    return pd.DataFrame(columns)
