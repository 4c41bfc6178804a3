"""The engine on the tiny bundle: the same ids as torch, and the same ids however they are asked for."""

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from model.decoder import EngineError
from model.engine import Engine
from model.sampling import Sampling
from model.tickets import CancelledError, DeadlineError, QueueFullError, Request, Slot, Vocabulary

ROOT = Path(__file__).parents[2]
GREEDY = Sampling(temperature=0, presence_penalty=0)
WARM = Sampling(temperature=1.0)
PROMPT = [5, 80, 33, 41, 17, 9]


def vocabulary(size=257, *, stops=(), chars=1):
    flags = np.zeros(size, np.bool_)
    flags[list(stops)] = True
    return Vocabulary(np.full(size, chars, np.int32), flags)


def engine(folder, **extra):
    return Engine(folder, vocabulary(**extra), threads=1)


LONG = [Slot((), 4000, 99999)]


def request(**changes):
    return Request(**({"prompt": PROMPT, "slots": LONG, "rows": 1, "seed": 0, "sampling": WARM} | changes))


def mixed(chance):
    """Any prompt, slots and settings; short enough that many run in a second."""
    bias = np.random.default_rng(chance.randrange(99)).normal(size=257).astype(np.float32)
    return request(
        prompt=[chance.randrange(257) for _ in range(chance.randint(1, 150))],
        slots=[Slot((7,) * chance.randint(1, 9), chance.randint(1, 20), 99) for _ in range(chance.randint(1, 3))],
        rows=chance.randint(1, 4),
        seed=chance.randrange(1000),
        sampling=chance.choice([GREEDY, WARM, Sampling(presence_penalty=0.7)]),
        bias=chance.choice([None, bias]),
        interactive=chance.random() < 0.5,
    )


def wait_for_first_token(ticket):
    deadline = time.monotonic() + 60
    while np.isnan(ticket.first_token) and time.monotonic() < deadline:
        time.sleep(0.001)

    assert not np.isnan(ticket.first_token)


def ids(rows):
    return [[span.ids for span in row] for row in rows]


def test_greedy_tokens_of_the_fp32_graph_are_those_of_torch(tiny_folder, tiny_fp32):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_folder / "hub")
    expected = model.generate(torch.tensor([PROMPT]), max_new_tokens=24, min_new_tokens=24, do_sample=False)
    written = engine(tiny_fp32).generate(PROMPT, [Slot((), 24, 99)], rows=1, seed=0, sampling=GREEDY)

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


def test_a_caller_that_gives_up_while_waiting_is_let_go_and_the_engine_goes_on(tiny_bundle):
    one, asked = engine(tiny_bundle), []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(CancelledError):
        one.generate(PROMPT, LONG, rows=1, seed=0, sampling=GREEDY, cancelled=cancelled)

    assert one.load == (0, 0)
    assert one.generate(PROMPT, [Slot((), 5, 99)], rows=1, seed=0, sampling=GREEDY)


def test_a_request_cancelled_before_its_first_step_writes_nothing(tiny_bundle):
    one = engine(tiny_bundle)
    ticket = one.submit(request())
    ticket.cancel()

    with pytest.raises(CancelledError):
        ticket.result()
    assert np.isnan(ticket.first_token)


def test_a_request_cancelled_after_its_last_step_keeps_its_answer(tiny_bundle):
    one = engine(tiny_bundle)
    ticket = one.submit(request(slots=[Slot((), 5, 99)]))
    written = ticket.result()
    ticket.cancel()

    assert ticket.result() == written


def test_a_cancelled_row_leaves_the_rows_beside_it_as_they_were(tiny_bundle):
    one, slots = engine(tiny_bundle), [Slot((), 200, 999)]
    alone = ids(one.generate(PROMPT, slots, rows=2, seed=3, sampling=WARM))
    given_up = one.submit(request())
    kept = one.submit(request(slots=slots, rows=2, seed=3))
    wait_for_first_token(kept)
    given_up.cancel()

    assert ids(kept.result()) == alone


def test_a_request_out_of_time_fails_and_the_engine_goes_on(tiny_bundle):
    one = engine(tiny_bundle)
    for seconds in (0.2, 1.0, 5.0):  # a slow machine may need longer to its first token
        late = one.submit(request(deadline=time.monotonic() + seconds))
        with pytest.raises(DeadlineError):
            late.result()
        if not np.isnan(late.first_token):
            break

    assert not np.isnan(late.first_token)
    assert one.generate(PROMPT, [Slot((), 5, 99)], rows=1, seed=0, sampling=GREEDY)


def test_one_request_too_many_is_refused_at_once_with_a_time_to_come_again(tiny_bundle):
    one = Engine(tiny_bundle, vocabulary(), threads=1, rows_max=1, queue_max=2)
    first = one.submit(request())
    wait_for_first_token(first)
    waiting = [one.submit(request(slots=[Slot((), 3, 9)])) for _ in range(2)]

    with pytest.raises(QueueFullError, match="2 requests wait already") as refused:
        one.submit(request())
    first.cancel()

    assert refused.value.retry_after_seconds > 0
    assert [len(ticket.result()[0][0].ids) for ticket in waiting] == [3, 3]


def test_who_waits_goes_before_a_batch_that_came_earlier(tiny_bundle):
    one = Engine(tiny_bundle, vocabulary(), threads=1, rows_max=1)
    first = one.submit(request(slots=[Slot((), 200, 999)], interactive=False))
    wait_for_first_token(first)
    batch = one.submit(request(slots=[Slot((), 3, 9)], interactive=False))
    person = one.submit(request(slots=[Slot((), 3, 9)]))

    person.result(), batch.result()
    assert person.first_token < batch.first_token


