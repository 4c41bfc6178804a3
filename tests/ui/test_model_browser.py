"""
The page Model in Chromium, filled as a registry publishes itself: two versions side by side, their ads and cards, the
history, and what is said where there is nothing or no right to see it.

Screenshots stay below out/ui/tests. Needs chromium and playwright: `pytest -m e2e tests/ui/test_model_browser.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.client_command import create_client
from tests.ui import model_rows
from tests.ui.model_rows import HOSTILE, publish, version
from tests.ui.page_parts import on_every_screen, overflow, place, serious_findings, window

pytestmark = pytest.mark.e2e
OUT = Path(__file__).resolve().parents[2] / "out/ui/tests"


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A place whose service was told of a registry."""
    with place(tmp_path_factory.mktemp("known")) as opened:
        publish(opened.service)
        yield opened


def score_of(page, name):
    return page.locator(".scores li").filter(has=page.get_by_role("heading", name=name, exact=True))


@on_every_screen
def test_the_page_is_open_to_all_and_fits_with_everything_unfolded(browser, known, width, theme):
    OUT.mkdir(parents=True, exist_ok=True)
    with window(browser, known, width=width, theme=theme) as page:
        page.goto(f"{known.url}/model")
        closed = serious_findings(page)
        page.screenshot(path=OUT / f"model-published-{width}-{theme}.png", full_page=True)
        for summary in page.locator("summary").all():
            summary.click()
        page.click("#more-samples")
        unfolded, wide = serious_findings(page), overflow(page)
        page.click("#go-back")
        page.click("#rollback-ask")
        asked, wider = serious_findings(page), overflow(page)
        page.screenshot(path=OUT / f"model-rollback-{width}-{theme}.png")

    assert (closed, unfolded, asked) == ([], [], [])
    assert (wide, wider) == (0, 0)


def test_champion_and_candidate_stand_side_by_side_with_what_tells_them_apart(browser, known):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model")
        title = page.inner_text("#compare-title")
        sides = page.locator(".side").all_inner_texts()
        worse = score_of(page, "Validity").inner_text()
        alike = score_of(page, "Grounded ads").inner_text()
        drawn = score_of(page, "Validity").get_by_role("img").get_attribute("aria-label")
        summary = page.get_by_text("is clearly better on").inner_text()

    assert title == "Version 7 beside version 8"
    assert "The gate let it pass" in sides[0]
    assert "The gate refused it" in sides[1]
    assert "validity is lower by 0.0900 over 151 rows." in sides[1]
    assert "passed" in sides[0]
    assert "version 8 is worse" in worse
    assert "8: 0.890 (0.870 to 0.910)" in worse
    assert "no clear difference" in alike
    assert re.search(r"version 7: 0\.9\d\d .*; version 8: 0\.890 \(0\.870 to 0\.910\)", drawn)
    assert "clearly better on 1 and clearly worse on 1 than version 7; on 8 no difference" in summary


def test_any_two_versions_can_be_chosen(browser, known):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model")
        page.select_option("select[name=left]", "5")
        page.select_option("select[name=right]", "6")
        page.get_by_role("button", name="Compare").click()
        page.wait_for_url("**/model?left=5&right=6#compare")
        title = page.inner_text("#compare-title")
        sides = page.locator(".side").all_inner_texts()
        page.locator("#versions tr", has_text="2026-01-16").get_by_role("link", name="with the champion").click()
        page.wait_for_url("**/model?left=7&right=6#compare")
        again = page.inner_text("#compare-title")

    assert title == "Version 5 beside version 6"
    assert "The certificate did not pass." in sides[0]
    assert "The gate has not judged it" in sides[1]
    assert again == "Version 7 beside version 6"


@pytest.mark.parametrize("asked", ["99", "%3Cscript%3Ewindow.hacked=1%3C/script%3E", "../../channels", "08"])
def test_a_version_that_is_not_there_is_named_and_the_usual_two_are_shown(browser, known, asked):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model?right={asked}")
        said = page.locator("#compare").get_by_role("alert").inner_text()
        title = page.inner_text("#compare-title")
        hacked = page.evaluate("window.hacked")

    assert "is not among those that were published" in said
    assert title == "Version 7 beside version 8"
    assert hacked is None


def test_ads_of_the_same_product_stand_next_to_each_other(browser, known):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model")
        products = page.locator(".samples > li")
        first = products.first.locator(".sample").all_inner_texts()
        before = page.locator(".samples > li:visible").count()
        page.click("#more-samples")
        after = page.locator(".samples > li:visible").count()
        focused = page.evaluate("document.activeElement.className")
        finding = products.nth(2).locator(".findings li").first.inner_text()

    assert "Headline 0 by 7" in first[0]
    assert "Headline 0 by 8" in first[1]
    assert (before, after) == (4, len(model_rows.PRODUCTS))
    assert "later" in focused
    assert "A number in the ad is not in the product." in finding


