"""Whose turn it is: clients first, then the batches of each, and no item in two hands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from app.batch_rota import Held, Rota
from model.store.batches import BatchItem, BatchRow

NOW = datetime(2026, 1, 15, tzinfo=UTC)


def held(client: str, name: str, count: int = 0) -> Held:
    """A batch with `count` items at hand."""
    batch = Held(BatchRow(name, client, "running", {}, count, 0, 0, "inline", NOW, NOW, "host", NOW))
    if count:
        batch.take()
        batch.fetched([item(name, place) for place in range(count)])
    return batch


def item(name: str, place: int) -> BatchItem:
    return BatchItem(name, place, {}, "waiting", [], "", NOW)


def turns(rota: Rota, count: int) -> str:
    """The names of the batches that come next, an item each."""
    names = ""
    for _ in range(count):
        turn = rota.next_turn()
        assert turn is not None
        names += turn[0].row.id
    return names


def test_clients_take_turns_however_many_batches_they_have() -> None:
    rota = Rota()
    for batch in (held("shop", "a", 9), held("shop", "b", 9), held("shop", "c", 9), held("rival", "x", 9)):
        rota.add(batch)

    assert turns(rota, 12) == "xcxbxaxcxbxa"


def test_a_batch_without_items_at_hand_has_them_read_once() -> None:
    rota = Rota()
    batch = held("shop", "a")
    rota.add(batch)
    first, second = rota.next_turn(), rota.next_turn()
    batch.fetched([item("a", 0)])
    third, fourth = rota.next_turn(), rota.next_turn()

    assert first == (batch, None)
    assert second is None
    assert third == (batch, item("a", 0))
    assert fourth == (batch, None)


def test_what_is_in_hand_or_was_finished_while_it_was_read_is_not_taken_again() -> None:
    batch = held("shop", "a", 3)
    one, two, three = (batch.take() for _ in range(3))
    assert one is not None
    assert two is not None
    batch.take()
    batch.put_down(one, again=False)
    batch.put_down(two, again=True)
    batch.fetched([item("a", place) for place in range(4)])

    assert [batch.take(), batch.take(), batch.take()] == [two, item("a", 3), None]
    assert three == item("a", 2)


def test_a_batch_is_finished_when_nothing_waits_and_nothing_is_in_hand() -> None:
    batch = held("shop", "a", 1)
    last = batch.take()
    assert last is not None
    batch.take()
    batch.fetched([last])
    in_hand = (batch.is_finished, batch.has_turn)
    batch.put_down(last, again=False)
    put_down = (batch.is_finished, batch.has_turn)
    batch.take()
    batch.fetched([])

    assert in_hand == (False, False)
    assert put_down == (False, True)
    assert (batch.is_finished, batch.has_turn) == (True, False)


def test_a_batch_that_is_gone_has_no_turns_and_its_client_neither() -> None:
    rota = Rota()
    gone, stays = held("shop", "a", 9), held("rival", "x", 9)
    rota.add(gone)
    rota.add(stays)
    rota.remove(gone)
    rota.remove(gone)

    assert turns(rota, 3) == "xxx"
    assert rota.batches() == [stays]


def test_an_item_that_was_in_hand_when_a_process_ended_is_written_alone() -> None:
    rota = Rota()
    batch = held("shop", "a")
    rota.add(batch)
    assert rota.next_turn() == (batch, None)
    calm, suspect, other = item("a", 0), replace(item("a", 1), attempts=1), replace(item("a", 2), attempts=1)
    batch.fetched([calm, suspect, other])

    first, beside = rota.next_turn(), rota.next_turn()
    batch.put_down(calm, again=False)
    second, beside_suspect = rota.next_turn(), rota.next_turn()
    batch.put_down(suspect, again=False)
    third = rota.next_turn()

    assert (first, beside) == ((batch, calm), None)
    assert (second, beside_suspect) == ((batch, suspect), None)
    assert third == (batch, other)
