"""The feature store on its embedded parts: published snapshots, online and as they were."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("feast", reason="needs Feast: pip install 'adloom[pipelines]'")

import pandas as pd

from model.feature_rows import REFERENCES, product_from_row
from model.store import current_snapshots, snapshots
from pipelines.features import rows_command
from pipelines.features.publish import publish
from pipelines.features.server import EndsWhenBroken
from pipelines.features.store import FeatureStoreError, open_features
from pipelines.features.training import Asked, training_rows
from pipelines.settings import PipelineSettings
from pipelines.steps import publish_features
from tests.pipelines.catalogues import FIRST, SECOND, THIRD, bowl, put_snapshot

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Feast and Dask warn of their own insides
]


@pytest.fixture
def settings(tmp_path):
    return PipelineSettings(
        database_url=f"sqlite:///{tmp_path}/adloom.db",
        objects_url=str(tmp_path / "objects"),
        features=tmp_path / "features",
        root=tmp_path,
    )


@pytest.fixture
def stores(settings):
    database = settings.open_database()
    yield database, settings.open_objects()
    database.dispose()


@pytest.fixture
def run_step(settings, monkeypatch, capsys):
    """The step with these stores; gives the last line that it prints."""
    monkeypatch.setenv("ADLOOM_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("ADLOOM_OBJECTS_URL", settings.objects_url)
    monkeypatch.setenv("ADLOOM_FEATURES", str(settings.features))

    def run(*arguments):
        assert publish_features.main(arguments) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def online(store, client, sku):
    """The product as a request would get it; None where there is none."""
    found = store.get_online_features(features=list(REFERENCES), entity_rows=[{"client": client, "sku": sku}])
    row = {name: values[0] for name, values in found.to_dict().items()}
    return product_from_row(sku, row)


def published(store, stores):
    """Every snapshot there is, in order; the outcomes."""
    database, objects = stores
    with database.connect() as connection:
        history = current_snapshots.history(connection)
    return [publish(store, objects, each, history).outcome for each in history]


def test_a_published_product_comes_back_whole_and_to_its_own_client_alone(settings, stores):
    put_snapshot(*stores, [bowl()])
    put_snapshot(*stores, [bowl("Their bowl")], client="other")
    store = open_features(settings)
    published(store, stores)

    assert online(store, "shop", "BOWL") == bowl()
    assert online(store, "other", "BOWL") == bowl("Their bowl")
    assert online(store, "third", "BOWL") is None
    assert online(store, "shop", "VASE") is None


def test_a_snapshot_published_twice_changes_nothing(settings, stores, run_step):
    snapshot = put_snapshot(*stores, [bowl()])
    first = run_step("--snapshot", snapshot.digest)
    [key] = stores[1].list("features/products/")
    content = stores[1].get(key)
    second = run_step()

    assert first == {"outcome": "published", "snapshots": 1, "rows": 1, "gone": 0}
    assert second == {"outcome": "unchanged", "snapshots": 1, "rows": 0, "gone": 0}
    assert stores[1].get(key) == content
    assert run_step("--again")["rows"] == 1


def test_a_product_that_the_new_catalogue_lacks_is_gone(settings, stores):
    put_snapshot(*stores, [bowl(), bowl("Grey vase", "VASE")])
    put_snapshot(*stores, [bowl("Green ceramic bowl")], at=SECOND)
    store = open_features(settings)
    published(store, stores)

    assert online(store, "shop", "BOWL") == bowl("Green ceramic bowl")
    assert online(store, "shop", "VASE") is None


def test_a_second_source_of_a_client_keeps_the_products_of_the_first(settings, stores):
    put_snapshot(*stores, [bowl()], source="shop-de")
    put_snapshot(*stores, [bowl("Grey vase", "VASE")], at=SECOND, source="shop-uk")
    store = open_features(settings)
    published(store, stores)

    assert online(store, "shop", "BOWL") == bowl()
    assert online(store, "shop", "VASE") == bowl("Grey vase", "VASE")


def test_an_older_snapshot_goes_into_the_history_and_not_online(settings, stores, run_step):
    old = put_snapshot(*stores, [bowl("Old bowl")])
    new = put_snapshot(*stores, [bowl("New bowl")], at=SECOND)
    run_step("--snapshot", new.digest)
    late = run_step("--snapshot", old.digest)
    store = open_features(settings)

    assert late["outcome"] == "superseded"
    assert online(store, "shop", "BOWL").title == "New bowl"
    assert len(stores[1].list("features/products/")) == 2


def test_what_an_ended_run_left_online_is_gone_after_the_next_snapshot(settings, stores, monkeypatch):
    put_snapshot(*stores, [bowl()])
    put_snapshot(*stores, [bowl(), bowl("Grey vase", "VASE")], at=SECOND)
    put_snapshot(*stores, [bowl("Green ceramic bowl")], at=THIRD)
    database, objects = stores
    with database.connect() as connection:
        history = current_snapshots.history(connection)
    store = open_features(settings)
    publish(store, objects, history[0], history)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.features.publish._write_gone", _die)
        with pytest.raises(KeyboardInterrupt):
            publish(store, objects, history[1], history)
    left = online(store, "shop", "VASE")
    publish(store, objects, history[2], history)

    assert left == bowl("Grey vase", "VASE")
    assert online(store, "shop", "VASE") is None
    assert online(store, "shop", "BOWL") == bowl("Green ceramic bowl")


def _die(*_):
    raise KeyboardInterrupt


def test_a_label_sees_the_text_of_its_own_time(settings, stores):
    put_snapshot(*stores, [bowl("Old bowl"), bowl("Grey vase", "VASE")])
    put_snapshot(*stores, [bowl("New bowl")], at=SECOND)
    store = open_features(settings)
    published(store, stores)
    hour = timedelta(hours=1)
    rows = training_rows(
        store,
        stores[1],
        settings,
        [
            Asked("shop", "BOWL", SECOND + hour),
            Asked("shop", "BOWL", SECOND - hour),
            Asked("shop", "BOWL", SECOND),
            Asked("shop", "BOWL", FIRST - hour),
            Asked("shop", "VASE", SECOND - hour),
            Asked("shop", "VASE", SECOND + hour),
            Asked("other", "BOWL", SECOND),
        ],
    )

    assert list(rows["title"]) == ["New bowl", "Old bowl", "New bowl", None, "Grey vase", None, None]
    assert list(rows["digest"])[:2] == [bowl("New bowl").digest(), bowl("Old bowl").digest()]


def test_history_without_a_snapshot_or_a_label_is_empty(settings, stores):
    store = open_features(settings)
    without = training_rows(store, stores[1], settings, [Asked("shop", "BOWL", FIRST)])

    assert list(without["title"]) == [None]
    assert len(training_rows(store, stores[1], settings, [])) == 0


def test_a_label_without_a_zone_is_refused(settings, stores):
    asked = [Asked("shop", "BOWL", datetime(2026, 3, 1, tzinfo=UTC).replace(tzinfo=None))]

    with pytest.raises(ValueError, match="needs a zone"):
        training_rows(open_features(settings), stores[1], settings, asked)


def test_the_command_writes_rows_as_they_were_for_a_file_of_labels(settings, stores, run_step, tmp_path, capsys):
    put_snapshot(*stores, [bowl("Old bowl")], at=FIRST)
    put_snapshot(*stores, [bowl("New bowl")], at=SECOND)
    run_step()
    published(open_features(settings), stores)
    labels, out = tmp_path / "labels.csv", tmp_path / "rows.parquet"
    times = (SECOND - timedelta(hours=1), SECOND, FIRST - timedelta(hours=1))
    labels.write_text("client,sku,time\n" + "".join(f"shop,BOWL,{time.isoformat()}\n" for time in times))

    assert rows_command.main([str(labels), "--out", str(out)]) == 0

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == {"rows": 3, "known": 2, "file": str(out)}
    assert pd.read_parquet(out)["title"].fillna("").tolist() == ["Old bowl", "New bowl", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("client,sku\nshop,BOWL\n", "no column time"),
        ("client,sku,time\nshop,BOWL,soon\n", "line 2: 'soon' is no time"),
        ("client,sku,time\nshop,BOWL,2026-03-01T06:00\n", "line 2: the time has no zone"),
    ],
)
def test_a_file_of_labels_that_says_too_little_is_refused_by_line(text, said, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text(text)

    with pytest.raises(ValueError, match=said):
        rows_command.main([str(labels), "--out", str(tmp_path / "rows.parquet")])


def test_an_unknown_snapshot_is_refused_and_none_at_all_is_no_error(settings, stores, run_step):
    with pytest.raises(ValueError, match="there is no snapshot 000"):
        publish_features.main(["--snapshot", "0" * 64])

    assert run_step()["outcome"] == "unchanged"


def test_a_registry_that_was_cut_short_is_made_again(settings, stores):
    put_snapshot(*stores, [bowl()])
    published(open_features(settings), stores)
    registry = settings.features / "registry.db"
    registry.write_bytes(registry.read_bytes()[:100])

    assert online(open_features(settings), "shop", "BOWL") == bowl()


def test_opening_the_store_again_leaves_its_registry_alone(settings):
    open_features(settings)
    registry = settings.features / "registry.db"
    before = registry.read_bytes()
    open_features(settings)

    assert registry.read_bytes() == before


def test_a_folder_that_cannot_be_used_is_a_clear_error(settings, tmp_path):
    (tmp_path / "features").write_text("a file")

    with pytest.raises(FeatureStoreError, match="the feature store cannot be used"):
        open_features(settings)


def test_a_catalogue_that_comes_back_is_the_newest_again_and_history_keeps_both_times(settings, stores):
    database, objects = stores
    first = put_snapshot(database, objects, [bowl("Summer bowl")])
    put_snapshot(database, objects, [bowl("Winter bowl")], at=SECOND)
    store = open_features(settings)
    published(store, stores)
    with database.begin() as connection:
        snapshots.renew(connection, "shop", first.digest, THIRD)
    outcomes = published(store, stores)
    hour = timedelta(hours=1)
    asked = [Asked("shop", "BOWL", at + hour) for at in (FIRST, SECOND, THIRD)]

    assert outcomes == ["unchanged", "published"]
    assert online(store, "shop", "BOWL").title == "Summer bowl"
    assert list(training_rows(store, objects, settings, asked)["title"]) == [
        "Summer bowl",
        "Winter bowl",
        "Summer bowl",
    ]


@pytest.mark.parametrize(
    ("statuses", "is_broken"), [([500] * 4, False), ([500] * 4 + [200] + [500] * 4, False), ([500] * 5, True)]
)
def test_a_feature_server_ends_after_failures_in_a_row(statuses, is_broken):
    ended, sent, given = [], [], iter(statuses)

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": next(given)})

    async def send(message):
        sent.append(message["status"])

    async def serve(guarded):
        for _ in statuses:
            await guarded({"path": "/get-online-features"}, None, send)

    guarded = EndsWhenBroken(app)
    guarded.end = lambda: ended.append(True)
    asyncio.run(serve(guarded))

    assert (bool(ended), guarded.is_broken) == (is_broken, is_broken)
    assert sent == statuses
