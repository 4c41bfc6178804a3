"""
What an owner changes on the page Model, in Chromium: training pairs sent, followed and taken back; going back to an
earlier version, followed and taken back. What the pipelines do in between is done by their own stores.

Needs chromium and playwright: `pytest -m e2e tests/ui/test_model_changes_browser.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.ui.guard import PAIRS_BYTES_MAX
from model.store import retrains, rollbacks
from model.store.model_tables import pair_sets
from model.store.tables import retrains as retrain_rows
from model.store.tables import rollbacks as rollback_rows
from tests.ui.model_rows import (
    HOSTILE,
    ask_for_retrain,
    ask_for_rollback,
    begin_rollback,
    end_retrain,
    end_rollback,
    publish,
    use_pairs,
)
from tests.ui.page_parts import overflow, place, serious_findings, window

pytestmark = pytest.mark.e2e
ASSETS = Path(__file__).resolve().parents[2] / "app/ui/assets"
HEADER = "title,description,channel,headline 1,body,call to action,hashtags\n"
GOOD = (
    '"Slate cheese board Moor, 30 cm","Natural slate, 30 x 20 cm. Felt feet. Wipe clean with a damp cloth.",pinterest,'
    'A slate board for cheese,"Natural slate, 30 x 20 cm, on felt feet. Wipe it clean with a damp cloth.",'
    'See the board in full,"#slate #cheeseboard #kitchen"\n'
)
FALSE = GOOD.replace("30 x 20 cm, on felt feet", "90 x 70 cm, on felt feet").replace("Moor", "Fell")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A place whose service was told of a registry."""
    with place(tmp_path_factory.mktemp("known")) as opened:
        publish(opened.service)
        yield opened


@pytest.fixture
def at(known):
    """The same, where nobody has asked for anything yet."""
    with known.service.database.begin() as connection:
        for table in (pair_sets, rollback_rows, retrain_rows):
            connection.execute(table.delete())
    return known


def send(page, name, content, kind="text/csv"):
    data = content.encode() if isinstance(content, str) else content
    page.set_input_files("#pairs-file", files=[{"name": name, "mimeType": kind, "buffer": data}])


def opened(page, at):
    page.goto(f"{at.url}/model")
    page.locator("#pairs-file").wait_for(state="attached")


def refusal(page):
    return page.locator("#pairs-trouble").get_by_role("alert").inner_text()


def test_the_examples_to_fill_in_are_taken_as_they_are(browser, at):
    with window(browser, at) as page:
        opened(page, at)
        taken = []
        for name in ("CSV", "JSON lines"):
            with page.expect_download() as waiting:
                page.locator("#pairs-drop").get_by_role("link", name=name, exact=True).click()
            path = Path(waiting.value.path())
            send(page, waiting.value.suggested_filename, path.read_bytes())
            page.locator("#pairs-status", has_text=waiting.value.suggested_filename).wait_for()
            page.locator("#pairs-counts dd").first.wait_for()
            taken.append((waiting.value.suggested_filename, page.locator("#pairs-counts dd").all_inner_texts()[:1]))
            page.locator("[data-take-back]").first.click()
            page.locator("#sets-rows", has_text="taken back by shop").wait_for()
            page.locator("[data-take-back]").first.wait_for(state="detached")

    assert taken == [("pairs-example.csv", ["2"]), ("pairs-example.jsonl", ["2"])]


def test_a_file_of_pairs_shows_what_was_refused_and_is_followed_until_it_is_used(browser, at):
    hostile = GOOD.replace("Moor", "Cliff").replace(
        "A slate board for cheese", f'"{HOSTILE.replace(chr(34), chr(39))}"'
    )
    with window(browser, at, width=380) as page:
        opened(page, at)
        send(page, f"{HOSTILE.replace('/', '')}.csv", HEADER + GOOD + FALSE + hostile)
        page.locator("#pairs-counts dd").first.wait_for()
        counts = page.locator("#pairs-counts dd").all_inner_texts()[:2]
        faults = page.locator("#pairs-faults tr").all_inner_texts()
        state = page.inner_text("#pairs-state")
        focused = page.evaluate("document.activeElement.id")
        found, wide = serious_findings(page), overflow(page)
        set_id = page.locator("#sets-rows tr").first.get_attribute("data-id")
        use_pairs(at.service, set_id, f"not all {HOSTILE}")
        page.locator("#pairs-state", has_text="used in dataset abababababab").wait_for()
        used = page.locator("#sets-rows tr").first.inner_text()
        page.reload()
        again = page.locator("#sets-rows tr").first.inner_text()
        hacked = page.evaluate("window.hacked")

    assert counts == ["1", "2"]
    assert [fault.split()[0] for fault in faults] == ["3", "4"]
    assert "90" in faults[0]
    assert state == "State: waiting for the next retrain"
    assert focused == "pairs-report"
    assert (found, wide) == ([], 0)
    for text in (used, again):
        assert "used in dataset abababababab" in text
        assert HOSTILE in text
    assert hacked is None


