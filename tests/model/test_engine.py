"""The engine on the tiny bundle: the same ids as torch, and the same ids however they are asked for."""

import json
import shutil
import threading

import numpy as np
import pytest

from model.engine import CancelledError, Engine, EngineError, Slot, Vocabulary
from model.sampling import Sampling

GREEDY = Sampling(temperature=0, presence_penalty=0)
WARM = Sampling(temperature=1.0)
PROMPT = [5, 80, 33, 41, 17, 9]


def vocabulary(size=257, *, stops=(), chars=1):
    flags = np.zeros(size, np.bool_)
    flags[list(stops)] = True
    return Vocabulary(np.full(size, chars, np.int32), flags)


def engine(folder, **extra):
    return Engine(folder, vocabulary(**extra), threads=1)


def ids(rows):
    return [[span.ids for span in row] for row in rows]


def test_greedy_tokens_of_the_fp32_graph_are_those_of_torch(tiny_folder):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_folder / "hub")
    expected = model.generate(torch.tensor([PROMPT]), max_new_tokens=24, min_new_tokens=24, do_sample=False)
    written = engine(tiny_folder / "fp32").generate(PROMPT, [Slot((), 24, 99)], rows=1, seed=0, sampling=GREEDY)

    assert ids(written) == [[expected[0, len(PROMPT) :].tolist()]]


def test_a_kept_prefix_changes_no_token(tiny_bundle):
    slots = [Slot((7, 8), 12, 99), Slot((9,), 6, 99)]
    plain, kept = engine(tiny_bundle), engine(tiny_bundle)
    kept.keep_prefix(PROMPT[:4])
    results = [one.generate(PROMPT, slots, rows=2, seed=5, sampling=WARM) for one in (plain, kept)]

    assert ids(results[0]) == ids(results[1])


def test_a_prompt_that_leaves_the_kept_prefix_is_read_whole(tiny_bundle):
    other = [PROMPT[0] + 1, *PROMPT[1:]]
    plain, kept = engine(tiny_bundle), engine(tiny_bundle)
    kept.keep_prefix(PROMPT[:4])
    results = [one.generate(other, [Slot((), 8, 99)], rows=1, seed=5, sampling=WARM) for one in (plain, kept)]

    assert ids(results[0]) == ids(results[1])


def test_a_row_writes_the_same_alone_and_among_others(tiny_bundle):
    one = engine(tiny_bundle, stops=range(0, 257, 9))
    slots = [Slot((7,), 12, 99), Slot((9, 10, 11), 12, 99)]
    together = ids(one.generate(PROMPT, slots, rows=6, seed=5, sampling=WARM))
    alone = [ids(one.generate(PROMPT, slots, rows=1, first_row=row, seed=5, sampling=WARM))[0] for row in range(6)]

    assert together == alone
    assert len({json.dumps(row) for row in together}) > 1


def test_twice_is_the_same_and_another_seed_is_not(tiny_bundle):
    one, slots = engine(tiny_bundle), [Slot((), 20, 99)]
    first, again, other = (ids(one.generate(PROMPT, slots, rows=2, seed=seed, sampling=WARM)) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_a_slot_ends_at_a_stop_token_and_says_so(tiny_bundle):
    free = ids(engine(tiny_bundle).generate(PROMPT, [Slot((), 10, 99)], rows=1, seed=0, sampling=GREEDY))[0][0]
    stop = free[3]
    [[span]] = engine(tiny_bundle, stops=[stop]).generate(PROMPT, [Slot((), 10, 99)], rows=1, seed=0, sampling=GREEDY)

    assert span.ids == free[: free.index(stop)]
    assert span.complete


@pytest.mark.parametrize(("tokens_max", "chars_max", "expected"), [(4, 99, 4), (99, 9, 3), (99, 8, 2)])
def test_a_slot_ends_at_its_limits_and_says_so(tiny_bundle, tokens_max, chars_max, expected):
    slots = [Slot((), tokens_max, chars_max)]
    [[span]] = engine(tiny_bundle, chars=3).generate(PROMPT, slots, rows=1, seed=0, sampling=GREEDY)

    assert len(span.ids) == expected
    assert not span.complete


def test_what_is_fed_steers_what_follows(tiny_bundle):
    one = engine(tiny_bundle)
    first, second = (
        ids(one.generate(PROMPT, [Slot(fed, 8, 99)], rows=1, seed=0, sampling=GREEDY)) for fed in ((3,), (200,))
    )

    assert first != second


def test_a_prompt_beyond_the_context_is_refused_before_any_work(tiny_bundle):
    one = engine(tiny_bundle)
    longest = one.context_tokens_max

    with pytest.raises(EngineError, match="exceed the context of 4096"):
        one.generate([1] * (longest - 9), [Slot((), 10, 99)], rows=1, seed=0, sampling=GREEDY)
    assert one.generate([1] * (longest - 2), [Slot((), 2, 99)], rows=1, seed=0, sampling=GREEDY)[0][0].ids


@pytest.mark.parametrize(("slots", "rows"), [([], 1), ([Slot((), 1, 1)], 0)])
def test_an_empty_request_is_refused(tiny_bundle, slots, rows):
    with pytest.raises(EngineError, match="nothing to generate"):
        engine(tiny_bundle).generate(PROMPT, slots, rows=rows, seed=0, sampling=GREEDY)


def test_a_cancelled_call_stops_at_the_next_step_and_the_engine_goes_on(tiny_bundle):
    one, slots, asked = engine(tiny_bundle), [Slot((), 50, 99)], []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(CancelledError):
        one.generate(PROMPT, slots, rows=1, seed=0, sampling=GREEDY, cancelled=cancelled)

    assert len(asked) == 4
    assert one.generate(PROMPT, slots, rows=1, seed=0, sampling=GREEDY)


def test_calls_from_many_threads_do_not_mix(tiny_bundle):
    one, slots = engine(tiny_bundle), [Slot((), 16, 99)]
    expected = [ids(one.generate(PROMPT, slots, rows=2, seed=seed, sampling=WARM)) for seed in range(6)]
    written = {}

    def work(seed):
        written[seed] = ids(one.generate(PROMPT, slots, rows=2, seed=seed, sampling=WARM))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [written[seed] for seed in range(6)] == expected


def test_a_graph_cut_short_is_named(tiny_bundle, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(tiny_bundle, folder)
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:1000])

    with pytest.raises(EngineError, match=r"model\.onnx does not load"):
        engine(folder)


def test_a_span_knows_how_likely_the_network_finds_it(tiny_folder):
    import torch
    from transformers import AutoModelForCausalLM

    [[span]] = engine(tiny_folder / "fp32").generate(PROMPT, [Slot((), 6, 99)], rows=1, seed=2, sampling=WARM)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder / "hub")
    with torch.no_grad():
        logits = model(torch.tensor([PROMPT + span.ids])).logits[0, len(PROMPT) - 1 : -1]
    expected = float(logits.log_softmax(-1)[range(6), span.ids].sum())

    # Six fp32 sums in another order.
    assert span.log_probability == pytest.approx(expected, abs=1e-3)
