"""
The page Catalogue in Chromium: a file in, a run that is stopped and goes on, verdicts in bulk, files out.

Needs chromium on the PATH and playwright: `pytest -m e2e tests/ui/test_catalogue_browser.py`.
"""

from __future__ import annotations

import csv
import io
import json
import threading
import zipfile

import pytest

from model.creative import Finding
from tests.app.service_client import WAIT_SECONDS_MAX, ServiceWriter
from tests.ui.page_parts import CLIENT, place, sign_in, window

pytestmark = pytest.mark.e2e
ROWS = [
    ("A-1", "Blue bowl"),
    ("B-2", "=cmd|' /C calc'!A0"),
    ("C-3", "Lamp &lt;img src=x onerror=window.hacked=1&gt;"),
    ("D-4", "Vase"),
]


def export(rows, more=()):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("sku", "title", "price"), *((sku, title, "19.90 EUR") for sku, title in rows), *more])
    return {"name": "products.csv", "mimeType": "text/csv", "buffer": text.getvalue().encode()}


def drop(page, at, file):
    page.goto(f"{at.url}/catalogue")
    page.locator("#channels input").first.wait_for(state="attached")
    page.set_input_files("#file", file)
    page.locator("#report").wait_for()


def done(page):
    page.locator("#progress", has_text="done").wait_for(timeout=60_000)


def only_instagram(page):
    page.locator("label.pill", has_text="Google").click()


class TurnstileWriter(ServiceWriter):
    """Lets as many products through as the test says; findings on those whose title says so, on the first try."""

    def __init__(self, free):
        super().__init__()
        self.turns = threading.Semaphore(free)

    def words(self, product, spec, voice, candidates, seed):
        assert self.turns.acquire(timeout=WAIT_SECONDS_MAX)
        written = super().words(product, spec, voice, candidates, seed)
        if product.title != "Vase" or seed:
            return written
        with_finding = ServiceWriter(findings=(Finding("shouting", "headline", "VASE"),))
        return ServiceWriter.words(with_finding, product, spec, voice, candidates, seed)


def test_a_file_is_read_written_for_decided_in_bulk_and_downloaded(browser, here):
    with window(browser, here) as page:
        drop(page, here, export(ROWS, [("E-5", "", ""), ("F-6", "Lamp", "cheap")]))
        counts = page.locator("#counts dd").all_inner_texts()
        refused = page.inner_text("#refused-rows")
        page.click("#start")
        done(page)
        page.locator("#results .card").nth(7).wait_for()
        page.select_option("#filter-channel", "google_rsa")
        filtered = page.inner_text("#count")
        page.select_option("#filter-channel", "")
        page.get_by_role("button", name="Accept these 8").click()
        page.get_by_text("8 ads accepted.").wait_for()
        page.check("#only-accepted")
        with page.expect_download() as download:
            page.click("#download")
        packed = zipfile.ZipFile(download.value.path())
        names = packed.namelist()
        plain = packed.read("ads.csv").decode()
        page.select_option("#format", "google_ads")
        with page.expect_download() as second:
            page.click("#download")
        google = second.value.path().read_text(encoding="utf-8-sig")
        hacked = page.evaluate("String(window.hacked)")

    assert counts == ["4", "2", "0"]
    assert "is not a price: cheap" in refused
    assert filtered == "4 of 8 ads"
    assert {"ads.csv", "ads.json", "README.txt", "google-ads-editor.csv", "meta-ads-manager.csv"} <= set(names)
    assert sum(name.startswith("pictures/") for name in names) == 8
    assert len(list(csv.reader(io.StringIO(plain)))) == 9
    assert "'=cmd" in google
    assert not [cell for row in csv.reader(io.StringIO(google)) for cell in row if cell.startswith("=")]
    assert hacked == "undefined"


def test_a_run_is_stopped_goes_on_and_repeats_only_what_has_findings(browser, tmp_path):
    writer = TurnstileWriter(1)
    with place(tmp_path, writer) as at, window(browser, at) as page:
        drop(page, at, export(ROWS))
        only_instagram(page)
        page.click("#start")
        page.locator("#progress", has_text="1 of 4").wait_for()
        page.click("#stop")
        writer.turns.release(100)
        page.locator("#resume").wait_for()
        written_before = page.locator("#results .card .meta span").all_inner_texts()[1::2]
        page.click("#resume")
        done(page)
        page.locator("#results .card").nth(3).wait_for()
        button = page.get_by_role("button", name="Write 1 product again")
        button.click()
        page.locator("#results .findings").wait_for(state="detached")
        done(page)
        page.locator("#repeat").wait_for(state="hidden")
        titles = dict(ROWS)
        seeds = {sku: [seed for each, *_, seed in writer.calls if each == sku] for sku in titles}

    assert 1 <= len(written_before) < 4
    assert all(seeds[sku] == [0] for sku in titles if titles[sku] in written_before and titles[sku] != "Vase")
    assert [sku for sku in titles if 1 in seeds[sku]] == ["D-4"]
    assert all(seeds.values())


def test_a_token_that_runs_out_in_the_middle_of_a_run_is_renewed_and_the_run_goes_on(browser, tmp_path):
    writer = TurnstileWriter(1)
    with place(tmp_path, writer) as at, window(browser, at) as page:
        drop(page, at, export(ROWS))
        only_instagram(page)
        page.click("#start")
        page.locator("#progress", has_text="1 of 4").wait_for()
        old = at.session().token.value
        at.session().token.value = "no.such.token"
        writer.turns.release(100)
        done(page)
        page.locator("#results .card").nth(3).wait_for()

        assert at.session().token.value not in ("no.such.token", old)


