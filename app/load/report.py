"""
What a row of the load table says, whether it adds up, what limited it, and the pages made of all rows.

Knows no containers; matplotlib is loaded where the plot is drawn.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

LITTLE_TOLERANCE = 0.15
"""
How far users may be from rate x (response + wait), Little's law, before a row is called unsound.

What is in flight when a row begins counts with all of its time, and what is in flight at its end does not: alike in
the mean, and not in each row. Fewer than 100 requests differ by some 10 % from that alone.
"""
BUSY = 0.9
"""Of its limit, or of one core: whoever uses more has no more to give."""
COLOURS = ("#0072B2", "#E69F00", "#009E73")
MARKERS = ("o", "s", "^")


@dataclass(frozen=True, slots=True)
class Row:
    """One number of users on one number of containers."""

    engine: str
    containers: int
    users: int
    requests_per_second: float
    median_ms: float
    p95_ms: float
    p99_ms: float
    slowest_ms: float
    """Of the whole run, what was in flight at the end of the row included."""
    success_share: float
    """Of the requests that were not shed."""
    shed_share: float
    """503 with Retry-After, of all requests."""
    failed: int
    """Likewise."""
    lost: int
    """Creatives that were acknowledged and are not in the database."""
    little_users: float
    """Rate x (response + wait); what `users` should be."""
    container_cpu_share: float
    """Of their limit, all together."""
    generator_cpu_share: float
    """Of one core."""
    limited_by: str

    @classmethod
    def of(
        cls,
        *,
        engine: str,
        containers: int,
        users: int,
        cpus: float,
        cpus_used: float,
        lost: int,
        met: Mapping[str, Any],
    ) -> Self:
        """From what Locust met. Raises ValueError where it met nothing."""
        times = sorted(met["latencies_ms"])
        if not times:
            raise ValueError("no request was answered in this row: give it more seconds")
        outcomes, seconds = met["outcomes"], met["seconds"]
        share = cpus_used / (cpus * containers)
        shed_share = outcomes["shed"] / len(times)
        return cls(
            engine=engine,
            containers=containers,
            users=users,
            requests_per_second=len(times) / seconds,
            median_ms=percentile(times, 0.50),
            p95_ms=percentile(times, 0.95),
            p99_ms=percentile(times, 0.99),
            slowest_ms=met["slowest_ms"],
            success_share=outcomes["ok"] / max(1, outcomes["ok"] + outcomes["failed"]),
            shed_share=shed_share,
            failed=sum(met["failures"].values()),
            lost=lost,
            little_users=(sum(times) / 1000 + met["waited_seconds"]) / seconds,
            container_cpu_share=share,
            generator_cpu_share=met["generator_cpu_share"],
            limited_by=limit(share, met["generator_cpu_share"], shed_share),
        )

    @property
    def is_sound(self) -> bool:
        """Whether users, rate and times agree; where they do not, the generator was late."""
        return abs(self.little_users / self.users - 1) <= LITTLE_TOLERANCE

    def in_words(self) -> str:
        """For a terminal."""
        return (
            f"{self.users} users: {self.requests_per_second:.1f} requests/s, median {self.median_ms:.0f} ms, "
            f"p95 {self.p95_ms:.0f}, p99 {self.p99_ms:.0f}, shed {self.shed_share:.0%}, failed {self.failed}, "
            f"lost {self.lost}; {self.limited_by}"
        )


def percentile(times: Sequence[float], share: float) -> float:
    """Nearest rank; `times` rise."""
    return times[min(len(times) - 1, int(share * len(times)))]


def limit(container_share: float, generator_share: float, shed_share: float) -> str:
    """What would have to be more for the row to bear more."""
    if generator_share >= BUSY:
        return "the load generator: the row says nothing of the service"
    if container_share >= BUSY:
        return "the containers' CPU" + (", and the queue sheds what is too much" if shed_share else "")
    if shed_share:
        return "the queue: it sheds before the CPU is used up"
    return "the users: there is more to be had"


def write(rows: Sequence[Row], machine: Mapping[str, Any], folder: Path) -> None:
    """load.json, load.csv and load.svg in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {**machine, "rows": [asdict(row) for row in rows]}
    (folder / "load.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    with (folder / "load.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [each.name for each in fields(Row)])
        table.writeheader()
        table.writerows({name: _short(value) for name, value in asdict(row).items()} for row in rows)
    _plot(rows, folder / "load.svg")


def table(rows: Sequence[Row], engine: str) -> str:
    """Rows of one engine, in Markdown."""
    headings = (
        "containers", "users", "requests/s", "median, ms", "p95, ms", "p99, ms", "success", "shed", "lost",
        "users by Little's law", "CPU of containers", "CPU of generator", "limited by",
    )  # fmt: skip
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for row in rows:
        if row.engine != engine:
            continue
        little = f"{row.little_users:.1f}{'' if row.is_sound else ' (does not add up)'}"
        lines.append(
            f"| {row.containers} | {row.users} | {row.requests_per_second:.1f} | {row.median_ms:,.0f} "
            f"| {row.p95_ms:,.0f} | {row.p99_ms:,.0f} | {row.success_share:.1%} | {row.shed_share:.1%} | {row.lost} "
            f"| {little} | {row.container_cpu_share:.0%} | {row.generator_cpu_share:.0%} | {row.limited_by} |"
        )
    return "\n".join(lines)


def with_tables(page: str, rows: Sequence[Row]) -> str:
    """The page with the table of each engine between its marks. Raises ValueError where a mark is missing."""
    for engine in dict.fromkeys(row.engine for row in rows):
        begin = f"<!-- adloom load: {engine} -->"
        head, found, rest = page.partition(begin)
        _, end, tail = rest.partition("<!-- end -->")
        if not found or not end:
            raise ValueError(f"the page has no {begin} with <!-- end --> after it")
        page = f"{head}{begin}\n\n{table(rows, engine)}\n\n{end}{tail}"
    return page


def read_rows(path: Path) -> list[Row]:
    """Of a load.json."""
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _plot(rows: Sequence[Row], path: Path) -> None:
    """Throughput and p95 by users, one line a number of containers, one row of pictures an engine."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    engines = list(dict.fromkeys(row.engine for row in rows))
    with mpl.rc_context({"svg.hashsalt": "adloom", "font.size": 9}):
        figure = Figure(figsize=(9, 3.2 * len(engines)), layout="constrained")
        for place, engine in enumerate(engines):
            for column, (name, title) in enumerate(
                (("requests_per_second", "requests a second"), ("p95_ms", "p95, ms"))
            ):
                axes = figure.add_subplot(len(engines), 2, 2 * place + column + 1)
                for number, count in enumerate(sorted({row.containers for row in rows if row.engine == engine})):
                    line = [row for row in rows if (row.engine, row.containers) == (engine, count)]
                    axes.plot(
                        [row.users for row in line], [getattr(row, name) for row in line],
                        marker=MARKERS[number % len(MARKERS)], color=COLOURS[number % len(COLOURS)],
                        label=f"{count} container{'s' * (count > 1)}",
                    )  # fmt: skip
                axes.set_title(f"{engine} engine: {title}")
                axes.set_xlabel("users at once")
                axes.set_ylim(bottom=0)
                axes.grid(alpha=0.3)
                axes.legend()
        figure.savefig(path, format="svg", metadata={"Date": None})
