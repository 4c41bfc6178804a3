"""The benchmark on the tiny model: every worker is a process of its own, as in a real run."""

import importlib.util
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.bundle import open_bundle
from model.training import bench_report, benchmark, ceilings, peer_files
from model.training.bench_report import Contender, Round
from model.training.bench_worker import Worker, WorkerError
from model.training.peers import ENGINES, OURS, Answer, Engine
from tests.processor import HAS_INT8_PRODUCTS


class Counting:
    """An engine that writes 0, 1, 2 ... after every prompt, and tells all there is to tell."""

    def reserve(self, rows, capacity):
        pass

    def write(self, prompts, tokens):
        return [Answer(list(range(tokens)), 0.5, 0.25) for _ in prompts]


class DyingInGroups(Counting):
    """Answers one request at a time; a group of them kills its process, as a crash in a native library does."""

    def write(self, prompts, tokens):
        if len(prompts) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(prompts, tokens)


class Stopping(Counting):
    """Writes one token less than it was asked for."""

    def write(self, prompts, tokens):
        return super().write(prompts, tokens - 1)


def open_counting(setup):
    return Counting()


def open_dying_in_groups(setup):
    return DyingInGroups()


def open_stopping(setup):
    return Stopping()


def open_chatty(setup):
    os.write(1, b"a library greets on standard output\n")
    return Counting()


def open_silent(setup):
    signal.pause()


def open_failing(setup):
    raise RuntimeError("no such\nmodel")


def pretend(name, opener):
    return Engine(name, f"{__name__}:{opener}", package="pytest", note="made for a test")