def test_the_same_file_again_is_the_same_set_and_a_second_one_stands_beside_it(browser, at):
    with window(browser, at) as page:
        opened(page, at)
        for name, content in (("a.csv", GOOD), ("b.csv", GOOD), ("c.csv", GOOD.replace("Moor", "Tor"))):
            send(page, name, HEADER + content)
            page.locator("#pairs-status", has_text=name).wait_for()
            page.locator("#pairs-name", has_text=name).wait_for()
        page.locator("#sets-rows tr").nth(1).wait_for()
        sets = page.locator("#sets-rows tr").count()

    assert sets == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("pairs.zip", b"PK\x03\x04", "not opened"),
        ("pairs.xlsx", b"PK\x03\x04", "save the sheet as CSV"),
        ("pairs.pdf", b"%PDF", "ends in .jsonl or .csv"),
        ("pairs.csv", b"", "empty"),
        ("pairs.csv", b"x" * (PAIRS_BYTES_MAX + 1), "At most 8 MB"),
    ],
)
def test_what_is_no_file_of_pairs_is_refused_before_it_is_sent(browser, at, name, content, says):
    with window(browser, at) as page:
        asked = []
        opened(page, at)
        page.on("request", lambda request: asked.append(request.url))
        send(page, name, content)
        said = refusal(page)

    assert says in said
    assert not [url for url in asked if url.endswith("/api/pairs")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("pairs.csv", HEADER + FALSE, "line 2"),
        ("pairs.csv", "title,description\nCup,Blue.\n", "lacks the column channel"),
        ("pairs.csv", b"PK\x03\x04" + bytes(200), "CSV"),
        ("pairs.jsonl", "{broken", "line 1"),
        ("pairs.jsonl", json.dumps({"product": HOSTILE}), "line 1"),
        ("pairs.csv", HEADER + GOOD * 5001, "more than 5,000 rows"),
    ],
)
def test_a_file_without_a_good_pair_is_refused_with_what_to_do_and_nothing_of_it_is_kept(
    browser, at, name, content, says
):
    with window(browser, at) as page:
        opened(page, at)
        send(page, name, content)
        said = refusal(page)
        found = serious_findings(page)
        shown = page.locator("#pairs-report").is_visible()
        page.reload()
        none = page.locator("#sets-none").is_visible()
        hacked = page.evaluate("window.hacked")
        page.complaints.clear()  # the refusal, which Chromium reports

    assert says in said
    assert "/tmp" not in said
    assert found == []
    assert (shown, none) == (False, True)
    assert hacked is None


def ask_to_go_back(page, reason="Odd ads since this morning.", number="6"):
    page.click("#go-back")
    page.fill("#rollback-reason-field", reason)
    page.fill("#rollback-number", number)
    page.click("#rollback-ask")


def test_going_back_wants_a_reason_and_the_number_and_says_what_will_happen(browser, at):
    with window(browser, at) as page:
        opened(page, at)
        page.click("#go-back")
        says = page.inner_text("#rollback")
        page.click("#rollback-ask")
        first = page.locator("#rollback-form-trouble").inner_text(), page.evaluate("document.activeElement.id")
        page.fill("#rollback-reason-field", "Odd ads.")
        page.fill("#rollback-number", "7")
        page.click("#rollback-ask")
        second = page.locator("#rollback-form-trouble").inner_text(), page.evaluate("document.activeElement.id")
        page.keyboard.press("Escape")
        closed = not page.locator("#rollback").is_visible()
        asked = page.locator("#rollback-panel").is_visible()

    assert "Version 6 becomes champion again, and version 7 stops being it" in says
    assert "Say why" in first[0]
    assert first[1] == "rollback-reason-field"
    assert "Type 6 to confirm" in second[0]
    assert second[1] == "rollback-number"
    assert (closed, asked) == (True, False)


