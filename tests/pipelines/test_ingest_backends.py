"""What holds on SQLite and a folder holds on PostgreSQL and S3."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from model.store.objects import ObjectStore
from model.store.tables import Database
from pipelines.ingest.run import Options, Stores, ingest
from pipelines.ingest.sources import Source, UpdatedSince
from tests.pipelines.ingest_parts import IN_TURN, as_csv, catalogue, file_source, newest_snapshot, state_of
from tests.pipelines.shop_api import shop_api
from tests.real_parts import postgres_server, s3_server


@pytest.fixture(scope="module")
def servers():
    with postgres_server() as postgres, s3_server() as s3:
        yield postgres, s3


@pytest.fixture
def stores(servers, tmp_path):
    postgres, s3 = servers
    database = Database(postgres.new_database())
    database.upgrade()
    objects = ObjectStore(f"s3://{s3.new_bucket()}/below", options=s3.options)
    yield Stores(database, objects, tmp_path / "work", {})
    database.dispose()


@pytest.mark.slow
def test_a_file_is_kept_unchanged_and_refused(stores, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(as_csv(catalogue(20)), encoding="utf-8")
    kept, same = (ingest(file_source(path), stores, IN_TURN) for _ in range(2))
    path.write_text(as_csv(catalogue(20, title="")), encoding="utf-8")
    refused = ingest(file_source(path), stores, IN_TURN)

    assert [each.outcome for each in (kept, same, refused)] == ["kept", "unchanged", "refused"]
    assert newest_snapshot(stores).digest == kept.snapshot == same.snapshot == refused.snapshot
    assert len(stores.objects.get(f"catalogue/{kept.snapshot}.jsonl").splitlines()) == 20
    assert len(stores.objects.get(refused.quarantine).splitlines()) == 20


@pytest.mark.slow
def test_two_runs_on_two_machines_at_once_do_the_work_of_one(stores, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(as_csv(catalogue(50)), encoding="utf-8")
    barrier = threading.Barrier(2)

    def run(work):
        barrier.wait()
        machine = Stores(stores.database, stores.objects, tmp_path / work, {})
        return ingest(file_source(path), machine, IN_TURN)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, ("one", "two")))

    assert sorted(result.outcome for result in results) == ["kept", "unchanged"]
    assert [len(state_of(stores)[name]) for name in ("snapshots", "cursors", "ingests")] == [1, 1, 2]


@pytest.mark.slow
def test_changes_of_an_api_are_merged_into_a_snapshot_in_s3(stores):
    with shop_api() as api:
        api.items = [{"sku": f"A-{n}", "title": f"Länge {n}", "updated_at": f"2026-01-0{n + 1}"} for n in range(5)]
        where = f"{api.address}/products"
        since = UpdatedSince("updated_since", "updated_at")
        source = Source("shop", "c", "api", where, (), ("data", "products"), ("paging", "next"), updated_since=since)
        ingest(source, stores, Options(workers=1))
        api.items[0] |= {"title": "Neu", "updated_at": "2026-02-01"}
        merged = ingest(source, stores, Options(workers=1))

    lines = stores.objects.open_lines(f"catalogue/{merged.snapshot}.jsonl")
    assert [json.loads(line)["title"] for line in lines] == ["Neu", *(f"Länge {n}" for n in range(1, 5))]
