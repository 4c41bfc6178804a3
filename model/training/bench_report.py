"""
What a benchmark found: figures out of rounds, ratios between engines, tables and plots.

Knows neither processes nor engines; everything here is arithmetic on what benchmark.py measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from model.training.ceilings import ceilings, step_bytes, work
from model.training.peers import OURS, Engine
from model.training.plots import COLOURS, MARKERS

REFERENCE = "transformers"
"""Whose text the others' is compared with; ours where it is not there."""
OPERATORS_SHOWN = 10
MEGABYTE = 1e6
TABLE_WIDTH_MIN = 120

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Round:
    """One group of requests, handed over at once."""

    seconds: float
    """Until the last of them was answered."""
    answers: Sequence[Mapping[str, Any]]
    """Of each request: ids, seconds, first_token_seconds."""
    peak_bytes: int
    """Most memory resident since this number of requests was first asked for."""


@dataclass(slots=True)
class Contender:
    """One engine and what it did."""

    name: str
    engine: Engine
    files: Path
    cold_start_seconds: float
    """From the start of its process to the end of its first creative, the disk warm."""
    idle_cpu_shares: list[float] = field(default_factory=list)
    """Cores it kept busy while others ran."""
    rounds: dict[int, list[Round]] = field(default_factory=dict)
    """By requests in flight."""
    lengths: dict[int, list[Round]] = field(default_factory=dict)
    """By tokens of the prompt."""


def assemble(
    settings: Mapping[str, Any],
    contenders: Sequence[Contender],
    skipped: Mapping[str, str],
    machine: Mapping[str, float],
    profiles: Mapping[str, Mapping[str, float]],
) -> Report:
    """Every figure of the run. `settings` are benchmark.py's, with the model's config, which is left out again."""
    least = work(
        settings["config"], settings["prompt_tokens_mean"] - settings["prefix_tokens"], settings["tokens_written"]
    )
    rows: Report = {}
    for count in sorted({count for contender in contenders for count in contender.rounds}):
        group = {each.name: each.rounds[count] for each in contenders if each.rounds.get(count)}
        reference = group.get(REFERENCE) or group.get(OURS)
        rows[str(count)] = {name: _figures(rounds, count, reference) for name, rounds in group.items()}
        for contender in contenders:
            if machine and contender.name in group:
                best = ceilings(least, count, step_bytes(contender.files), machine)
                figures = rows[str(count)][contender.name]
                figures["ceilings_creatives_per_second"] = best
                figures["ceiling_share"] = figures["creatives_per_second"] / min(best.values())
    return {
        **{name: value for name, value in settings.items() if name != "config"},
        "engines": {contender.name: _described(contender) for contender in contenders},
        "skipped": dict(skipped),
        "rows": rows,
        "ratios": _ratios(contenders),
        "prompt_lengths": _by_length(contenders),
        "ceilings": {**machine, "macs_a_creative": least.macs()},
        "profile": profiles,
    }


def _described(contender: Contender) -> Report:
    try:
        installed = version(contender.engine.package)
    except PackageNotFoundError:
        installed = ""
    return {
        "title": contender.engine.title,
        "package": f"{contender.engine.package} {installed}".strip(),
        "note": contender.engine.note,
        "cold_start_seconds": contender.cold_start_seconds,
        "step_bytes": step_bytes(contender.files),
        "idle_cpu_share_max": max(contender.idle_cpu_shares, default=0.0),
    }


def _figures(rounds: Sequence[Round], count: int, reference: Sequence[Round] | None) -> Report:
    answers = [answer for each in rounds for answer in each.answers]
    calls = [answer["seconds"] for answer in answers]
    firsts = [answer["first_token_seconds"] for answer in answers if answer["first_token_seconds"] is not None]
    rate = count * len(rounds) / sum(each.seconds for each in rounds)
    p50, p95 = np.percentile(calls, [50, 95])
    return {
        "creatives_per_second": rate,
        "creatives_per_second_by_round": [count / each.seconds for each in rounds],
        "tokens_per_second": rate * statistics.mean(len(answer["ids"]) for answer in answers),
        "first_token_seconds_p50": statistics.median(firsts) if firsts else None,
        "call_seconds_p50": float(p50),
        "call_seconds_p95": float(p95),
        "peak_resident_bytes": max(each.peak_bytes for each in rounds),
        "same_tokens_share": _same_share(rounds, reference) if reference else None,
    }


def _same_share(rounds: Sequence[Round], reference: Sequence[Round]) -> float:
    """Share of tokens, up to the first difference of a request, that the reference wrote too."""
    pairs = [
        (ours["ids"], theirs["ids"])
        for one, other in zip(rounds, reference, strict=False)
        for ours, theirs in zip(one.answers, other.answers, strict=True)
    ]
    return sum(map(shared_tokens, pairs)) / max(1, sum(len(ours) for ours, _ in pairs))


