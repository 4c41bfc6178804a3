"""
How fast and in how much memory `adloom ingest` takes in a catalogue of 10,000, 100,000 and 1,000,000 rows.

Makes its own CSV, runs the real step in a process of its own into a folder and SQLite, and watches that process and
its children from outside. Example: adloom ingest-bench --rows 10000 --out out/ingest.json
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.step import parser, say

ROWS = (10_000, 100_000, 1_000_000)
SEED = 7
BAD_SHARE = 0.005
"""Of the rows that it makes: an export of this size always has some."""
SAMPLE_SECONDS = 0.05
GOAL_ROWS_PER_SECOND = 20_000
GOAL_BYTES = 10**9
FIGURE = Path("architecture/figures/ingest.svg")
COLOURS = ("#0072B2", "#D55E00")
_WORDS = (
    "oak steel linen cotton brushed solid light quiet folding round narrow lamp kettle chair bowl shelf basket blanket "
    "water-repellent dishwasher-safe holds stands hangs cleans keeps warm evening morning kitchen garden balcony"
).split()
_COLOURS = ("fog", "ink", "moss", "sand", "rust")
_CATEGORIES = ("Home > Lamps", "Kitchen > Coffee", "Garden", "Home > Textiles", "Office")
_STEP = "import sys; from pipelines.steps.ingest import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True, slots=True)
class Watched:
    """What a process took."""

    seconds: float
    cpu_seconds: float
    """Of all its processes; on a busy machine steadier than `seconds`."""
    samples: tuple[tuple[float, int], ...]
    """Seconds since its start and resident bytes of all its processes; pages that they share count for each."""
    output: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Raises RuntimeError where the step fails."""
    arguments = _parser().parse_args(argv)
    report = measure(arguments.rows, arguments.workers)
    _write(arguments.out, json.dumps(report, indent=1) + "\n")
    plot = FIGURE if arguments.out.parent == Path("architecture/measured") else arguments.out.with_suffix(".svg")
    plot.parent.mkdir(parents=True, exist_ok=True)
    draw(report, plot)
    sys.stdout.write(f"{table(report)}\n{arguments.out}, {plot}\n")
    return 0


def measure(sizes: Sequence[int], workers: int) -> dict[str, Any]:
    """Each size in a folder of its own, from nothing to a kept snapshot."""
    runs, load = [], os.getloadavg()[0]
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="adloom-ingest-bench-") as folder:
            say(f"{rows:,} rows: writing them")
            path = Path(folder, "products.csv")
            bad = write_catalogue(path, rows)
            say(f"{rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB: ingesting them")
            runs.append(_run(Path(folder), path, rows, bad, workers))
    return {
        "form": 1,
        "command": f"adloom ingest-bench --rows {' '.join(map(str, sizes))} --workers {workers}",
        "cores": os.cpu_count(),
        "load_before": round(load, 1),
        "workers": workers,
        "goals": {"rows_per_second": GOAL_ROWS_PER_SECOND, "bytes": GOAL_BYTES},
        "runs": runs,
    }


def write_catalogue(path: Path, rows: int) -> int:
    """A CSV with `rows` rows, the same for the same number; how many of them are bad."""
    chance, bad = random.Random(SEED), 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("sku,title,description,category,brand,price,image,material,colour,size".split(","))
        for number in range(rows):
            is_bad = chance.random() < BAD_SHARE
            bad += is_bad
            writer.writerow(_row(chance, number, is_bad=is_bad))
    return bad


def _row(chance: random.Random, number: int, *, is_bad: bool) -> list[str]:
    words = chance.choices(_WORDS, k=40)
    text = f"{' '.join(words[:14]).capitalize()}. {' '.join(words[14:]).capitalize()}, {number % 90 + 10} cm."
    if number % 10 == 0:
        text = f"<p>{text}</p><ul><li>Fünf Jahre &amp; länger</li></ul>"  # one in ten comes as HTML, and not in ASCII
    price = "on request" if is_bad else f"{chance.randrange(100, 90_000) / 100:.2f} EUR"
    return [
        f"SKU-{number:08d}",
        f"{words[0].capitalize()} {words[1]} {words[2]} no {number}",
        text,
        chance.choice(_CATEGORIES),
        "Hask" if number % 3 else "",
        price,
        f"https://pictures.example/{number}.jpg",
        words[3],
        chance.choice(_COLOURS),
        f"{number % 90 + 10} cm",
    ]


