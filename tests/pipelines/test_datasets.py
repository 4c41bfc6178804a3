"""Datasets and runs in the object store: named by content, whole or not there, and refused where they were changed."""

from __future__ import annotations

import hashlib
import json

import pytest

from model.store.objects import ObjectStoreDownError
from pipelines import datasets, run_files
from pipelines.datasets import DatasetError

LINES = ["one", "zwei 🥣", "drei\u2028vier"]


class CutOff:
    """A store that goes away after so many puts."""

    def __init__(self, objects, puts):
        self._objects, self._left = objects, puts

    def __getattr__(self, name):
        return getattr(self._objects, name)

    def put(self, key, content):
        if not self._left:
            raise ObjectStoreDownError("the object store cannot be used")
        self._left -= 1
        self._objects.put(key, content)

    def put_file(self, key, path):
        self.put(key, path.read_bytes())


def test_a_dataset_is_named_by_its_file_and_comes_back_as_it_was(stores, tmp_path):
    _, objects = stores
    made, is_new = datasets.put(objects, LINES, {"task": "ad_writer"})
    datasets.fetch(objects, made.digest, tmp_path / "below" / "pairs.jsonl")
    content = (tmp_path / "below/pairs.jsonl").read_bytes()

    assert is_new
    assert content == "".join(f"{line}\n" for line in LINES).encode()
    assert made.digest == hashlib.sha256(content).hexdigest()
    assert made.manifest == {"digest": made.digest, "lines": 3, "task": "ad_writer"}
    assert datasets.find(objects, made.digest) == made


def test_the_same_lines_again_make_nothing_new_and_another_order_does(stores):
    _, objects = stores
    made, _ = datasets.put(objects, LINES, {})

    assert datasets.put(objects, LINES, {}) == (made, False)
    assert datasets.put(objects, LINES[::-1], {})[0].digest != made.digest


def test_a_dataset_that_was_cut_off_is_not_there_until_it_is_put_again(stores):
    _, objects = stores
    digest = hashlib.sha256(b"one\n").hexdigest()
    with pytest.raises(ObjectStoreDownError):
        datasets.put(CutOff(objects, 1), ["one"], {})

    assert datasets.find(objects, digest) is None
    assert datasets.put(objects, ["one"], {})[1]
    assert datasets.find(objects, digest).lines == 1


def test_a_missing_and_a_changed_dataset_are_refused_with_what_to_do(stores, tmp_path):
    _, objects = stores
    made, _ = datasets.put(objects, LINES, {})
    objects.put(f"datasets/{made.digest}/pairs.jsonl", b"one\n")

    with pytest.raises(DatasetError, match="was changed in the object store; restore it, or build another"):
        datasets.fetch(objects, made.digest, tmp_path / "pairs.jsonl")
    with pytest.raises(DatasetError, match=f"no dataset {'0' * 64}; make it with `adloom build-dataset`"):
        datasets.fetch(objects, "0" * 64, tmp_path / "pairs.jsonl")
    assert not (tmp_path / "pairs.jsonl").exists()


def left_by_a_run(folder):
    for name in ("model/weights", "model/config.json", "metrics.jsonl", "checkpoint.pt", ".lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_run_travels_whole_without_its_checkpoint(stores, tmp_path):
    _, objects = stores
    kept = run_files.put(objects, "0a", left_by_a_run(tmp_path / "made"), {"kind": "model"})
    record = run_files.fetch(objects, "0a", tmp_path / "fetched")
    names = sorted(p.relative_to(tmp_path / "fetched").as_posix() for p in (tmp_path / "fetched").rglob("*.*"))

    assert record == kept == run_files.finished(objects, "0a")
    assert sorted(record["files"]) == ["metrics.jsonl", "model/config.json", "model/weights"]
    assert names == ["metrics.jsonl", "model/config.json"]
    assert (tmp_path / "fetched/model/weights").read_text() == "model/weights"


def test_a_run_that_was_cut_off_is_not_finished(stores, tmp_path):
    _, objects = stores
    folder = left_by_a_run(tmp_path / "made")
    with pytest.raises(ObjectStoreDownError):
        run_files.put(CutOff(objects, 3), "0a", folder, {})

    assert run_files.finished(objects, "0a") is None
    with pytest.raises(ValueError, match="no finished run 0a; make it with `adloom train-candidate`"):
        run_files.fetch(objects, "0a", tmp_path / "fetched")
    assert run_files.put(objects, "0a", folder, {})["files"]


def test_a_file_that_lies_there_is_mended_and_one_that_was_changed_in_the_store_is_refused(stores, tmp_path):
    _, objects = stores
    run_files.put(objects, "0a", left_by_a_run(tmp_path / "made"), {})
    run_files.fetch(objects, "0a", tmp_path / "fetched")
    (tmp_path / "fetched/model/weights").write_text("half")
    run_files.fetch(objects, "0a", tmp_path / "fetched")
    mended = (tmp_path / "fetched/model/weights").read_text()
    objects.put("runs/0a/files/metrics.jsonl", json.dumps({"loss": 0}).encode())

    assert mended == "model/weights"
    assert run_files.fetch(objects, "0a", tmp_path / "fetched")  # ours are the right ones
    with pytest.raises(ValueError, match=r"metrics\.jsonl of run 0a is gone from the object store, or was changed"):
        run_files.fetch(objects, "0a", tmp_path / "elsewhere")
