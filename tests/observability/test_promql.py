"""Reading PromQL: what an expression selects, groups by and joins."""

from __future__ import annotations

import pytest

from app.watch import promql
from app.watch.alert_rules import Alert
from app.watch.mutants import mutants
from app.watch.promql import Matcher, Selector
from tests.repo.tree import ROOT


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up", ["up"]),
        ("vector(1) + time()", []),
        ('sum by (job) (rate(a_total{x="}"}[5m])) / on (job) group_left (y) b', ["a_total", "b"]),
        ("sum without (le) (a) and on () b unless ignoring(c) d", ["a", "b", "d"]),
        ("max_over_time(a:b:c[1h:5m] offset 5m) > bool 0.5", ["a:b:c"]),
        ('{__name__="odd",x=~"a|b"}', ["odd"]),
        ("sum(rate(a[$__rate_interval])) or -b", ["a", "b"]),
        ("a # and b\n+ c", ["a", "c"]),
        ("1e3 * a > 0x1f", ["a"]),
        ("count by (rate) (rate)", ["rate"]),
    ],
)
def test_selectors_are_found_and_functions_keywords_and_labels_are_not(expression, metrics):
    assert [each.metric for each in promql.selectors(expression)] == metrics


def test_conditions_come_with_their_operators_and_without_quotes():
    found = promql.selectors(r"""a{b="c\"d",e!='f',g=~`h.*`,i!~"j"}""")

    assert found == [
        Selector(
            "a", (Matcher("b", "=", 'c"d'), Matcher("e", "!=", "f"), Matcher("g", "=~", "h.*"), Matcher("i", "!~", "j"))
        )
    ]


def test_labels_of_groupings_and_joins_are_told():
    found = promql.grouping_labels("sum by (a, b) (x) * on (c) group_left (d) sum without (e) (y)")

    assert found == {"a", "b", "c", "d", "e"}


def test_operands_stand_at_the_top_and_keep_what_joins_them():
    found = promql.operands("(a or b) > 1 and on (x) c unless sum(d and e)")

    assert found == [("", "(a or b) > 1"), ("and on (x)", "c"), ("unless", "sum(d and e)")]


@pytest.mark.parametrize(("expression", "inner"), [("(a or b)", "a or b"), ("(a) or (b)", None), ("a", None)])
def test_only_brackets_round_the_whole_are_taken_off(expression, inner):
    assert promql.unwrapped(expression) == inner


@pytest.mark.parametrize("expression", ["a ? b", "a{b", "sum by (a"])
def test_what_is_no_promql_is_an_error(expression):
    with pytest.raises(ValueError, match=r"PromQL has no|not closed"):
        promql.selectors(expression)


def test_a_rule_is_changed_at_every_place_that_matters():
    alert = Alert("X", 'a{b!="c"} > 2 and (d == 0 or e)', "5m", {}, {}, ROOT)
    found = {mutant.what: mutant.expression for mutant in mutants(alert)}

    assert found == {
        "> 2 flipped": 'a{b!="c"} < 2 and (d == 0 or e)',
        "> 2 doubled": 'a{b!="c"} > 4 and (d == 0 or e)',
        "> 2 halved": 'a{b!="c"} > 1 and (d == 0 or e)',
        "== 0 flipped": 'a{b!="c"} > 2 and (d != 0 or e)',
        'dropped: a{b!="c"} > 2': "(d == 0 or e)",
        "dropped: and (d == 0 or e)": 'a{b!="c"} > 2',
        "dropped: d == 0": 'a{b!="c"} > 2 and (e)',
        "dropped: or e": 'a{b!="c"} > 2 and (d == 0)',
        "for removed": 'a{b!="c"} > 2 and (d == 0 or e)',
    }
