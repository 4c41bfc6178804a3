"""A bundle is opened whole and unaltered, or refused with the name of the file at fault."""

import json
import shutil

import pytest

from model.bundle import FILES, MANIFEST, BundleError, open_bundle, seal


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    copied = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, copied)
    return copied


def edit_manifest(folder, **changes):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_untouched_bundle_opens(folder):
    bundle = open_bundle(folder)

    assert set(FILES) <= set(bundle.manifest.files)
    assert bundle.digest == bundle.manifest.digest()


def test_a_missing_folder_says_how_to_build_one(tmp_path):
    with pytest.raises(BundleError, match=r"no bundle at .*make bundle"):
        open_bundle(tmp_path / "absent")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(BundleError, match=rf"{name} is missing"):
        open_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(BundleError, match=rf"{name} has \d+ bytes instead of"):
        open_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_found_and_its_file_named(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(BundleError, match=rf"{name} does not match its sha256"):
        open_bundle(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "files": 3}'])
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / MANIFEST).write_text(text)

    with pytest.raises(BundleError, match=r"bundle\.json is not a bundle manifest"):
        open_bundle(folder)


def test_another_format_is_refused(folder):
    edit_manifest(folder, format=2)

    with pytest.raises(BundleError, match="another format than 1"):
        open_bundle(folder)


def test_a_manifest_cannot_leave_out_what_serving_needs(folder):
    files = json.loads((folder / MANIFEST).read_text())["files"]
    del files["tokenizer.json"]
    edit_manifest(folder, files=files)

    with pytest.raises(BundleError, match=r"does not list tokenizer\.json"):
        open_bundle(folder)


def test_a_manifest_cannot_reach_outside_its_folder(folder):
    files = json.loads((folder / MANIFEST).read_text())["files"]
    files["../../etc/passwd"] = {"sha256": "0" * 64, "bytes": 1}
    edit_manifest(folder, files=files)

    with pytest.raises(BundleError, match="outside its folder"):
        open_bundle(folder)


def test_the_digest_covers_content_and_not_where_it_was_built(folder):
    before = open_bundle(folder).digest
    edit_manifest(folder, built_with={"torch": "another"})
    same = open_bundle(folder).digest
    edit_manifest(folder, scheme="fp32")

    assert same == before
    assert open_bundle(folder).digest != before


def test_an_incomplete_folder_is_not_sealed(folder):
    (folder / "tokenizer.json").unlink()

    with pytest.raises(BundleError, match=r"lacks tokenizer\.json"):
        seal(folder, name="n", base="b", scheme="s", prompt_digest="d", measured={}, built_with={})
