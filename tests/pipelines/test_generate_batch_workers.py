"""A catalogue in 8 shards by 4 real worker processes on the tiny bundle, two of them killed with -9 in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from model.store import creatives
from pipelines.settings import PipelineSettings
from tests.model.conftest import tiny_bundle, tiny_folder  # noqa: F401 - fixtures
from tests.pipelines.catalogues import bowl, put_snapshot
from tests.real_parts import wait_until

pytestmark = pytest.mark.slow

SHARDS, WORKERS, PRODUCTS = 8, 4, 96
CALL = "import sys; from pipelines.steps.generate_batch import main; sys.exit(main(sys.argv[1:]))"
WORK = """
import pathlib, sys, time
import pipelines.shard_writer
from pipelines.steps.generate_batch import main
pipelines.shard_writer.PART_PRODUCTS = 2
halting, halted, plan, *shards = sys.argv[1:]
writer, calls = pipelines.shard_writer.ShardWriter, []
work = getattr(writer, halting, None)

def work_and_halt(*given):
    done = work(*given)
    calls.append(1)
    if len(calls) == 2:
        pathlib.Path(halted).touch()
        time.sleep(600)
    return done

if work is not None:
    setattr(writer, halting, work_and_halt)
for shard in shards:
    main(["run", "--plan", plan, "--shard", shard, "--writers", "1"])
"""
"""Small parts, so that a shard of a dozen products has a middle; who is to be killed halts in the second."""


@pytest.fixture
def settings(tmp_path):
    return PipelineSettings(database_url=f"sqlite:///{tmp_path}/adloom.db", objects_url=str(tmp_path / "objects"))


@pytest.fixture
def environment(settings, tiny_bundle):  # noqa: F811 - the fixture
    return {
        **os.environ,
        "ADLOOM_DATABASE_URL": settings.database_url,
        "ADLOOM_OBJECTS_URL": settings.objects_url,
        "ADLOOM_BUNDLE": str(tiny_bundle),
        "ADLOOM_THREADS": "1",
    }


def call(environment, *arguments):
    """The last line of what the step printed."""
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def worker(environment, plan, shards, log, halting="", halted=""):
    command = [sys.executable, "-c", WORK, halting, halted, plan, *map(str, shards)]
    with log.open("ab") as said:
        return subprocess.Popen(command, env=environment, stdout=said, stderr=said)


def shard_is_there(objects, plan, shard):
    return bool(objects.list(plan.replace("plan.json", f"shard-{shard}.jsonl")))


def killed_in_the_middle(process, halted):
    """The worker, ended with -9 where it halts."""
    wait_until(lambda: process.poll() is not None or halted.exists(), "a worker amid a shard", 300)
    assert process.poll() is None
    process.kill()
    return process.wait(60)


@pytest.mark.proof
def test_two_workers_killed_leave_every_sku_exactly_once(settings, environment, tmp_path):
    database, objects = settings.open_database(), settings.open_objects()
    products = [bowl(f"Ceramic bowl {number}", f"SKU-{number}") for number in range(PRODUCTS)]
    snapshot = put_snapshot(database, objects, products)
    planned = ["plan", "--snapshot", snapshot.digest, "--client", "shop", "--shards", str(SHARDS)]
    shards = call(environment, *planned, "--channels", "x", "--candidates", "1")
    plan, log = shards[0]["plan"], tmp_path / "workers.log"
    turns = [range(number, SHARDS, WORKERS) for number in range(WORKERS)]
    halted = {part: tmp_path / f"halted{part}" for part in ("_keep", "_log")}
    halting = [*halted.items(), ("", ""), ("", "")]
    workers = [worker(environment, plan, turn, log, *where) for turn, where in zip(turns, halting, strict=True)]
    try:
        killed = [killed_in_the_middle(each, file) for each, file in zip(workers[:2], halted.values(), strict=True)]
        ended = [each.wait(300) for each in workers[2:]]
    finally:
        for each in workers:
            each.kill()
            each.wait()
    missing = [shard for shard in range(SHARDS) if not shard_is_there(objects, plan, shard)]
    again = worker(environment, plan, missing, log)

    assert again.wait(300) == 0, log.read_text()
    result = call(environment, "collect", "--plan", plan)
    found = Counter(
        json.loads(line)["sku"]
        for shard in range(SHARDS)
        for line in objects.get(plan.replace("plan.json", f"shard-{shard}.jsonl")).splitlines()
    )
    logged = Counter(
        json.loads(line)["product"]["sku"]
        for key in objects.list("generations/")
        for line in objects.get(key).splitlines()
    )
    with database.connect() as connection:
        kept = creatives.count(connection, "shop")
    database.dispose()
    answers = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    resumed = sum(answer["resumed"] for answer in answers if answer["shard"] in missing)
    expected = Counter(product.sku for product in products)

    assert killed == [-signal.SIGKILL, -signal.SIGKILL]
    assert ended == [0, 0], log.read_text()
    assert len(missing) >= 2
    assert found == expected
    assert logged == expected
    assert kept == PRODUCTS == result["written"]
    assert resumed >= 2


def test_another_bundle_than_the_plans_is_refused_before_anything_is_written(settings, environment, tmp_path):
    database, objects = settings.open_database(), settings.open_objects()
    snapshot = put_snapshot(database, objects, [bowl()])
    database.dispose()
    planned = ["plan", "--snapshot", snapshot.digest, "--client", "shop", "--shards", "1", "--channels", "x"]
    [shard] = call(environment, *planned)
    command = [sys.executable, "-c", CALL, "run", "--plan", shard["plan"], "--shard", "0"]
    changed = {**environment, "ADLOOM_GIT_COMMIT": "another"}
    refused = subprocess.run(command, env=changed, capture_output=True, text=True, check=False, timeout=300)

    assert refused.returncode != 0
    assert "make a new plan" in refused.stderr
    assert objects.list("generations/") == []