def run(tiny_folder, tmp_path, *arguments):
    """Run the command on the tiny bundle and read what it wrote."""
    out = tmp_path / "bench.json"
    fixed = ["--bundle", tiny_folder / "bundle", "--hub", tiny_folder / "hub", "--root", tmp_path / "root"]
    small = ["--products", 2, "--tokens", 4, "--rounds", 2, "--threads", 1, "--prompt-tokens", "--out", out]
    assert benchmark.main([str(part) for part in (*fixed, *small, *arguments)]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.fixture
def worker(tmp_path):
    with Worker(tmp_path / "worker.log", 60) as worker:
        yield worker


def ask_to_open(worker, opener):
    setup = {"bundle": "", "files": "", "threads": 1, "prefix": [], "rows_max": 2}
    return worker.ask("open", opener=f"{__name__}:{opener}", setup=setup)


@pytest.mark.proof
def test_our_engine_is_measured_beside_one_that_dies_and_one_that_is_not_installed(
    tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(ENGINES, "counting", pretend("counting", "open_counting"))
    monkeypatch.setitem(ENGINES, "dying", pretend("dying", "open_dying_in_groups"))
    monkeypatch.setitem(ENGINES, "absent", replace(ENGINES["genai-int4"], modules=("no_such_module",)))
    names = f"{OURS},counting,dying,absent"

    report = run(tiny_folder, tmp_path, "--engines", names, "--in-flight", 2, 1, "--prompt-tokens", 1500)

    assert list(report["rows"]) == ["1", "2"]
    assert set(report["rows"]["1"]) == {OURS, "counting", "dying"}
    assert set(report["rows"]["2"]) == {OURS, "counting"}
    assert set(report["prompt_lengths"]["1500"]) == {OURS, "counting"}
    assert "no_such_module is not installed" in report["skipped"]["absent"]
    assert report["skipped"]["dying"] == "with 2 in flight: its process was killed by SIGKILL"
    ours = report["rows"]["2"][OURS]
    assert len(ours["creatives_per_second_by_round"]) == 2
    assert 0 < ours["first_token_seconds_p50"] <= ours["call_seconds_p50"] <= ours["call_seconds_p95"]
    assert ours["tokens_per_second"] == pytest.approx(4 * ours["creatives_per_second"])
    assert ours["peak_resident_bytes"] > 10_000_000
    assert 0 < ours["ceiling_share"] < 1
    assert ours["same_tokens_share"] == 1
    ratio = report["ratios"]["2"]["counting"]
    assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
    assert report["engines"][OURS]["cold_start_seconds"] > 0
    assert sum(report["profile"]["2"].values()) == pytest.approx(1)
    assert "MatMulNBits" in report["profile"]["2"]
    printed = capsys.readouterr().out
    assert "Adloom" in printed
    assert "skipped: dying" in printed


@pytest.mark.proof
def test_optimum_and_transformers_write_what_the_weights_say(tiny_folder, tmp_path):
    report = run(tiny_folder, tmp_path, "--engines", "adloom,transformers,optimum-int8", "--in-flight", "2")

    assert report["skipped"] == {}
    figures = report["rows"]["2"]
    assert figures["transformers"]["same_tokens_share"] == 1
    assert figures[OURS]["same_tokens_share"] > 0
    # Elsewhere its sums saturate, and it writes other tokens: that it was measured is all there is to see.
    assert figures["optimum-int8"]["same_tokens_share"] > 0 or not HAS_INT8_PRODUCTS
    assert set(report["ratios"]["2"]) == {"transformers", "optimum-int8"}


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
@pytest.mark.proof
def test_both_plots_are_drawn_and_name_every_engine(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "counting", pretend("Counting engine", "open_counting"))

    run(tiny_folder, tmp_path, "--engines", "counting", "--in-flight", "1", "--prompt-tokens", "8")

    for name in ("bench-in-flight.svg", "bench-prompt-length.svg"):
        assert "<svg" in (tmp_path / name).read_text(encoding="utf-8")


def test_an_unknown_engine_is_named_together_with_the_known_ones(tiny_bundle, tmp_path):
    with pytest.raises(ValueError, match=r"'optimun'.*knows adloom, transformers, optimum-int8"):
        benchmark.main(["--bundle", str(tiny_bundle), "--engines", "adloom,optimun", "--out", str(tmp_path / "out")])


def test_no_engine_at_all_is_refused(tiny_bundle):
    with pytest.raises(ValueError, match="name at least one engine"):
        benchmark.main(["--bundle", str(tiny_bundle), "--engines", ","])


def test_a_prompt_that_exceeds_the_context_is_refused_before_any_work(tiny_folder, tmp_path):
    fits = ["--tokens", "4", "--prompt-tokens", "4092", "--engines", "adloom"]
    parse = benchmark._parser().parse_args
    bundle = open_bundle(tiny_folder / "bundle")

    assert benchmark._plan(parse(fits), bundle).longest() == 4096
    with pytest.raises(ValueError, match="4097 tokens of prompt and answer exceed the model's context of 4096"):
        benchmark._plan(parse([*fits, "--prompt-tokens", "4093"]), bundle)


def test_when_no_engine_runs_the_reasons_are_the_error(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "failing", pretend("failing", "open_failing"))

    with pytest.raises(RuntimeError, match=r"no engine could be measured: RuntimeError: no such model"):
        run(tiny_folder, tmp_path, "--engines", "failing")

    assert not (tmp_path / "bench.json").exists()


def test_each_round_takes_the_next_prompts_and_begins_anew_after_the_last():
    plan = benchmark.Plan([[1], [2], [3]], [], 4, 2, [2], [])

    assert [plan.group(2, number) for number in range(3)] == [[[1], [2]], [[3], [1]], [[2], [3]]]
    assert plan.group(4, 0) == [[1], [2], [3], [1]]


def test_a_prompt_is_cut_to_its_length_after_the_prefix():
    plan = benchmark.Plan([[9, 1, 2], [9, 3]], [9], 4, 1, [1], [2, 5])

    assert plan.cut(2, 0) == [9, 1]
    assert plan.cut(5, 1) == [9, 3, 1, 2, 3]


def test_a_worker_keeps_what_libraries_print_out_of_its_answers(worker, tmp_path):
    ask_to_open(worker, "open_chatty")

    answer = worker.ask("write", prompts=[[1]], tokens=3)

    assert answer["answers"] == [{"ids": [0, 1, 2], "seconds": 0.5, "first_token_seconds": 0.25}]
    assert "greets" in (tmp_path / "worker.log").read_text(encoding="utf-8")


def test_a_worker_says_what_an_engine_raised_in_one_line_and_goes_on(worker):
    with pytest.raises(WorkerError, match=r"^RuntimeError: no such model$"):
        ask_to_open(worker, "open_failing")

    assert ask_to_open(worker, "open_counting") == {}


def test_an_answer_of_another_length_is_not_comparable(worker):
    ask_to_open(worker, "open_stopping")

    with pytest.raises(WorkerError, match="an answer has 3 tokens instead of 4"):
        worker.ask("write", prompts=[[1]], tokens=4)


def test_a_worker_that_is_silent_for_too_long_is_killed(tmp_path):
    with Worker(tmp_path / "worker.log", 60) as worker:
        ask_to_open(worker, "open_counting")
        worker._limit_seconds = 0.1
        with pytest.raises(WorkerError, match="gave no answer in 0 s"):
            ask_to_open(worker, "open_silent")

    assert worker._process.returncode == -signal.SIGKILL


def test_a_worker_that_has_died_says_how_to_whoever_asks_it_next(tmp_path):
    with Worker(tmp_path / "worker.log", 60) as worker:
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(WorkerError, match="its process was killed by SIGKILL"):
            ask_to_open(worker, "open_counting")


def test_ratios_compare_the_same_round_of_both_engines():
    answers = [{"ids": [1], "seconds": 1.0, "first_token_seconds": None}]
    ours = Contender(OURS, ENGINES[OURS], Path(), 0.0, rounds={1: [Round(s, answers, 1) for s in (1.0, 2.0, 1.0)]})
    peer = Contender("peer", ENGINES[OURS], Path(), 0.0, rounds={1: [Round(s, answers, 1) for s in (4.0, 4.0, 3.0)]})

    assert bench_report._ratios([ours, peer]) == {"1": {"peer": {"min": 2.0, "median": 3.0, "max": 4.0}}}
    assert bench_report._ratios([peer]) == {}


def test_shared_tokens_are_counted_up_to_the_first_difference():
    assert bench_report.shared_tokens([[1, 2, 3], [1, 2, 4], [1, 2]]) == 2
    assert bench_report.shared_tokens([[1, 2], [1, 2]]) == 2
    assert bench_report.shared_tokens([[1], [2]]) == 0


def test_the_work_of_a_creative_counts_every_matrix_once():
    config = {
        "hidden_size": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "vocab_size": 10,
    }

    least = ceilings.work(config, 5, 2)

    assert least.body_macs == 3 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)
    assert least.macs() == 6 * least.body_macs + 2 * 8 * 10


def test_ceilings_follow_from_bytes_and_arithmetic():
    least = ceilings.Work(5, 2, 100, 50)
    machine = {"bytes_per_second": 1000.0, "int8_macs_per_second": 7000.0}

    assert ceilings.ceilings(least, 4, 10, machine) == {"memory": 200.0, "arithmetic": 10.0}


def test_a_step_reads_all_weights_but_tables_that_are_looked_up(tiny_folder):
    config = json.loads((tiny_folder / "hub/config.json").read_text(encoding="utf-8"))
    least = ceilings.work(config, 1, 1)

    read = ceilings.step_bytes(tiny_folder / "fp32")

    matrices = 4 * (least.body_macs + least.head_macs)
    assert matrices <= read < matrices + 4 * config["vocab_size"] * config["hidden_size"]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1"])
def test_the_gguf_holds_the_weights_that_transformers_would_read_back(tiny_folder, tmp_path, kind):
    from gguf import GGUFReader, dequantize
    from safetensors.numpy import load_file

    peer_files._write_gguf(tiny_folder / "hub", tmp_path / "model.gguf", kind)

    stored = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    weights = load_file(tiny_folder / "hub/model.safetensors")
    up = dequantize(stored["blk.1.ffn_up.weight"].data, stored["blk.1.ffn_up.weight"].tensor_type)
    step = np.abs(weights["model.layers.1.mlp.up_proj.weight"]).max() / (127 if kind == "Q8_0" else 7)
    assert np.abs(up - weights["model.layers.1.mlp.up_proj.weight"]).max() <= step
    assert len(stored) == 2 + 9 * 2
    assert stored["token_embd.weight"].tensor_type.name == "Q8_0"
    assert stored["blk.0.attn_q.weight"].tensor_type.name == kind


def test_rotary_rows_go_from_halves_to_pairs():
    matrix = np.arange(8)[:, None]  # two heads of width four

    assert peer_files._interleaved(matrix, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_files_are_made_once_and_an_interrupted_attempt_leaves_none(tmp_path):
    made = []

    def maker(hub, target):
        made.append(hub)
        (target / "weights").write_text("w", encoding="utf-8")
        if len(made) == 1:
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        peer_files.make(maker, tmp_path, tmp_path / "root/files")
    assert list((tmp_path / "root").iterdir()) == []

    for _ in range(2):
        peer_files.make(maker, tmp_path, tmp_path / "root/files")

    assert len(made) == 2
    assert (tmp_path / "root/files/weights").is_file()


def test_other_weights_ask_for_their_folder(tiny_folder, tmp_path):
    manifest = open_bundle(tiny_folder / "bundle").manifest

    assert peer_files.weights_of(manifest, tiny_folder / "hub", tmp_path).source == str(tiny_folder / "hub")
    with pytest.raises(ValueError, match=r"no Hugging Face model folder: it holds no config\.json"):
        peer_files.weights_of(manifest, tmp_path, tmp_path)