def shared_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with alike."""
    columns = enumerate(zip(*sequences, strict=False))
    shortest = min(map(len, sequences))
    return next((place for place, column in columns if len(set(column)) > 1), shortest)


def _ratios(contenders: Sequence[Contender]) -> Report:
    """Our creatives per second over each peer's, round by round: the same prompts, seconds apart."""
    ours = next((contender for contender in contenders if contender.name == OURS), None)
    found: Report = {}
    for count, mine in sorted(ours.rounds.items()) if ours else ():
        found[str(count)] = {}
        for peer in contenders:
            ratios = [
                theirs.seconds / one.seconds for one, theirs in zip(mine, peer.rounds.get(count, []), strict=False)
            ]
            if peer is not ours and ratios:
                found[str(count)][peer.name] = {
                    "min": min(ratios),
                    "median": statistics.median(ratios),
                    "max": max(ratios),
                }
    return found


def _by_length(contenders: Sequence[Contender]) -> Report:
    """Of one request in flight."""
    found: Report = {}
    for length in sorted({length for contender in contenders for length in contender.lengths}):
        found[str(length)] = {
            contender.name: {
                "creatives_per_second": len(rounds) / sum(each.seconds for each in rounds),
                "call_seconds_p50": statistics.median(each.seconds for each in rounds),
            }
            for contender in contenders
            if (rounds := contender.lengths.get(length))
        }
    return found


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    if console.width < TABLE_WIDTH_MIN:
        console = Console(width=TABLE_WIDTH_MIN)
    for count in report["rows"]:
        console.print(_level_table(report, count))
    console.print(_engine_table(report))
    for engine in report["engines"].values():
        console.print(f"{engine['title']}: {engine['note']}", markup=False)
    machine = report["ceilings"]
    if "bytes_per_second" in machine:
        console.print(
            f"measured here: {machine['bytes_per_second'] / 1e9:.1f} GB/s from memory, "
            f"{machine['int8_macs_per_second'] / 1e9:,.0f} thousand million int8 multiply-accumulates a second; "
            f"a creative needs {machine['macs_a_creative'] / 1e9:.1f} thousand million"
        )
    for count, shares in report["profile"].items():
        shown = list(shares.items())[:OPERATORS_SHOWN]
        parts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shown)
        console.print(f"where our steps go, {count} in flight: {parts}")
    for name, reason in report["skipped"].items():
        console.print(f"skipped: {name}: {reason}", markup=False)


def _level_table(report: Report, count: str) -> Table:
    headings = ("creatives/s", "tokens/s", "first s", "p50 s", "p95 s", "peak MB", "of ceiling", "ours over it")
    table = _table(
        f"{count} in flight, {report['tokens_written']} tokens each, greedy; ours: min, median, max", headings
    )
    for name, figures in report["rows"][count].items():
        first, share = figures["first_token_seconds_p50"], figures.get("ceiling_share")
        ratio = report["ratios"].get(count, {}).get(name)
        table.add_row(
            report["engines"][name]["title"],
            f"{figures['creatives_per_second']:.2f}",
            f"{figures['tokens_per_second']:.0f}",
            "-" if first is None else f"{first:.3f}",
            f"{figures['call_seconds_p50']:.2f}",
            f"{figures['call_seconds_p95']:.2f}",
            f"{figures['peak_resident_bytes'] / MEGABYTE:.0f}",
            "-" if share is None else f"{100 * share:.0f} %",
            f"{ratio['min']:.2f} {ratio['median']:.2f} {ratio['max']:.2f}" if ratio else "",
        )
    return table


def _engine_table(report: Report) -> Table:
    table = _table("engines", ("package", "cold start s", "MB read a step", "cores busy when idle"))
    for engine in report["engines"].values():
        table.add_row(
            engine["title"],
            engine["package"],
            f"{engine['cold_start_seconds']:.2f}",
            f"{engine['step_bytes'] / MEGABYTE:.0f}",
            f"{engine['idle_cpu_share_max']:.2f}",
        )
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title)
    table.add_column("engine", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def draw(report: Report, out: Path) -> list[Path]:
    """Write the plots beside `out`: throughput against requests in flight and against prompt length. Their paths."""
    pictures = [
        ("in-flight", "rows", "requests in flight", f"{report['tokens_written']} tokens each, greedy"),
        ("prompt-length", "prompt_lengths", "tokens of the prompt", "one request in flight"),
    ]
    paths = []
    for name, key, label, title in pictures:
        if report[key]:
            path = out.with_name(f"{out.stem}-{name}.svg")
            _draw(report, report[key], label, f"Creatives a second, {title}", path)
            paths.append(path)
    return paths


def _draw(report: Report, points: Mapping[str, Mapping[str, Any]], label: str, title: str, path: Path) -> None:
    # The figure alone, not pyplot: that keeps a list of all figures and may look for a screen.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for place, (name, engine) in enumerate(report["engines"].items()):
        across = [int(count) for count in points if name in points[count]]
        heights = [points[str(count)][name]["creatives_per_second"] for count in across]
        axes.plot(
            across,
            heights,
            marker=MARKERS[place % len(MARKERS)],
            color="black" if name == OURS else COLOURS[place % len(COLOURS)],
            label=engine["title"],
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    ticks = [int(count) for count in points]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(label)
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    # A fixed salt and no date: the same figures draw the same bytes.
    with rc_context({"svg.hashsalt": "adloom"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
