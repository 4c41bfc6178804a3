"""The promotion ledger: lines that follow one another, whatever stops the writer."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.ledger import FIRST, Entry, Ledger, LedgerError, champions, ever_champions, new_attempt, unfinished


def entry(action, target, state="done", attempt="", **rest):
    return Entry(action, state, attempt or new_attempt(), "Ada", "because", None, target, **rest)


@pytest.fixture
def ledger(tmp_path):
    """Three promotions."""
    made = Ledger(tmp_path / "registry" / "ledger.jsonl")
    for target in (1, 2, 3):
        made.append(entry("promote", target))
    return made


def test_each_line_holds_the_digest_of_the_one_before(ledger):
    lines = ledger.entries()

    assert [line.target for line in lines] == [1, 2, 3]
    assert [line.previous for line in lines] == [FIRST, *ledger.heads()[:2]]
    assert all(line.time.endswith("+00:00") for line in lines)


def test_a_line_keeps_everything_that_it_was_given(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    given = entry(
        "refused", 4, scores={"to": {"chrf": 0.5}}, verdict={"passed": False}, note="line\u2028break \U0001f600"
    )
    kept = ledger.append(given)
    table = json.loads(ledger.path.read_text())

    assert kept == replace(given, time=kept.time, previous=FIRST) == ledger.entries()[0]
    assert (table["from"], table["to"], table["who"]) == (None, 4, "Ada")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0].replace("because", "Because"), *lines[1:]], 2),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [*lines, lines[2]], 4),
        (lambda lines: [lines[0], lines[1], "{}\n"], 3),
        (lambda lines: [lines[0], "\n", *lines[1:]], 2),
        (lambda lines: [lines[0], lines[1], lines[2].replace('"form": 1', '"form": 2')], 3),
    ],
    ids=["edited", "cut out", "first cut", "swapped", "repeated", "not a line", "empty", "other form"],
)
def test_a_line_changed_by_hand_is_seen_and_named(ledger, change, line):
    lines = ledger.path.read_text().splitlines(keepends=True)
    ledger.path.write_text("".join(change(lines)))

    with pytest.raises(LedgerError, match=rf"ledger\.jsonl, line {line} "):
        ledger.entries()


def test_nothing_is_added_to_a_ledger_that_does_not_hold_together(ledger):
    lines = ledger.path.read_text().splitlines(keepends=True)
    ledger.path.write_text(lines[0] + lines[2])

    with pytest.raises(LedgerError):
        ledger.append(entry("promote", 4))
    assert ledger.path.read_text() == lines[0] + lines[2]


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_line_cut_short_by_a_kill_is_taken_off_and_said_so(ledger, kept):
    whole = ledger.path.read_bytes()
    line = ledger.path.read_bytes().splitlines(keepends=True)[-1]
    ledger.path.write_bytes(whole + line[:kept])

    assert [one.target for one in ledger.entries()] == [1, 2, 3]
    ledger.append(entry("promote", 4))
    lines = ledger.entries()
    assert [(one.action, one.target) for one in lines[3:]] == [("mended", None), ("promote", 4)]
    assert f"{len(line[:kept])} bytes" in lines[3].why
    assert ledger.path.read_bytes().startswith(whole)


def test_a_full_disk_leaves_no_part_of_a_line(ledger, monkeypatch):
    before = ledger.path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ledger.append(entry("promote", 4))
    assert ledger.path.read_bytes() == before
    monkeypatch.undo()
    assert ledger.append(entry("promote", 4)).previous == ledger.heads()[-2]


def test_a_disk_that_takes_half_a_line_leaves_none_of_it(tmp_path):
    """A real limit on file size, set in a process of its own."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from model.ledger import Entry, Ledger\n"
        "ledger = Ledger(Path(sys.argv[1])); one = Entry('promote', 'done', 'a', 'Ada', 'because', None, 1)\n"
        "ledger.append(one); size = ledger.path.stat().st_size; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, size + 30))\n"
        "try: ledger.append(one)\n"
        "except OSError as error: print('refused', error.errno, ledger.path.stat().st_size == size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "ledger.jsonl")], capture_output=True, text=True, check=True
    )

    assert done.stdout == f"refused {errno.ENOSPC} True\n"
    assert len(Ledger(tmp_path / "ledger.jsonl").entries()) == 1


def test_processes_that_write_at_once_lose_no_line(tmp_path):
    code = (
        "import sys; from pathlib import Path; from model.ledger import Entry, Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for turn in range(20):\n"
        "    with ledger.locked(): ledger.append(Entry('refused', 'done', f'{sys.argv[2]}-{turn}', 'Ada', '', None, 1))"
    )
    path = tmp_path / "ledger.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(name)]) for name in range(3)]
    statuses = [writer.wait() for writer in writers]

    assert statuses == [0, 0, 0]
    assert len({one.attempt for one in Ledger(path).entries()}) == 60


def test_only_the_intent_that_nothing_settled_is_unfinished():
    one = entry("promote", 1, "intent")
    two = entry("promote", 2, "intent")

    assert unfinished([]) is None
    assert unfinished([one, replace(one, state="done"), two]) == two
    assert unfinished([one, replace(one, state="undone")]) is None


@pytest.mark.parametrize(
    ("story", "stack"),
    [
        ("", ()),
        ("p1 p2 p3", (1, 2, 3)),
        ("p1 p2 p3 r2", (1, 2)),
        ("p1 p2 p3 r2 r1", (1,)),
        ("p1 p2 p3 r2 p4", (1, 2, 4)),
        ("p1 p2 p3 r1", (1,)),
        ("p1 p2 r1 r2", (1, 2)),
        ("p1 p2 p1", (1, 2, 1)),
    ],
)
def test_a_rollback_goes_further_back_and_never_forth(story, stack):
    """p: promote, r: roll back to; refused and unfinished attempts change nothing."""
    names = {"p": "promote", "r": "rollback"}
    lines = [entry(names[word[0]], int(word[1:])) for word in story.split()]
    noise = [entry("refused", 9, "undone"), entry("promote", 9, "intent"), entry("promote", 9, "undone")]

    assert champions(lines) == stack
    assert champions([*lines, *noise]) == stack
    assert 9 not in ever_champions([*lines, *noise])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_rolling_back_again_and_again_ends_at_the_first_champion(promoted):
    # A version that is champion already is never promoted again.
    promoted = [target for place, target in enumerate(promoted) if place == 0 or target != promoted[place - 1]]
    lines = [entry("promote", target) for target in promoted]
    for _ in range(len(promoted)):
        stack = champions(lines)
        if len(stack) < 2:
            break
        lines.append(entry("rollback", stack[-2]))

    assert champions(lines)[-1] == promoted[0]
    assert len(champions(lines)) == 1
