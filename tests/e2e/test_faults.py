"""
What breaks under a running service, and what is left of what it acknowledged: counted before and after each fault.

Real processes, a real PostgreSQL, Redis and disk: `pytest -m proof -s tests/e2e/test_faults.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from model.store.tables import metadata
from tests.app.service_client import order
from tests.e2e.faults.load import Load, say, under_load
from tests.e2e.faults.running import GRACE_SECONDS, Service, Stores, new_stores, running
from tests.real_parts import postgres_server, redis_server, wait_until

pytestmark = pytest.mark.proof

SOME = 60
"""Enough of a thing to say that it goes on."""
PATIENCE_SECONDS = 180.0
"""On a machine that others use too; each of these takes seconds on a quiet one."""
MEBIBYTE = 2**20


def wait_for_more(counted: list[str], what: str, more: int = SOME) -> None:
    """Until `more` than now are in `counted`."""
    wanted = len(counted) + more
    wait_until(lambda: len(counted) >= wanted, f"{what}, {more} more", PATIENCE_SECONDS)


def wait_for_refusals(load: Load) -> None:
    wanted = load.refused.total() + SOME
    wait_until(lambda: load.refused.total() >= wanted, "refusals", PATIENCE_SECONDS)


@pytest.fixture
def sqlite(tmp_path: Path) -> Stores:
    return new_stores(f"sqlite:///{tmp_path}/database/adloom.db", tmp_path)


def test_postgres_stopped_and_started_again_under_load_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with postgres_server(fsync=True) as postgres:
        stores = new_stores(postgres.new_database(), tmp_path)
        with running(stores) as service, under_load(service) as load:
            wait_for_more(load.acknowledged, "creatives")
            ready, before = service.is_ready(), load.counts()
            postgres.stop()
            wait_for_refusals(load)
            while_down = (service.status("/readyz"), service.status("/healthz"), service.process.poll())
            refused = dict(load.refused)
            postgres.start()
            wait_until(service.is_ready, "readiness without a restart", PATIENCE_SECONDS)
            wait_for_more(load.acknowledged, "creatives after the fault")
        kept = stores.kept()
    say(f"before: {before}; after: {load.counts()}; kept {len(kept)}")

    assert ready
    assert while_down == (503, 200, None)
    assert set(refused) == {"store-unavailable"}
    assert load.unanswered == []
    assert len(set(load.acknowledged)) == len(load.acknowledged)
    assert set(load.acknowledged) <= kept


def test_an_unwritable_object_store_stops_no_creative_and_the_log_catches_up(sqlite: Stores) -> None:
    aside = sqlite.folder / "aside"
    with running(sqlite) as service:
        with under_load(service) as load:
            wait_for_more(load.acknowledged, "creatives")
            wait_until(lambda: bool(sqlite.logged()), "the first file of the log", PATIENCE_SECONDS)
            sqlite.objects.rename(aside)
            sqlite.objects.write_text("a file where the folder was: not even root can write below it", encoding="utf-8")
            wait_for_more(load.acknowledged, "creatives without an object store")
            wait_until(lambda: held_rows(service) >= SOME, "rows that wait in memory", PATIENCE_SECONDS)
            while_down, at_fault = service.status("/readyz"), list(load.acknowledged)
            sqlite.objects.unlink()
            aside.rename(sqlite.objects)
            wait_until(lambda: set(at_fault) <= set(sqlite.logged()), "the log to catch up", PATIENCE_SECONDS)
            wait_for_more(load.acknowledged, "creatives after the fault")
        wait_until(lambda: held_rows(service) == 0, "the last rows", PATIENCE_SECONDS)
    logged = sqlite.logged()
    say(f"acknowledged at the fault {len(at_fault)}; after: {load.counts()}; logged {len(logged)}")

    assert while_down == 200
    assert (dict(load.refused), load.unanswered) == ({}, [])
    assert sorted(logged) == sorted(load.acknowledged)


def held_rows(service: Service) -> int:
    """As the service itself tells it."""
    text = httpx.get(f"{service.address}/metrics", timeout=PATIENCE_SECONDS).text
    (line,) = (line for line in text.splitlines() if line.startswith("adloom_generation_log_held_rows "))
    return int(float(line.split()[-1]))


LIMIT = 40
"""Writes of one client in a day: no window ends within the test."""


def test_replicas_share_a_limit_count_for_themselves_without_redis_and_share_again(sqlite: Stores) -> None:
    secret = sqlite.add_limited("limited", f"{LIMIT}/day")
    with (
        redis_server() as redis,
        running(sqlite, "one", limits_url=redis.url) as one,
        running(sqlite, "two", limits_url=redis.url) as two,
        one.client(one.token_for("limited", secret)) as first,
        two.client(two.token_for("limited", secret)) as second,
        under_load(one) as load,
    ):
        shared = [write(first), write(second), write(first), write(second)]
        redis.stop()
        alone = [spend(first, LIMIT), spend(second, LIMIT)]
        ready = one.is_ready() and two.is_ready()
        redis.start()
        wait_until(lambda: write(first)[0] == 200, "Redis to count again", PATIENCE_SECONDS)
        wait_until(lambda: write(second)[0] == 200, "Redis to count again", PATIENCE_SECONDS)
        again = spend(first, LIMIT) + spend(second, LIMIT)
    say(f"with Redis {shared}; without: {alone} of {LIMIT} each; again with it: {again} for both; {load.counts()}")

    assert [left for _, left in shared] == [LIMIT - 1, LIMIT - 2, LIMIT - 3, LIMIT - 4]
    # Each goes on from what Redis said last: the first had heard of 3 requests, the second of 4.
    assert alone == [LIMIT - 3, LIMIT - 4]
    assert ready
    assert (dict(load.refused), load.unanswered) == ({}, [])
    assert again == LIMIT - 2  # each was let through once while we waited for it


def write(client: httpx.Client) -> tuple[int, int]:
    """Status of one request, and what is left of the limit."""
    answer = client.post("/v1/creatives", json=order(candidates=1))
    assert answer.status_code in {200, 429}, answer.text
    return answer.status_code, int(answer.headers["ratelimit-remaining"])


def spend(client: httpx.Client, tries_max: int) -> int:
    """How many are answered before the first that is refused."""
    for count in range(tries_max + 1):
        if write(client)[0] == 429:
            return count
    pytest.fail("no limit at all")


def test_a_full_disk_is_a_clear_503_loses_nothing_and_passes_when_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8 * MEBIBYTE) as disk:
        stores = new_stores(f"sqlite:///{disk}/adloom.db", tmp_path)
        with running(stores) as service, under_load(service) as load:
            wait_for_more(load.acknowledged, "creatives")
            ballast, before = disk / "ballast", load.counts()
            fill(ballast)
            wait_for_refusals(load)
            while_full = len(load.acknowledged)
            found = find_all(service, load.acknowledged[:while_full])
            alive = (service.status("/healthz"), service.process.poll())
            ballast.unlink()
            wait_for_more(load.acknowledged, "creatives after the fault")
        kept = stores.kept()
        ((sound,),) = stores.rows(sa.select(sa.text("* FROM pragma_integrity_check")))
    say(f"before: {before}; when full {while_full}; after: {load.counts()}; kept {len(kept)}")

    assert set(load.refused) == {"store-unavailable"}
    assert found == while_full
    assert alive == (200, None)
    assert load.unanswered == []
    assert set(load.acknowledged) <= kept
    assert sound == "ok"


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own, in memory. Skips where this user may not mount one."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("needs the right to mount a file system: run as root")
    options = ["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    mounted = subprocess.run([mount, *options], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a file system: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Take what is left of the disk."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def find_all(service: Service, ids: list[str]) -> int:
    """How many of these creatives the service finds."""
    with service.client() as client:
        return sum(client.get(f"/v1/creatives/{each}").status_code == 200 for each in ids)


def test_sigterm_under_load_drains_and_keeps_exactly_what_it_acknowledged(sqlite: Stores) -> None:
    with running(sqlite, writer_seconds=0.05) as service:
        with under_load(service) as load:
            wait_for_more(load.acknowledged, "creatives")
            before = load.counts()
            service.process.send_signal(signal.SIGTERM)
            status = service.process.wait(GRACE_SECONDS + 5)
            still_listening = is_listening(service)
        kept, logged = sqlite.kept(), sqlite.logged()
    say(f"before: {before}; after: {load.counts()}; kept {len(kept)}, logged {len(logged)}")

    assert status == 0
    assert not still_listening
    assert dict(load.refused) == {}
    assert kept == set(load.acknowledged)
    assert sorted(logged) == sorted(load.acknowledged)


def is_listening(service: Service) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", httpx.URL(service.address).port or 0)) == 0


PRODUCTS = 120
KILLED_AT = (20, 70)
"""Products that are finished when the process is killed, once and once more."""
WRITTEN_MAX = (40, 60)
"""What each of the two can write of them: neither ends the batch before it is killed."""


def test_a_process_killed_twice_in_a_batch_has_every_product_exactly_once(sqlite: Stores) -> None:
    products = [{"sku": f"ROW-{place}", "title": f"Bowl number {place}"} for place in range(PRODUCTS)]
    with running(sqlite, writer_seconds=0.03, batch_max=WRITTEN_MAX[0]) as service, service.client() as client:
        made = client.post("/v1/batches", json={"products": products, "channels": ["x"], "candidates": 1})
        batch_id: str = made.json()["id"]
        acknowledged = kill_under_load(service, batch_id, KILLED_AT[0])
    seen = [len(written_in(sqlite, batch_id))]
    with running(sqlite, writer_seconds=0.03, batch_max=WRITTEN_MAX[1]) as service:
        acknowledged += kill_under_load(service, batch_id, KILLED_AT[1])
    seen.append(len(written_in(sqlite, batch_id)))
    with running(sqlite) as service, service.client() as client:
        wait_until(lambda: finished(client, batch_id) == PRODUCTS, "the rest of the batch", PATIENCE_SECONDS)
        told = client.get(f"/v1/batches/{batch_id}").json()
        lines = client.get(f"/v1/batches/{batch_id}/results").text.splitlines()
    written = written_in(sqlite, batch_id)
    say(f"finished when killed: {seen}; at the end {len(written)} creatives of {PRODUCTS} products")

    assert all(0 < count < PRODUCTS for count in seen)
    assert (told["state"], told["written"], told["failed"], len(lines)) == ("done", PRODUCTS, 0, PRODUCTS)
    assert sorted(written) == sorted(product["sku"] for product in products)
    assert len(acknowledged) > 0
    assert set(acknowledged) <= sqlite.kept()


def kill_under_load(service: Service, batch_id: str, products: int) -> list[str]:
    """Kill it once it has finished so many products of the batch. Creatives that others were answered with by then."""
    with service.client() as client, under_load(service, f"LOAD-{products}") as load:
        wait_until(lambda: finished(client, batch_id) >= products, "the batch", PATIENCE_SECONDS)
        service.kill()
    return load.acknowledged


def finished(client: httpx.Client, batch_id: str) -> int:
    told = client.get(f"/v1/batches/{batch_id}").json()
    return int(told["written"]) + int(told["failed"])


def written_in(stores: Stores, batch_id: str) -> list[object]:
    """SKUs of the creatives that were kept for the batch."""
    table = metadata.tables["creatives"]
    return [row[0] for row in stores.rows(sa.select(table.c.sku).where(table.c.batch_id == batch_id))]
