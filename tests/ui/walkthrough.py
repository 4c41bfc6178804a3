"""
Record the page's main path on the built model: an animated picture, and a screenshot of each page at two widths.

Needs the bundle of `make bundle`, chromium and playwright: `python -m tests.ui.walkthrough --out out/ui`. A registry in
its folder is published first, so that the page Model has versions to show.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from app.generate import default_bundle
from app.main import create_app as create_service
from app.settings import Settings as ServiceSettings
from model.ledger import DEFAULT_FOLDER
from model.publication import publish_after
from tests.app.service_client import embedded
from tests.ui.page_parts import chromium, place_before, window

WIDTH, HEIGHT = 1280, 800
SHOWN_WIDTH = 960
FRAME_MILLISECONDS, HOLD_MILLISECONDS = 900, 2200
QUALITY = 78
TO_RESULTS = "document.getElementById('results-panel').scrollIntoView()"
WAIT_MILLISECONDS = 180_000
"""For the slowest machine to write for the whole sample."""


class Film:
    """Screenshots as frames; a frame that is held is looked at longer."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._frames: list[tuple[Image.Image, int]] = []

    def take(self, *, hold: bool = False) -> None:
        image = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        small = image.resize((SHOWN_WIDTH, image.height * SHOWN_WIDTH // image.width), Image.Resampling.LANCZOS)
        self._frames.append((small, HOLD_MILLISECONDS if hold else FRAME_MILLISECONDS))

    def write(self, path: Path) -> None:
        first, *rest = (frame for frame, _ in self._frames)
        milliseconds = [each for _, each in self._frames]
        first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0, quality=QUALITY, method=4)


def create(page: Any, film: Film) -> None:
    """One product, from the example to an ad that is edited and accepted."""
    film.take()
    page.click("#example")
    page.get_by_text("Facebook feed ad").click()
    film.take()
    page.click("#go")
    page.locator("#results .card.writing h2").first.wait_for(timeout=WAIT_MILLISECONDS)
    film.take()
    page.locator("#results .card[data-id]").nth(1).wait_for(timeout=WAIT_MILLISECONDS)
    page.wait_for_load_state("networkidle")
    film.take(hold=True)
    card = page.locator("#results .card").first
    card.get_by_role("button", name="Edit").click()
    film.take(hold=True)
    card.get_by_role("button", name="Cancel").click()
    card.get_by_role("button", name="Accept").click()
    card.locator(".verdict", has_text="Accepted").wait_for()
    film.take(hold=True)


def run_sample(page: Any, film: Film, url: str) -> None:
    """The sample, until the first ads of it are there."""
    page.goto(f"{url}/catalogue")
    page.locator("#channels input").first.wait_for(state="attached")
    film.take()
    page.click("#sample")
    page.locator("#start").wait_for()
    film.take()
    page.click("#start")
    page.locator("#results .card").nth(2).wait_for(timeout=WAIT_MILLISECONDS)
    page.wait_for_load_state("load")
    film.take()
    page.evaluate(TO_RESULTS)
    page.wait_for_timeout(800)
    film.take(hold=True)
    page.click("#stop")
    page.locator("#progress", has_text="stopped").wait_for(timeout=WAIT_MILLISECONDS)


def show_model(page: Any, film: Film, url: str) -> None:
    """Two versions side by side as far as a registry was published, and what the owner can do."""
    page.goto(f"{url}/model")
    film.take(hold=True)
    for place in (".scores", ".samples", "#versions"):
        if page.locator(place).count():
            page.locator(place).evaluate("one => one.scrollIntoView()")
            film.take(hold=True)


def tell(text: str) -> None:
    """Progress, on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Write walkthrough.webp and the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/ui"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        publish_after(DEFAULT_FOLDER, embedded(folder)["database_url"])
        settings = ServiceSettings(**(embedded(folder) | {"bundle": default_bundle(), "request_timeout_seconds": 300}))
        with place_before(create_service(settings), request_timeout_seconds=330) as at, chromium() as browser:
            with window(browser, at, width=WIDTH) as page:
                film = Film(page)
                create(page, film)
                run_sample(page, film, at.url)
                show_model(page, film, at.url)
                for name in ("health", "data"):
                    page.goto(f"{at.url}/{name}")
                    film.take(hold=True)
                film.write(out / "walkthrough.webp")
            tell(f"{out / 'walkthrough.webp'}: {(out / 'walkthrough.webp').stat().st_size // 1024} KB")
            for width in (380, 1920):
                for theme in ("light", "dark"):
                    shots(browser, at, out, width, theme)


def shots(browser: Any, at: Any, out: Path, width: int, theme: str) -> None:
    """One picture of each page as it is in use."""
    with window(browser, at, width=width, theme=theme) as page:
        page.click("#example")
        page.get_by_text("Facebook feed ad").click()
        page.get_by_text("X post").click()
        page.click("#go")
        page.locator("#results .card[data-id]").nth(2).wait_for(timeout=WAIT_MILLISECONDS)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=out / f"create-{width}-{theme}.png")
        page.goto(f"{at.url}/catalogue")
        page.locator("#channels input").first.wait_for(state="attached")
        page.click("#sample")
        page.locator("#start").click()
        page.locator("#results .card").nth(5).wait_for(timeout=WAIT_MILLISECONDS)
        page.wait_for_timeout(800)
        page.screenshot(path=out / f"catalogue-{width}-{theme}.png")
        page.evaluate(TO_RESULTS)
        page.wait_for_timeout(500)
        page.screenshot(path=out / f"results-{width}-{theme}.png")
        page.click("#stop")
        page.locator("#progress", has_text="stopped").wait_for(timeout=WAIT_MILLISECONDS)
        for name in ("model", "health", "data"):
            page.goto(f"{at.url}/{name}")
            page.screenshot(path=out / f"{name}-{width}-{theme}.png", full_page=True)
    tell(f"screenshots at {width} px, {theme}")


if __name__ == "__main__":
    main()
