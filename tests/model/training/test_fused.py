"""The fused graph on small random networks: torch's numbers, buffers in place, and rows that do not see each other."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.training.fused import (
    FUSED_SCHEMES,
    FusionError,
    give_every_position,
    quantize_blocks,
    quantize_columns,
    refuse_unwritable,
    write_fused,
)
from tests.processor import needs_int8_products
from tests.tiny import save_tiny_model

INVARIANT = [scheme for scheme in FUSED_SCHEMES if scheme not in ("fp32", "int4-weight")]
IDS = np.array([[5, 80, 33, 41, 17, 9, 200, 3, 121, 60]], np.int64)
UNTOUCHED = 7.0


class Fused:
    """A fused graph and its session; past and present are one buffer, as the engine binds them."""

    def __init__(self, path, threads=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # be quick beside other work too
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.pasts = [entry for entry in self.session.get_inputs() if entry.name.startswith("past_key_values.")]

    def buffer(self, rows, capacity):
        _, heads, _, width = self.pasts[0].shape
        return np.full((len(self.pasts), rows, heads, capacity, width), UNTOUCHED, np.float32)

    def step(self, ids, totals, buffer):
        """Logits; `totals` are the rows' tokens after the step."""
        binding = self.session.io_binding()
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids))
        binding.bind_cpu_input("seqlens_k", np.array(totals, np.int32) - 1)
        binding.bind_cpu_input("total_sequence_length", np.array(max(totals), np.int32))
        for entry, values in zip(self.pasts, buffer, strict=True):
            place = ("cpu", 0, np.float32, values.shape, values.ctypes.data)
            binding.bind_input(entry.name, *place)
            binding.bind_output(entry.name.replace("past_key_values", "present"), *place)
        binding.bind_output("logits")
        self.session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[-1]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("network")
    save_tiny_model(folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def graphs(network, tmp_path_factory):
    """The tiny network under every scheme, by scheme."""
    paths = {scheme: tmp_path_factory.mktemp(scheme) / "model.onnx" for scheme in FUSED_SCHEMES}
    for scheme, path in paths.items():
        write_fused(network, path, scheme)
    return paths


@pytest.fixture
def fp32(graphs):
    return Fused(graphs["fp32"])


def small_network(**changes):
    """A random network of one layer, with what a test asks for."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    sizes = {
        "vocab_size": 97,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
    }
    return LlamaForCausalLM(LlamaConfig(**sizes | changes)).eval()


def torch_logits(network, ids):
    import torch

    with torch.inference_mode():
        return network(torch.tensor(ids)).logits[0].numpy()


# fp32 sums in another order: 1e-4 on logits of size 1.
def near(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_prompt_read_in_one_piece_gives_the_logits_of_torch(network, fp32):
    logits = fp32.step(IDS, [10], fp32.buffer(1, 16))

    assert logits.shape == (1, 257)
    near(logits[0], torch_logits(network, IDS)[-1])


def test_a_prompt_read_in_two_pieces_gives_the_logits_of_torch(network, fp32):
    buffer = fp32.buffer(1, 16)
    first = fp32.step(IDS[:, :6], [6], buffer)
    second = fp32.step(IDS[:, 6:], [10], buffer)

    near(first[0], torch_logits(network, IDS)[5])
    near(second[0], torch_logits(network, IDS)[-1])


def test_rows_of_different_lengths_share_a_step_and_each_gets_the_logits_of_torch(network, fp32):
    lengths = [1, 9, 4]
    buffer = fp32.buffer(3, 16)
    for row, length in enumerate(lengths):
        alone = fp32.buffer(1, 16)
        fp32.step(IDS[:, :length], [length], alone)
        buffer[:, row] = alone[:, 0]
    logits = fp32.step(IDS[0, lengths][:, None], [length + 1 for length in lengths], buffer)
    expected = torch_logits(network, IDS)

    near(logits, expected[lengths])


def test_a_step_writes_its_own_positions_of_the_shared_buffer_and_no_others(fp32):
    buffer = fp32.buffer(1, 16)
    fp32.step(IDS[:, :6], [6], buffer)
    before = buffer.copy()
    fp32.step(IDS[:, 6:], [10], buffer)

    np.testing.assert_array_equal(buffer[:, :, :, :6], before[:, :, :, :6])
    assert (buffer[:, :, :, 6:10] != UNTOUCHED).all()
    assert (buffer[:, :, :, 10:] == UNTOUCHED).all()


def test_several_rows_cannot_continue_by_several_tokens_in_one_step(fp32):
    # The CPU kernel's limit, which the engine plans around: one row with many tokens, or many rows with one each.
    with pytest.raises(RuntimeError, match="batch_size must be 1"):
        fp32.step(np.repeat(IDS[:, 6:], 2, axis=0), [10, 10], fp32.buffer(2, 16))


def test_an_output_projection_of_its_own_is_read_instead_of_the_embedding(tmp_path):
    network = small_network(tie_word_embeddings=False)
    write_fused(network, tmp_path / "model.onnx", "fp32")
    graph = Fused(tmp_path / "model.onnx")

    near(graph.step(IDS[:, :3], [3], graph.buffer(1, 4))[0], torch_logits(network, IDS[:, :3])[-1])


TOLERANCES = [
    ("int8-weight", 0.4), ("int4-weight", 4.0), pytest.param("int8-rows", 0.4, marks=needs_int8_products),
]  # fmt: skip
"""Largest move of a logit, whose standard deviation is 1.6; four bits less are some sixteen times the rounding."""


@pytest.mark.parametrize(("scheme", "tolerance"), TOLERANCES)
def test_each_quantized_scheme_stays_near_torch(network, graphs, scheme, tolerance):
    graph = Fused(graphs[scheme])
    moved = np.abs(graph.step(IDS, [10], graph.buffer(1, 16))[0] - torch_logits(network, IDS)[-1]).max()

    assert 0 < moved < tolerance


def test_quantized_schemes_are_smaller_than_fp32_and_four_bits_smaller_than_eight(graphs):
    size = {scheme: path.with_name("model.onnx.data").stat().st_size for scheme, path in graphs.items()}

    # Tables of 4,096 positions, which all schemes share, are a fifth of this network in fp32.
    assert size["int4-weight"] < size["int8-weight"] < size["int8-rows"] < size["fp32"]


@pytest.mark.parametrize("scheme", ["fp32", "int8-weight", "int4-weight"])
def test_tied_weights_are_stored_once(graphs, scheme):
    model = onnx.load(str(graphs[scheme]), load_external_data=False)
    places = {
        item.name: next(entry.value for entry in item.external_data if entry.key == "offset")
        for item in model.graph.initializer
        if item.external_data
    }
    # fp32 reads one initializer twice; blocks need two shapes of the same bytes.
    embedding = "lm_head.weight" if scheme == "fp32" else "embed_tokens.weight"
    gather = next(node for node in model.graph.node if node.name == "/embed_tokens")

    assert gather.input[0] == embedding
    assert places[embedding] == places["lm_head.weight"]


class Pool:
    """Prompts of random lengths, each prefilled and continued by one token alone on one thread."""

    CAPACITY = 48

    def __init__(self, graph, vocabulary, seed):
        draw = np.random.default_rng(seed)
        self.lengths = draw.integers(1, self.CAPACITY, 32)
        self.next = draw.integers(0, vocabulary, (32, 1))
        self.prefilled, self.logits, self.continued = [], [], []
        for length, token in zip(self.lengths, self.next, strict=True):
            buffer = graph.buffer(1, self.CAPACITY)
            graph.step(draw.integers(0, vocabulary, (1, length)), [length], buffer)
            self.prefilled.append(buffer.copy())
            self.logits.append(graph.step(token[None], [length + 1], buffer)[0])
            self.continued.append(buffer)

    def together(self, graph, places):
        """Logits and buffer after the prompts at `places` take their step in one batch, in that order."""
        buffer = np.concatenate([self.prefilled[place] for place in places], axis=1)
        return graph.step(self.next[places], [int(self.lengths[place]) + 1 for place in places], buffer), buffer


@pytest.fixture(scope="module", params=[*INVARIANT, pytest.param("int4-weight", marks=needs_int8_products)])
def pool(request, tmp_path_factory):
    # Wide enough that two threads share a product: the tiny network's are too small to be split.
    network = small_network(vocab_size=2048, hidden_size=256, intermediate_size=512, num_hidden_layers=2)
    path = tmp_path_factory.mktemp("pool") / "model.onnx"
    write_fused(network, path, request.param)
    graphs = {threads: Fused(path, threads) for threads in (1, 2)}
    return Pool(graphs[1], 2048, seed=5), graphs


@given(places=st.lists(st.integers(0, 31), min_size=1, max_size=32, unique=True), threads=st.sampled_from([1, 2]))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_has_the_same_bytes_alone_and_among_any_others_on_one_thread_or_two(pool, places, threads):
    prompts, graphs = pool
    logits, buffer = prompts.together(graphs[threads], places)

    for row, place in enumerate(places):
        np.testing.assert_array_equal(logits[row], prompts.logits[place])
        np.testing.assert_array_equal(buffer[:, row], prompts.continued[place][:, 0])


def test_a_full_batch_has_the_bytes_of_its_rows_alone(pool):
    prompts, graphs = pool
    logits, buffer = prompts.together(graphs[2], list(range(32)))

    np.testing.assert_array_equal(logits, np.stack(prompts.logits))
    np.testing.assert_array_equal(buffer, np.concatenate(prompts.continued, axis=1))


@pytest.mark.parametrize("scheme", FUSED_SCHEMES)
def test_a_larger_buffer_gives_the_same_bytes(graphs, scheme):
    graph = Fused(graphs[scheme])
    results = []
    for capacity in (10, 64):
        buffer = graph.buffer(1, capacity)
        graph.step(IDS[:, :9], [9], buffer)
        results.append((graph.step(IDS[:, 9:], [10], buffer), buffer[:, :, :, :10]))

    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("scheme", FUSED_SCHEMES)
def test_writing_twice_gives_the_same_bytes(network, graphs, scheme, tmp_path):
    write_fused(network, tmp_path / "model.onnx", scheme)

    for name in ("model.onnx", "model.onnx.data"):
        assert (tmp_path / name).read_bytes() == graphs[scheme].with_name(name).read_bytes()


def test_others_may_read_the_data_file(graphs):
    assert graphs["fp32"].with_name("model.onnx.data").stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize("scheme", FUSED_SCHEMES)
def test_a_token_without_embedding_gives_numbers(scheme, tmp_path):
    import torch

    network = small_network()
    with torch.no_grad():
        network.model.embed_tokens.weight[11] = 0
    write_fused(network, tmp_path / "model.onnx", scheme)
    graph = Fused(tmp_path / "model.onnx")
    logits = graph.step(np.array([[11]]), [1], graph.buffer(1, 4))

    # No residual, so nothing is attended to or projected.
    np.testing.assert_array_equal(logits, np.zeros((1, 97), np.float32))


@pytest.mark.parametrize("scheme", FUSED_SCHEMES)
def test_the_logits_of_every_position_can_be_had_from_the_same_weights(network, graphs, scheme, tmp_path):
    give_every_position(graphs[scheme], tmp_path / "model.onnx")
    whole, cut = Fused(tmp_path / "model.onnx"), Fused(graphs[scheme])
    logits = whole.step(IDS, [10], whole.buffer(1, 16))

    assert logits.shape == (1, 10, 257)
    for length in (1, 10):
        # Another number of rows goes through the last products, and fp32 sums may take another order.
        near(logits[0, length - 1], cut.step(IDS[:, :length], [length], cut.buffer(1, 16))[0])


def test_a_graph_that_gives_every_position_already_is_refused(graphs, tmp_path):
    give_every_position(graphs["fp32"], tmp_path / "model.onnx")

    with pytest.raises(FusionError, match="no node in it keeps the last position"):
        give_every_position(tmp_path / "model.onnx", tmp_path / "again" / "model.onnx")


def test_every_position_is_not_written_over_the_graph_it_comes_from(graphs):
    before = graphs["fp32"].read_bytes()

    with pytest.raises(FusionError, match="another folder"):
        give_every_position(graphs["fp32"], graphs["fp32"])

    assert graphs["fp32"].read_bytes() == before


REFUSED = {
    "attention": ({"attention_bias": True}, "biases in its attention"),
    "feed-forward": ({"mlp_bias": True}, "biases in its feed-forward"),
    "activation": ({"hidden_act": "gelu"}, "activation gelu"),
    "positions": ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope scaling"),
    "heads": ({"head_dim": 24}, "heads of width 24"),
    "width": ({"intermediate_size": 100}, "multiples of 32"),
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_what_the_graph_cannot_express_is_refused_before_a_file_is_written(changes, reason, tmp_path):
    with pytest.raises(FusionError, match=reason):
        write_fused(small_network(**changes), tmp_path / "model.onnx", "fp32")

    assert not list(tmp_path.iterdir())


def test_another_family_of_networks_is_refused():
    from transformers import GPT2Config

    with pytest.raises(FusionError, match="type gpt2"):
        refuse_unwritable(GPT2Config())


def test_an_unknown_scheme_is_refused_with_the_known_ones(network, tmp_path):
    with pytest.raises(FusionError, match="int8-rows"):
        write_fused(network, tmp_path / "model.onnx", "int2")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bits", [4, 8])
def test_a_block_is_rounded_to_its_own_scale(bits):
    matrix = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    matrix[2, 32:] = 0
    packed, scales = quantize_blocks(matrix, bits=bits)
    levels = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=-1).reshape(5, 2, 32)
    restored = (levels.astype(np.float32) - (1 << (bits - 1))) * scales[..., None]
    error = np.abs(restored.reshape(5, 64) - matrix).reshape(5, 2, 32)

    # Half a step; a whole one at the end of the range that has one level less.
    assert (error <= np.abs(scales)[..., None] * 1.0001).all()
    assert np.median(error / np.maximum(np.abs(scales)[..., None], 1e-9)) < 0.3
    assert (error[2, 1] == 0).all()


def test_a_column_is_rounded_to_half_a_step_and_zeros_stay():
    matrix = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    matrix[2] = 0
    levels, scales = quantize_columns(matrix)

    assert levels.shape == (64, 5)
    assert (np.abs(levels.T * scales[:, None] - matrix) <= scales[:, None] * 0.5001).all()
    assert scales[2] == 0
