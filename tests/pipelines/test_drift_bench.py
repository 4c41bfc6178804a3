"""The benchmark of drift: it runs, and what it wrote last is what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.drift import bench
from pipelines.drift.bench_page import sections

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "architecture/measured/drift.json"


@pytest.mark.proof
def test_it_measures_writes_and_draws(tmp_path, capsys):
    out, figure, page = tmp_path / "drift.json", tmp_path / "drift.svg", tmp_path / "drift.md"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n", encoding="utf-8")
    files = ["--out", str(out), "--figure", str(figure), "--document", str(page)]
    assert bench.main(["--seeds", "1", "--windows", "2", "--rows", "900", *files]) == 0
    found, text = json.loads(out.read_text(encoding="utf-8")), page.read_text(encoding="utf-8")

    assert found["loop"]["ordinary"] == {"seeds": 1, "drift_two_of_three": 0, "retrains": 0}
    assert found["loop"]["shifted"] == {"seeds": 1, "drift_two_of_three": 1, "retrains": 1}
    assert [part["rows"] for part in found["cost"]] == [900]
    assert sections(found) in text
    assert "old" not in text
    assert text.endswith("<!-- measured: end -->\nafter\n")
    assert "<svg" in figure.read_text(encoding="utf-8")


def test_a_page_without_a_place_for_tables_is_refused(tmp_path):
    page = tmp_path / "drift.md"
    page.write_text("words\n", encoding="utf-8")

    with pytest.raises(ValueError, match="add them where the tables belong"):
        bench._write_between(page, "tables")
    assert page.read_text(encoding="utf-8") == "words\n"


def test_the_page_holds_the_tables_of_the_last_measurement():
    found = json.loads(MEASURED.read_text(encoding="utf-8"))

    assert sections(found) in (ROOT / "architecture/drift.md").read_text(encoding="utf-8")


def test_what_was_measured_keeps_what_is_promised():
    """Both rates on twenty seeds each, and a million creatives in less than 90 s and 1 GiB."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    ordinary, shifted, cost = found["loop"]["ordinary"], found["loop"]["shifted"], found["cost"][-1]

    assert ordinary == {"seeds": 20, "drift_two_of_three": 0, "retrains": 0}
    assert shifted == {"seeds": 20, "drift_two_of_three": 20, "retrains": 20}
    assert cost["rows"] == 1_000_000
    assert cost["seconds"] < 90
    assert cost["peak_mib"] < 1024
