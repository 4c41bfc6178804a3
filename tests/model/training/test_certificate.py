"""The quantization certificate on the tiny model: what agrees, what a broken graph breaches, what is no number."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from model.bundle import open_bundle, seal
from model.gate import judge
from model.gate_trial import synthetic
from model.training import certify_command
from model.training.certificate import ONNX, THRESHOLDS, TORCH, Row, as_json, breaches, certificate
from model.training.certify_command import HELDOUT, CertificateError, certify, chosen, markdown, weights_of
from model.training.fused import FUSED_SCHEMES
from model.training.pairs import read_pairs
from model.training.quantize import SCHEMES
from model.training.weights import Weights

ARCHITECTURE = Path(__file__).parents[3] / "architecture"
DECISION = (ARCHITECTURE / "decisions/0010-quantization-certificate.md").read_text(encoding="utf-8")
GOOD = Row(
    runtime=TORCH,
    kv_cache=True,
    greedy_agreement=1.0,
    free_running_agreement=1.0,
    perplexity=3.0,
    perplexity_change=0.0,
    validity=1.0,
    grounded=1.0,
    ms_per_token=10.0,
    bytes=100,
    differences=0,
    difference_nats=0.0,
)
ROWS = [replace(GOOD, runtime=name, kv_cache=kv) for name in (TORCH, ONNX, "fused int8-weight") for kv in (True, False)]


def with_change(place, **changed):
    return [replace(row, **changed) if number == place else row for number, row in enumerate(ROWS)]


def sealed(folder, source, identity, scheme="int8-weight"):
    """A bundle of the tiny model that records the weights it is really made of."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("bundle.json"))
    digest = open_bundle(source).manifest.prompt_digest
    return seal(folder, name="tiny", base=identity, scheme=scheme, prompt_digest=digest, measured={}, built_with={})


def zero_weights(graph):
    """Break a quantized graph as a lost scale would: every block of every matrix counts for nothing."""
    model = onnx.load(str(graph))
    for item in model.graph.initializer:
        if item.name.endswith(".scales"):
            item.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(item)), item.name))
    for path in (graph, graph.with_name(f"{graph.name}.data")):
        path.unlink(missing_ok=True)
    onnx.save(model, str(graph), save_as_external_data=True, location=f"{graph.name}.data")


@pytest.fixture(scope="module")
def weights(tiny_folder):
    return Weights(str(tiny_folder / "hub"))


@pytest.fixture(scope="module")
def pairs():
    return chosen(read_pairs(HELDOUT), 1)


@pytest.fixture(scope="module")
def good(tiny_folder, weights, pairs, tmp_path_factory):
    bundle = sealed(tmp_path_factory.mktemp("good") / "bundle", tiny_folder / "bundle", weights.identity())
    return bundle, certify(bundle, weights, pairs, ["int4-weight"], threads=1)


