"""
A photograph on the page Create, in Chromium: chosen, shown, drawn with, removed, and refused in plain words.

Needs chromium on the PATH and playwright: `pytest -m e2e tests/ui/test_photograph_browser.py`.
"""

from __future__ import annotations

import io
import shutil

import pytest
from PIL import Image, ImageDraw

from tests.ui.page_parts import on_every_screen, overflow, serious_findings, window

pytestmark = pytest.mark.e2e


def shot(form="JPEG", size=(900, 700)):
    """A bowl on a table, as far as a few lines go."""
    picture = Image.new("RGB", size, "#d9cdb8")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, size[1] * 0.7, *size), fill="#8a6a4a")
    draw.pieslice((size[0] * 0.25, size[1] * 0.15, size[0] * 0.75, size[1] * 0.8), 0, 180, fill="#2f6f8f")
    target = io.BytesIO()
    picture.save(target, form)
    return target.getvalue()


def choose(page, content=None, name="bowl.jpg", media_type="image/jpeg"):
    file = {"name": name, "mimeType": media_type, "buffer": shot() if content is None else content}
    page.set_input_files("#photograph-file", file)


def write(page):
    page.fill("input[name=title]", "Blue ceramic bowl")
    page.click("#go")
    card = page.locator("#results .card[data-id]").first
    card.wait_for()
    return card


def drawn(page, card):
    address = card.locator("img").get_attribute("src")
    return page.evaluate("async (address) => (await fetch(address)).text()", address)


@on_every_screen
def test_a_photograph_is_shown_and_the_ad_is_drawn_with_it(browser, here, width, theme, request):
    with window(browser, here, width=width, theme=theme) as page:
        choose(page)
        page.locator("#photograph-preview").wait_for()
        said = page.inner_text("#photograph-says")
        card = write(page)
        with_it = drawn(page, card)
        findings, wider = serious_findings(page), overflow(page)
        page.screenshot(
            path=request.config.rootpath / f"out/ui/tests/create-photograph-{width}-{theme}.png", full_page=True
        )

    assert "bowl.jpg is taken" in said
    assert "data:image/jpeg;base64," in with_it
    assert findings == []
    assert wider <= 0


def test_a_photograph_that_is_removed_is_not_drawn(browser, here):
    with window(browser, here) as page:
        choose(page)
        page.locator("#photograph-preview").wait_for()
        page.click("#photograph-remove")
        page.locator("#photograph-preview").wait_for(state="hidden")
        without = drawn(page, write(page))
        focused = page.evaluate("document.activeElement.id")

    assert "data:image" not in without
    assert focused == "go"


def test_another_product_does_not_keep_the_photograph_of_the_last(browser, here):
    with window(browser, here) as page:
        choose(page)
        page.locator("#photograph-preview").wait_for()
        page.click("#example")
        is_shown = page.locator("#photograph-preview").is_visible()
        page.click("#go")
        card = page.locator("#results .card[data-id]").first
        card.wait_for()
        without = drawn(page, card)

    assert not is_shown
    assert "data:image" not in without


@pytest.mark.parametrize(
    ("content", "name", "media_type", "says"),
    [
        (b"%PDF-1.7", "bowl.pdf", "application/pdf", "bowl.pdf is no PNG, JPEG or WebP file"),
        (bytes(8 * 2**20 + 1), "bowl.png", "image/png", "at most 8 MB can be sent"),
        (b"no picture at all", "bowl.png", "image/png", "send a whole PNG, JPEG or WebP file"),
        (shot()[:2000], "bowl.jpg", "image/jpeg", "damaged or cut off"),
        (shot(size=(90, 90)), "bowl.jpg", "image/jpeg", "at least 100 pixels each way"),
    ],
    ids=["pdf", "too large", "text", "cut off", "too small"],
)
def test_what_cannot_be_used_is_said_in_plain_words_and_the_ad_is_written_without(
    browser, here, content, name, media_type, says
):
    with window(browser, here) as page:
        choose(page, content, name, media_type)
        said = page.locator("#photograph [role=alert]").inner_text()
        without = drawn(page, write(page))
        page.complaints.clear()  # a 422, which Chromium reports

    assert says in said
    assert "data:image" not in without


def test_a_photograph_that_has_expired_in_between_is_said_and_can_be_chosen_again(browser, here, tmp_path):
    with window(browser, here) as page:
        choose(page, shot("PNG"), "bowl.png", "image/png")
        page.locator("#photograph-preview").wait_for()
        shutil.rmtree(f"{here.service.settings.objects_url}/photographs")
        page.fill("input[name=title]", "Blue ceramic bowl")
        page.click("#go")
        said = page.locator("#trouble [role=alert]").inner_text()
        choose(page, shot("PNG"), "bowl.png", "image/png")
        page.locator("#photograph-preview").wait_for()
        with_it = drawn(page, write(page))
        page.complaints.clear()  # the 404, which Chromium reports

    assert "choose the file again" in said
    assert "data:image/jpeg" in with_it


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_photograph_is_chosen_and_removed_by_keyboard_alone(browser, here, key):
    with window(browser, here) as page:
        # From here on choices come to the test: asked for as late as the key, the browser may take that one itself.
        page.on("filechooser", lambda _: None)
        page.focus("input[name=price]")
        page.keyboard.press("Tab")
        on_file = page.evaluate("document.activeElement.id")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press(key)
        chooser.value.set_files({"name": "bowl.webp", "mimeType": "image/webp", "buffer": shot("WEBP")})
        page.locator("#photograph-preview").wait_for()
        page.keyboard.press("Tab")
        on_remove = page.evaluate("document.activeElement.id")
        page.keyboard.press("Enter")
        page.locator("#photograph-preview").wait_for(state="hidden")

    assert (on_file, on_remove) == ("photograph-file", "photograph-remove")
