"""What is told of registry and ledger, on both databases: whole pictures, the newest of which stays."""

from __future__ import annotations

import threading
from datetime import timedelta

from model.store import model_versions
from model.store.model_versions import FullVersionRow, PromotionRow, VersionRow
from tests.model.store.rows import NOON

TASK = "ad_writer"
SAMPLE = {"row": "h1", "product": "Bowl \u2014 日本", "headlines": ["A bowl"], "validity": 1.0}


def version(number, **given):
    values = {
        "aliases": ["candidate"], "created_at": NOON, "bundle_digest": "b" * 64, "dataset_digest": "",
        "git_commit": "c" * 40, "run_id": f"run-{number}", "certificate": "passed",
        "scores": {"validity": {"mean": 0.97, "low": 0.96, "high": None}}, "gate": None, "card": "# Card\n",
        "samples": [SAMPLE],
    }  # fmt: skip
    return FullVersionRow(number=number, **values | given)


def line(number, **given):
    values = {"who": "Ada", "action": "promote", "state": "done", "source": "", "target": "1", "why": "x", "note": ""}
    return PromotionRow(line=number, time=NOON + timedelta(seconds=number), **values | given)


def tell(database, versions, lines, *, task=TASK, at=NOON):
    with database.begin() as connection:
        before = model_versions.edition(connection, task)
        assert model_versions.replace(connection, task, before, at, versions, lines)


def test_nothing_is_known_before_anybody_has_told(database):
    with database.connect() as connection:
        known = model_versions.listed(connection, TASK, 30), model_versions.history(connection, TASK, 30)
        at, edition = model_versions.published_at(connection, TASK), model_versions.edition(connection, TASK)

    assert (known, at, edition) == (([], []), None, 0)


def test_a_picture_comes_back_as_it_was_told_the_newest_first(database):
    gate = {"passed": False, "reasons": ["No better."]}
    versions, lines = [version(9, gate=gate), version(10, aliases=[])], [line(1), line(2, source="9", target="10")]
    tell(database, versions, lines)
    with database.connect() as connection:
        listed = model_versions.listed(connection, TASK, 30)
        found = [model_versions.find(connection, TASK, number) for number in (9, 10, 11)]
        history = model_versions.history(connection, TASK, 30)
        at = model_versions.published_at(connection, TASK)

    assert found == [*versions, None]
    assert [type(row) for row in listed] == [VersionRow, VersionRow]
    assert [(row.version, row.gate) for row in listed] == [("10", None), ("9", gate)]
    assert history == lines[::-1]
    assert at == NOON


def test_a_limit_takes_the_newest(database):
    tell(database, [version(number) for number in (1, 2, 3)], [line(number) for number in (1, 2, 3)])
    with database.connect() as connection:
        numbers = [row.number for row in model_versions.listed(connection, TASK, 2)]
        lines = [row.line for row in model_versions.history(connection, TASK, 1)]

    assert (numbers, lines) == ([3, 2], [3])


def test_what_is_not_in_the_next_picture_is_gone_and_another_task_keeps_its_own(database):
    tell(database, [version(1), version(2)], [line(1), line(2)])
    tell(database, [version(5)], [line(7)], task="other")
    tell(database, [version(2, aliases=["champion"])], [], at=NOON + timedelta(hours=1))
    with database.connect() as connection:
        ours = [(row.number, row.aliases) for row in model_versions.listed(connection, TASK, 30)]
        theirs = [row.number for row in model_versions.listed(connection, "other", 30)]
        lines = [len(model_versions.history(connection, task, 30)) for task in (TASK, "other")]
        times = [model_versions.published_at(connection, task) for task in (TASK, "other")]

    assert (ours, theirs, lines) == ([(2, ["champion"])], [5], [0, 1])
    assert times == [NOON + timedelta(hours=1), NOON]


def test_lines_that_are_not_told_stay_as_they_are(database):
    tell(database, [version(1)], [line(1), line(2)])
    tell(database, [version(1), version(2)], None)
    with database.connect() as connection:
        counts = len(model_versions.listed(connection, TASK, 30)), len(model_versions.history(connection, TASK, 30))

    assert counts == (2, 2)


def test_a_picture_older_than_what_is_there_changes_nothing(database):
    with database.begin() as connection:
        before = model_versions.edition(connection, TASK)
    tell(database, [version(1), version(2)], [line(1)])
    with database.begin() as connection:
        is_written = model_versions.replace(connection, TASK, before, NOON + timedelta(hours=1), [version(1)], [])
    with database.connect() as connection:
        numbers = [row.number for row in model_versions.listed(connection, TASK, 30)]
        at = model_versions.published_at(connection, TASK)

    assert not is_written
    assert (numbers, at) == ([2, 1], NOON)


def test_of_many_who_saw_the_same_edition_one_writes(database):
    written = []
    ready = threading.Barrier(6)

    def publish(number):
        ready.wait()
        with database.begin() as connection:
            if model_versions.replace(connection, TASK, 0, NOON, [version(number)], [line(number)]):
                written.append(number)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database.connect() as connection:
        numbers = [row.number for row in model_versions.listed(connection, TASK, 30)]
        edition = model_versions.edition(connection, TASK)

    assert len(written) == 1
    assert (numbers, edition) == (written, 1)