@pytest.fixture(scope="module")
def broken(tiny_folder, weights, pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken") / "bundle"
    sealed(folder, tiny_folder / "bundle", weights.identity())
    zero_weights(folder / "model.onnx")
    prompt = open_bundle(tiny_folder / "bundle").manifest.prompt_digest
    bundle = seal(
        folder,
        name="t",
        base=weights.identity(),
        scheme="int8-weight",
        prompt_digest=prompt,
        measured={},
        built_with={},
    )
    return bundle, certify(bundle, weights, pairs, threads=1)


@pytest.mark.proof
def test_every_runtime_is_measured_with_and_without_cache(good):
    bundle, report = good
    names = [(row["runtime"], row["kv_cache"]) for row in report["rows"]]

    assert names == [(name, kv) for name in (TORCH, ONNX, "fused int8-weight") for kv in (True, False)]
    assert [row["runtime"] for row in report["tried"]] == ["fused int4-weight"] * 2
    assert (report["form"], report["bundle"], report["scheme"]) == (1, bundle.digest, "int8-weight")
    assert report["thresholds"] == dict(THRESHOLDS)


def test_fp32_agrees_with_torch_at_every_place_with_and_without_cache(good):
    _, report = good
    fp32 = [row for row in report["rows"] if row["runtime"] in (TORCH, ONNX)]

    assert [row["greedy_agreement"] for row in fp32] == [1.0] * 4
    assert [row["free_running_agreement"] for row in fp32] == [1.0] * 4
    # fp32 sums in another order: far below the threshold of 0.1 %.
    assert max(abs(row["perplexity_change"]) for row in fp32) < 1e-4


def test_quantization_shows_in_the_figures_and_less_at_eight_bits_than_at_four(good):
    _, report = good
    eight = next(row for row in report["rows"] if row["runtime"] == "fused int8-weight")
    four = report["tried"][0]

    assert 1 > eight["greedy_agreement"] > four["greedy_agreement"]
    assert 0 < eight["differences"] < four["differences"]
    assert eight["difference_nats"] > 0
    assert report["rows"][2]["bytes"] > eight["bytes"] > four["bytes"]


@pytest.mark.proof
def test_a_broken_quantization_fails_by_name(broken):
    _, report = broken

    assert report["passed"] is False
    assert any("fused int8-weight with KV cache: greedy agreement" in breach for breach in report["breaches"])
    assert not any(breach.startswith((TORCH, ONNX)) for breach in report["breaches"])
    json.dumps(report, allow_nan=False)


def test_the_gate_reads_the_certificate(good, broken):
    bundle, _ = good
    passed = certificate(bundle, ROWS)
    scores = synthetic(bundle.digest, writer=1, shifts={"chrf": 0.05})

    assert judge(scores, synthetic("champion", writer=0), passed).passed
    refused = judge(scores | {"bundle": broken[0].digest}, synthetic("champion", writer=0), broken[1])
    assert any("certificate did not pass: fused int8-weight" in reason for reason in refused.reasons)


def test_nothing_to_object_to_passes():
    assert breaches(ROWS, "int8-weight") == []
    fp32 = [replace(row, runtime="fused fp32") for row in ROWS[4:]]
    assert breaches([*ROWS[:4], *fp32], "fp32") == []


@pytest.mark.parametrize(
    ("place", "field", "inside", "outside", "said"),
    [
        (2, "greedy_agreement", 0.995, 0.994, "onnx fp32 with KV cache: greedy agreement is 0.9940"),
        (3, "perplexity_change", 0.001, 0.0011, "onnx fp32 without KV cache: perplexity changes by"),
        (3, "perplexity_change", -0.001, -0.0011, "onnx fp32 without KV cache: perplexity changes by -"),
        (4, "greedy_agreement", THRESHOLDS["greedy_agreement_min"], 0.5, "with KV cache: greedy agreement is 0.5"),
        (5, "greedy_agreement", THRESHOLDS["greedy_agreement_min"], 0.5, "without KV cache: greedy agreement is 0.5"),
        (4, "perplexity_change", THRESHOLDS["perplexity_change_max"], 0.2, "perplexity changes by +20.00%"),
        (4, "validity", 1 - THRESHOLDS["validity_drop_max"] + 1e-9, 0.5, "validity falls by 0.500"),
        (4, "grounded", 1 - THRESHOLDS["grounded_drop_max"] + 1e-9, 0.5, "grounded falls by 0.500"),
        (5, "perplexity", 3.0 * (1 + THRESHOLDS["kv_cache_perplexity_change_max"]) - 1e-9, 3.3, "KV cache changes"),
    ],
)
def test_each_threshold_has_two_sides(place, field, inside, outside, said):
    assert breaches(with_change(place, **{field: inside}), "int8-weight") == []
    assert any(said in breach for breach in breaches(with_change(place, **{field: outside}), "int8-weight"))


def test_a_quantized_graph_may_be_better_than_torch():
    assert breaches(with_change(4, perplexity_change=-0.5), "int8-weight") == []


@pytest.mark.parametrize("field", ["greedy_agreement", "perplexity", "perplexity_change", "validity", "ms_per_token"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", range(6))
def test_what_is_no_number_never_passes(place, field, value):
    rows = with_change(place, **{field: value})
    name = f"{rows[place].runtime} {'with' if rows[place].kv_cache else 'without'} KV cache"

    assert f"{name}: {field} is {value}." in breaches(rows, "int8-weight")
    assert as_json(rows[place])[field] is None


@pytest.mark.parametrize("place", range(6))
def test_a_row_that_was_not_measured_never_passes(place):
    assert any("was not measured" in breach for breach in breaches(ROWS[:place] + ROWS[place + 1 :], "int8-weight"))
    assert breaches([], "int8-weight")
    assert breaches(ROWS, "int4-weight")


def test_weights_other_than_the_bundles_are_refused(good, tiny_folder, tmp_path):
    bundle, _ = good
    hub = str(tiny_folder / "hub")

    assert weights_of(bundle, hub) == Weights(hub)
    with pytest.raises(CertificateError, match="name its weights with --adapter or --base"):
        weights_of(bundle, "some/other-model")
    with pytest.raises(CertificateError, match="cannot be read"):
        weights_of(bundle, "some/other-model", tmp_path / "absent")


def test_the_command_writes_the_certificate_and_says_by_its_status_whether_it_passed(
    good, tiny_folder, tmp_path, capsys
):
    bundle, _ = good
    out = tmp_path / "certificate.json"
    hub = str(tiny_folder / "hub")
    command = ["--bundle", str(bundle.folder), "--base", hub, "--rows", "1", "--threads", "1", "--out", str(out)]
    status = certify_command.main(command)
    report = json.loads(out.read_text())

    assert status == (0 if report["passed"] else 1)
    assert report["bundle"] == bundle.digest
    assert "fused int8-weight" in capsys.readouterr().out


@pytest.mark.parametrize("rows", [0, -3])
def test_no_rows_are_no_measurement(rows):
    with pytest.raises(ValueError, match="from 1"):
        chosen([1, 2], rows)


def test_the_sample_is_always_the_same():
    assert chosen(list(range(50)), 7) == chosen(list(range(50)), 7)
    assert chosen([1, 2], 12) == [1, 2]


def test_on_trial_are_the_schemes_of_bundles_and_of_optimum():
    schemes = [*FUSED_SCHEMES, *SCHEMES]

    assert certify_command._parser().parse_args(["--schemes", *schemes]).schemes == schemes


def test_the_decision_gives_the_thresholds_of_the_code():
    for name, value in THRESHOLDS.items():
        assert f"| `{name}` | {value} |" in DECISION
    assert [line.split("`")[1] for line in DECISION.splitlines() if line.startswith("| `")] == list(THRESHOLDS)


def test_an_accepted_decision_shows_the_measured_table_and_a_proposed_one_shows_none():
    path = ARCHITECTURE / "measured/certificate-schemes.json"
    shown = [line for line in DECISION.splitlines() if line.startswith(("| torch", "| onnx", "| fused"))]
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": []}

    assert shown == markdown([*report["rows"], *report.get("tried", [])])[2:]
    assert ("Status: Accepted" in DECISION) == bool(shown)