def test_a_batch_leaves_room_for_who_waits(tiny_bundle):
    one = Engine(tiny_bundle, vocabulary(), threads=1, rows_max=4)
    batch = [one.submit(request(interactive=False)) for _ in range(4)]
    wait_for_first_token(batch[2])
    person = one.submit(request(slots=[Slot((), 3, 9)]))

    assert len(person.result()[0][0].ids) == 3
    assert np.isnan(batch[3].first_token)
    assert not any(ticket.done for ticket in batch)
    one.close()


def test_a_step_that_fails_fails_the_requests_in_flight_and_no_other(tiny_bundle):
    one = engine(tiny_bundle)
    step = one._decoder.step

    def broken(_):
        one._decoder.step = step
        raise MemoryError("no room for the step")

    one._decoder.step = broken

    with pytest.raises(EngineError, match="the network failed: no room for the step"):
        one.generate(PROMPT, [Slot((), 5, 99)], rows=2, seed=0, sampling=GREEDY)
    assert one.alive
    assert one.generate(PROMPT, [Slot((), 5, 99)], rows=2, seed=0, sampling=GREEDY)


def test_a_prompt_that_there_is_no_memory_for_fails_its_request(tiny_bundle):
    one = engine(tiny_bundle)
    begin = one._decoder.begin

    def broken(_):
        one._decoder.begin = begin
        raise MemoryError("no room for the prompt")

    one._decoder.begin = broken

    with pytest.raises(EngineError, match="the network failed: no room for the prompt"):
        one.generate(PROMPT, [Slot((), 5, 99)], rows=1, seed=0, sampling=GREEDY)
    assert one.generate(PROMPT, [Slot((), 5, 99)], rows=1, seed=0, sampling=GREEDY)


def test_a_thread_that_dies_leaves_nobody_waiting_and_readiness_false(tiny_bundle):
    class Killed(BaseException):
        pass

    def deadly(_):
        raise Killed

    one = Engine(tiny_bundle, vocabulary(), threads=1, rows_max=1)
    one._decoder.step = deadly
    with one._changed:  # all three are there before the thread looks
        tickets = [one.submit(request()) for _ in range(3)]

    for ticket in tickets:
        with pytest.raises(EngineError, match="the engine is down"):
            ticket.result()
    assert not one.alive
    with pytest.raises(EngineError, match="the engine is down"):
        one.submit(request())


def test_closing_fails_what_is_in_flight_and_what_waits(tiny_bundle):
    one = Engine(tiny_bundle, vocabulary(), threads=1, rows_max=1)
    tickets = [one.submit(request()) for _ in range(2)]
    one.close()

    for ticket in tickets:
        with pytest.raises(EngineError, match="it was closed"):
            ticket.result()
    assert not one.alive


def test_a_program_that_ends_in_the_middle_of_a_request_ends_with_its_own_status(tiny_bundle):
    code = f"""
import sys, time
from pathlib import Path
from tests.model.test_engine import engine, request, wait_for_first_token
one = engine(Path({str(tiny_bundle)!r}))
wait_for_first_token(one.submit(request()))
sys.exit(7)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True, timeout=120
    )

    assert (ended.returncode, ended.stderr) == (7, "")


def test_an_idle_engine_ends_its_thread_and_gives_the_cache_back(tiny_bundle, monkeypatch):
    monkeypatch.setattr("model.engine.IDLE_SECONDS", 0.01)
    one, slots = engine(tiny_bundle), [Slot((), 5, 99)]
    first = one.generate(PROMPT, slots, rows=1, seed=0, sampling=GREEDY)
    one._thread.join(60)

    assert one._thread is None
    assert one._decoder._cache == []
    assert one.generate(PROMPT, slots, rows=1, seed=0, sampling=GREEDY) == first


@pytest.mark.parametrize("seed", range(4))
def test_a_request_gets_the_same_tokens_in_any_company(tiny_bundle, seed):
    """Alone, and among up to 31 others: any order, any number of places, one thread or two."""
    chance = random.Random(seed)
    asked = [mixed(chance) for _ in range(chance.randint(8, 32))]
    lone = engine(tiny_bundle, stops=range(0, 257, 40))
    alone = [ids(lone.submit(each).result()) for each in asked]
    for threads, rows_max in ((1, 4), (2, 16), (2, 7)):
        crowd = Engine(tiny_bundle, vocabulary(stops=range(0, 257, 40)), threads=threads, rows_max=rows_max)
        order = chance.sample(range(len(asked)), len(asked))
        tickets = {place: crowd.submit(asked[place]) for place in order}

        assert [ids(tickets[place].result()) for place in range(len(asked))] == alone
        crowd.close()


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


def test_a_span_knows_how_likely_the_network_finds_it(tiny_folder, tiny_fp32):
    import torch
    from transformers import AutoModelForCausalLM

    [[span]] = engine(tiny_fp32).generate(PROMPT, [Slot((), 6, 99)], rows=1, seed=2, sampling=WARM)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder / "hub")
    with torch.no_grad():
        logits = model(torch.tensor([PROMPT + span.ids])).logits[0, len(PROMPT) - 1 : -1]
    expected = float(logits.log_softmax(-1)[range(6), span.ids].sum())

    # Six fp32 sums in another order.
    assert span.log_probability == pytest.approx(expected, abs=1e-3)
