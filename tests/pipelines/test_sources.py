"""The table of sources: what is shipped can be used, and what cannot be understood is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipelines.ingest.sources import PageSize, SourcesError, UpdatedSince, chosen, read_sources

ROOT = Path(__file__).resolve().parents[2]
FILE = {"name": "shop", "client": "c", "kind": "file", "url": "products.csv"}
API = {"name": "shop", "client": "c", "kind": "api", "url": "https://shop.example/products"}


@pytest.fixture
def read(tmp_path):
    def reading(*entries):
        path = tmp_path / "sources.yaml"
        path.write_text(yaml.safe_dump({"sources": list(entries)}), encoding="utf-8")
        return read_sources(path)

    return reading


def test_the_shipped_table_names_the_sample_catalogue():
    (sample,) = read_sources(ROOT / "pipelines/sources.yaml")

    assert (sample.name, sample.kind) == ("sample", "file")
    assert (ROOT / sample.url).is_file()


def test_the_commented_examples_of_the_shipped_table_can_be_used(tmp_path):
    shipped = (ROOT / "pipelines/sources.yaml").read_text(encoding="utf-8")
    path = tmp_path / "sources.yaml"
    path.write_text(re.sub(r"(?m)^  # (?=( *)(- )?[a-z_]+: )", "  ", shipped), encoding="utf-8")
    names = [source.name for source in read_sources(path)]

    assert names == ["sample", "nightly-export", "bucket-export", "shop-api"]


def test_every_key_of_an_api_is_read(read):
    (source,) = read(
        {
            **API,
            "columns": {"Name": "title"},
            "items": "data.products",
            "next": "paging.next",
            "next_parameter": "after",
            "page_size": {"parameter": "limit", "items": 250},
            "updated_since": {"parameter": "since", "field": "updated_at"},
            "deleted": "gone",
            "token_variable": "SHOP_TOKEN",
        }
    )

    assert source.columns == (("Name", "title"),)
    assert (source.items, source.next, source.next_parameter) == (("data", "products"), ("paging", "next"), "after")
    assert (source.page_size, source.updated_since) == (PageSize("limit", 250), UpdatedSince("since", "updated_at"))
    assert (source.deleted, source.token_variable) == ("gone", "SHOP_TOKEN")


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({**FILE, "colums": {}}, "source 'shop': unknown key 'colums'; a source of kind file has client, columns"),
        ({**FILE, "items": "data"}, "unknown key 'items'"),
        ({**FILE, "kind": "ftp"}, "kind has to be file or api"),
        ({**FILE, "kind": ["file"]}, "kind has to be file or api"),
        ({**FILE, "name": "../up"}, "a name has lower-case letters"),
        ({**FILE, "name": "a" * 64}, "a name has lower-case letters"),
        ({"kind": "file", "url": "x", "client": "c"}, "source 'number 1': name has to be a text"),
        ({**FILE, "url": 5}, "url has to be a text"),
        ({**FILE, "url": "https://shop.example/x.csv"}, "a path or s3://bucket/key"),
        ({**FILE, "columns": {"a": "titel"}}, "column 'a' maps to 'titel'; it can be one of sku, title"),
        ({**FILE, "columns": ["a"]}, "columns has to be a mapping"),
        ({**API, "url": "products.csv"}, "begins with http"),
        ({**API, "url": "https://user:secret@shop.example/"}, "no secrets in the url"),
        ({**API, "token_variable": "abc.def"}, "is the NAME of an environment variable"),
        ({**API, "items": "data..products"}, "items is a path of members"),
        ({**API, "next_parameter": "after"}, "next_parameter needs `next`"),
        ({**API, "page_size": {"parameter": "limit"}}, "page_size has to be a mapping of items, parameter"),
        ({**API, "page_size": {"parameter": "limit", "items": 0}}, "whole number from 1"),
        ({**API, "page_size": {"parameter": "limit", "items": True}}, "whole number from 1"),
        ({**API, "updated_since": {"parameter": "s", "field": 1}}, "field has to be a text"),
        ({**API, "deleted": "gone"}, "makes sense with updated_since only"),
        ("shop", "entry 1 of the sources is no mapping"),
    ],
)
def test_an_entry_that_is_not_understood_is_named(read, entry, what):
    with pytest.raises(SourcesError, match=re.escape(what)):
        read(entry)


def test_no_error_repeats_a_secret(read):
    with pytest.raises(SourcesError) as raised:
        read({**API, "url": "https://user:hunter2@shop.example/"})

    assert "hunter2" not in str(raised.value)


def test_a_longest_name_is_taken(read):
    assert read({**FILE, "name": "a" * 63})[0].name == "a" * 63


def test_a_name_stands_for_one_source(read):
    with pytest.raises(SourcesError, match="two sources are called 'shop'"):
        read(FILE, API)


@pytest.mark.parametrize("text", ["", "sources: 5", "- a", "sources: []\nmore: 1", "sources: [", "\xff"])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "sources.yaml"
    path.write_text(text, encoding="latin-1")

    with pytest.raises(SourcesError, match=r"sources\.yaml"):
        read_sources(path)


def test_a_table_that_is_missing_says_where_it_is_named(tmp_path):
    with pytest.raises(SourcesError, match="ADLOOM_SOURCES names the table"):
        read_sources(tmp_path / "none.yaml")


def test_sources_are_chosen_by_name(read):
    sources = read(FILE, {**API, "name": "other"})

    assert chosen(sources, []) == sources
    assert chosen(sources, ["other", "other"]) == sources[1:]
    with pytest.raises(SourcesError, match="there is no source 'none'; the table has shop, other"):
        chosen(sources, ["none"])
