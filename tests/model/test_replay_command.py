"""Replay: the same bytes from the passport alone, and a clear word where something is missing or differs."""

import dataclasses
import json
import shutil
from datetime import UTC, datetime

import pytest

from model import replay_command
from model.channel import channel
from model.product import Product
from model.replay_command import ReplayError
from model.store import creatives
from model.store.creatives import NewCreative
from model.store.tables import Database
from model.writer import Provenance, open_writer

STOOL = Product(
    sku="ST-1", title="Beech step stool", description="Two steps, 42 cm high.", attributes=(("Colour", "oak"),)
)


@pytest.fixture(scope="module")
def written(tiny_bundle):
    writer = open_writer(tiny_bundle, threads=1, provenance=Provenance("abc", "sha256:1", "7"))
    ranked = writer.write(STOOL, channel("instagram"), voice="plain", candidates=3, seed=11)
    writer.close()
    return ranked


def kept(folder, creative, product=STOOL):
    url = f"sqlite:///{folder}/adloom.db"
    database = Database(url)
    database.upgrade()
    row = NewCreative(
        "shop", creative.id, creative.sku, creative.channel, creative.validity, creative.passport.bundle_digest,
        creative.passport.product_digest, creative.as_dict(), dataclasses.asdict(product), None, datetime.now(UTC),
    )  # fmt: skip
    with database.begin() as connection:
        creatives.insert(connection, [row])
    database.dispose()
    return url


def test_every_candidate_comes_back_byte_for_byte(tmp_path, written, tiny_bundle, capsys):
    for place, creative in enumerate(written):
        folder = tmp_path / str(place)
        folder.mkdir()
        url = kept(folder, creative)

        assert replay_command.main([creative.id, "--database", url, "--bundle", str(tiny_bundle)]) == 0
        assert f"{creative.id}: the same" in capsys.readouterr().out


def test_a_changed_word_is_shown_with_both_forms_and_the_status_is_1(tmp_path, written, tiny_bundle, capsys):
    first = written[0]
    changed = dataclasses.replace(first, copy=dataclasses.replace(first.copy, call_to_action="Buy two"))
    url = kept(tmp_path, changed)

    assert replay_command.main([first.id, "--database", url, "--bundle", str(tiny_bundle)]) == 1
    printed = capsys.readouterr()
    assert '"Buy two"' in printed.out
    assert json.dumps(first.copy.call_to_action, ensure_ascii=False) in printed.out
    assert "not the same" in printed.err


def test_a_missing_bundle_is_named_by_its_digest(tmp_path, written):
    url = kept(tmp_path, written[0])
    with pytest.raises(ReplayError, match=written[0].passport.bundle_digest):
        replay_command.main([written[0].id, "--database", url, "--bundle", str(tmp_path)])


def test_a_broken_bundle_beside_the_right_one_is_passed_over(tmp_path, written, tiny_bundle):
    url = kept(tmp_path, written[0])
    places = tmp_path / "bundles"
    shutil.copytree(tiny_bundle, places / "a-broken")
    (places / "a-broken" / "model.onnx").write_bytes(b"cut short")
    shutil.copytree(tiny_bundle, places / "b-whole")

    assert replay_command.main([written[0].id, "--database", url, "--bundle", str(places)]) == 0


def test_a_product_that_was_changed_is_noticed_before_anything_is_written(tmp_path, written, tiny_bundle):
    url = kept(tmp_path, written[0], dataclasses.replace(STOOL, title="Oak step stool"))
    with pytest.raises(ReplayError, match="product"):
        replay_command.main([written[0].id, "--database", url, "--bundle", str(tiny_bundle)])


def test_an_unknown_id_says_where_was_looked(tmp_path, written):
    url = kept(tmp_path, written[0])
    with pytest.raises(ReplayError, match="cr_00000000000000000000 is not in the database"):
        replay_command.main(["cr_00000000000000000000", "--database", url])


def test_a_file_of_generate_will_do_in_place_of_a_database(tmp_path, written, tiny_bundle, capsys):
    said = {name: value for name, value in dataclasses.asdict(STOOL).items() if name != "sku"}
    record = {**written[1].as_dict(), "product": said, "images": []}
    path = tmp_path / "creatives.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")

    assert replay_command.main([written[1].id, "--file", str(path), "--bundle", str(tiny_bundle)]) == 0
    assert "the same" in capsys.readouterr().out


def test_a_file_that_is_none_of_ours_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no JSON", encoding="utf-8")
    with pytest.raises(ReplayError, match=r"notes\.txt is no creatives\.jsonl"):
        replay_command.main(["cr_00000000000000000000", "--file", str(path)])
