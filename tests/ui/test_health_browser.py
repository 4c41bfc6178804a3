"""
Health and Data in Chromium: drift window by window with its report inside, and what is deployed where.

Needs chromium on the PATH and playwright: `pytest -m e2e tests/ui/test_health_browser.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.client_command import create_client
from app.identity import CREATIVES_READ, CREATIVES_WRITE
from tests.app.drift_rows import column, drift_report, keep_report
from tests.ui.page_parts import on_every_screen, overflow, place, serious_findings, window

pytestmark = pytest.mark.e2e
OUT = Path(__file__).resolve().parents[2] / "out/ui/tests"
READER = "reader"
FEATURES = ("description_chars", "title_chars", "price", "channel", "category", "validity")
HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
PAGE = b"""<!DOCTYPE html><title>A report</title><body><p id="drawn">not yet</p><script>
let reached = "nothing";
try { reached = parent.document.title; } catch { /* as it should be */ }
try { reached = localStorage.length + " stored"; } catch { /* as it should be */ }
document.getElementById("drawn").textContent = `drawn by its own script, reached ${reached}`;
</script>"""


def measured(number):
    """Descriptions go away from the reference, hour by hour, and are past it from the twelfth on."""
    far = 0.03 * number
    return [
        column(name, distance=far if name == "description_chars" else 0.01 * place + 0.002 * (number % 5))
        | {"verdict": "drift" if name == "description_chars" and far > 0.2 else "steady"}
        for place, name in enumerate(FEATURES)
    ]


def fill(parts, count=16):
    """`count` hours; the last ones drift, and the very last hurts."""
    for number in range(1, count + 1):
        columns = drift_report().columns | {"measured": measured(number), "page_bytes": len(PAGE)}
        verdict = "drift" if 0.03 * number > 0.2 else "steady"
        why = f"description_chars is far away {HOSTILE}" if verdict == "drift" else "nothing is far away"
        report = drift_report(
            number, columns=columns, verdict=verdict, why=why, hurts=number == count, share=1 / len(FEATURES)
        )
        keep_report(parts, report, PAGE)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A service with the reports of some hours, and a second client without the owner's scope."""
    with place(tmp_path_factory.mktemp("watched")) as at:
        fill(at.service)
        at.reader = create_client(at.service.database, READER, (CREATIVES_READ, CREATIVES_WRITE))
        yield at


@on_every_screen
def test_drift_and_deployment_are_shown_to_their_owner(browser, watched, width, theme):
    OUT.mkdir(parents=True, exist_ok=True)
    with window(browser, watched, width=width, theme=theme) as page:
        page.goto(f"{watched.url}/health")
        rows = page.locator("#drift tbody tr").count()
        latest = page.locator("#drift tbody tr").first.inner_text()
        sentences = page.inner_text("#drift figcaption")
        places = page.locator("#deployment tbody th").all_inner_texts()
        said = page.inner_text("#deployment .state")
        found, wide = serious_findings(page), overflow(page)
        page.screenshot(path=OUT / f"health-drift-{width}-{theme}.png", full_page=True)
        hacked = page.evaluate("String(window.hacked)")

    assert rows == 12
    assert "Drift, and worse ads" in latest
    assert "0.89, was 0.95" in latest
    assert "“description chars” drifted in 10 of 16 windows" in sentences
    assert "a retrain is due" in sentences
    assert places == ["Git", "Registry", "This service"]
    assert said == "Too little is known to compare"
    assert hacked == "undefined"
    assert found == []
    assert wide <= 0


def test_the_report_stands_inside_and_reaches_nothing_of_ours(browser, watched):
    with window(browser, watched) as page:
        page.goto(f"{watched.url}/health")
        before = page.locator("iframe.report").is_visible()
        page.get_by_role("link", name="Look at the report of").nth(2).click()
        page.wait_for_url("**/health?report=dr_*")
        frame = page.frame_locator("iframe.report")
        frame.locator("#drawn", has_text="drawn by its own script").wait_for()
        text = frame.locator("#drawn").inner_text()
        title = page.locator("iframe.report").get_attribute("title")
        found = serious_findings(page)

    assert not before
    assert text == "drawn by its own script, reached nothing"
    assert title.startswith("Evidently's report of 16 Jan 2026")
    assert found == []


