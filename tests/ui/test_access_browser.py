"""
Every page in Chromium at both widths and in both themes: no serious finding of axe-core, nothing wider than the window.

Screenshots stay below out/ui/tests. Needs chromium and playwright: `pytest -m e2e tests/ui/test_access_browser.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from model.creative import Finding
from tests.app.service_client import ServiceWriter
from tests.ui.page_parts import on_every_screen, overflow, place, serious_findings, sign_in, window

pytestmark = pytest.mark.e2e
OUT = Path(__file__).resolve().parents[2] / "out/ui/tests"
PAGES = ("create", "catalogue", "model", "health", "data")


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    """A place whose ads have findings, so that these are looked at too."""
    found = (Finding("unsupported_number", "headline", "15 is not in the product"),)
    with place(tmp_path_factory.mktemp("flawed"), ServiceWriter(findings=found)) as opened:
        yield opened


def fill(page, name):
    """Bring the page into the state that shows most."""
    page.locator("#channels input").first.wait_for(state="attached")
    if name == "create":
        page.click("#example")
        page.click("#go")
        card = page.locator("#results .card[data-id]").first
        card.wait_for()
    if name == "catalogue":
        page.click("#sample")
        page.locator("#start").click()
        page.locator("#progress", has_text="done").wait_for(timeout=60_000)
        page.locator("#results .card").first.wait_for()


@on_every_screen
def test_every_page_is_open_to_all_and_fits(browser, flawed, width, theme):
    OUT.mkdir(parents=True, exist_ok=True)
    with window(browser, flawed, width=width, theme=theme) as page:
        for name in PAGES:
            page.goto(f"{flawed.url}/{name}")
            if name in ("create", "catalogue"):
                fill(page, name)
            found, wide = serious_findings(page), overflow(page)
            page.screenshot(path=OUT / f"{name}-{width}-{theme}.png")

            assert found == [], name
            assert wide <= 0, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sign_in_the_editor_and_the_errors_are_open_to_all(browser, flawed, theme):
    with window(browser, flawed, width=380, theme=theme, signed_in=False) as page:
        page.goto(f"{flawed.url}/sign-in")
        page.fill("input[name=client_id]", "nobody")
        page.fill("input[name=client_secret]", "wrong")
        page.click("main button")
        page.get_by_role("alert").wait_for()
        found = serious_findings(page)
        sign_in(page, flawed)
        page.click("#go")
        page.get_by_role("alert").wait_for()
        found += serious_findings(page)
        fill(page, "create")
        card = page.locator("#results .card[data-id]").first
        card.get_by_role("button", name="Edit").click()
        found += serious_findings(page)
        card.get_by_role("button", name="Cancel").click()
        card.get_by_role("button", name="Reject").click()
        found += serious_findings(page)
        page.goto(f"{flawed.url}/nothing")
        found += serious_findings(page)
        page.complaints.clear()  # 401 and 404, which Chromium reports

    assert found == []


def test_a_retrain_is_asked_for_and_shown_step_by_step(browser, flawed):
    with window(browser, flawed) as page:
        page.goto(f"{flawed.url}/model")
        page.fill("#reason", "The autumn catalogue came in.")
        page.click("#ask")
        page.locator("#steps li.now", has_text="Waiting for the pipelines").wait_for()
        first = page.inner_text("#retrain-id")
        page.reload()
        page.locator("#steps li.now").wait_for()
        found = serious_findings(page)
        second = page.inner_text("#retrain-id")

    assert first.startswith("rt_")
    assert second == first
    assert found == []


def test_health_counts_what_was_made(browser, flawed):
    with window(browser, flawed) as page:
        fill(page, "create")
        page.goto(f"{flawed.url}/health")
        text = page.inner_text("main")

    assert "The service can write" in text
    assert "unsupported number" in text
    assert "adloom-api" in text
