"""What `drift-bench` has found, as Markdown tables and as a plot. Knows its JSON alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.drift.ad_record import COLUMNS

COLOURS = ("#0072B2", "#D55E00")
"""Okabe and Ito's blue and vermilion."""


def sections(found: Mapping[str, Any]) -> str:
    """Error rates, columns, cost."""
    return "\n".join([_errors(found), _columns(found), _cost(found)])


def _errors(found: Mapping[str, Any]) -> str:
    reference, rules = found["reference"], found["rules"]
    ordinary, loop = found["ordinary_windows"], found["loop"]
    rows = [
        (f"{size:,}", *(f"{reference['window_alarms'][side][at]:.3f}" for side in ("input", "output")), f"{month:.3f}")
        for at, (size, month) in enumerate(zip(rules["sizes"], reference["alarms_a_month"], strict=True))
    ]
    on_traffic = (
        f"On traffic: of {ordinary['windows']} ordinary windows of {ordinary['rows']:,} creatives "
        f"{ordinary['drift']} were taken for drift, and {ordinary['hurts']} for harm."
    )
    return f"""### How often it errs

By bootstrap on the reference, {rules["draws"]:,} windows a size that set no limit; a month has 720 hourly windows.

{_table(("rows", "input alarms a window", "output alarms a window", "false alarms a month, 2 of 3"), rows)}
{on_traffic}
From log to decision, three windows a seed: {_said(loop, "ordinary")}; {_said(loop, "shifted")}.
"""


def _said(loop: Mapping[str, Any], kind: str) -> str:
    part = loop[kind]
    return (
        f"{kind} traffic drifted in {part['drift_two_of_three']} of {part['seeds']} seeds "
        f"and led to a retrain in {part['retrains']}"
    )


def _columns(found: Mapping[str, Any]) -> str:
    columns, rules = found["reference"]["columns"], found["rules"]
    first, second = rules["shift_sizes"]
    rows = []
    for column in COLUMNS:
        if column.name in columns:
            part = columns[column.name]
            limit = part["limits"][0]
            shifts = [_shift(shift, part["norm"], is_number=column.is_number) for shift in part["smallest_shift"]]
            rows.append((f"`{column.name}`", column.method, f"{part['floor']:.2f}", f"{limit:.2f}", *shifts))
    heads = ("column", "method", "floor", f"limit at {rules['sizes'][0]} rows")
    return f"""### The smallest shift that is found nine times in ten

Of numbers: added to every row, in standard deviations of the reference and in the column's unit.
Of words: the share of rows that take a word never seen.

{_table((*heads, f"shift at {first:,} rows", f"at {second:,} rows"), rows)}"""


def _shift(shift: float | None, norm: float, *, is_number: bool) -> str:
    if shift is None:
        return "none"
    return f"{shift:.2f} ({shift * norm:.3g})" if is_number else f"{100 * shift:.1f} %"


def _cost(found: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{part['rows']:,}",
            f"{part['seconds']:.1f}",
            f"{1e6 * part['seconds'] / part['rows']:.0f}",
            f"{part['peak_mib']:,}",
            f"{part['log_mib']:,}",
        )
        for part in found["cost"]
    ]
    return f"""### What a window costs

`adloom drift` as a process of its own, Evidently's page included; every request names a new product.

{_table(("creatives", "seconds", "µs a creative", "peak MiB", "log MiB"), rows)}
Making the reference of 24 hours took {found["reference"]["seconds"]} s.
"""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Seconds and microseconds a creative against creatives, both on scales of powers of ten."""
    import matplotlib as mpl  # noqa: PLC0415 -- half a second that no other command need pay

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 -- as above

    sizes = [part["rows"] for part in found["cost"]]
    seconds = [part["seconds"] for part in found["cost"]]
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4))
    panels[0].plot(sizes, seconds, marker="o", color=COLOURS[0])
    panels[0].set(xscale="log", yscale="log", xlabel="creatives in the window", ylabel="seconds")
    each = [1e6 * taken / size for taken, size in zip(seconds, sizes, strict=True)]
    panels[1].plot(sizes, each, marker="s", color=COLOURS[1])
    panels[1].set(xscale="log", yscale="log", xlabel="creatives in the window", ylabel="microseconds a creative")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
