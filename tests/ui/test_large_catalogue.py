"""
A catalogue of 10,000 products on the page, in Chromium: read, written for, looked through, accepted and downloaded.

The page is a process of its own, so that its memory is its own: `pytest -m proof -s tests/ui/test_large_catalogue.py`
prints the figures of architecture/ui.md.
"""

from __future__ import annotations

import csv
import io
import os
import random
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.client_command import create_client
from app.identity import SCOPES
from app.main import create_app
from app.settings import Settings
from model.creative import Finding
from tests.app.served_app import served
from tests.app.service_client import ServiceWriter, embedded
from tests.e2e.faults.load import say
from tests.real_parts import free_port, wait_until
from tests.ui.page_parts import CLIENT, window

pytestmark = pytest.mark.proof

PRODUCTS = 10_000
FINDING_EVERY = 50
WRITERS = 8
"""More than by default: a stub writes at once, and what is written together is kept in one commit."""
RUN_SECONDS_MAX = 1200.0
PAGE_BYTES_MAX = 250 * 2**20
"""Of the page's process at its peak; its container has 1 GiB."""
HEAP_BYTES_MAX = 60 * 2**20
"""Of the scripts in the browser, once everything is there."""
WATCH = """
window.blocked = 0;
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) { window.blocked = Math.max(window.blocked, each.duration); }
}).observe({ type: "longtask", buffered: true });
"""
TYPES = ("bowl", "vase", "lamp", "kettle", "blanket", "chair", "rucksack", "jumper", "speaker", "notebook")
MATERIALS = ("stoneware", "oak", "linen", "steel", "wool", "glass", "cork", "leather")


def catalogue(count: int) -> bytes:
    """A CSV export of `count` products with descriptions of some 300 characters, the same every time."""
    draw = random.Random(10)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("sku", "title", "description", "category", "brand", "price"))
    for number in range(count):
        kind, material = draw.choice(TYPES), draw.choice(MATERIALS)
        facts = [
            f"{draw.choice(MATERIALS).capitalize()} detail {draw.randint(1, 99)}, {draw.randint(5, 90)} cm."
            for _ in range(draw.randint(6, 12))
        ]
        price = f"{draw.randint(5, 400)}.{draw.randint(0, 99):02} EUR"
        words = (f"{material.capitalize()} {kind} {number}", " ".join(facts), f"{kind.capitalize()}s > {material}")
        writer.writerow((f"P-{number:05}", *words, "Loch", price))
    return text.getvalue().encode()


class LargeWriter(ServiceWriter):
    """Repeats the product's words; every fiftieth ad shouts."""

    def words(self, product: Any, spec: Any, voice: str, candidates: int, seed: int) -> Any:
        is_loud = int(product.sku.removeprefix("P-")) % FINDING_EVERY == 0
        writer = (
            ServiceWriter(findings=(Finding("shouting", "headline", product.title),)) if is_loud else ServiceWriter()
        )
        return ServiceWriter.words(writer, product, spec, voice, candidates, seed)


@dataclass
class Apart:
    """The page as a process of its own, and who may sign in."""

    url: str
    secret: str
    pid: int
    figures: dict[str, float] = field(default_factory=dict)

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.figures[name] = time.monotonic() - began


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    service = create_app(Settings(**embedded(tmp_path), batch_writers=WRITERS), writer=LargeWriter())
    with served(service) as (host, port):
        secret = create_client(service.state.parts.database, CLIENT, tuple(SCOPES))
        mine = free_port()
        command = [sys.executable, "-m", "app.ui.server", "--port", str(mine), "--api", f"http://{host}:{port}"]
        with subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL) as process:
            try:
                url = f"http://127.0.0.1:{mine}"
                wait_until(lambda: _answers(url), "the page to start")
                yield Apart(url, secret, process.pid)
            finally:
                process.terminate()


def answered(page: Any, action: Any) -> float:
    """Seconds until the browser has drawn what `action` leaves."""
    began = time.monotonic()
    action()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return time.monotonic() - began