def test_going_back_is_followed_until_it_is_done(browser, at):
    address = "https://example.com/adloom/pulls/12"
    with window(browser, at) as page:
        opened(page, at)
        ask_to_go_back(page, f"Odd ads. {HOSTILE}")
        page.locator("#rollback-steps li.now", has_text="Waiting for the pipelines").wait_for()
        reason = page.inner_text("#rollback-reason")
        row = begin_rollback(at.service)
        with at.service.database.begin() as connection:
            why = f"waits for {address}, {HOSTILE}"
            assert rollbacks.note(connection, row.id, "a carrier", source="7", target="6", why=why)
        page.locator("#rollback-steps li.now", has_text="Carrying it out").wait_for()
        link = page.locator("#rollback-why a")
        link.wait_for()
        linked = link.get_attribute("href")
        can_be_taken_back = page.locator("#rollback-withdraw").is_visible()
        page.reload()
        page.locator("#rollback-steps li.now", has_text="Carrying it out").wait_for()
        end_rollback(at.service, row.id, "done", "Git, registry and service say model 6", source="7", target="6")
        page.locator("#rollback-steps li.done", has_text="Version 6 is champion again").wait_for()
        why = page.inner_text("#rollback-why")
        found = serious_findings(page)
        hacked = page.evaluate("window.hacked")

    assert HOSTILE in reason
    assert linked == address
    assert not can_be_taken_back
    assert "Git, registry and service say model 6" in why
    assert found == []
    assert hacked is None


def test_a_rollback_that_waits_can_be_taken_back_by_keyboard_alone(browser, at):
    with window(browser, at) as page:
        opened(page, at)
        page.locator("#go-back").focus()
        page.keyboard.press("Enter")
        page.locator("#rollback-to").focus()
        for text in ("", "Odd ads.", "6"):
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        inside = page.evaluate("document.activeElement.id")
        page.keyboard.press("Enter")
        page.locator("#rollback-withdraw").wait_for()
        focused = page.evaluate("document.activeElement.id")
        page.keyboard.press("Tab")
        button = page.evaluate("document.activeElement.id")
        page.keyboard.press("Enter")
        page.locator("#rollback-steps li.bad", has_text="Taken back").wait_for()
        page.locator("#rollback-withdraw").wait_for(state="hidden")

    assert inside == "rollback-ask"
    assert focused == "rollback-panel"
    assert button == "rollback-withdraw"
    with at.service.database.connect() as connection:
        assert rollbacks.find_open(connection, "ad_writer") is None


def test_one_that_began_meanwhile_cannot_be_taken_back_and_says_so(browser, at):
    with window(browser, at) as page:
        opened(page, at)
        ask_to_go_back(page)
        page.locator("#rollback-withdraw").wait_for()
        page.route(
            "**/api/rollbacks/*", lambda route: route.abort() if route.request.method == "GET" else route.continue_()
        )
        begin_rollback(at.service)
        page.click("#rollback-withdraw")
        refused = page.locator("#rollback-refused").get_by_role("alert")
        refused.wait_for()
        page.unroute("**/api/rollbacks/*")
        page.locator("#rollback-steps li.now", has_text="Carrying it out").wait_for()
        said = refused.inner_text()
        is_hidden = page.locator("#rollback-withdraw").is_hidden()
        page.complaints.clear()  # the refusal and what was cut off, which Chromium reports

    assert said == "It was not taken back. It is running."
    assert is_hidden


def too_many_once(page, address):
    """The first look is answered as by a limit on requests."""
    detail = {"status": 429, "json": {"detail": "Too many requests: wait 2 seconds."}}
    page.route(address, lambda route: route.fulfill(**detail), times=1)


@pytest.mark.parametrize("kind", ["rollback", "retrain"])
def test_a_limit_on_requests_does_not_end_the_looking(browser, at, kind):
    ask_for_rollback(at.service, "Odd ads.") if kind == "rollback" else ask_for_retrain(at.service)
    with window(browser, at) as page:
        too_many_once(page, f"**/api/{kind}s/*")
        opened(page, at)
        page.locator(f"#{kind}-trouble", has_text="Too many requests").wait_for()
        page.locator(
            f"#{'rollback-' * (kind == 'rollback')}steps li.now", has_text="Waiting for the pipelines"
        ).wait_for()
        page.locator(f"#{kind}-trouble [role=alert]").wait_for(state="detached")
        page.complaints.clear()  # the 429, which Chromium reports


TURNS_MAX = 60


def looks_in_one_turn(page, kind):
    """How many times the script asks how far it is before it waits again."""
    asked = []
    page.on("request", lambda request: request.method == "GET" and f"/api/{kind}s/" in request.url and asked.append(1))
    page.clock.pause_at(page.evaluate("Date.now()") + 2_000)
    # A look that waits for its answer begins no turn: the clock goes on until one asks.
    for _ in range(TURNS_MAX):
        page.wait_for_timeout(500)
        asked.clear()
        page.clock.run_for(2_000)
        page.wait_for_timeout(500)  # a second loop would ask by now
        if asked:
            break
    return len(asked)


def test_a_rollback_that_cannot_be_taken_back_is_followed_once_however_often_it_is_tried(browser, at):
    with window(browser, at) as page:
        page.clock.install()
        opened(page, at)
        ask_to_go_back(page)
        page.route(
            "**/api/rollbacks/*", lambda route: route.abort() if route.request.method == "DELETE" else route.continue_()
        )
        for _ in range(3):
            with page.expect_event("requestfailed"):
                page.click("#rollback-withdraw")
            page.locator("#rollback-refused").get_by_role("alert").wait_for()
        looks = looks_in_one_turn(page, "rollback")
        page.complaints.clear()  # what was cut off, which Chromium reports

    assert looks == 1


