"""`adloom bundle` on the tiny model: built once, found again, verified, and clear about what is missing."""

import json
import shutil

import pytest

from model.bundle import MANIFEST, BundleError, open_bundle
from model.prompt import few_shot_prompt
from model.training import bundle_command
from model.training.build import greedy_agreement
from model.training.weights import Weights, WeightsError, load
from model.writer import open_writer


@pytest.fixture(scope="module")
def built(tiny_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    assert build(tiny_folder, root) == 0
    return root


def build(tiny_folder, root, *more):
    return bundle_command.main(["build", "--base", str(tiny_folder / "hub"), "--untuned", "--root", str(root), *more])


def test_the_bundle_is_whole_and_the_link_leads_to_it(built):
    bundle = open_bundle(built / "bundle")

    assert bundle.manifest.scheme == "int8-weight"
    assert 0 <= bundle.manifest.measured["greedy_agreement"] <= 1
    assert bundle.manifest.measured["bytes"] == sum(entry.bytes for entry in bundle.manifest.files.values())
    assert open_writer(built / "bundle", threads=1).bundle.digest == bundle.digest


def test_another_base_is_untuned_unless_an_adapter_is_named(built, tiny_folder):
    before = open_bundle(built / "bundle").digest
    bundle_command.main(["build", "--base", str(tiny_folder / "hub"), "--root", str(built)])

    assert open_bundle(built / "bundle").digest == before


def test_the_second_build_finds_the_first(built, tiny_folder, capsys):
    before = (built / "bundle" / MANIFEST).stat().st_mtime_ns
    build(tiny_folder, built)

    assert (built / "bundle" / MANIFEST).stat().st_mtime_ns == before
    assert "export" not in capsys.readouterr().err


def test_another_scheme_is_another_bundle_and_the_link_follows(built, tiny_folder):
    first = open_bundle(built / "bundle").digest
    build(tiny_folder, built, "--scheme", "fp32")
    second = open_bundle(built / "bundle")
    build(tiny_folder, built)

    assert second.manifest.scheme == "fp32"
    assert second.digest != first == open_bundle(built / "bundle").digest


def test_what_a_killed_build_left_behind_is_cleared_away(tiny_folder, tmp_path):
    stale = tmp_path / "bundles" / "building-old"
    stale.mkdir(parents=True)
    build(tiny_folder, tmp_path)

    assert not stale.exists()
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [(tmp_path / "bundle").resolve().name]


def test_a_folder_in_the_links_place_is_not_overwritten(tiny_folder, built, tmp_path):
    shutil.copytree(built / "bundles", tmp_path / "bundles")
    (tmp_path / "bundle").mkdir()

    with pytest.raises(BundleError, match="exists and is no link"):
        build(tiny_folder, tmp_path)


def test_verify_names_the_file_that_was_changed(built, tmp_path, capsys):
    folder = tmp_path / "bundle"
    shutil.copytree(built / "bundle", folder)
    assert bundle_command.main(["verify", str(folder)]) == 0
    assert "int8-weight" in capsys.readouterr().out

    (folder / "config.json").write_text("{}")
    with pytest.raises(BundleError, match=r"config\.json has 2 bytes"):
        bundle_command.main(["verify", str(folder)])


@pytest.mark.parametrize("base", ["absent/folder", "hub"])
def test_weights_that_cannot_be_loaded_are_named(base, tmp_path):
    (tmp_path / "hub").mkdir()

    with pytest.raises(WeightsError, match=r"cannot load weights from .*" + base):
        load(Weights(str(tmp_path / base)))


@pytest.mark.parametrize("content", [None, "", "{}", "[]"])
def test_an_adapter_folder_that_is_none_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "prompt.json").write_text(content)

    with pytest.raises(ValueError, match="is no adapter of ours"):
        bundle_command.main(["build", "--adapter", str(tmp_path), "--root", str(tmp_path / "root")])


def test_the_fused_graph_in_fp32_agrees_with_the_export_wholly_and_a_quantized_one_not(tiny_folder, tiny_fp32, built):
    export = tiny_folder / "fp32" / "model.onnx"
    shutil.copy(built / "bundle" / "tokenizer.json", tiny_fp32)

    assert greedy_agreement(export, tiny_fp32, few_shot_prompt()) == 1
    assert greedy_agreement(export, built / "bundle", few_shot_prompt()) < 1


def test_the_manifest_says_what_it_was_built_with(built):
    manifest = json.loads((built / "bundle" / MANIFEST).read_text())

    assert set(manifest["built_with"]) == {"torch", "transformers", "optimum", "onnxruntime"}