def heap_bytes(page: Any) -> int:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


def test_ten_thousand_products_are_read_written_looked_through_accepted_and_downloaded(browser, apart):
    figures = apart.figures
    with window(browser, apart) as page:
        page.add_init_script(WATCH)
        page.goto(f"{apart.url}/catalogue")
        page.locator("#channels input").first.wait_for(state="attached")
        file = {"name": "products.csv", "mimeType": "text/csv", "buffer": catalogue(PRODUCTS)}
        with apart.timed("file read and shown, s"):
            page.set_input_files("#file", file)
            page.locator("#report").wait_for(timeout=120_000)
        page.locator("label.pill", has_text="Google").click()
        counts = page.locator("#counts dd").all_inner_texts()
        with apart.timed("all written and read, s"):
            page.click("#start")
            page.locator("#progress", has_text="; done").wait_for(timeout=RUN_SECONDS_MAX * 1000)
        shown = page.inner_text("#count")
        figures["cards drawn"] = page.locator("#results .card").count()
        figures["longest block while written, s"] = page.evaluate("window.blocked") / 1000
        page.evaluate("window.blocked = 0")
        figures["filter by finding, s"] = answered(page, lambda: page.select_option("#filter-finding", "shouting"))
        loud = page.inner_text("#count")
        figures["filter taken off, s"] = answered(page, lambda: page.select_option("#filter-finding", "none"))
        keys = [answered(page, lambda key=key: page.locator("#filter-words").press(key)) for key in "kettle 7"]
        figures["slowest key of a search, s"] = max(keys)
        found = page.inner_text("#count")
        page.fill("#filter-words", "")
        figures["more cards, s"] = answered(page, lambda: page.click("#more"))
        with apart.timed("accepted in bulk, s"):
            page.click("#accept-all")
            page.locator("#bulk-notice .fine").wait_for(timeout=120_000)
        said = page.inner_text("#bulk-notice")
        page.check("#only-accepted")
        files = {}
        for form in ("zip", "plain"):
            page.select_option("#format", form)
            with apart.timed(f"{form} made and loaded, s"), page.expect_download(timeout=120_000) as download:
                page.click("#download")
            files[form] = Path(download.value.path()).read_bytes()
        figures["longest block afterwards, s"] = page.evaluate("window.blocked") / 1000
        figures["heap of the scripts, MB"] = heap_bytes(page) / 2**20
        figures["peak of its process before Data, MB"] = apart.peak_bytes() / 2**20
        with apart.timed("page loaded again, s"):
            page.reload()
            page.locator("#results .card").first.wait_for(timeout=120_000)
        with apart.timed("data drawn, s"):
            page.goto(f"{apart.url}/data")
            page.locator(".figure svg").first.wait_for(timeout=120_000)
        figures["peak of the page's process, MB"] = apart.peak_bytes() / 2**20
    for name, value in figures.items():
        say(f"{name:<40} {value:8.2f}")
    quiet = PRODUCTS - PRODUCTS // FINDING_EVERY
    rows = list(csv.reader(io.StringIO(files["plain"].decode("utf-8-sig"))))
    names = zipfile.ZipFile(io.BytesIO(files["zip"])).namelist()

    assert counts == [f"{PRODUCTS:,}", "0", "0"]
    assert shown == f"{PRODUCTS:,} ads"
    assert loud == f"{PRODUCTS // FINDING_EVERY} of {PRODUCTS:,} ads"
    assert re.fullmatch(rf"[1-9]\d* of {PRODUCTS:,} ads", found)
    assert f"{quiet:,} ads accepted" in said
    assert len(rows) == quiet + 1
    assert {"ads.csv", "ads.json", "README.txt"} <= set(names)
    assert figures["cards drawn"] == 24
    assert figures["peak of the page's process, MB"] * 2**20 < PAGE_BYTES_MAX
    assert figures["heap of the scripts, MB"] * 2**20 < HEAP_BYTES_MAX
