"""Cuts and quantization on the tiny graph: logits stay where they must, and close where they may move."""

import numpy as np
import onnx
import onnxruntime
import pytest

from model.training.quantize import (
    SCHEMES,
    give_every_position,
    keep_last_position,
    quantize,
    store_embedding_as_fp16,
)

IDS = np.array([[5, 80, 33, 41, 17, 9]], np.int64)
LAYERS, HEADS, WIDTH = 2, 2, 16


def logits(path, ids=IDS):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    empty = np.zeros((len(ids), HEADS, 0, WIDTH), np.float32)
    past = {f"past_key_values.{layer}.{part}": empty for layer in range(LAYERS) for part in ("key", "value")}
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": positions.copy()}
    return session.run(["logits"], inputs | past)[0]


@pytest.fixture(scope="module")
def graph(tiny_folder):
    return tiny_folder / "fp32" / "model.onnx"


def test_the_exported_graph_computes_what_torch_does(tiny_folder, graph):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_folder / "hub")
    with torch.no_grad():
        expected = model(torch.tensor(IDS)).logits.numpy()

    # fp32 sums in another order: 1e-4 on logits of size 1.
    np.testing.assert_allclose(logits(graph), expected, atol=1e-4)


def test_only_the_last_position_is_kept_and_it_is_unchanged(graph, tmp_path):
    model = onnx.load(str(graph))
    keep_last_position(model)
    onnx.save(model, str(tmp_path / "cut.onnx"))
    whole, cut = logits(graph), logits(tmp_path / "cut.onnx")

    assert cut.shape == (1, 1, whole.shape[2])
    np.testing.assert_allclose(cut[:, 0], whole[:, -1], atol=1e-5)


def test_an_fp16_embedding_moves_logits_by_its_rounding_only(graph, tmp_path):
    model = onnx.load(str(graph))
    store_embedding_as_fp16(model)
    onnx.save(model, str(tmp_path / "half.onnx"))

    assert (tmp_path / "half.onnx").stat().st_size < graph.stat().st_size
    # 2^-11 relative on the input of two layers.
    np.testing.assert_allclose(logits(tmp_path / "half.onnx"), logits(graph), atol=5e-3)


TOLERANCES = {
    "fp32": 1e-5,
    "int8-weight": 0.4,
    "int8-dynamic": 0.6,
    "int8-dynamic-body": 0.6,
    "int4-weight": 4.0,
    "int4-weight-body": 4.0,
}
"""Largest move of a logit, whose standard deviation is 1.5; two bits less are some sixteen times the rounding."""


@pytest.mark.parametrize(("scheme", "tolerance"), TOLERANCES.items())
def test_each_scheme_stays_near_fp32(graph, tmp_path, scheme, tolerance):
    quantize(graph, tmp_path / "model.onnx", scheme)
    moved = np.abs(logits(tmp_path / "model.onnx")[:, 0] - logits(graph)[:, -1]).max()

    # Measured 0.15 (int8-weight) and 0.20 (int8-dynamic) where the logits' standard deviation is 1.5.
    assert moved < tolerance
    assert scheme == "fp32" or moved > 0


def test_int8_weights_do_not_let_rows_influence_each_other(graph, tmp_path):
    quantize(graph, tmp_path / "model.onnx", "int8-weight")
    others = np.random.default_rng(0).integers(1, 250, (7, IDS.shape[1]))
    together = logits(tmp_path / "model.onnx", np.concatenate([IDS, others]))

    assert np.array_equal(together[0], logits(tmp_path / "model.onnx")[0])


def test_quantizing_twice_gives_the_same_bytes(graph, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        quantize(graph, tmp_path / name / "model.onnx", "int8-weight")

    for file in ("model.onnx", "model.onnx.data"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_position_is_given_again_and_the_last_as_before(graph, tmp_path, scheme):
    (tmp_path / "cut").mkdir()
    quantize(graph, tmp_path / "cut/model.onnx", scheme)
    give_every_position(tmp_path / "cut/model.onnx", tmp_path / "whole.onnx")
    whole, cut = logits(tmp_path / "whole.onnx"), logits(tmp_path / "cut/model.onnx")

    assert whole.shape == (1, IDS.shape[1], cut.shape[2])
    # One scale for all activations of a tensor: under int8-dynamic the other positions change the last one's.
    np.testing.assert_allclose(whole[:, -1], cut[:, 0], atol=0.1 if scheme == "int8-dynamic" else 1e-4)


def test_a_graph_that_was_never_cut_is_left_as_it_is(graph, tmp_path):
    give_every_position(graph, tmp_path / "model.onnx")

    assert np.array_equal(logits(tmp_path / "model.onnx"), logits(graph))


def operators(path):
    return [node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node]


def test_a_scheme_for_the_body_spares_the_projection(graph, tmp_path):
    for scheme in ("int8-dynamic", "int8-dynamic-body", "int4-weight", "int4-weight-body"):
        (tmp_path / scheme).mkdir()
        quantize(graph, tmp_path / scheme / "model.onnx", scheme)
    count = {path.parent.name: operators(path).count("MatMulInteger") for path in tmp_path.glob("*/model.onnx")}
    bits = {
        scheme: [
            attribute.i
            for node in onnx.load(str(tmp_path / scheme / "model.onnx"), load_external_data=False).graph.node
            if node.op_type == "MatMulNBits"
            for attribute in node.attribute
            if attribute.name == "bits"
        ]
        for scheme in ("int4-weight", "int4-weight-body")
    }

    assert count["int8-dynamic"] == count["int8-dynamic-body"] + 1
    assert set(bits["int4-weight"]) == {4}
    assert (bits["int4-weight-body"].count(8), bits["int4-weight-body"][-1]) == (1, 8)


def test_the_schemes_are_those_of_the_command():
    assert set(TOLERANCES) == set(SCHEMES)
