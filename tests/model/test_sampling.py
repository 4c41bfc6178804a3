"""Drawing tokens: reproducible, within top-k and the nucleus, and distributed as softmax says."""

import numpy as np
import pytest

from model.sampling import Sampling, _largest, log_probabilities, sample

FREE = Sampling(temperature=1.0, top_k=50, top_p=1.0, presence_penalty=0.0)


def draw(logits, sampling=FREE, *, seed=1, step=0, rows=None, **extra):
    logits = np.array(logits, np.float32)
    streams = [(seed, row, step) for row in rows or range(len(logits))]
    return sample(logits, sampling, streams=streams, **extra)


def test_temperature_zero_takes_the_largest():
    greedy = Sampling(temperature=0, presence_penalty=0)

    assert draw([[0.0, 3.0, 1.0], [5.0, 0.0, 4.9]], greedy).tolist() == [1, 0]


def test_frequencies_follow_the_softmax():
    logits = np.log(np.array([[0.5, 0.3, 0.2]], np.float32))
    drawn = [int(draw(logits, step=step)[0]) for step in range(4000)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)

    # Three standard errors of a share near 0.5 in 4,000 draws are 0.024.
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.024)


def test_a_row_draws_the_same_alone_and_among_others():
    logits = np.random.default_rng(3).normal(size=(5, 40)).astype(np.float32)
    together = draw(logits, step=9, rows=[4, 2, 7, 0, 1])
    alone = [int(draw(logits[place : place + 1], step=9, rows=[row])[0]) for place, row in enumerate([4, 2, 7, 0, 1])]

    assert together.tolist() == alone


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 1}, {"rows": [1]}])
def test_seed_step_and_row_each_change_the_stream(change):
    logits = np.zeros((1, 1000), np.float32)
    wide = Sampling(temperature=1.0, top_k=1000, top_p=1.0)

    assert draw(logits, wide, rows=[0]).tolist() != draw(logits, wide, **({"rows": [0]} | change)).tolist()


def test_top_k_keeps_only_the_k_largest():
    logits = np.arange(10, dtype=np.float32)[None] / 10
    drawn = {int(draw(logits, Sampling(1.0, top_k=3, top_p=1.0), step=step)[0]) for step in range(200)}

    assert drawn == {7, 8, 9}


@pytest.mark.parametrize(("top_p", "kept"), [(0.49, {0}), (0.51, {0, 1}), (0.85, {0, 1, 2})])
def test_the_nucleus_ends_where_its_mass_reaches_top_p(top_p, kept):
    logits = np.log(np.array([[0.5, 0.3, 0.2]], np.float32))
    drawn = {int(draw(logits, Sampling(1.0, top_k=3, top_p=top_p), step=step)[0]) for step in range(200)}

    assert drawn == kept


def test_a_token_biased_to_minus_infinity_is_never_drawn():
    bias = np.array([-np.inf, 0, 0], np.float32)
    drawn = {int(draw([[9.0, 1.0, 1.0]], biases=[bias], step=step)[0]) for step in range(50)}

    assert drawn == {1, 2}


def test_the_presence_penalty_lowers_what_was_seen():
    seen = np.array([[True, False]])
    penalty = Sampling(temperature=0, presence_penalty=1.0)

    assert draw([[1.5, 1.0]], penalty, seen=seen).tolist() == [1]
    assert draw([[2.5, 1.0]], penalty, seen=seen).tolist() == [0]


def test_log_probabilities_are_those_of_the_softmax():
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32))
    likely = log_probabilities(logits + 50, np.array([1, 2]))

    assert np.exp(likely) == pytest.approx([0.3, 0.8], rel=1e-4)


@pytest.mark.parametrize("count", [1, 40])
def test_the_largest_of_a_long_row_are_those_of_a_whole_sort(count):
    logits = np.random.default_rng(11).normal(size=(3, 64 * 256)).astype(np.float32)
    logits[0, [5, 5 + 256]] = 9  # two of the largest in one column of the fold
    whole = np.sort(logits, axis=-1)[:, -count:]

    assert np.array_equal(np.sort(np.take_along_axis(logits, _largest(logits, count), -1), axis=-1), whole)


def test_a_bias_moves_its_own_row_only():
    greedy = Sampling(temperature=0)
    bias = np.array([0, -9, 0], np.float32)

    assert draw([[0.0, 3.0, 1.0], [0.0, 3.0, 1.0]], greedy, biases=[None, bias]).tolist() == [1, 2]
