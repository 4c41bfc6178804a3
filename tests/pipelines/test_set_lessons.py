"""Pairs that were sent in bulk, on their way into a dataset: once, in order, and never more than the curated ones."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections import deque
from dataclasses import replace
from datetime import timedelta

import pytest

from model.heldout import HeldOut, Telling
from model.pair import pair_from_dict
from model.pair_file import refusal
from model.store import feedback, pair_sets
from model.store.objects import ObjectStore
from model.store.pair_sets import PairSetRow
from model.training.pairs import read_pairs
from pipelines import datasets
from pipelines.set_lessons import NOTHING_LEFT, pair_keys, set_lessons
from pipelines.settings import PipelineSettings
from pipelines.steps import build_dataset
from tests.model.sent_pairs import curated as good_pairs
from tests.pipelines.taught import NOON, curated, keep, kept, verdict
from tests.real_parts import wait_until

CURATED = 8

# Ends itself with -9 in the place named.
CUT_OFF = """
import os, signal, sys
from model.store import feedback, pair_sets
from pipelines import datasets
from pipelines.steps import build_dataset

def cut(module, name):
    def ended(*arguments, **named):
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(module, name, ended)

cut(*{"put": (datasets, "put"), "use": (pair_sets, "use"), "feedback": (feedback, "use")}[sys.argv[1]])
build_dataset.main(["--pairs", sys.argv[2]])
"""
BUILD = """
import sys
from pathlib import Path
from pipelines.steps import build_dataset
from tests.real_parts import wait_until