def test_the_report_may_be_framed_by_the_page_alone_and_runs_in_no_origin(browser, watched):
    with window(browser, watched) as page:
        answer = page.request.get(f"{watched.url}/drift/{drift_report(3).id}/page")
        health = page.request.get(f"{watched.url}/health")
        again = page.request.get(
            f"{watched.url}/drift/{drift_report(3).id}/page", headers={"If-None-Match": answer.headers["etag"]}
        )

    policies = [each["value"] for each in answer.headers_array if each["name"].lower() == "content-security-policy"]
    assert answer.status == 200
    assert len(policies) == 1
    assert policies[0].startswith("sandbox allow-scripts;")
    assert "frame-ancestors 'self'" in policies[0]
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert health.headers["x-frame-options"] == "DENY"
    assert again.status == 304


def test_a_report_that_has_expired_is_said_in_its_frame(browser, watched):
    number = 5
    page_key = drift_report(number).page_key
    Path(watched.service.settings.objects_url, page_key).unlink()
    with window(browser, watched) as page:
        page.goto(f"{watched.url}/health?report={drift_report(number).id}#report")
        frame = page.frame_locator("iframe.report")
        frame.locator("body", has_text="It has expired").wait_for()
        page.complaints.clear()  # the 404, which Chromium reports


def test_one_without_the_owners_scope_sees_a_sentence_instead(browser, watched):
    with window(browser, watched, signed_in=False) as page:
        page.goto(f"{watched.url}/sign-in")
        page.fill("input[name=client_id]", READER)
        page.fill("input[name=client_secret]", watched.reader)
        page.click("main button")
        page.wait_for_url("**/create")
        page.goto(f"{watched.url}/health")
        drift, deployment = page.inner_text("#drift"), page.inner_text("#deployment")
        tables = page.locator("#drift table, #deployment table").count()
        refused = page.request.get(f"{watched.url}/drift/{drift_report(3).id}/page")
        why = refused.text()
        page.goto(f"{watched.url}/data")
        figures = page.locator(".figure h2").all_inner_texts()

    assert "lacks the scope models:admin" in drift
    assert "lacks the scope models:admin" in deployment
    assert tables == 0
    assert refused.status == 403
    assert "lacks models:admin" in why
    assert "Drift of a feature over time" not in figures


def test_a_service_without_reports_says_how_they_begin(browser, here):
    with window(browser, here) as page:
        page.goto(f"{here.url}/health")
        drift = page.inner_text("#drift")
        framed = page.locator("iframe").count()

    assert "No window has been compared yet" in drift
    assert "adloom drift" in drift
    assert framed == 0


@pytest.mark.parametrize(("width", "theme"), [(380, "dark"), (1920, "light")])
def test_data_shows_the_drift_of_a_feature_over_time_to_the_owner(browser, watched, width, theme):
    OUT.mkdir(parents=True, exist_ok=True)
    with window(browser, watched, width=width, theme=theme) as page:
        page.goto(f"{watched.url}/data")
        figures = page.locator(".figure")
        titles, last = figures.locator("h2").all_inner_texts(), figures.last.inner_text()
        found, wide = serious_findings(page), overflow(page)
        page.screenshot(path=OUT / f"data-drift-{width}-{theme}.png", full_page=True)

    assert titles == [
        "Categories",
        "Length of descriptions",
        "Prices",
        "Words that set categories apart",
        "Embedding map of the products",
        "Drift of a feature along the file",
        "Drift of a feature over time",
    ]
    assert "goes from 15% to 240% of what counts as drift" in last
    assert "past that in 10 of 16 windows" in last
    assert found == []
    assert wide <= 0