def test_a_retrain_that_is_open_is_followed_once_however_often_another_is_asked_for(browser, at):
    asked = ask_for_retrain(at.service)
    with window(browser, at) as page:
        page.clock.install()
        opened(page, at)
        page.locator("#retrain-id", has_text=asked).wait_for()
        for _ in range(3):
            page.fill("#reason", "Me too.")
            with page.expect_response("**/api/retrains"):
                page.click("#ask")
        looks = looks_in_one_turn(page, "retrain")
        said = page.inner_text("#retrain-trouble")
        page.complaints.clear()  # the refusals, which Chromium reports

    assert looks == 1
    assert "That one is shown here" in said


def test_a_second_rollback_is_refused_and_the_open_one_is_shown(browser, at):
    with window(browser, at) as first, window(browser, at) as second:
        for page in (first, second):
            opened(page, at)
        ask_to_go_back(first)
        first.locator("#rollback-withdraw").wait_for()
        ask_to_go_back(second, "Me too.")
        second.locator("#rollback-form-trouble").get_by_role("alert").wait_for()
        said = second.inner_text("#rollback-form-trouble")
        second.locator("#rollback-reason", has_text="Odd ads since this morning.").wait_for(state="attached")
        second.click("#rollback-cancel")
        shown = second.inner_text("#rollback-id")
        own = first.inner_text("#rollback-id")
        second.complaints.clear()  # the 409, which Chromium reports

    assert f"Wait until {own} has ended" in said
    assert "/v1/" not in said
    assert shown == own


@pytest.mark.parametrize(("state", "says"), [("refused", "Refused: nothing was changed"), ("failed", "It failed")])
def test_one_that_comes_to_nothing_says_why(browser, at, state, says):
    with window(browser, at) as page:
        opened(page, at)
        ask_to_go_back(page)
        page.locator("#rollback-withdraw").wait_for()
        row = begin_rollback(at.service)
        end_rollback(at.service, row.id, state, "version 6 has never been champion")
        page.locator("#rollback-steps li.bad", has_text=says).wait_for()
        why = page.inner_text("#rollback-why")
        page.click("#go-back")
        can_ask_again = page.locator("#rollback-ask").is_enabled()

    assert why == "version 6 has never been champion"
    assert can_ask_again


def test_what_somebody_else_asked_for_is_followed_by_whoever_opens_the_page(browser, at):
    asked = ask_for_rollback(at.service, f"Odd ads. {HOSTILE}")
    with window(browser, at) as page:
        opened(page, at)
        page.locator("#rollback-reason", has_text="Odd ads.").wait_for()
        shown, who = page.inner_text("#rollback-id"), page.inner_text("#rollback-who")
        begin_rollback(at.service)
        page.locator("#rollback-steps li.now", has_text="Carrying it out").wait_for()
        hacked = page.evaluate("window.hacked ?? null")

    assert (shown, who) == (asked, "somebody else")
    assert hacked is None


def test_retrains_that_ended_are_listed_and_one_that_drift_led_to_is_followed(browser, at):
    first = ask_for_retrain(at.service, "manual", reason=f"A new season. {HOSTILE}")
    end_retrain(at.service, first, "promoted", version="7")
    with at.service.database.begin() as connection:
        assert retrains.judge_help(connection, first, True, {})
    second = ask_for_retrain(at.service)
    end_retrain(at.service, second, "refused", version="8", why="better on none of validity, grounded")
    third = ask_for_retrain(at.service)
    with window(browser, at, width=380) as page:
        opened(page, at)
        page.locator("#steps li.now", has_text="Waiting for the pipelines").wait_for()
        shown, who = page.inner_text("#retrain-id"), page.inner_text("#retrain-who")
        events = page.locator("#learn .timeline li").all_inner_texts()
        wide, findings = overflow(page), serious_findings(page)
        end_retrain(at.service, third, "failed", why="no disk left")
        page.locator("#steps li.bad", has_text="The retrain failed").wait_for()
        hacked = page.evaluate("window.hacked ?? null")

    assert (shown, who) == (third, "Because of drift")
    assert len(events) == 2
    assert "Version 8 was not better" in events[0]
    assert "because of drift" in events[0]
    assert "better on none of validity" in events[0]
    assert "Version 7 became champion, and helped" in events[1]
    assert "asked for by somebody else" in events[1]
    assert "A new season." in events[1]
    assert (wide <= 0, findings, hacked) == (True, [], None)
