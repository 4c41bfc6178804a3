"""Optimum's export and its own quantization, on the tiny graph: logits stay where they must, and close elsewhere."""

import numpy as np
import onnx
import onnxruntime
import pytest

from model.training.quantize import SCHEMES, quantize
from tests.processor import needs_int8_products

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


@needs_int8_products
@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_stays_near_fp32(graph, tmp_path, scheme):
    quantize(graph, tmp_path / "model.onnx", scheme)
    moved = np.abs(logits(tmp_path / "model.onnx") - logits(graph)).max()

    # The logits' standard deviation is 1.5; a broken scale moves them by several of those.
    assert 0 < moved < 0.6


def test_a_scheme_for_the_body_spares_the_projection(graph, tmp_path):
    counts = {}
    for scheme in SCHEMES:
        quantize(graph, tmp_path / f"{scheme}.onnx", scheme)
        nodes = onnx.load(str(tmp_path / f"{scheme}.onnx")).graph.node
        counts[scheme] = [node.op_type for node in nodes].count("MatMulInteger")

    assert counts["int8-dynamic"] == counts["int8-dynamic-body"] + 1
