"""
The gallery in headless Chromium: nothing hostile runs, filters and keys work, both themes and any width fit.

Needs chromium on the PATH and playwright: `pytest -m e2e tests/e2e/test_gallery_browser.py`.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

from app import batch_run, gallery
from app.batch_run import Decoding, Drawing, Outcome, Task
from app.run_folder import RunFolder
from app.summary import Rows, summarise
from model.channel import channels
from model.creative import Finding
from model.product import Product
from tests.fakes import FakeWriter

pytestmark = pytest.mark.e2e

HOSTILE = Product(
    sku="\"><script>window.hacked='sku'</script>",
    title="<script>window.hacked=1</script>",
    description='</script><script>window.hacked=2</script></details><img src=x onerror="window.hacked=3"> &lt;b&gt;',
    category='" onmouseover="window.hacked=4" x="',
)
BOWL = Product("BOWL", "Blue ceramic bowl", "Stoneware, 14 cm across.", "Kitchen")
LIGHT = Product("LIGHT", "Bike light set", "80 lumen front, 30 rear.", "Sport")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@contextmanager
def chromium():
    """A headless browser, or a skip that says what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def open_page(browser, path, *, width, theme="light"):
    """The page in a profile of its own, and the list that collects whatever the console complains of."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.goto(path.as_uri())
    yield page, complaints
    context.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


def decode_pictures(page):
    """The natural width, in pixels, of every creative's picture once it is decoded; 0 for one that cannot be."""
    return page.evaluate(
        "Promise.all([...document.querySelectorAll('#creatives img')]"
        ".map((image) => image.decode().then(() => image.naturalWidth, () => 0)))"
    )


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A gallery of three products on three channels each, one of the products an attack."""
    folder = RunFolder(tmp_path_factory.mktemp("gallery"))
    folder.prepare()
    found = (Finding("unsupported_number", "headline", "15 is not in the product"),)
    for product, findings in ((HOSTILE, found), (BOWL, ()), (LIGHT, found)):
        specs = [channels()[name] for name in ("instagram", "x", "google_rsa")]
        batch_run.run(
            [Task(product, spec) for spec in specs],
            FakeWriter(findings=findings),
            folder,
            decoding=Decoding(),
            drawing=Drawing(png=False),
            outcome=Outcome(),
            on_written=lambda record: None,
        )
    summary = summarise(
        folder.records(),
        rows=Rows(3, 3, 0, 0),
        asked=9,
        written=9,
        seconds=1.0,
        complete=True,
        bundle_digest="f" * 64,
        candidates=4,
        seed=0,
    )
    folder.gallery.write_text(gallery.page(folder, summary, title=HOSTILE.title), encoding="utf-8")
    return folder.gallery


def test_hostile_product_text_is_shown_and_never_run(browser, page_file):
    with open_page(browser, page_file, width=1440) as (page, complaints):
        for card in page.query_selector_all("article"):
            card.hover()
        hacked = page.evaluate("String(window.hacked)")
        text = page.inner_text("#creatives")

    assert hacked == "undefined"
    assert "<script>window.hacked=1</script>" in text
    assert complaints == []


@pytest.mark.parametrize("width", [380, 768, 1440, 1920])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_picture_decodes_and_nothing_overflows(browser, page_file, width, theme):
    with open_page(browser, page_file, width=width, theme=theme) as (page, complaints):
        widths = decode_pictures(page)
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        overlaps = page.evaluate(OVERLAPS)

    assert len(widths) == 9
    assert min(widths) > 0
    assert overflow <= 0
    assert overlaps == 0
    assert complaints == []


OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll("article")].map((card) => card.getBoundingClientRect());
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return boxes.filter((a, i) => boxes.some((b, j) => i < j && meet(a, b))).length;
}"""


def shown(page):
    return page.locator("#creatives > li:visible").count()


def test_filters_narrow_the_creatives_and_come_back(browser, page_file):
    with open_page(browser, page_file, width=1440) as (page, _):
        counts = [shown(page)]
        page.locator(".chip", has_text="X post").click()
        counts.append(shown(page))
        page.select_option("#finding", "none")
        counts.append(shown(page))
        page.fill("#search", "nothing like this")
        counts.append(shown(page))
        empty = page.is_visible("#empty")
        page.fill("#search", "")
        page.select_option("#finding", "=unsupported_number")
        counts.append(shown(page))
        page.locator(".chip", has_text="All channels").click()
        page.select_option("#finding", "")
        page.select_option("#category", "=Kitchen")
        counts.append(shown(page))
        said = page.inner_text("#count")

    assert counts == [9, 3, 1, 0, 2, 3]
    assert empty
    assert said == "Showing 3 of 9"


def test_the_keyboard_reaches_and_works_everything(browser, page_file):
    with open_page(browser, page_file, width=1440) as (page, _):
        page.keyboard.press("Tab")
        first = page.evaluate("document.activeElement.textContent")
        page.focus(".picture >> nth=0")
        page.keyboard.press("Enter")
        opened = page.is_visible("#large img")
        page.keyboard.press("Escape")
        closed = not page.is_visible("#large img")
        page.focus("summary >> nth=0")
        page.keyboard.press("Enter")
        source = page.inner_text("dl.source >> nth=0")

    assert first == "Skip to the creatives"
    assert opened
    assert closed
    assert "<script>window.hacked=1</script>" in source


def test_the_copy_button_copies_the_words_and_says_so(browser, page_file):
    with open_page(browser, page_file, width=1440) as (page, _):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.evaluate("window.setTimeout = () => 0")  # the button says so for a moment only: here until it is seen
        page.locator(".copy").nth(3).click()
        page.locator(".copy", has_text="Copied").wait_for(timeout=60_000)
        copied = page.evaluate("navigator.clipboard.readText()")

    assert copied.startswith("Blue ceramic bowl\nStoneware, 14 cm across.\n")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(browser, page_file, theme):
    with open_page(browser, page_file, width=1440, theme=theme) as (page, _):
        faint = page.evaluate(FAINT)

    assert faint == []


FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return { rgb: [r, g, b], solid: a === 255 };
  };
  const linear = (value) => { const s = value / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = channels(getComputedStyle(at).backgroundColor);
      if (found.solid) { return found.rgb; }
    }
    return [255, 255, 255];
  };
  const faint = [];
  const spoken = "h1, h2, p, b, span, small, dt, dd, li, button, summary, select, a";
  for (const element of document.querySelectorAll(spoken)) {
    if (!element.checkVisibility() || !element.innerText || !element.innerText.trim()) { continue; }
    const [low, high] = [luminance(channels(getComputedStyle(element).color).rgb), luminance(ground(element))]
      .sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) { faint.push(element.outerHTML.slice(0, 80) + " " + contrast.toFixed(2)); }
  }
  return faint;
}"""
