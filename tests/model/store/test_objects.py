"""Objects in a folder and in a bucket: whole or not at all, under sane keys, and clear about a store that is down."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import pytest

from model.store.objects import CHUNK_BYTES, KEY_CHARS_MAX, ObjectMissingError, ObjectStore, ObjectStoreDownError
from model.store.tables import StoreError
from tests.real_parts import s3_server

GOOD_KEYS = ["a", "catalogue/0f.jsonl", "generations/date=2026-01-15/hour=09/host-1.jsonl", "-_=/x.y.z", "a" * 200]
BAD_KEYS = [
    "",
    ".",
    "..",
    "../up",
    "a/../b",
    "a/..",
    "/etc/passwd",
    "a//b",
    "a/",
    "a/.hidden",
    ".put-x",
    "a b",
    "a\\b",
    "a\n",
    "a\0b",
    "ä",
    "%2e%2e",
    "s3://other/key",
    "a:b",
    "a" * 201,
    "/".join(["a" * 100] * 6),
]


@pytest.mark.parametrize("key", GOOD_KEYS)
def test_what_was_put_comes_back(objects, key):
    content = bytes(range(256)) * 10
    objects.put(key, content)

    assert objects.get(key) == content
    assert objects.list("") == [key]


@pytest.mark.parametrize("key", BAD_KEYS)
@pytest.mark.parametrize("act", ["put", "get", "open_lines", "open_chunks", "remove"])
def test_a_key_that_could_lead_elsewhere_is_refused(tmp_path, key, act):
    objects = ObjectStore(str(tmp_path / "objects"))
    arguments = (key, b"") if act == "put" else (key,)

    with pytest.raises(ValueError, match="a key has parts"):
        getattr(objects, act)(*arguments)
    assert not (tmp_path / "objects").exists()


@pytest.mark.parametrize("prefix", ["..", "../", "/", "a/../", ".", "a//"])
def test_a_prefix_that_could_lead_elsewhere_is_refused(objects, prefix):
    with pytest.raises(ValueError, match="a key has parts"):
        objects.list(prefix)


def test_the_longest_key_is_taken(objects):
    key = "/".join(["a" * 127, "b" * 127, "c" * 127, "d" * 128])
    objects.put(key, b"1")

    assert len(key) == KEY_CHARS_MAX
    assert objects.get(key) == b"1"
    with pytest.raises(ValueError, match="a key has parts"):
        objects.put(key + "d", b"1")


def test_the_latest_put_wins(objects):
    objects.put("a/b", b"first")
    objects.put("a/b", b"second")

    assert objects.get("a/b") == b"second"


@pytest.mark.parametrize("key", ["none", "a/none", "a", "a/b/c"])
def test_an_object_that_is_not_there_is_missing_and_not_a_failure(objects, key):
    objects.put("a/b", b"1")

    with pytest.raises(ObjectMissingError):
        objects.get(key)
    with pytest.raises(ObjectMissingError):
        list(objects.open_lines(key))
    with pytest.raises(ObjectMissingError):
        objects.open_chunks(key)


def test_keys_are_listed_in_order_below_whole_parts(objects):
    for key in ("b/2", "a/1", "b/10", "bb/1", "b/c/3", "b.x"):
        objects.put(key, b"1")

    assert objects.list("") == ["a/1", "b.x", "b/10", "b/2", "b/c/3", "bb/1"]
    assert objects.list("b/") == objects.list("b") == ["b/10", "b/2", "b/c/3"]
    assert objects.list("b/2") == ["b/2"]
    assert objects.list("none/") == []


def test_more_objects_than_one_page_of_s3_are_listed(bucket):
    objects = ObjectStore(bucket)
    for number in range(12):
        objects.put(f"many/{number:04d}", b"")
    objects._place._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=5)
    )

    assert len(objects.list("many/")) == 12


def test_lines_come_one_by_one_without_their_ends(objects):
    objects.put("lines", "eins\r\nzwei ä\u2028b\n\nvier".encode())

    assert list(objects.open_lines("lines")) == [b"eins", "zwei ä\u2028b".encode(), b"", b"vier"]


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_an_object_comes_in_parts_that_add_up_to_its_size(objects, size_bytes):
    content = (b"0123456789" * (size_bytes // 10 + 1))[:size_bytes]
    objects.put("a/b", content)
    told_bytes, chunks = objects.open_chunks("a/b")
    parts = list(chunks)

    assert (told_bytes, b"".join(parts)) == (size_bytes, content)
    assert max(map(len, parts), default=0) <= CHUNK_BYTES


def test_what_was_removed_is_gone_and_removing_it_again_is_no_failure(objects):
    for key in ("a/b", "a/c"):
        objects.put(key, b"1")
    for key in ("a/b", "a/b", "none", "a/c/d"):
        objects.remove(key)

    assert objects.list("") == ["a/c"]
    with pytest.raises(ObjectMissingError):
        objects.open_chunks("a/b")


def test_a_store_that_answers_may_be_pinged_and_holds_nothing_of_it(objects):
    objects.ping()

    assert objects.list("") == []


def test_two_prefixes_of_one_bucket_do_not_see_each_other(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = s3.new_bucket()
    one, two = ObjectStore(f"s3://{bucket}/one"), ObjectStore(f"s3://{bucket}/one-more")
    one.put("k", b"1")

    assert one.list("") == ["k"]
    assert two.list("") == []


def test_options_lead_to_another_s3(s3):
    objects = ObjectStore(f"s3://{s3.new_bucket()}", options=s3.options)
    objects.put("k", b"1")

    assert objects.get("k") == b"1"


@pytest.mark.parametrize("url", ["", "gs://bucket/x", "s3://", "file:///tmp/x", "https://user:hunter2@host/x"])
def test_an_address_of_no_use_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="folder, or s3") as caught:
        ObjectStore(url)

    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_down_and_comes_back(tmp_path):
    root = tmp_path / "objects"
    objects = ObjectStore(str(root))
    objects.put("a/kept", b"1")
    root.rename(tmp_path / "aside")
    root.touch()  # in its place stands a file: not even root may write below it
    for act in (lambda: objects.put("a/b", b"2"), objects.ping):
        with pytest.raises(ObjectStoreDownError) as caught:
            act()
        assert str(tmp_path) not in str(caught.value)
    root.unlink()
    (tmp_path / "aside").rename(root)
    objects.put("a/b", b"2")

    assert objects.list("") == ["a/b", "a/kept"]


FILL = """
import resource, signal, sys
from model.store.objects import ObjectStore, ObjectStoreDownError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
objects = ObjectStore(sys.argv[1])
objects.put("k", b"x" * 1000)
try:
    objects.put("k", b"y" * 1001)
