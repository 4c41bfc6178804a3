"""The benchmark runs the real step, checks its counts, and tells growth from a high but flat line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pipelines import ingest_bench
from pipelines.ingest_bench import growth, watch, write_catalogue

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_small_run_writes_figures_and_a_plot(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    assert ingest_bench.main(["--rows", "2000", "--workers", "1", "--out", str(tmp_path / "ingest.json")]) == 0

    (run,) = json.loads((tmp_path / "ingest.json").read_text())["runs"]
    assert run["rows"] == 2_000
    assert 0 < run["rejected"] < 50
    assert run["resident_bytes_peak"] > 20e6
    assert (tmp_path / "ingest.svg").read_text().lstrip().startswith("<?xml")
    assert "rows/s" in capsys.readouterr().out


def test_the_same_number_of_rows_is_the_same_file(tmp_path):
    counts = [write_catalogue(tmp_path / name, 300) for name in ("a", "b")]

    assert counts[0] == counts[1]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("sizes", "grown"), [([100] * 50, 0), (range(0, 500, 10), 200), ([5], 0)])
def test_growth_is_what_a_steady_state_adds(sizes, grown):
    assert growth([(0.1 * place, size) for place, size in enumerate(sizes)]) == grown


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"ended with 1: .*no such thing"):
        watch([sys.executable, "-c", "raise SystemExit('no such thing')"], {})


def test_the_page_about_ingest_says_what_the_benchmark_wrote():
    report = json.loads((ROOT / "architecture/measured/ingest.json").read_text(encoding="utf-8"))
    page = (ROOT / "architecture/ingest.md").read_text(encoding="utf-8")

    assert [run["rows"] for run in report["runs"]] == list(ingest_bench.ROWS)
    for run in report["runs"]:
        peak, grown = (round(run[f"resident_bytes_{name}"] / 1e6) for name in ("peak", "growth"))
        cells = [f"{run['rows']:,}", f"{run['seconds']:.1f}", f"{run['rows_per_second']:,}"]
        cells += [f"{run['cpu_microseconds_per_row']:.1f}", f"{peak:,}", f"{grown:,}"]
        assert f"| {' | '.join(cells)} |" in page
    assert f"load of {report['load_before']}" in page