def test_a_version_without_ads_and_card_says_so(browser, known):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model?left=7&right=6")
        page.get_by_text("Card of version 6").click()
        card = page.locator(".card-of").nth(1).inner_text()
        samples = page.locator(".samples .sample").nth(1).inner_text()

    assert "registered without a card" in card
    assert "No ad of this product was kept." in samples


def test_a_card_is_shown_as_a_page_and_runs_nothing(browser, known):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model")
        page.get_by_text("Card of version 7").click()
        card = page.locator(".markdown").first
        heading = card.get_by_role("heading", name="adloom-writer").inner_text()
        cell = card.get_by_role("cell", name="0.98").inner_text()
        links = card.locator("a").evaluate_all("all => all.map(one => one.href)")
        text = card.inner_text()

    assert heading == "adloom-writer"
    assert cell == "0.98"
    assert links == ["https://example.com/card"]
    assert HOSTILE in text


def test_script_in_reasons_ads_and_history_never_runs(browser, known):
    with window(browser, known) as page:
        requested = []
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"{known.url}/model")
        page.click("#more-samples")
        page.wait_for_load_state("networkidle")
        shown = page.inner_text("main").count(HOSTILE)
        hacked = page.evaluate("window.hacked")

    assert shown >= 5
    assert hacked is None
    assert not [url for url in requested if url.endswith("/x")]


def test_the_history_tells_who_did_what_and_why_once(browser, known):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model")
        events = page.locator("#history .timeline li").all_inner_texts()

    assert len(events) == 3
    assert "Version 8 was refused; version 7 stays" in events[0]
    assert "the gate refuses version 8" in events[0]
    assert "Version 7 became champion, after version 6" in events[1]
    assert "Platform on call" in events[1]
    assert "better on relevance" in events[1]


def test_the_whole_page_is_reached_by_keyboard_alone(browser, known):
    with window(browser, known) as page:
        page.goto(f"{known.url}/model")
        reached = []
        for _ in range(90):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
            if reached[-1] == "ask":
                break
        page.locator("summary").first.focus()
        page.keyboard.press("Enter")
        opened = page.locator(".card-of[open]").count()

    for name in (
        "go-back",
        "Compare",
        "more-samples",
        "Card of version 7",
        "with the champion",
        "pairs-file",
        "reason",
    ):
        assert name in reached, name
    assert opened == 1


def test_a_service_that_was_told_of_no_registry_says_what_to_do(browser, tmp_path):
    with place(tmp_path) as at, window(browser, at, width=380) as page:
        page.goto(f"{at.url}/model")
        nothing = page.inner_text("#compare")
        history = page.inner_text("#history")
        can_go_back = page.locator("#go-back").count()
        found = serious_findings(page)
        publish(at.service, [], [])
        page.reload()
        empty = page.inner_text("#compare")
        publish(at.service, [version(1, "candidate")], [])
        page.reload()
        alone = page.inner_text("#compare")
        wide = overflow(page)

    assert "adloom models publish" in nothing
    assert "No promotion was published yet." in history
    assert can_go_back == 0
    assert found == []
    assert "adloom register" in empty
    assert "Version 1" in alone
    assert "no other version to stand beside it" in alone
    assert wide == 0


def test_without_the_scope_the_page_shows_what_serves_and_says_which_scope_is_missing(browser, known):
    secret = create_client(known.service.database, "marketing", ("creatives:write", "creatives:read"))
    with window(browser, known, signed_in=False) as page:
        page.goto(f"{known.url}/sign-in")
        page.fill("input[name=client_id]", "marketing")
        page.fill("input[name=client_secret]", secret)
        page.click("main button")
        page.wait_for_url(f"{known.url}/create")
        page.goto(f"{known.url}/model")
        text = page.inner_text("main")
        found = serious_findings(page)
        answers = page.evaluate(
            """async () => {
                const csrf = {"X-CSRF-Token": document.querySelector("meta[name=csrf]").content};
                const body = (method) => (method === "GET" ? null : "{}");
                const ask = (method, path) => fetch(path, {method, headers: csrf, body: body(method)});
                const sent = [["GET", "/api/pairs"], ["POST", "/api/rollbacks"]];
                return (await Promise.all(sent.map((one) => ask(...one)))).map((answer) => answer.status);
            }"""
        )
        page.complaints.clear()  # the 403s, which Chromium reports

    assert "In service" in text
    assert "models:admin" in text
    assert "Version 7 beside" not in text
    assert found == []
    assert answers == [403, 403]
