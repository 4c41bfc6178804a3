"""The gallery's HTML, parsed as a browser would: `pytest tests/app/test_gallery.py`."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser

import pytest

from app import batch_run, gallery
from app.batch_run import Decoding, Drawing, Outcome, Task
from app.run_folder import RunFolder
from app.summary import Rows, summarise
from model.channel import channel
from model.creative import Finding
from model.product import Product
from tests.fakes import FakeWriter

HOSTILE = Product(
    sku="\"><script>window.hacked='sku'</script>",
    title="</script><script>window.hacked='title'</script>",
    description="Ends </textarea><img src=x onerror=\"window.hacked='image'\"> & 'quotes' -->",
    category="\" onmouseover=\"window.hacked='attribute'",
)
PLAIN = Product("BOWL", "Blue ceramic bowl", "Stoneware, 14 cm.", "Kitchen")
CLEAN = ()
FOUND = (Finding("unsupported_number", "headline", "15 is not in the product"),)


class Page(HTMLParser):
    """Collects tags with their attributes, and the text that a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def having(self, tag, **attributes):
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]


def fill(folder, product, channel_name, findings=CLEAN, voice="plain"):
    folder.prepare()
    batch_run.run(
        [Task(product, channel(channel_name), voice)],
        FakeWriter(findings=findings),
        folder,
        decoding=Decoding(),
        drawing=Drawing(png=False),
        outcome=Outcome(),
        on_written=lambda record: None,
    )


def page_of(folder, *, complete=True, rejected=0, **budget):
    summary = summarise(
        folder.records(),
        rows=Rows(2 + rejected, 2, rejected, 0),
        asked=2,
        written=2,
        seconds=1.0,
        complete=complete,
        bundle_digest="f" * 64,
        candidates=4,
        seed=0,
    )
    return gallery.page(folder, summary, title="shop & <sons>.csv", **budget)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "out")


def test_a_card_shows_words_picture_and_what_the_product_says(folder):
    fill(folder, PLAIN, "instagram")

    page = Page(page_of(folder))
    [image] = [found for found in page.having("img") if found["src"].startswith("data:") and found["alt"]]
    assert image["alt"] == "Instagram feed ad for Blue ceramic bowl: Blue ceramic bowl"
    assert (image["width"], image["height"]) == ("1080", "1080")
    assert "Stoneware, 14 cm." in page.text
    assert page.having("button", **{"class": "copy"})[0]["value"].startswith("Blue ceramic bowl\nStoneware, 14 cm.\n")


def test_a_finding_is_told_in_plain_words_and_can_be_filtered_by(folder):
    fill(folder, PLAIN, "instagram", FOUND)
    fill(folder, PLAIN, "pinterest", CLEAN)

    page = Page(page_of(folder))
    assert "15 is not in the product" in page.text
    assert [card["data-findings"] for card in page.having("li") if "data-channel" in card] == ["unsupported_number", ""]
    assert {option["value"] for option in page.having("option")} >= {"none", "any", "=unsupported_number", "=Kitchen"}


def test_hostile_text_stays_text(folder):
    fill(folder, HOSTILE, "instagram")
    fill(folder, HOSTILE, "x")

    html = page_of(folder)
    page = Page(html)
    assert len(page.having("script")) == 1
    assert html.count("<script") == 1
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes or "onmouseover" in attributes]
    assert "</script><script>window.hacked='title'</script>" in page.text
    assert "shop & <sons>.csv" in page.text


def test_the_policy_names_the_one_script_of_the_page(folder):
    fill(folder, PLAIN, "instagram")

    html = page_of(folder)
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [tag["content"] for tag in Page(html).having("meta") if tag.get("http-equiv")]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_nothing_is_fetched_from_elsewhere(folder):
    fill(folder, PLAIN, "instagram")

    page = Page(page_of(folder))
    addresses = [value for _, found in page.tags for name, value in found.items() if name in ("src", "href")]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_a_card_names_its_voice_and_the_head_names_them_all(folder):
    for voice in ("premium", "plain", "playful"):
        fill(folder, PLAIN, "instagram", voice=voice)

    page = Page(page_of(folder))
    assert "3 creatives for 1 product on 1 channel in the premium, plain and playful voices, each" in page.text
    for voice in ("premium", "plain", "playful"):
        assert f"Instagram feed ad, {voice}" in page.text


def test_a_line_from_before_there_were_voices_is_shown_without_one(folder):
    fill(folder, PLAIN, "instagram")
    [record] = folder.records()
    del record["passport"]["voice"]
    folder.creatives.write_text(json.dumps(record) + "\n")

    page = Page(page_of(folder))
    assert "1 creative for 1 product on 1 channel, each the best of 4" in page.text
    assert "Instagram feed adBOWL" in page.text


def test_a_run_cut_short_and_rejected_rows_are_said(folder):
    fill(folder, PLAIN, "instagram")

    assert "cut short" not in Page(page_of(folder)).text
    text = Page(page_of(folder, complete=False, rejected=1)).text
    assert "cut short" in text
    assert "1 row of the catalogue could not be read" in text


def test_a_picture_that_somebody_deleted_leaves_a_card_without_one(folder):
    fill(folder, PLAIN, "instagram")
    [record] = folder.records()
    (folder.path / record["images"][0]["svg"]).unlink()

    page = Page(page_of(folder))
    assert "No picture" in page.text
    assert "Stoneware, 14 cm." in page.text


def test_pictures_past_the_budget_are_linked_and_that_is_said(folder):
    fill(folder, PLAIN, "instagram")
    fill(folder, PLAIN, "pinterest")
    first = len(gallery.svg_uri((folder.path / folder.records()[0]["images"][0]["svg"]).read_text()))

    page = Page(page_of(folder, embedded_bytes_max=first))
    sources = [image["src"] for image in page.having("img") if image["alt"]]
    assert [source[:9] for source in sources] == ["data:imag", "pictures/"]
    assert "1 picture too many to embed" in page.text


def test_an_empty_folder_still_makes_a_page(folder):
    folder.prepare()

    assert "0 creatives for 0 products" in Page(page_of(folder)).text


def test_records_of_a_channel_that_is_gone_are_shown_by_name(folder):
    fill(folder, PLAIN, "instagram")
    line = {**folder.records()[0], "channel": "gone_channel"}
    folder.creatives.write_text(json.dumps(line) + "\n")

    assert "gone_channel" in Page(page_of(folder)).text
