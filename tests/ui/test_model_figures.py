"""What the page Model makes of versions, scores, ads and history, and of a model card that somebody else wrote."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree as ET

import pytest
from markdown_it.common import normalize_url

from app.ui import model_figures
from app.ui.model_card import CARD_CHARS_MAX, card_html
from app.ui.model_figures import Mean, aliased, chosen, compared, earlier_champions, outcome_of, timeline
from model.model_card import EXPLAINED
from model.training.scoring import ROW_SCORES


def version(number, *aliases, **scores):
    return {"version": str(number), "aliases": list(aliases), "scores": scores, "samples": []}


def score(mean, low=None, high=None):
    return {"mean": mean, "low": low, "high": high}


def line(action, source, target, state="done", **given):
    return {
        "time": "2026-01-15T09:30:00Z",
        "who": "owner",
        "action": action,
        "state": state,
        "from": str(source or ""),
        "to": str(target or ""),
        "why": "because",
        "note": "",
    } | given


def test_every_score_of_an_evaluation_has_a_name_on_the_page():
    assert set(model_figures.SCORES) == set(ROW_SCORES)
    assert set(model_figures.SCORES) == set(EXPLAINED)


def test_champion_and_candidate_stand_side_by_side_unless_others_are_asked_for():
    versions = [version(9), version(8, "candidate"), version(7, "champion"), version(6)]

    assert chosen(versions, "", "") == ("7", "8")
    assert chosen(versions, "6", "9") == ("6", "9")
    assert chosen(versions, "99", "<script>") == ("7", "8")
    assert chosen(versions, "8", "") == ("8", "9")
    assert chosen(versions, "7", "7") == ("7", "")


@pytest.mark.parametrize(
    ("versions", "pair"),
    [
        ([], ("", "")),
        ([version(1)], ("1", "")),
        ([version(1, "candidate")], ("1", "")),
        ([version(1, "champion", "candidate")], ("1", "")),
        ([version(2, "candidate"), version(1)], ("1", "2")),
        ([version(3), version(2, "champion", "candidate"), version(1)], ("2", "3")),
    ],
)
def test_few_versions_and_missing_aliases_still_give_what_there_is(versions, pair):
    assert chosen(versions, "", "") == pair


@pytest.mark.parametrize(
    ("right", "outcome"),
    [
        ((0.95, 0.91, 0.99), "better"),
        ((0.95, 0.90, 0.99), "alike"),  # the intervals touch
        ((0.85, 0.80, 0.90), "alike"),
        ((0.75, 0.70, 0.79), "worse"),
        ((0.75, 0.70, 0.80), "alike"),
        ((0.10, None, None), "alike"),
    ],
)
def test_two_scores_are_told_apart_only_where_their_intervals_do_not_meet(right, outcome):
    assert outcome_of(Mean(0.85, 0.80, 0.90), Mean(*right), 1) == outcome


def test_fewer_memorised_words_are_better_and_an_unknown_score_only_differs():
    left = version(7, memorised_words=score(9, 8, 10), odd=score(9, 8, 10))
    right = version(8, memorised_words=score(3, 2, 4), odd=score(3, 2, 4))

    assert [(row.name, row.outcome) for row in compared(left, right)] == [
        ("Memorised words", "better"),
        ("Odd", "other"),
    ]


def test_a_score_that_one_version_lacks_is_said_to_be_missing():
    (row,) = compared(version(7, validity=score(0.9, 0.8, 1.0)), version(8, validity=score(None)))

    assert row.outcome == "missing"
    assert row.words == "not measured for version 8"


def test_the_summary_counts_what_is_told_apart():
    left = version(7, validity=score(0.9, 0.88, 0.92), chrf=score(0.3, 0.29, 0.31), valid=score(0.9, 0.8, 1.0))
    right = version(8, validity=score(0.8, 0.78, 0.82), chrf=score(0.4, 0.39, 0.41), valid=score(0.9, 0.8, 1.0))
    said = model_figures.summary(compared(left, right), "7", "8")

    assert "clearly better on 1 and clearly worse on 1 than version 7" in said
    assert "on 1 no difference is clear" in said
    assert "no score in common" in model_figures.summary(compared(left, version(8)), "7", "8")


@pytest.mark.parametrize(
    "lanes",
    [
        [("7", Mean(1.0, 1.0, 1.0)), ("8", Mean(1.0, 1.0, 1.0))],
        [("7", Mean(0.0, 0.0, 0.0)), ("8", None)],
        [("7", Mean(3.02, 2.9, 3.2)), ("8", Mean(1200.0, None, None))],
        [("7", Mean(-0.4, -0.5, -0.3)), ("</svg><script>", Mean(0.4, 0.3, 0.5))],
        [("7", None), ("8", None)],
    ],
)
def test_every_pair_of_means_is_drawn_within_the_picture_as_valid_xml(lanes):
    drawing = ET.fromstring(str(model_figures.whiskers(lanes, 'says "<b>"')))
    ends = [float(one.get(x)) for one in drawing.iter("line") for x in ("x1", "x2")]

    assert {one.tag for one in drawing.iter()} <= {"svg", "line", "path", "text"}
    assert all(model_figures.PLOT_LEFT <= end <= model_figures.PLOT_RIGHT for end in ends)
    assert len(list(drawing.iter("path"))) == sum(mean is not None for _, mean in lanes)


def test_ads_of_the_same_product_and_channel_stand_beside_each_other():
    ours = [{"product": name, "channel": "x", "by": 7} for name in ("cup", "tent", "sock")]
    theirs = [{"product": name, "channel": "x", "by": 8} for name in ("sock", "cup", "lamp")]
    theirs.append({"product": "tent", "channel": "facebook", "by": 8})
    pairs = [
        (left and left["product"], right and right["product"])
        for left, right in model_figures.pairs_of_samples(ours, theirs)
    ]

    assert pairs == [("cup", "cup"), ("sock", "sock"), ("tent", None), (None, "lamp"), (None, "tent")]


def test_an_intent_that_a_later_line_settles_is_not_told_twice():
    entries = [
        line("refused", 7, 8, "undone", note="promote refused: worse"),
        line("rollback", 6, 7),
        line("rollback", 6, 7, "intent"),
        line("promote", 7, 6),
        line("promote", 7, 6, "intent"),
        line("promote", None, 7),
    ]
    events = timeline(entries)

    assert [event.words for event in events] == [
        "Version 8 was refused; version 7 stays",
        "Back to version 7, after version 6",
        "Version 6 became champion, after version 7",
        "Version 7 became champion",
    ]
    assert [event.kind for event in events] == ["bad", "done", "done", "done"]


def test_an_intent_that_nothing_settled_is_open_and_one_that_did_not_move_is_bad():
    begun, dropped = timeline([line("promote", 7, 8, "intent"), line("promote", 6, 7, "undone")])

    assert (begun.kind, dropped.kind) == ("open", "bad")
    assert "not finished" in begun.words
    assert "not carried out" in dropped.words


def test_one_goes_back_only_to_a_champion_of_before_that_is_still_there():
    versions = [version(8, "candidate"), version(7, "champion"), version(6)]
    entries = [
        line("refused", 7, 8, "undone"),
        line("promote", 6, 7),
        line("promote", 6, 7, "intent"),
        line("promote", 5, 6),
        line("promote", 7, 8, "intent"),
    ]

    assert earlier_champions(entries, versions) == ["6"]
    assert earlier_champions([], versions) == []
    assert aliased(versions, "nobody") is None


def test_a_card_keeps_headings_lists_tables_code_and_https_links():
    html = card_html("# Card\n\n- one\n\n| score | mean |\n|---|--:|\n| a | 1 |\n\n`x` [y](https://example.com/z)")

    assert "<h3>Card</h3>" in html
    assert "<li>one</li>" in html
    assert '<td class="number">1</td>' in html
    assert "<code>x</code>" in html
    assert 'href="https://example.com/z"' in html
    assert 'rel="noreferrer noopener nofollow"' in html
    assert "style=" not in html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt&#58;alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](http://example.com)",
        "[x](/sign-out)",
        '<https://example.com/"onmouseover=alert(1)>',
        "<javascript:alert(1)>",
        "![x](https://example.com/x.png)",
        "[x]: javascript:alert(1)\n\n[x]",
        '[x](https://example.com "\\" onclick=alert(1)")',
        '```"><script>\nalert(1)\n```',
        "# <b onclick=alert(1)>x</b>\n\n| <i> |\n|---|\n| <script> |",
    ],
)
def test_nothing_of_a_hostile_card_becomes_an_element_an_attribute_or_a_foreign_address(hostile):
    root = ET.fromstring(f"<div>{card_html(hostile)}</div>")
    kept = {"href", "title", "rel", "target", "class", "tabindex", "role", "aria-label"}

    assert not {one.tag for one in root.iter()} & {"script", "img", "b", "i", "iframe", "svg"}
    assert {name for one in root.iter() for name in one.attrib} <= kept
    assert all(one.get("href", "https://").startswith("https://") for one in root.iter())


def test_cards_can_be_made_by_many_threads_at_once():
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        for _ in range(100):
            normalize_url.mdurl._encode.encode_cache.clear()  # as in a process that has made no card yet
            with ThreadPoolExecutor(8) as pool:
                made = list(pool.map(card_html, ["[y](https://example.com/%20ä)"] * 8))

            assert len(set(made)) == 1
    finally:
        sys.setswitchinterval(usual)


def test_a_card_that_is_too_long_is_cut_and_says_so():
    assert "longer than this page shows" not in card_html("a" * CARD_CHARS_MAX)
    assert "longer than this page shows" in card_html("a" * (CARD_CHARS_MAX + 1))


@pytest.mark.parametrize("piece", ["[", "![[", "a**b", "|a"])
def test_no_card_keeps_the_page_busy(piece):
    begun = time.perf_counter()
    card_html(piece * 300_000)

    assert (
        time.perf_counter() - begun < 60
    )  # half a second here; what grows with the square of the length takes minutes
