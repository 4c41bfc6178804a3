"""Clients, creatives, feedback, snapshots and idempotency keys, each on both databases."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from model.store import clients, creatives, feedback, idempotency, snapshots
from model.store.clients import ClientExistsError
from model.store.creatives import KeptCreative
from model.store.idempotency import Answer, KeyBusyError, KeyReusedError
from model.store.snapshots import Snapshot
from tests.model.store.rows import NOON, new_client, new_creative, new_feedback

MINUTE = timedelta(minutes=1)


@pytest.fixture
def connection(database):
    with database.begin() as connection:
        yield connection


def begin(connection, *, key="k", body="b", operation="writeCreatives", client="shop", now=NOON):
    return idempotency.begin(connection, client, key, operation, body, now=now, lapsed_before=now - 2 * MINUTE)


def test_a_client_comes_back_as_it_was_registered(connection):
    client = new_client(limits={"writeCreatives": "60/minute"}, scopes=frozenset({"models:admin"}))
    clients.insert(connection, client)

    assert clients.find(connection, "shop") == client
    assert clients.find(connection, "Shop") is None


def test_a_name_is_given_once_even_after_its_client_was_revoked(connection):
    clients.insert(connection, new_client())
    clients.revoke(connection, "shop", NOON)

    with pytest.raises(ClientExistsError, match="another name"):
        clients.insert(connection, new_client(secret_hash="other"))
    assert clients.find(connection, "shop").secret_hash == new_client().secret_hash


def test_clients_are_listed_by_name(connection):
    for name in ("b", "c", "a"):
        clients.insert(connection, new_client(name))

    assert [client.name for client in clients.listed(connection)] == ["a", "b", "c"]


def test_the_first_revocation_stands(connection):
    clients.insert(connection, new_client())
    answers = [
        clients.revoke(connection, name, NOON + at * MINUTE) for at, name in enumerate(["shop", "shop", "nobody"])
    ]

    assert answers == [True, False, False]
    assert clients.find(connection, "shop").revoked_at == NOON


def test_a_new_secret_has_its_time_and_a_revoked_client_gets_none(connection):
    clients.insert(connection, new_client())
    rotated = clients.rotate(connection, "shop", "new", NOON + MINUTE)
    found = clients.find(connection, "shop")
    clients.revoke(connection, "shop", NOON)

    assert rotated
    assert (found.secret_hash, found.secret_at) == ("new", NOON + MINUTE)
    assert not clients.rotate(connection, "shop", "newer", NOON)
    assert not clients.rotate(connection, "nobody", "newer", NOON)


def test_a_creative_comes_back_with_its_product(connection):
    new = new_creative(batch_id="ba_1")
    creatives.insert(connection, [new])

    assert creatives.find(connection, "shop", "cr_1") == KeptCreative("shop", new.document, new.product, "ba_1", NOON)


def test_the_same_content_of_two_clients_is_kept_for_each_and_shown_to_no_other(connection):
    creatives.insert(connection, [new_creative(client="one"), new_creative(client="two")])

    assert creatives.find(connection, "one", "cr_1").client == "one"
    assert creatives.find(connection, "two", "cr_1").client == "two"
    assert creatives.find(connection, "three", "cr_1") is None


def test_a_creative_that_is_written_again_stays_as_it_was(connection):
    creatives.insert(connection, [new_creative()])
    creatives.insert(connection, [new_creative(created_at=NOON + MINUTE), new_creative("cr_2")])
    creatives.insert(connection, [])

    assert creatives.find(connection, "shop", "cr_1").created_at == NOON
    assert (creatives.count(connection), creatives.count(connection, "other")) == (2, 0)


def test_many_creatives_are_found_by_id_and_only_the_clients_own(connection):
    creatives.insert(connection, [new_creative(f"cr_{number}") for number in range(3)])
    creatives.insert(connection, [new_creative("cr_other", client="other")])
    found = creatives.find_many(connection, "shop", ["cr_2", "cr_0", "cr_other", "cr_none"])

    assert sorted(found) == ["cr_0", "cr_2"]
    assert found["cr_2"].document["id"] == "cr_2"
    assert creatives.find_many(connection, "shop", []) == {}


@pytest.mark.parametrize("nasty", ["'; DROP TABLE creatives; --", "%", "cr_1' OR '1'='1", "\\", "日本\u2028"])
def test_text_is_data_and_never_sql(connection, nasty):
    creatives.insert(connection, [new_creative(), new_creative(nasty, sku=nasty)])

    assert creatives.find(connection, "shop", nasty).document["id"] == nasty
    assert creatives.find(connection, nasty, "cr_1") is None
    assert creatives.count(connection) == 2


def test_feedback_comes_back_as_it_was_given_and_only_to_its_client(connection):
    creatives.insert(connection, [new_creative()])
    row = new_feedback(verdict="edit", edited={"headlines": ["Schüssel"]}, reason="too long", holdout=True)
    feedback.insert(connection, row)

    assert feedback.find(connection, "shop", "fb_1") == row
    assert feedback.find(connection, "other", "fb_1") is None
    assert feedback.of_creative(connection, "cr_1") == [row]


def test_one_verdict_waits_at_a_time_and_the_next_may_wait_when_it_was_used(connection):
    creatives.insert(connection, [new_creative()])
    first = new_feedback()
    feedback.insert(connection, first)
    with pytest.raises(IntegrityError), connection.begin_nested():
        feedback.insert(connection, new_feedback("fb_2"))
    feedback.use(connection, [first], "d", at=NOON)
    feedback.insert(connection, new_feedback("fb_3"))

    assert [(row.id, row.state) for row in feedback.of_creative(connection, "cr_1")] == [
        ("fb_1", "used"),
        ("fb_3", "waiting"),
    ]


def test_a_later_verdict_replaces_the_one_that_waits_and_no_other(connection):
    creatives.insert(connection, [new_creative()])
    feedback.insert(connection, new_feedback())
    later = replace(new_feedback(verdict="reject", reason="wrong colour"), updated_at=NOON + MINUTE)
    replaced = feedback.replace(connection, later)
    feedback.exclude(connection, [later], "instructions in it", at=NOON)

    assert replaced
    assert feedback.find(connection, "shop", "fb_1").reason == "wrong colour"
    assert not feedback.replace(connection, new_feedback())
    assert not feedback.replace(connection, replace(later, client="other"))


def test_what_became_of_feedback_is_added_step_by_step(connection):
    creatives.insert(connection, [new_creative()])
    given = new_feedback()
    feedback.insert(connection, given)
    used = feedback.use(connection, [given, new_feedback("fb_none")], "d" * 64, at=NOON)
    served = feedback.serve(connection, ["fb_1", "fb_none"], "run", "7", at=NOON + MINUTE)
    row = feedback.find(connection, "shop", "fb_1")

    assert (used, served) == (1, 1)
    assert (row.state, row.dataset_digest, row.run_id, row.served_version) == ("used", "d" * 64, "run", "7")
    assert row.updated_at == NOON + MINUTE


def test_feedback_is_counted_by_client_from_a_time_on(connection):
    creatives.insert(connection, [new_creative(f"cr_{number}") for number in range(3)])
    for number in range(3):
        feedback.insert(connection, new_feedback(f"fb_{number}", f"cr_{number}", created_at=NOON + number * MINUTE))

    assert feedback.count_since(connection, "shop", NOON + MINUTE) == 2
    assert feedback.count_since(connection, "shop", NOON + 2 * MINUTE + timedelta(microseconds=1)) == 0
    assert feedback.count_since(connection, "other", NOON) == 0


def test_a_snapshot_is_kept_once_a_client_and_the_newest_is_known(connection):
    first = Snapshot("d1", "shop", 12, 1, "catalogue/d1.jsonl", NOON)
    answers = [
        snapshots.insert(connection, row)
        for row in (first, replace(first, rows=99), replace(first, client="other"), replace(first, digest="d2"))
    ]
    snapshots.insert(connection, Snapshot("d3", "other", 5, 0, "catalogue/d3.jsonl", NOON + MINUTE))

    assert answers == [True, False, True, True]
    assert snapshots.find(connection, "shop", "d1") == first
    assert snapshots.find(connection, "shop", "d3") is None
    assert snapshots.newest(connection).digest == "d3"


def test_there_is_no_newest_snapshot_before_the_first(connection):
    assert snapshots.newest(connection) is None


def test_a_key_gives_the_first_answer_again(connection):
    begun = begin(connection)
    idempotency.finish(connection, "shop", "k", 201, '{"id": "ä"}')

    assert begun == "new"
    assert begin(connection) == Answer(201, '{"id": "ä"}')


def test_keys_are_each_clients_own(connection):
    assert begin(connection) == "new"
    assert begin(connection, client="other") == "new"


@pytest.mark.parametrize("other", [{"body": "x"}, {"operation": "createBatch"}])
@pytest.mark.parametrize("is_done", [False, True])
def test_a_key_of_another_request_is_refused(connection, other, is_done):
    begin(connection)
    if is_done:
        idempotency.finish(connection, "shop", "k", 201, "{}")

    with pytest.raises(KeyReusedError):
        begin(connection, **other)


def test_a_key_at_work_is_refused_until_its_claim_has_lapsed(connection):
    begin(connection)
    with pytest.raises(KeyBusyError):
        begin(connection, now=NOON + 2 * MINUTE)

    assert begin(connection, now=NOON + 2 * MINUTE + timedelta(microseconds=1)) == "new"
    with pytest.raises(KeyBusyError):
        begin(connection, now=NOON + 3 * MINUTE)


def test_a_key_given_back_is_free_and_an_answer_is_not_given_back(connection):
    begin(connection)
    idempotency.forget(connection, "shop", "k")
    again = begin(connection, body="other")
    idempotency.finish(connection, "shop", "k", 200, "{}")
    idempotency.forget(connection, "shop", "k")

    assert again == "new"
    assert begin(connection, body="other") == Answer(200, "{}")


def test_old_keys_are_purged_and_younger_ones_stay(connection):
    begin(connection, key="old")
    begin(connection, key="young", now=NOON + MINUTE)

    assert idempotency.purge(connection, NOON + MINUTE) == 1
    assert begin(connection, key="old") == "new"
    with pytest.raises(KeyBusyError):
        begin(connection, key="young", now=NOON + MINUTE)


def test_of_two_replicas_that_get_a_key_at_once_one_works(database):
    at_once, outcomes = threading.Barrier(4, timeout=60), []

    def claim():
        at_once.wait()
        try:
            with database.begin() as connection:
                outcomes.append(begin(connection))
        except KeyBusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(outcomes) == ["busy", "busy", "busy", "new"]
