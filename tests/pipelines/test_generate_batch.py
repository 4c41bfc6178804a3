"""Batch generation with a fake writer: plans, parts, what bad input and broken stores come to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from model.product import Product
from model.store import creatives
from model.store.objects import ObjectStore, ObjectStoreDownError
from pipelines.settings import PipelineSettings
from pipelines.shard_results import collect, put_result
from pipelines.shard_writer import (
    PART_PRODUCTS,
    ShardWriter,
    WriterDownError,
    WriterSettings,
    require_same_program,
)
from pipelines.shards import (
    SHARDS_MAX,
    Orders,
    PlanError,
    make_plan,
    put_plan,
    read_plan,
    shard_of,
)
from pipelines.step import EXIT_REFUSED
from pipelines.steps import generate_batch
from tests.fakes import FakeWriter
from tests.pipelines.catalogues import SECOND, bowl, put_snapshot

ORDERS = Orders(("instagram", "x"), "plain", 2, 7, "b" * 64, "commit", "image", "3")
PRODUCTS = [bowl(f"Ceramic bowl {number}", f"SKU-{number}") for number in range(3 * PART_PRODUCTS + 1)]


class BatchWriter(FakeWriter):
    """Fails on titles with the word `broken`, dies at `dies_at`, and counts what it writes."""

    alive = True

    def __init__(self, dies_at=None):
        super().__init__()
        self.dies_at = dies_at
        self.written = Counter()

    def write(self, product, spec, *, voice, candidates, seed, interactive):
        assert not interactive
        if product.sku == self.dies_at:
            self.alive = False
            raise RuntimeError("the engine has gone")
        if "broken" in product.title:
            raise ValueError("secret words of the product")
        self.written[product.sku] += 1
        return super().write(product, spec, voice=voice, candidates=candidates, seed=seed)


@pytest.fixture
def settings(tmp_path):
    return PipelineSettings(database_url=f"sqlite:///{tmp_path}/adloom.db", objects_url=str(tmp_path / "objects"))


@pytest.fixture
def database(settings):
    database = settings.open_database()
    yield database
    database.dispose()


@pytest.fixture
def objects(settings):
    return settings.open_objects()


@pytest.fixture
def planned(database, objects):
    """Plans a catalogue, by default PRODUCTS in one shard."""

    def plan(products=PRODUCTS, shards=1, **changes):
        snapshot = put_snapshot(database, objects, products)
        made = make_plan(objects, snapshot, ORDERS, shards)
        put_plan(objects, made)
        return made

    return plan


@pytest.fixture
def shard_writer(database, objects):
    def make(plan, shard=0, writer=None, store=objects):
        return ShardWriter(plan, shard, database=database, objects=store, open_writer=lambda: writer or BatchWriter())

    return make


def lines(objects, key):
    return [json.loads(line) for line in objects.get(key).splitlines()]


def logged(objects):
    return Counter(line["creative_id"] for key in objects.list("generations/") for line in lines(objects, key))


def kept(database):
    with database.connect() as connection:
        return creatives.count(connection)


class FailingStore(ObjectStore):
    """Refuses every put of a key with `word` in it, as a full disk does."""

    def __init__(self, url, word):
        super().__init__(url)
        self.word = word

    def put(self, key, content):
        if self.word in key:
            raise ObjectStoreDownError("the object store cannot be used: No space left on device")
        super().put(key, content)


def test_a_shard_is_written_kept_and_logged_once(planned, shard_writer, objects, database):
    plan = planned()
    done = shard_writer(plan).run()
    again = shard_writer(plan, writer=None).run()
    found = lines(objects, plan.shard_key(0))
    ids = [creative["id"] for line in found for creative in line["creatives"]]

    assert (done.outcome, again.outcome) == ("written", "unchanged")
    assert [line["sku"] for line in found] == [product.sku for product in PRODUCTS]
    assert len(ids) == 2 * len(PRODUCTS) == kept(database)
    assert logged(objects) == Counter(ids)


@pytest.mark.parametrize("word", ["/parts/", "generations/", "shard-"])
def test_a_store_that_fails_anywhere_is_a_clear_error_and_the_next_run_goes_on(
    word, planned, shard_writer, objects, database, settings
):
    plan = planned()
    with pytest.raises(ObjectStoreDownError, match="No space left"):
        shard_writer(plan, store=FailingStore(settings.objects_url, word)).run()
    left = objects.list(plan.shard_key(0))
    shard_writer(plan).run()

    assert left == []
    assert kept(database) == 2 * len(PRODUCTS)
    assert set(logged(objects).values()) == {1}
    assert collect(objects, plan).is_whole


def test_a_worker_whose_engine_dies_goes_on_at_the_part_it_was_at(planned, shard_writer, objects):
    plan = planned()
    with pytest.raises(WriterDownError, match="run the shard again"):
        shard_writer(plan, writer=BatchWriter(dies_at=PRODUCTS[2 * PART_PRODUCTS].sku)).run()
    second = BatchWriter()
    done = shard_writer(plan, writer=second).run()

    assert done.resumed == 2 * PART_PRODUCTS
    assert sorted(second.written) == sorted(product.sku for product in PRODUCTS[2 * PART_PRODUCTS :])
    assert set(logged(objects).values()) == {1}


def test_two_workers_on_one_shard_leave_what_one_leaves(planned, shard_writer, objects, database):
    plan = planned()
    first = shard_writer(plan)
    second = shard_writer(plan)
    first._write_parts(lambda _: None)
    for key in objects.list(plan.parts_prefix(0)):  # as if the second had looked before the first had put any
        objects._place._root.joinpath(key).unlink()
    second.run()

    assert kept(database) == 2 * len(PRODUCTS)
    assert set(logged(objects).values()) == {1}


def test_a_product_that_cannot_be_written_is_recorded_and_the_rest_goes_on(planned, shard_writer, objects):
    plan = planned([bowl(), bowl("A broken one", "BAD"), bowl("Cup", "CUP")])
    shard_writer(plan).run()
    collected = collect(objects, plan)

    assert [line["state"] for line in lines(objects, plan.shard_key(0))] == ["done", "failed", "done"]
    assert collected.is_whole
    assert collected.document["failed"] == 1
    assert collected.document["errors"] == [{"sku": "BAD", "error": "could not be written (ValueError)"}]


def test_a_product_that_the_database_refuses_costs_itself_alone(planned, shard_writer, objects, database, monkeypatch):
    insert = creatives.insert

    def refuse(connection, rows):
        if any(row.sku == "BAD" for row in rows):
            raise sa.exc.DataError("statement with secrets", {}, Exception())
        insert(connection, rows)

    monkeypatch.setattr(creatives, "insert", refuse)
    plan = planned([bowl(), bowl("Bad one", "BAD"), bowl("Cup", "CUP")])
    shard_writer(plan).run()
    found = lines(objects, plan.shard_key(0))

    assert [line["error"] for line in found] == ["", "the database does not take it (DataError)", ""]
    assert kept(database) == 4 == sum(logged(objects).values())


def test_a_creative_that_was_kept_before_is_not_logged_again(planned, shard_writer, objects, database):
    products = PRODUCTS[:4]
    shard_writer(planned(products)).run()
    other = planned(products, shards=2)
    for shard in (0, 1):
        shard_writer(other, shard).run()

    assert kept(database) == 2 * len(products)
    assert set(logged(objects).values()) == {1}
    assert collect(objects, other).is_whole


def test_planning_the_same_again_finds_the_same_plan(planned, objects):
    first, again, other = planned(), planned(), planned(shards=2)

    assert first == again == read_plan(objects, first.key)
    assert other.id != first.id


def test_every_product_has_one_shard_whatever_the_order(planned):
    plan = planned(shards=8)
    counts = Counter(shard_of(product.sku, 8) for product in PRODUCTS)

    assert list(plan.shards) == [counts[shard] for shard in range(8)]
    assert shard_of("SKU-0", 8) == int(hashlib.sha256(b"SKU-0").hexdigest()[:16], 16) % 8


@pytest.mark.parametrize(("shards", "is_refused"), [(0, True), (1, False), (SHARDS_MAX, False), (SHARDS_MAX + 1, True)])
def test_the_number_of_shards_is_bounded(shards, is_refused, planned):
    if is_refused:
        with pytest.raises(PlanError, match="--shards must be"):
            planned(PRODUCTS[:1], shards)
    else:
        assert len(planned(PRODUCTS[:1], shards).shards) == shards


def test_a_shard_has_a_largest_size(planned, monkeypatch):
    monkeypatch.setattr("pipelines.shards.SHARD_PRODUCTS_MAX", 10)

    assert planned(PRODUCTS[:10]).shards == (10,)
    with pytest.raises(PlanError, match="ask for 2 shards or more"):
        planned(PRODUCTS[:11])


@pytest.mark.parametrize("shard", [-1, 1])
def test_a_shard_that_the_plan_has_not_is_refused(shard, planned, shard_writer):
    with pytest.raises(PlanError, match="shards 0 to 0"):
        shard_writer(planned(), shard)


def test_a_snapshot_with_a_sku_twice_or_a_broken_line_is_refused(planned, objects, database):
    with pytest.raises(PlanError, match="a sku twice"):
        planned([bowl(), bowl("Another bowl")])
    snapshot = put_snapshot(database, objects, [bowl()], at=SECOND)
    objects.put(snapshot.object_key, b'{"sku": "BOWL"\n')
    with pytest.raises(PlanError, match="no product"):
        make_plan(objects, snapshot, ORDERS, 1)


@pytest.mark.parametrize("key", ["", "plan.json", "batches/pl_x/plan.json", "../../etc/passwd"])
def test_what_is_no_key_of_a_plan_is_refused(key, objects):
    with pytest.raises(PlanError, match="--plan takes the key"):
        read_plan(objects, key)


def test_a_plan_that_is_not_there_or_is_damaged_is_refused(objects):
    key = f"batches/pl_{'0' * 32}/plan.json"
    with pytest.raises(PlanError, match="no such plan"):
        read_plan(objects, key)
    objects.put(key, b'{"form": 1, "id": "x"}')
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(objects, key)


@pytest.mark.parametrize(
    ("digest", "commit", "words"),
    [("c" * 64, "commit", "make a new plan, or put the plan's bundle back"), ("b" * 64, "other", "another version")],
)
def test_a_plan_for_another_bundle_or_program_is_refused(digest, commit, words, planned):
    settings = WriterSettings(git_commit=commit, image_digest="image", registry_version="3")
    with pytest.raises(PlanError, match=words):
        require_same_program(planned(), SimpleNamespace(digest=digest), settings)


def test_the_same_program_is_taken(planned):
    settings = WriterSettings(git_commit="commit", image_digest="image", registry_version="3")

    require_same_program(planned(), SimpleNamespace(digest="b" * 64), settings)


def test_collecting_names_what_is_missing_and_what_is_too_many(planned, shard_writer, objects):
    plan = planned(PRODUCTS[:8], shards=2)
    shard_writer(plan, 0).run()
    early = collect(objects, plan)
    shard_writer(plan, 1).run()
    whole = collect(objects, plan)
    made, again = put_result(objects, plan, whole.document), put_result(objects, plan, collect(objects, plan).document)
    content = objects.get(plan.shard_key(1))
    objects.put(plan.shard_key(1), content.splitlines(keepends=True)[0] * 2)
    spoilt = collect(objects, plan)

    assert early.missing_shards == (1,)
    assert early.missing == plan.shards[1]
    assert set(early.missing_shown) == {each.sku for each in PRODUCTS[:8] if shard_of(each.sku, 2) == 1}
    assert whole.is_whole
    assert (made, again) == (True, False)
    assert json.loads(objects.get(plan.result_key))["creatives"] == 16
    assert (spoilt.missing, spoilt.doubled, spoilt.is_whole) == (plan.shards[1] - 1, 1, False)


@pytest.fixture
def step_environment(settings, database, monkeypatch):
    monkeypatch.setenv("ADLOOM_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("ADLOOM_OBJECTS_URL", settings.objects_url)


@pytest.mark.usefixtures("step_environment")
def test_an_unknown_snapshot_and_another_clients_are_refused_alike(database, objects):
    snapshot = put_snapshot(database, objects, [bowl()], client="other")
    reasons = []
    for digest in (snapshot.digest, "0" * 64):
        with pytest.raises(PlanError) as refused:
            generate_batch.main(["plan", "--snapshot", digest, "--client", "shop"])
        reasons.append(str(refused.value).replace(digest, "D"))

    assert reasons == ["client shop has no snapshot D: ingest it first"] * 2


@pytest.mark.usefixtures("step_environment")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is no snapshot: ingest it first"),
        (["--client", "shop"], "client shop has no snapshot: ingest it first"),
        (["--snapshot", "0" * 64], "say whose snapshot it is"),
    ],
)
def test_a_plan_of_nothing_says_what_to_name(arguments, words):
    with pytest.raises(PlanError, match=words):
        generate_batch.main(["plan", *arguments])


@pytest.mark.usefixtures("step_environment")
def test_a_plan_takes_the_newest_snapshot_and_channels_in_one_word(database, objects, monkeypatch, capsys):
    monkeypatch.setattr(generate_batch, "open_bundle", lambda _folder: SimpleNamespace(digest="b" * 64))
    put_snapshot(database, objects, [bowl()])
    newest = put_snapshot(database, objects, [bowl("New bowl")], at=SECOND, client="other")
    plans = []
    for channels in (["instagram,x"], ["instagram", "x"], ["x instagram"]):
        assert generate_batch.main(["plan", "--shards", "2", "--channels", *channels]) == 0
        plans.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    plan = read_plan(objects, plans[0][0]["plan"])

    assert [shard["shard"] for shard in plans[0]] == [0, 1]
    assert (plan.client, plan.snapshot) == ("other", newest.digest)
    assert plans[0] == plans[1] != plans[2]
    with pytest.raises(PlanError, match="no channel tiktok: choose from"):
        generate_batch.main(["plan", "--channels", "tiktok"])


@pytest.mark.usefixtures("step_environment")
def test_collecting_too_early_is_refused_with_the_shards(planned, capsys):
    plan = planned(PRODUCTS[:8], shards=2)
    status = generate_batch.main(["collect", "--plan", plan.key])

    assert status == EXIT_REFUSED
    assert "shards 0, 1 are missing (8 products)" in capsys.readouterr().err


@pytest.mark.usefixtures("step_environment")
def test_a_batch_of_which_nothing_could_be_written_is_refused(planned, shard_writer, capsys):
    plan = planned([Product("A", "All broken"), Product("B", "As broken")])
    shard_writer(plan).run()

    assert generate_batch.main(["collect", "--plan", plan.key]) == EXIT_REFUSED
    assert "none of 2 products could be written; the first: A could not" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "33", "four"])
def test_candidates_are_bounded(value, capsys):
    with pytest.raises(SystemExit) as stopped:
        generate_batch.main(["plan", "--snapshot", "D", "--client", "shop", "--candidates", value])

    assert stopped.value.code == 2
    assert "--candidates" in capsys.readouterr().err