def test_a_session_that_ends_in_the_middle_of_a_run_finds_it_again_after_the_sign_in(browser, tmp_path):
    writer = TurnstileWriter(1)
    with place(tmp_path, writer) as at, window(browser, at) as page:
        drop(page, at, export(ROWS))
        only_instagram(page)
        page.click("#start")
        page.locator("#progress", has_text="1 of 4").wait_for()
        at.page.state.sessions._open.clear()
        page.wait_for_url("**/sign-in?ended=1*")
        writer.turns.release(100)
        sign_in(page, at)
        page.goto(f"{at.url}/catalogue")
        done(page)
        page.locator("#results .card").nth(3).wait_for()
        page.complaints.clear()  # the 401, which Chromium reports


def test_the_service_being_away_in_the_middle_of_a_run_is_said_until_it_is_back(browser, tmp_path):
    writer = TurnstileWriter(1)
    with place(tmp_path, writer) as at, window(browser, at) as page:
        drop(page, at, export(ROWS))
        only_instagram(page)
        page.click("#start")
        page.locator("#progress", has_text="1 of 4").wait_for()
        address = at.page.state.http.base_url
        at.page.state.http.base_url = "http://127.0.0.1:9"
        page.locator("#run-notice", has_text="does not answer").wait_for()
        at.page.state.http.base_url = address
        writer.turns.release(100)
        done(page)
        gone = page.locator("#run-notice .notice").count()
        page.complaints.clear()  # 503s, which Chromium reports

    assert gone == 0


def test_two_hundred_megabytes_are_refused_before_they_leave_the_browser(browser, here, tmp_path):
    big = tmp_path / "big.csv"
    with big.open("wb") as file:
        file.truncate(200 * 2**20)
    sent = []
    with window(browser, here) as page:
        page.on("request", lambda request: sent.append(request.url))
        page.goto(f"{here.url}/catalogue")
        page.locator("#channels input").first.wait_for(state="attached")
        page.set_input_files("#file", big)
        said = page.get_by_role("alert").inner_text()

    assert "big.csv has 200 MB, and at most 32 MB" in said
    assert not [url for url in sent if url.endswith("/upload")]


def test_a_zip_bomb_and_a_wrong_file_are_refused_with_what_to_do(browser, here):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("products.csv", bytes(50 * 2**20))
    said = []
    with window(browser, here) as page:
        page.goto(f"{here.url}/catalogue")
        page.locator("#channels input").first.wait_for(state="attached")
        for name, content in (
            ("bomb.csv", bomb.getvalue()),
            ("a.pdf", b"%PDF-1.7 and more"),
            ("a.csv", b"colour\nred\n"),
        ):
            with page.expect_response("**/catalogue/upload"):
                page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": content})
            page.locator("#upload-status", has_text="Reading").wait_for(state="detached")
            said.append(page.get_by_role("alert").inner_text())
        page.complaints.clear()  # 415s and 422, which Chromium reports

    assert "Unpack it" in said[0]
    assert "ends in .csv" in said[1]
    assert "title" in said[2]


def test_a_row_of_the_catalogue_fills_the_form_and_the_data_page_draws_the_file(browser, here):
    with window(browser, here) as page:
        drop(page, here, export(ROWS))
        page.goto(f"{here.url}/create")
        page.locator("#row-field").wait_for()
        page.select_option("#row", label="Blue bowl")
        filled = page.input_value("input[name=title]")
        page.goto(f"{here.url}/data")
        figures = page.locator(".figure svg").count()
        name = page.inner_text(".head")

    assert filled == "Blue bowl"
    assert figures == 6
    assert "products.csv, 4 products" in name


def test_an_edited_ad_leaves_in_its_edited_words_and_a_rejected_one_does_not_leave(browser, tmp_path):
    with place(tmp_path) as at, window(browser, at) as page:
        drop(page, at, export(ROWS[:1] + ROWS[3:]))
        only_instagram(page)
        page.click("#start")
        done(page)
        # Products are written side by side, and the one that is ready first stands first.
        first, second = (page.locator("#results .card", has_text=title) for title in ("Blue bowl", "Vase"))
        first.get_by_role("button", name="Edit").click()
        first.get_by_label("Headline").fill("Blue bowl for the table")
        first.get_by_label("Text").fill("A blue bowl for your table, at 19.90 EUR.")
        first.get_by_label("Call to action").fill("See the bowl")
        first.get_by_label("Hashtags").fill("#bowl #blue")
        first.get_by_role("button", name="Save and accept").click()
        first.locator(".verdict", has_text="Accepted as edited").wait_for()
        second.get_by_role("button", name="Reject").click()
        second.get_by_label("Why should it never run?").fill("Not our tone")
        second.get_by_role("button", name="Reject this ad").click()
        second.locator(".verdict", has_text="Rejected").wait_for()
        with page.expect_download() as download:
            page.click("#download")
        ads = json.loads(zipfile.ZipFile(download.value.path()).read("ads.json"))

    assert [ad["headlines"] for ad in ads] == [["Blue bowl for the table"]]
    assert CLIENT not in json.dumps(ads)
