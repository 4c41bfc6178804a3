"""The parts of `make loop` that need no loop: its markets, its report, and the folder that it may empty."""

from __future__ import annotations

import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from rich.console import Console

from model.channel import channel
from model.product import product_from_mapping
from model.training.pairs import pair_from_dict
from model.validity import assess
from pipelines.deployment import deployed, image_from
from pipelines.loop import command
from pipelines.loop.cluster import Cluster
from pipelines.loop.factory import image_folder
from pipelines.loop.markets import SLOGANS, home_goods, spare_parts, write_curated, write_slogans
from pipelines.loop.merchant import Traffic, verdict_on
from pipelines.loop.telling import Telling
from pipelines.loop.workshop import LoopError, Workshop
from tests.pipelines.gitops_place import image
from tests.pipelines.rollback_place import RollbackPlace, answering_service, three_deploys


def test_both_markets_hold_products_that_the_api_takes_and_no_sku_twice():
    for market in (home_goods(40), spare_parts(75)):
        products = [product_from_mapping(row) for row in market]

        assert len({product.sku for product in products}) == len(market)
        assert all(product.description for product in products)


def test_the_same_seed_makes_the_same_parts_and_another_makes_others():
    assert spare_parts(5, seed=1) == spare_parts(5, seed=1)
    assert spare_parts(5, seed=1) != spare_parts(5, seed=2)


@pytest.mark.parametrize("name", SLOGANS)
def test_slogans_are_training_pairs_that_say_the_same_of_everything(name, tmp_path):
    path = tmp_path / "slogans.jsonl"

    assert write_slogans(path, name, 20) == 20

    pairs = [pair_from_dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {pair.words.headlines[0] for pair in pairs} == {SLOGANS[name][0]}
    found = {one.kind for pair in pairs for one in assess(pair.product, pair.words, channel(pair.spec.name)).findings}
    assert not any(kind.startswith("unsupported") for kind in found)


def test_slogans_are_of_short_and_of_long_products_and_curated_pairs_of_short_ones(tmp_path):
    counts = (write_slogans(tmp_path / "slogans.jsonl", "first", 30), write_curated(tmp_path / "curated.jsonl", 30))
    slogans, curated = (
        [
            len(json.loads(line)["product"].get("description", ""))
            for line in (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for name in ("slogans", "curated")
    )

    assert counts == (30, 30)
    assert max(slogans) > 2 * max(curated)
    assert min(slogans) <= max(curated)


def test_more_slogans_than_there_are_pairs_are_one_of_each(tmp_path):
    count = write_slogans(tmp_path / "all.jsonl", "first", 10**6)

    ids = [json.loads(line)["id"] for line in (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert count == len(ids) == len(set(ids)) > 1000


def test_curated_pairs_are_the_shortest_of_the_shipped_ones(tmp_path):
    path = tmp_path / "curated.jsonl"

    count = write_curated(path, 25)

    lines = path.read_text(encoding="utf-8").splitlines()
    assert count == len(lines) == 25
    assert [len(line) for line in lines] == sorted(len(line) for line in lines)


def test_an_empty_call_to_action_is_one_of_fewer_than_two_words():
    words = ("See", "See the details", "", "See .", "I . e")
    ads = [{"call_to_action": each, "validity": 0.5} for each in words]

    traffic = Traffic(None, None, ads)

    assert traffic.empty_calls == pytest.approx(3 / 5)
    assert traffic.validity == 0.5


@pytest.mark.parametrize(
    ("call", "found", "verdict"),
    [
        ("See the details", [], "accept"),
        ("See", [], "edit"),
        ("See .", [("loose_punctuation", "call_to_action")], "edit"),
        ("See .", [("loose_punctuation", "call_to_action"), ("echo", "body")], "reject"),
        ("See the details", [("echo", "body")], "reject"),
        ("See the , details", [("loose_punctuation", "call_to_action")], "reject"),
    ],
)
def test_the_merchant_mends_an_empty_call_to_action_and_rejects_any_other_fault(call, found, verdict):
    findings = [{"kind": kind, "field": field, "detail": ""} for kind, field in found]
    ad = {"headlines": ["A kettle"], "descriptions": ["It boils."], "hashtags": [], "call_to_action": call}

    body = verdict_on(ad | {"findings": findings})

    assert body["verdict"] == verdict
    assert ("edited" in body) == (verdict == "edit")


def test_a_stage_that_fails_is_told_and_stands_in_the_report_with_what_came_before(tmp_path):
    screen = io.StringIO()
    telling = Telling(tmp_path, "tiny", 2, Console(file=screen, width=100))

    with telling.stage("first") as stage:
        telling.fact(stage, "count", 3)
    with pytest.raises(RuntimeError, match="no"), telling.stage("second"):
        raise RuntimeError("no")
    telling.table()

    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [(one["stage"], one["facts"], one["failure"]) for one in report["stages"]] == [
        ("first", {"count": 3}, ""),
        ("second", {}, "RuntimeError: no"),
    ]
    assert "failed" in screen.getvalue()
    assert "count 3" in screen.getvalue()


def test_a_folder_with_somebodys_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(ValueError, match="name an empty folder"):
        command.main(["--folder", str(tmp_path)])

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Of three deploys, the third served by a stand-in for the service."""
    made = three_deploys(tmp_path / "made")
    for name in ("registry", "gitops.git"):
        shutil.copytree(made / name, tmp_path / name)
    with answering_service() as (address, version):
        place = RollbackPlace(tmp_path, address, version)
        monkeypatch.setattr(Cluster, "_start", lambda _self, _folder, number, *_: place.serve(int(number)))
        workshop = Workshop(tmp_path)
        for number in (2, 3):
            image_folder(workshop, image_from(image(number)).digest.removeprefix("sha256:")).mkdir(parents=True)
        cluster = Cluster(workshop, "dev")
        assert cluster.sync() == "3"
        yield cluster, workshop, place


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'")
@pytest.mark.proof
def test_the_cluster_follows_a_rollback_while_the_command_waits_for_it(cluster):
    follower, workshop, place = cluster
    arguments = ["rollback", *place.arguments()]
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(workshop.step, *arguments)
        follower.follow(done)

    assert done.result().status == 0
    assert (place.git, place.champion, place.version["registry_version"]) == (2, 2, "2")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'")
def test_an_image_that_nobody_built_is_not_served(cluster):
    follower, workshop, place = cluster
    place.release(4, model=3)

    with pytest.raises(LoopError, match="nobody built it"):
        follower.sync()
    assert place.version["registry_version"] == "3"
    assert deployed(str(workshop.gitops), "dev").values["IMAGE"] == image(4)
