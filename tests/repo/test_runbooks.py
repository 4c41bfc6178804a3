"""Alert, runbook, promtool test and drill: one of each for every alert, and what two of them say agrees."""

from __future__ import annotations

import re

import pytest
import yaml

from app.drill import record
from app.drill.faults import FAULTS
from app.drill.runbook import HEADINGS, RunbookError, read_runbook, read_runbooks
from app.watch.speed import seconds
from app.watch.stack import RULES
from tests.repo.tree import ROOT

FOLDER = ROOT / "runbooks"
BASE = "https://github.com/adloom/adloom/blob/main/runbooks/"
PAGES = sorted(FOLDER.rglob("*.md"))
PROCEDURES = {
    "rollback-a-model", "restore-the-database", "rotate-keys", "promote-by-hand", "rebuild-the-cluster",
    "stop-all-generation",
}  # fmt: skip
COMMIT = re.compile(r"[0-9a-f]{7,12}\+?")


def rules():
    """Each alert's rule and the file it stands in."""
    found = {}
    for path in sorted(ROOT.glob(RULES)):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found |= {rule["alert"]: (path, rule) for rule in group["rules"] if "alert" in rule}
    return found


ALERTS = rules()
BOOKS = read_runbooks(FOLDER)


def front_matter(alert):
    text = (FOLDER / f"{alert}.md").read_text(encoding="utf-8")
    return yaml.safe_load(text.split("---\n")[1]), text.split("---\n", 2)[2]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    assert set(BOOKS) == set(ALERTS)


def test_every_alert_has_a_promtool_test_of_its_name():
    tested = {path.stem for path in ROOT.glob("gitops/apps/*/monitoring/tests/Adloom*.yaml")}

    assert set(ALERTS) == tested


def test_every_alert_has_a_drill_or_says_what_stands_in():
    drilled = {alert for alert, book in BOOKS.items() if book.is_local}

    assert drilled == set(FAULTS)
    assert len(drilled) >= 20
    for alert in set(BOOKS) - drilled:
        assert BOOKS[alert].fault == "none"
        assert BOOKS[alert].why
        assert BOOKS[alert].stand_in


def test_every_drill_has_a_measured_row():
    rows = record.kept_rows(FOLDER / record.TABLE)

    assert set(rows) == set(FAULTS)
    for alert, row in rows.items():
        _, link, fault, speed, detected, repaired, promised, date, commit, _ = (cell.strip() for cell in row.split("|"))
        assert link == f"[{alert}]({alert}.md)"
        assert fault == FAULTS[alert].says
        assert promised == BOOKS[alert].fires_within
        assert float(speed) >= 1
        assert float(detected) > 0
        assert float(repaired) > 0
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)
        assert COMMIT.fullmatch(commit)


def test_the_table_and_the_index_are_as_the_command_writes_them():
    rows = record.kept_rows(FOLDER / record.TABLE)

    assert (FOLDER / record.TABLE).read_text(encoding="utf-8") == record.table_text(BOOKS, rows)
    assert (FOLDER / record.INDEX).read_text(encoding="utf-8") == record.index_text(BOOKS)


@pytest.mark.parametrize("alert", ALERTS)
def test_runbook_and_rule_agree(alert):
    path, rule = ALERTS[alert]
    facts, text = front_matter(alert)
    book = BOOKS[alert]
    wait = rule.get("for")

    assert rule["annotations"]["runbook_url"] == f"{BASE}{alert}.md"
    assert facts["alert"] == alert
    assert book.severity == rule["labels"]["severity"]
    assert rule["annotations"]["dashboard_url"] in text
    assert str(path.relative_to(ROOT)) in text
    assert (f", for {wait}." if wait else ", at once.") in text
    assert seconds(book.fires_within) >= seconds(wait or "0")
    assert book.fault == (FAULTS[alert].says if alert in FAULTS else "none")


def words_of(expression):
    """Every number of an expression, ranges and label values left out."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    return set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?", bare))


@pytest.mark.parametrize("alert", [alert for alert in ALERTS if "numbers" in front_matter(alert)[0]])
def test_every_number_that_a_runbook_takes_from_its_rule_stands_there(alert):
    _, rule = ALERTS[alert]
    numbers = {f"{number:g}" for number in front_matter(alert)[0]["numbers"]}
    said = words_of(str(rule["expr"])) | {str(rule.get("for", "")).rstrip("smhd")} | objectives(str(rule["expr"]))

    assert numbers <= {f"{float(word):g}" for word in said if word}


def objectives(expression):
    """A bucket's bound stands in the recording rules, which a burn-rate alert reads."""
    return {"5"} if "creatives_slow" in expression else set()


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_has_the_four_headings_in_order_and_commands_to_paste(alert):
    _, text = front_matter(alert)
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    blocks = BOOKS[alert].blocks

    assert [heading for heading in headings if heading in HEADINGS] == list(HEADINGS)
    assert set(headings) <= {*HEADINGS, "Background"}
    assert text.lstrip().startswith(f"# {alert}\n")
    assert {block.section for block in blocks} >= {"Diagnosis", "Mitigation"}
    assert "It worked when" in text
    if BOOKS[alert].is_local:
        assert BOOKS[alert].commands("Diagnosis")
        assert BOOKS[alert].commands("Mitigation")


@pytest.mark.parametrize("alert", ALERTS)
def test_the_steps_of_a_runbook_are_numbered_and_lead_to_steps_that_there_are(alert):
    _, text = front_matter(alert)
    for section in ("Diagnosis", "Mitigation"):
        body = text.split(f"## {section}\n")[1].split("\n## ")[0]
        steps = [int(number) for number in re.findall(r"^(\d+)\. ", body, flags=re.MULTILINE)]

        assert steps == list(range(1, len(steps) + 1))
        assert steps
    diagnosis = text.split("## Diagnosis\n")[1].split("\n## ")[0]
    mitigation = text.split("## Mitigation\n")[1].split("\n## ")[0]
    for leads, body in ((r"[Gg]o to (\d)", diagnosis), (r"Mitigation (\d)", mitigation)):
        for number in re.findall(leads, diagnosis):
            assert f"\n{number}. " in f"\n{body}", f"step {number} is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_page_is_linked_from_the_index_and_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    index = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert [link for link in local if not (page.parent / link).exists()] == []
    assert page.name == "README.md" or f"]({page.relative_to(FOLDER)})" in index


def test_every_procedure_is_there_and_says_how_to_know_and_how_to_undo():
    found = {path.stem: path.read_text(encoding="utf-8") for path in (FOLDER / "procedures").glob("*.md")}

    assert set(found) == PROCEDURES
    for name, text in found.items():
        assert "worked" in text, name
        assert "undo" in text.lower() or "put the old one back" in text.lower(), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# A\n", "front matter"),
        ("---\nalert: A\n---\n", "lacks fault"),
        ("---\n{alert: A, severity: loud, fault: x, fires_within: 1m, local: true}\n---\n", "severity is one of"),
        ("---\n{alert: A, severity: info, fault: x, fires_within: 1m, local: true}\n---\n# A\n", "heading Meaning"),
    ],
)
def test_a_page_that_is_not_of_the_form_is_refused(tmp_path, text, said):
    path = tmp_path / "A.md"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(RunbookError, match=said):
        read_runbook(path)
