"""A client's numbers: bounded by rows, the same on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from model.store import client_stats, creatives
from tests.model.store.rows import NOON, new_creative

MINUTE = timedelta(minutes=1)


def kept(database, count):
    """Creatives a minute apart, each with one finding; the even ones are on x."""
    document = {"findings": [{"kind": "repetition", "field": "body", "detail": ""}]}
    rows = [
        replace(
            new_creative(f"cr_{number}"),
            channel="x" if number % 2 == 0 else "instagram",
            validity=0.5,
            document=document,
            created_at=NOON + number * MINUTE,
        )
        for number in range(count)
    ]
    with database.begin() as connection:
        creatives.insert(connection, rows)


def test_a_row_of_the_first_moment_counts_and_one_before_it_does_not(database):
    kept(database, 4)
    with database.connect() as connection:
        found = client_stats.channel_counts(connection, "shop", NOON + 2 * MINUTE)

    assert [(each.channel, each.count, each.mean_validity) for each in found] == [("instagram", 1, 0.5), ("x", 1, 0.5)]


def test_of_more_rows_than_the_bound_the_newest_count(database):
    kept(database, 5)
    with database.connect() as connection:
        counted = client_stats.channel_counts(connection, "shop", NOON, rows_max=1)
        found = client_stats.findings(connection, "shop", NOON, documents_max=3)

    assert [(each.channel, each.count) for each in counted] == [("x", 1)]
    assert (found.creatives, found.by_kind) == (3, {"repetition": 3})


def test_a_client_without_rows_has_no_counts(database):
    with database.connect() as connection:
        counts = (client_stats.feedback_counts(connection, "shop", NOON),
                  client_stats.batch_counts(connection, "shop", NOON))  # fmt: skip

    assert counts == ({}, {})