def _run(folder: Path, path: Path, rows: int, bad: int, workers: int) -> dict[str, Any]:
    sources = {"sources": [{"name": "bench", "client": "bench", "kind": "file", "url": str(path)}]}
    (folder / "sources.yaml").write_text(json.dumps(sources), encoding="utf-8")
    environment = {
        **os.environ,
        "ADLOOM_DATABASE_URL": f"sqlite:///{folder}/adloom.db",
        "ADLOOM_OBJECTS_URL": str(folder / "objects"),
        "ADLOOM_ROOT": str(folder),
        "ADLOOM_SOURCES": str(folder / "sources.yaml"),
    }
    watched = watch([sys.executable, "-c", _STEP, "--workers", str(workers)], environment)
    answer = json.loads(watched.output.splitlines()[-1])
    if (answer["rows"], answer["rejected"], answer["accepted"]) != (rows, bad, rows - bad):
        raise RuntimeError(
            f"the step counted {answer['rows']} rows and {answer['rejected']} bad ones of {rows} and {bad}"
        )
    return {
        "rows": rows,
        "bytes": path.stat().st_size,
        "rejected": bad,
        "seconds": round(watched.seconds, 2),
        "rows_per_second": round(rows / watched.seconds),
        "cpu_microseconds_per_row": round(1e6 * watched.cpu_seconds / rows, 1),
        "resident_bytes_peak": max(size for _, size in watched.samples),
        "resident_bytes_growth": growth(watched.samples),
        "resident": [[round(at, 2), size] for at, size in _thinned(watched.samples)],
    }


def watch(command: Sequence[str], environment: Mapping[str, str]) -> Watched:
    """Run it to its end. Raises RuntimeError with what it said where it fails."""
    before, start = _child_seconds(), time.perf_counter()
    samples: list[tuple[float, int]] = []
    with subprocess.Popen(  # noqa: S603 - our own step
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        is_over = threading.Event()
        watcher = threading.Thread(target=_sample, args=(process.pid, start, samples, is_over), daemon=True)
        watcher.start()
        output, said = process.communicate()
        seconds = time.perf_counter() - start
        is_over.set()
        watcher.join()
    if process.returncode != 0:
        raise RuntimeError(f"the step ended with {process.returncode}: {said[-500:]}")
    return Watched(seconds, _child_seconds() - before, tuple(samples), output)


def _sample(pid: int, start: float, samples: list[tuple[float, int]], is_over: threading.Event) -> None:
    psutil = importlib.import_module("psutil")  # of the extra dev, and without types
    while not is_over.wait(SAMPLE_SECONDS):
        try:
            root = psutil.Process(pid)
            sizes = [each.memory_info().rss for each in (root, *root.children(recursive=True))]
        except psutil.NoSuchProcess:
            continue
        samples.append((time.perf_counter() - start, sum(sizes)))


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def growth(samples: Sequence[tuple[float, int]]) -> int:
    """
    Bytes by which the median of the fourth fifth lies above that of the second: what a steady state adds.

    The first fifth starts and the last one ends.
    """
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth] or samples, samples[3 * fifth : 4 * fifth] or samples
    return round(statistics.median(size for _, size in late) - statistics.median(size for _, size in early))


def _thinned(samples: Sequence[tuple[float, int]], count: int = 100) -> Iterator[tuple[float, int]]:
    step = max(1, len(samples) // count)
    return iter(samples[::step])


def table(report: Mapping[str, Any]) -> str:
    """The figures as lines of text."""
    lines = [f"{'rows':>10}{'seconds':>10}{'rows/s':>10}{'CPU us/row':>12}{'peak MB':>10}{'growth MB':>11}"]
    lines += [
        f"{run['rows']:>10,}{run['seconds']:>10.1f}{run['rows_per_second']:>10,}{run['cpu_microseconds_per_row']:>12.1f}"
        f"{run['resident_bytes_peak'] / 1e6:>10,.0f}{run['resident_bytes_growth'] / 1e6:>11,.0f}"
        for run in report["runs"]
    ]
    return "\n".join(lines)


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Cost of a row against the number of rows, and resident memory over the time of each run."""
    from matplotlib import rc_context  # noqa: PLC0415 - a second that `--help` need not pay
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    cost, memory = figure.subplots(1, 2)
    runs = report["runs"]
    rows = [run["rows"] for run in runs]
    cost.plot(rows, [1e6 * run["seconds"] / run["rows"] for run in runs], marker="o", color=COLOURS[0], label="wall")
    cpu = [run["cpu_microseconds_per_row"] for run in runs]
    cost.plot(rows, cpu, marker="s", color=COLOURS[1], linestyle="--", label="CPU, all processes")
    cost.set(xscale="log", ylim=(0, None), xlabel="rows", ylabel="microseconds a row, start included")
    cost.legend(frameon=False)
    for run, style in zip(runs, ("-", "--", ":", "-.") * len(runs), strict=False):
        end = run["resident"][-1][0] or 1
        shown = [(at / end, size / 1e6) for at, size in run["resident"]]
        memory.plot(*zip(*shown, strict=True), linestyle=style, label=f"{run['rows']:,} rows")
    memory.set(ylim=(0, None), xlabel="share of the run", ylabel="resident MB, all processes")
    memory.legend(frameon=False)
    for axes in (cost, memory):
        axes.spines[["top", "right"]].set_visible(False)
    with rc_context({"svg.hashsalt": "adloom"}):
        figure.savefig(path, metadata={"Date": None})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    arguments = parser("ingest-bench", __doc__)
    arguments.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="sizes (default: 10^4, 10^5, 10^6)")
    arguments.add_argument("--workers", type=int, default=2, help="processes that read (default: %(default)s)")
    arguments.add_argument(
        "--out", type=Path, default=Path("architecture/measured/ingest.json"), help="(default: %(default)s)"
    )
    return arguments
