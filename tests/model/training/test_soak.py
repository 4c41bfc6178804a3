"""The soak: what counts as growth, and a short run on the tiny bundle."""

import json
from contextlib import suppress

import pytest

from model.training import soak


def test_a_flat_memory_does_not_grow_and_a_rising_one_does():
    flat = [(float(second), 300.0 + second % 3) for second in range(100)]
    rising = [(float(second), 300.0 + second) for second in range(100)]

    assert abs(soak.growth_mib(flat)) <= 1.0
    assert soak.growth_mib(rising) == pytest.approx(35.0, abs=1)


def test_what_happens_while_buffers_fill_is_not_judged():
    samples = [(float(second), 200.0 if second < 25 else 400.0) for second in range(100)]

    assert soak.growth_mib(samples) == 0.0


def test_too_few_samples_are_an_error_and_not_a_pass():
    with pytest.raises(ValueError, match="--minutes"):
        soak.growth_mib([(0.0, 300.0)] * 4)


def test_a_short_soak_writes_samples_outcomes_and_a_plot(tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, "SAMPLE_SECONDS", 0.1)
    out = tmp_path / "soak.json"
    for minutes in ("0.05", "0.5", "2"):  # a busy machine may take few samples in three seconds
        with suppress(ValueError):
            status = soak.main(["--bundle", str(tiny_bundle), "--minutes", minutes, "--out", str(out)])
            report = json.loads(out.read_text(encoding="utf-8"))
            if len(report["samples"]) > 10 and report["outcomes"]["finished"]:
                break

    assert status == int(report["growth_mib"] > soak.GROWTH_MIB_MAX)
    assert report["outcomes"]["finished"] > 0
    assert len(report["samples"]) > 10
    assert out.with_suffix(".svg").stat().st_size > 1000
    assert f"{report['peak_mib']:.0f} MiB at most" in capsys.readouterr().out