except ObjectStoreDownError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_leaves_the_earlier_object_whole(tmp_path):
    command = [sys.executable, "-c", FILL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)

    assert done.stdout == "the object store cannot be used: File too large\n"
    assert ObjectStore(str(tmp_path)).get("k") == b"x" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_readers_see_an_object_whole_while_it_is_written_again(tmp_path):
    objects = ObjectStore(str(tmp_path))
    contents = [letter * 200_000 for letter in (b"a", b"b")]
    objects.put("k", contents[0])
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            seen.add(objects.get("k") in contents)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        objects.put("k", contents[number % 2])
    stop.set()
    reader.join(60)

    assert seen == {True}


def test_what_a_killed_put_leaves_is_not_an_object(tmp_path):
    objects = ObjectStore(str(tmp_path))
    objects.put("a/b", b"1")
    (tmp_path / "a/.put-half").write_bytes(b"half")

    assert objects.list("") == ["a/b"]


def test_a_bucket_that_is_not_there_is_said_without_its_name(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    objects = ObjectStore("s3://hunter2-bucket/x")
    for act in (lambda: objects.put("k", b"1"), lambda: objects.get("k"), lambda: objects.list(""), objects.ping):
        with pytest.raises(ObjectStoreDownError, match=r"no such bucket$") as caught:
            act()
        assert "hunter2" not in str(caught.value)


def test_s3_that_is_gone_is_down_and_used_again_when_it_is_back():
    with s3_server() as own:  # moto keeps everything in memory: other tests would miss theirs
        bucket = own.new_bucket()
        objects = ObjectStore(f"s3://{bucket}", options=own.options)
        objects.put("k", b"1")
        own.stop()
        for act in (lambda: objects.put("k", b"2"), lambda: list(objects.open_lines("k")), objects.ping):
            with pytest.raises(ObjectStoreDownError, match=r"cannot be reached$"):
                act()
        own.start()
        own.new_bucket(bucket)
        objects.put("k", b"3")

        assert objects.get("k") == b"3"


def test_missing_credentials_are_said(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(ObjectStoreDownError, match="no credentials"):
        ObjectStore("s3://bucket").ping()


def test_the_folder_may_be_gone_and_is_made_again(tmp_path):
    objects = ObjectStore(str(tmp_path / "objects"))
    objects.put("k", b"1")
    shutil.rmtree(tmp_path / "objects")

    assert objects.list("") == []
    objects.put("k", b"2")
    assert objects.get("k") == b"2"


def test_both_errors_are_errors_of_the_store():
    assert issubclass(ObjectStoreDownError, StoreError)
    assert issubclass(ObjectMissingError, StoreError)


def test_a_file_goes_in_and_comes_out_as_it_is(objects, tmp_path):
    content = bytes(range(256)) * 10_000
    (tmp_path / "in").write_bytes(content)
    (tmp_path / "out").write_bytes(b"what stood there before, which is longer" * 100_000)
    objects.put_file("a/file", tmp_path / "in")
    objects.get_file("a/file", tmp_path / "out")

    assert objects.get("a/file") == content
    assert (tmp_path / "out").read_bytes() == content


def test_a_file_that_cannot_be_read_is_no_trouble_of_the_store(objects, tmp_path):
    with pytest.raises(FileNotFoundError):
        objects.put_file("a", tmp_path / "none")
    assert objects.list("") == []


def test_an_object_that_is_missing_gives_no_file(objects, tmp_path):
    with pytest.raises(ObjectMissingError):
        objects.get_file("none", tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        objects.get_file("none", tmp_path / "no folder/out")


def test_keys_of_files_are_checked_likewise(tmp_path):
    objects = ObjectStore(str(tmp_path / "objects"))
    (tmp_path / "in").write_bytes(b"1")
    for act in (objects.put_file, objects.get_file):
        with pytest.raises(ValueError, match="a key has parts"):
            act("../up", tmp_path / "in")


def test_a_store_that_is_down_is_so_for_files_too(tmp_path):
    (tmp_path / "objects").write_bytes(b"a file where a folder should be")
    (tmp_path / "in").write_bytes(b"1")

    with pytest.raises(ObjectStoreDownError):
        ObjectStore(str(tmp_path / "objects")).put_file("a/b", tmp_path / "in")