Path(sys.argv[2]).touch()
wait_until(Path(sys.argv[3]).exists, "the other builder")
build_dataset.main(["--pairs", sys.argv[1]])
"""


@pytest.fixture
def pairs(tmp_path):
    """A small file of curated pairs for another channel than those that are sent."""
    path = tmp_path / "curated.jsonl"
    path.write_text("".join(f"{line}\n" for line in curated(CURATED, channel="x")), encoding="utf-8")
    return path


@pytest.fixture
def build(step, pairs):
    """Runs the step on the small file; returns its answer."""

    def call(*options):
        status, answer = step(build_dataset.main, "--pairs", pairs, *options)
        assert status == 0
        return answer

    return call


def set_of(objects, lines, *, minutes=0, held_out=(), **given):
    """A set that waits, as the service keeps it; `held_out` are places among its lines."""
    set_id = "ps_" + hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
    tables = [json.loads(line) for line in lines]
    for place, table in enumerate(tables):
        table["id"] = f"{set_id}.{table['id']}"
        if place in held_out:
            table["held_out"] = True
    content = "".join(f"{json.dumps(table, ensure_ascii=False)}\n" for table in tables).encode()
    row = PairSetRow(
        set_id, hashlib.sha256(content).hexdigest(), "shop", "waiting", "", "",
        accepted=len(lines), refused=0, held_out=len(held_out), learnt=0, faults=(),
        created_at=NOON + timedelta(minutes=minutes), used_at=None,
    )  # fmt: skip
    objects.put(row.object_key, content)
    return replace(row, **given)


def send(stores, lines, **given):
    """Keep such a set; returns its id."""
    database, objects = stores
    row = set_of(objects, lines, **given)
    with database.begin() as connection:
        assert pair_sets.insert(connection, row)
    return row.id


def found(database, set_id):
    with database.connect() as connection:
        return pair_sets.find(connection, set_id)


def lines_of(objects, digest):
    return [json.loads(line) for line in objects.open_lines(f"datasets/{digest}/pairs.jsonl")]


def held_in_memory(rows, objects, held, taken, pairs_max):
    """(lines, is whole) of each set, the plain way: what `set_lessons` has to come to with less memory."""
    sets = [objects.get(row.object_key).decode().removesuffix("\n").split("\n") for row in rows]
    left = [sorted(enumerate(lines), key=lambda each: hashlib.sha256(each[1].encode()).digest()) for lines in sets]
    drawn, is_whole, turns = [[] for _ in sets], [False] * len(sets), deque(range(len(sets)))
    while turns and sum(map(len, drawn)) < pairs_max:
        this = turns.popleft()
        while left[this]:
            place, line = left[this].pop(0)
            pair = pair_from_dict(table := json.loads(line))
            if not (table.get("held_out") or pair.key() in taken or refusal(pair, held)):
                taken.add(pair.key())
                drawn[this].append((place, line))
                turns.append(this)
                break
        else:
            is_whole[this] = True
    return [(tuple(line for _, line in sorted(each)), whole) for each, whole in zip(drawn, is_whole, strict=True)]


def test_a_set_goes_in_after_curated_pairs_and_feedback_and_says_so(stores, build, tmp_path):
    database, objects = stores
    keep(database, kept("cr_0"), verdict("fb_0", "cr_0"))
    sent = good_pairs(5, start=1)
    set_id = send(stores, sent, held_out={2})
    answer = build()
    row, lines = found(database, set_id), lines_of(objects, answer["dataset"])
    datasets.fetch(objects, answer["dataset"], tmp_path / "fetched.jsonl")

    assert {name: answer[name] for name in ("pairs", "curated", "feedback", "set_pairs", "sets_new")} == {
        "pairs": CURATED + 5, "curated": CURATED, "feedback": 1, "set_pairs": 4, "sets_new": 1,
    }  # fmt: skip
    expected = [json.loads(sent[place])["id"] for place in (0, 1, 3, 4)]
    assert [line["id"] for line in lines[CURATED:]] == ["fb_0", *(f"{set_id}.{name}" for name in expected)]
    assert (row.state, row.dataset_digest, row.learnt, row.why) == ("used", answer["dataset"], 4, "")
    assert row.used_at is not None
    assert datasets.find(objects, answer["dataset"]).manifest["sets"] == [set_id]
    assert len(read_pairs(tmp_path / "fetched.jsonl")) == CURATED + 5


def test_twice_gives_the_same_dataset_and_marks_the_set_once(stores, build):
    set_id = send(stores, good_pairs(3))
    first = build()
    marked = found(stores[0], set_id)
    second = build()

    assert second == first | {"outcome": "unchanged", "sets_new": 0}
    assert found(stores[0], set_id) == marked


def test_a_later_set_is_added_and_the_earlier_keeps_the_dataset_it_was_first_used_in(stores, build):
    database, objects = stores
    early = send(stores, good_pairs(2))
    first = build()
    late = send(stores, good_pairs(2, start=10), minutes=5)
    second = build()

    assert (second["set_pairs"], second["sets_new"]) == (4, 1)
    assert found(database, early).dataset_digest == first["dataset"] != second["dataset"]
    assert found(database, late).dataset_digest == second["dataset"]
    assert datasets.find(objects, second["dataset"]).manifest["sets"] == sorted([early, late])


def test_without_feedback_means_without_sets_and_marks_none(stores, build, pairs):
    set_id = send(stores, good_pairs(3))
    answer = build("--without-feedback")

    assert stores[1].get(f"datasets/{answer['dataset']}/pairs.jsonl") == pairs.read_bytes()
    assert found(stores[0], set_id).state == "waiting"


def test_what_is_learnt_already_is_not_learnt_twice(stores, build):
    database, objects = stores
    keep(database, kept("cr_0"), verdict("fb_0", "cr_0"))
    shared = good_pairs(2, start=3)
    send(stores, [*good_pairs(1, start=5), *shared])
    partly = send(stores, [*shared, *good_pairs(1, start=9)], minutes=1)
    wholly = send(stores, curated(2, channel="x"), minutes=2)
    answer = build()
    keys = pair_keys(map(json.dumps, lines_of(objects, answer["dataset"])))

    assert len(keys) == answer["pairs"] == CURATED + 1 + 4
    assert (found(database, partly).state, found(database, wholly).state) == ("used", "dismissed")
    assert found(database, wholly).why == NOTHING_LEFT
    assert answer["sets_dismissed"] == 1


@pytest.mark.parametrize(("count", "learnt", "why"), [(CURATED, CURATED, ""), (CURATED + 1, CURATED, "drawn from it")])
def test_sets_bring_at_most_as_many_pairs_as_are_curated(stores, build, count, learnt, why):
    set_id = send(stores, good_pairs(count))
    answer = build()
    row = found(stores[0], set_id)

    assert (answer["set_pairs"], row.learnt, row.accepted) == (learnt, learnt, count)
    assert row.why.startswith(why) if why else row.why == ""


def test_a_large_set_leaves_the_small_ones_whole_and_is_drawn_from_the_same_way_each_time(stores, build):
    database, objects = stores
    large = send(stores, good_pairs(40))
    small = send(stores, good_pairs(3, start=50), minutes=1)
    first, second = build(), build()
    taken = [line["id"] for line in lines_of(objects, first["dataset"])[CURATED:]]

    assert (found(database, large).learnt, found(database, small).learnt) == (CURATED - 3, 3)
    assert second["dataset"] == first["dataset"]
    assert [name.startswith(large) for name in taken] == [True] * 5 + [False] * 3
    assert [name.rpartition(".")[2] for name in taken[:5]] != [json.loads(line)["id"] for line in good_pairs(5)]


@pytest.mark.parametrize("pairs_max", [0, 1, 7, 11, 99])
def test_what_is_drawn_is_what_would_be_drawn_of_sets_held_in_memory(tmp_path, pairs_max):
    objects = ObjectStore(str(tmp_path))
    sent = [good_pairs(12), good_pairs(2, start=4), [*good_pairs(3, start=10), *good_pairs(6, start=30)]]
    rows = [set_of(objects, lines, held_out={1}) for lines in sent]
    held = HeldOut([])
    taken = {pair_from_dict(json.loads(good_pairs(1, start=31)[0])).key()}
    expected = held_in_memory(rows, objects, held, set(taken), pairs_max)
    made = set_lessons(rows, objects, held, taken, pairs_max)

    assert [(each.lines, each.is_whole) for each in made] == expected
    assert sum(len(each.lines) for each in made) == min(pairs_max, 17)


def test_of_sets_no_more_is_held_in_memory_than_is_drawn_and_one_of_them(tmp_path):
    objects = ObjectStore(str(tmp_path))
    wide = [line[:-1] + " " * 10_000 + "}" for line in good_pairs(60)]
    rows = []
    for place in range(10):
        content = "".join(f"{line} \n" for line in wide[place * 6 :] + wide[: place * 6]).encode()
        row = replace(set_of(objects, wide[:1], minutes=place), content_digest=hashlib.sha256(content).hexdigest())
        objects.put(row.object_key, content)
        rows.append(row)
    tracemalloc.start()
    try:
        made = set_lessons(rows, objects, HeldOut([]), set(), len(rows))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [len(each.lines) for each in made] == [1] * len(rows)
    assert peak_bytes < 4 * len(content)


def test_a_set_that_there_is_no_room_for_waits_on(stores, build):
    first = send(stores, good_pairs(CURATED))
    ids = [send(stores, good_pairs(1, start=20 + place), minutes=1 + place) for place in range(CURATED)]
    answer = build()
    states = [found(stores[0], each).state for each in (first, *ids)]

    assert answer["set_pairs"] == CURATED
    assert states == ["used"] * CURATED + ["waiting"]


def test_what_is_measured_on_by_now_is_left_out_of_a_set_that_was_taken_before(stores):
    _, objects = stores
    rows = [set_of(objects, good_pairs(2))]
    pair = pair_from_dict(json.loads(good_pairs(1)[0]))
    held = HeldOut([Telling("h1", "other", pair.product.title, "", "")])
    (made,) = set_lessons(rows, objects, held, set(), 10)

    assert len(made.lines) == 1
    assert made.why == "the others repeat what is learnt already, or may not be learnt from any more"


def test_a_set_that_is_taken_back_is_in_no_later_dataset(stores, build):
    database, _ = stores
    bare = build()
    set_id = send(stores, good_pairs(3))
    build()
    with database.begin() as connection:
        assert pair_sets.dismiss(connection, set_id, "taken back by shop", also_used=True)
    after = build()

    assert after["dataset"] == bare["dataset"]
    assert found(database, set_id).state == "dismissed"


def test_a_set_that_is_taken_back_while_a_dataset_is_put_together_names_that_dataset(stores, build, monkeypatch):
    database, _ = stores
    set_id = send(stores, good_pairs(3))
    real = datasets.put

    def put(*given):
        with database.begin() as connection:
            pair_sets.dismiss(connection, set_id, "taken back by shop")
        return real(*given)

    monkeypatch.setattr(datasets, "put", put)
    answer = build()
    row = found(database, set_id)

    assert (row.state, row.why) == ("dismissed", "taken back by shop")
    assert (row.dataset_digest, row.learnt, answer["sets_new"]) == (answer["dataset"], 3, 1)
    assert row.used_at is not None


@pytest.mark.parametrize("broken", ["changed", "gone"])
def test_pairs_that_are_gone_or_changed_stop_the_step_until_somebody_decides(stores, build, broken):
    database, objects = stores
    keep(database, kept("cr_0"), verdict("fb_0", "cr_0"))
    given = {"content_digest": "e" * 64} if broken == "gone" else {}
    set_id = send(stores, good_pairs(2), **given)
    if broken == "changed":
        objects.put(found(database, set_id).object_key, b"{}\n")

    with pytest.raises(ValueError, match=f"take the set back with DELETE /v1/pairs/{set_id}"):
        build()
    assert found(database, set_id).state == "waiting"
    with database.begin() as connection:
        pair_sets.dismiss(connection, set_id, "taken back by shop")
    assert build()["feedback_new"] == 1


@pytest.mark.parametrize("place", ["put", "use", "feedback"])
def test_killed_in_the_middle_and_run_again_it_ends_where_an_unbroken_one_does(workplace, build, pairs, place):
    database = PipelineSettings().open_database()
    database.upgrade()
    stores = database, PipelineSettings().open_objects()
    keep(database, kept("cr_0"), verdict("fb_0", "cr_0"))
    set_id = send(stores, good_pairs(3, start=1))
    command = [sys.executable, "-c", CUT_OFF, place, pairs]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    state = found(database, set_id).state
    answer = build()

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert state == "waiting"
    assert answer["outcome"] == ("built" if place == "put" else "unchanged")
    assert (answer["set_pairs"], answer["sets_new"], answer["feedback_new"]) == (3, 1, 1)
    assert build() == answer | {"outcome": "unchanged", "sets_new": 0, "feedback_new": 0}


def test_a_builder_that_is_overtaken_marks_nothing_again(stores, build, monkeypatch):
    set_id = send(stores, good_pairs(3))
    real = datasets.put

    def put(*given):
        monkeypatch.setattr(datasets, "put", real)
        overtaking.append(build())
        keep(stores[0], kept("cr_0"), verdict("fb_0", "cr_0"))
        return real(*given)

    overtaking = []
    monkeypatch.setattr(datasets, "put", put)
    overtaken = build()

    assert (overtaking[0]["sets_new"], overtaken["sets_new"]) == (1, 0)
    assert found(stores[0], set_id).dataset_digest == overtaking[0]["dataset"]


@pytest.mark.slow
def test_of_two_builders_at_once_one_uses_the_set_and_both_make_the_same_dataset(stores, pairs, tmp_path):
    set_id = send(stores, good_pairs(6))
    go, ready = tmp_path / "go", [tmp_path / f"ready-{place}" for place in range(2)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [[sys.executable, "-c", BUILD, pairs, each, go] for each in ready]
    running = [
        subprocess.Popen(each, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for each in commands
    ]
    try:
        wait_until(lambda: all(each.exists() for each in ready), "both builders")
        go.touch()
        said = [each.communicate(timeout=120) for each in running]
    finally:
        for each in running:
            each.kill()
    answers = [json.loads(out.splitlines()[-1]) for out, _ in said]

    assert sorted(answer["sets_new"] for answer in answers) == [0, 1]
    assert answers[0]["dataset"] == answers[1]["dataset"] == found(stores[0], set_id).dataset_digest
    assert found(stores[0], set_id).learnt == 6


def test_a_curated_line_that_is_no_pair_is_named_as_such():
    with pytest.raises(ValueError, match="a line of the curated pairs is not a training pair"):
        pair_keys(["{}"])


def test_feedback_is_marked_together_with_sets(stores, build, monkeypatch):
    database, _ = stores
    keep(database, kept("cr_0"), verdict("fb_0", "cr_0"))
    set_id = send(stores, good_pairs(2, start=1))
    real = feedback.use

    def fails(*given, **named):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(feedback, "use", fails)
    with pytest.raises(RuntimeError, match="in the middle"):
        build()
    monkeypatch.setattr(feedback, "use", real)

    assert found(database, set_id).state == "waiting"
    assert (build()["feedback_new"], found(database, set_id).state) == (1, "used")
