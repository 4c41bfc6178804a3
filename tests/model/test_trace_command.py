"""Trace: the chain around a creative, feedback, a batch, a version or a digest, upstream first."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from model import trace_command
from model.registry import Version
from model.store import creatives, feedback, pair_sets
from model.store.creatives import NewCreative
from model.store.feedback import FeedbackRow
from model.store.objects import ObjectStore
from model.store.pair_sets import PairSetRow
from model.store.tables import Database
from model.trace_command import TraceError, told, trace

BUNDLE, DATASET = "b" * 64, "d" * 64
CREATIVES = ("cr_" + "1" * 20, "cr_" + "2" * 20)
VERSIONS = [
    Version(1, (), "2026-01-01T00:00:00", "run-1", {"bundle": "a" * 64, "dataset": "e" * 64, "git_commit": "old"}),
    Version(
        2, ("champion",), "2026-02-01T00:00:00", "run-2", {"bundle": BUNDLE, "dataset": DATASET, "git_commit": "c"}
    ),
]


def new_creative(creative_id):
    passport = {"git_commit": "c0ffee", "image_digest": "sha256:9", "dataset_digest": DATASET, "product_digest": "p"}
    document = {"id": creative_id, "passport": passport}
    return NewCreative(
        "shop", creative_id, "S", "x", 1.0, BUNDLE, "p", document, {"title": "T"}, "ba_1", datetime.now(UTC)
    )


def new_set(set_id, dataset):
    return PairSetRow(
        set_id, "f" * 64, "shop", "used" if dataset else "waiting", "", dataset, accepted=12, refused=0, held_out=1,
        learnt=11, faults=(), created_at=datetime.now(UTC), used_at=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('trace')}/adloom.db"
    database = Database(url)
    database.upgrade()
    now = datetime.now(UTC)
    row = FeedbackRow(
        id="fb_1", client="shop", creative_id=CREATIVES[0], verdict="accept", edited=None, reason="", state="used",
        why="", holdout=False, dataset_digest=DATASET, run_id="run-3", served_version="3", created_at=now,
        updated_at=now,
    )  # fmt: skip
    with database.begin() as connection:
        creatives.insert(connection, [new_creative(creative_id) for creative_id in CREATIVES])
        feedback.insert(connection, row)
        for made in (new_set("ps_old", "e" * 64), new_set("ps_new", DATASET), new_set("ps_unused", "")):
            pair_sets.insert(connection, made)
    yield url, database
    database.dispose()


def chain(database, name):
    with database[1].connect() as connection:
        return trace(connection, VERSIONS, name)


@pytest.mark.parametrize("name", [CREATIVES[0], "fb_1"])
def test_a_creative_and_its_feedback_lead_up_to_the_commit_and_down_to_what_became_of_it(database, name):
    found = chain(database, name)

    assert (found["commit"], found["dataset"], found["image"]) == ("c0ffee", DATASET, "sha256:9")
    assert (found["runs"], found["bundles"]) == (["run-2"], [BUNDLE])
    assert found["versions"] == [{"version": 2, "aliases": ["champion"]}]
    assert found["creatives"] == {"count": 1, "newest": [CREATIVES[0]]}
    assert [row["run_id"] for row in found["feedback"]] == ["run-3"]


@pytest.mark.parametrize("name", ["v2", "2", BUNDLE, BUNDLE[:12], DATASET, "ba_1"])
def test_a_version_a_digest_and_a_batch_lead_down_to_their_creatives(database, name):
    found = chain(database, name)

    assert found["creatives"]["count"] == 2
    assert found["runs"] == ["run-2"]
    assert len(found["feedback"]) == 1


def test_a_version_without_creatives_has_an_empty_end(database):
    found = chain(database, "v1")

    assert found["creatives"] == {"count": 0, "newest": []}
    assert found["commit"] == "old"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ps_0", "no set of training pairs"),
        ("cr_" + "0" * 20, "no creative"),
        ("fb_0", "no feedback"),
        ("v9", "no version 9"),
        ("f" * 12, "no bundle and no dataset"),
        ("Robert'); DROP TABLE creatives", "neither"),
    ],
)
def test_what_is_not_there_is_named(database, name, said):
    with pytest.raises(TraceError, match=said):
        chain(database, name)


def test_the_text_says_every_link_and_a_dash_where_nothing_is_known(database):
    lines = told(chain(database, "v1")).splitlines()

    assert [line.split()[0] for line in lines] == [
        "commit", "image", "dataset", "pairs", "run", "model", "bundle", "request", "creative", "feedback",
    ]  # fmt: skip
    assert lines[1].split()[1] == "-"
    assert "adloom-writer version 1" in lines[5]


def test_the_command_works_without_a_registry_and_says_what_is_missing(database, tmp_path, capsys):
    arguments = [CREATIVES[1], "--database", database[0], "--registry", str(tmp_path / "none"), "--json"]

    assert trace_command.main(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["bundles"] == [BUNDLE]
    assert "no registry" in printed.err


def test_versions_of_the_registry_are_what_the_trace_expects():
    assert {field.name for field in dataclasses.fields(Version)} >= {"number", "aliases", "run_id", "tags"}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """With the manifest of the second version's dataset, which is made of an earlier set too."""
    store = ObjectStore(str(tmp_path_factory.mktemp("objects")))
    store.put(f"datasets/{DATASET}/manifest.json", json.dumps({"sets": ["ps_new", "ps_old"]}).encode())
    return store


@pytest.mark.parametrize("name", [CREATIVES[0], "v2", DATASET, "fb_1", BUNDLE[:12]])
def test_a_dataset_leads_up_to_the_sets_of_pairs_that_it_is_made_of(database, objects, name):
    with database[1].connect() as connection:
        found = trace(connection, VERSIONS, name, objects)
    without = chain(database, name)

    assert [each["id"] for each in found["sets"]] == ["ps_new", "ps_old"]
    assert [each["id"] for each in without["sets"]] == ["ps_new"]
    assert "ps_new 12 from shop (used); ps_old 12 from shop (used)" in told(found)


@pytest.mark.parametrize(
    ("name", "runs", "dataset"),
    [("ps_old", ["run-1", "run-2"], "e" * 64), ("ps_new", ["run-2"], DATASET), ("ps_unused", [], "")],
)
def test_a_set_of_pairs_leads_down_to_every_version_that_learnt_from_it(database, objects, name, runs, dataset):
    with database[1].connect() as connection:
        found = trace(connection, VERSIONS, name, objects)

    assert (found["runs"], found["dataset"]) == (runs, dataset)
    assert found["creatives"]["count"] == (2 if "run-2" in runs else 0)
    assert [each["id"] for each in found["sets"]] == [name]
    assert name in told(found)


def test_the_pipelines_keep_the_manifest_where_the_trace_looks(tmp_path):
    from model.trace_command import _sets_of
    from pipelines import datasets

    store = ObjectStore(str(tmp_path))
    made, _ = datasets.put(store, ["{}"], {"sets": ["ps_1"]})

    assert _sets_of(store, made.digest) == ["ps_1"]
