"""Counting by bucket, and what the engine counts."""

import numpy as np
import pytest

from model.engine import Engine
from model.sampling import Sampling
from model.tally import Tally
from model.tickets import Request, Slot, Vocabulary


@pytest.mark.parametrize(("value", "bucket"), [(0.5, 0), (1.0, 0), (1.0001, 1), (2.0, 1), (9.0, 2)])
def test_a_value_falls_into_the_first_bucket_that_is_not_below_it(value, bucket):
    tally = Tally((1.0, 2.0))
    tally.add(value)

    assert tally.counts == [int(place == bucket) for place in range(3)]
    assert tally.total == value


def test_the_engine_counts_tokens_and_rows_and_for_each_request_its_wait_and_first_token(tiny_bundle):
    engine = Engine(tiny_bundle, Vocabulary(np.ones(257, np.int32), np.zeros(257, np.bool_)), threads=1)
    slots = [Slot((), 5, 99), Slot((7,), 3, 99)]
    spans = engine.submit(Request([5, 80, 33], slots, 3, 0, Sampling())).result()
    engine.close()
    counts = engine.counts

    assert counts.tokens == sum(len(span.ids) for row in spans for span in row)
    assert sum(counts.wait_seconds.counts) == 1
    assert sum(counts.first_token_seconds.counts) == 1
    assert counts.step_rows.total == pytest.approx(3 * sum(counts.step_rows.counts))
