"""register, promote, rollback and models as a person runs them, on a real MLflow with SQLite."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from model import models_command, promote_command, register_command, rollback_command
from model.bundle import open_bundle
from model.gate import Verdict
from model.ledger import LedgerError
from model.promotion import Asked, RefusedError, open_both, promote
from model.registry import CHAMPION, RegistryError, open_registry
from tests.registrations import fresh_registry, hand_in, ledger_of, put_in, variant

pytestmark = [
    pytest.mark.slow,  # MLflow alone takes seconds to import and ten to make its tables
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'"),
]

RACE = """
import sys, time
from pathlib import Path
from model import promote_command
from model.gate import Verdict

folder, version, others = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def judge(candidate, champion, certificate):
    (folder / f"judged-{version}").touch()
    while len(list(folder.glob("judged-*"))) < others:
        time.sleep(0.01)
    return Verdict(passed=True, reasons=("Better.",))

sys.exit(promote_command.main([version, "--why", "race", "--who", version, "--registry", str(folder)], judge=judge))
"""


def passing(candidate, champion, certificate):
    return Verdict(passed=True, reasons=("Better.",))


def failing(candidate, champion, certificate):
    return Verdict(passed=False, reasons=("Worse on grounding.",))


@pytest.fixture(autouse=True)
def no_tracking_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def three(tiny_bundle, tmp_path_factory):
    """A registry with three versions; copy its folder's database before changing anything."""
    folder = tmp_path_factory.mktemp("three")
    registry = fresh_registry(folder / "registry")
    for place, name in enumerate(("one", "two", "three")):
        put_in(registry, tiny_bundle, folder, name, chrf=0.3 + 0.02 * place)
    return folder / "registry"


@pytest.fixture
def folder(three, tmp_path):
    """The registry of three versions, to be changed at will: its artifacts are shared, and only read."""
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/mlflow.db").write_bytes((three / "mlflow.db").read_bytes())
    return tmp_path / "registry"


def promoted(folder, *versions):
    for version in versions:
        arguments = [str(version), "--why", "better", "--who", "Ada", "--registry", str(folder)]
        assert promote_command.main(arguments, judge=passing) == 0


def rolled_back(folder, *options):
    return rollback_command.main([*options, "--why", "odd ads", "--who", "Ada", "--registry", str(folder)])


def champion(folder):
    found = open_registry(folder).aliased(CHAMPION)
    return found and found.number


def lines(folder):
    return [(one.action, one.state, one.source, one.target) for one in ledger_of(open_registry(folder)).entries()]


def test_the_real_gate_promotes_a_better_candidate_and_refuses_an_equal_one(folder, capsys):
    """Version 1 reaches the floors; 3 is better on chrF; going back to 1's scores is not."""
    run = ["--why", "first", "--who", "Ada", "--registry", str(folder)]

    assert promote_command.main(["1", *run]) == 0
    assert promote_command.main(run) == 0  # the candidate, version 3
    assert "version 3 is champion\n" in capsys.readouterr().out
    assert promote_command.main(["1", *run]) == 1
    assert "the gate refuses version 1" in capsys.readouterr().err
    assert champion(folder) == 3
    entries = ledger_of(open_registry(folder)).entries()
    assert [(one.action, one.state, one.source, one.target) for one in entries] == [
        ("promote", "intent", None, 1),
        ("promote", "done", None, 1),
        ("promote", "intent", 1, 3),
        ("promote", "done", 1, 3),
        ("refused", "undone", 3, 1),
    ]
    assert entries[3].verdict["passed"]
    assert entries[3].scores["to"]["chrf"] > entries[3].scores["from"]["chrf"]
    assert not entries[4].verdict["passed"]
    assert open_registry(folder).version(1).tags["gate"] == "refused"


def test_a_failing_gate_leaves_the_champion_and_its_reasons_stand_everywhere(folder, capsys):
    promoted(folder, 1)
    status = promote_command.main(["2", "--why", "x", "--who", "Bo", "--registry", str(folder)], judge=failing)
    last = ledger_of(open_registry(folder)).entries()[-1]

    assert status == 1
    assert champion(folder) == 1
    assert "Worse on grounding." in capsys.readouterr().err
    assert (last.action, last.who, last.target) == ("refused", "Bo", 2)
    assert last.verdict == {"passed": False, "reasons": ["Worse on grounding."], "comparisons": []}


def test_promotion_without_the_gate_needs_a_reason_and_keeps_it(folder, capsys):
    def judge(*given):
        raise AssertionError("the gate was asked")

    arguments = ["2", "--why", "x", "--who", "Ada", "--registry", str(folder), "--without-gate"]
    with pytest.raises(SystemExit):
        promote_command.main([*arguments, " "], judge=judge)
    assert promote_command.main([*arguments, "outage"], judge=judge) == 0
    assert "without the gate: outage" in capsys.readouterr().out
    assert ledger_of(open_registry(folder)).entries()[-1].note == "without the gate: outage"


def test_a_version_that_does_not_exist_is_refused_and_recorded(folder):
    for command in (promote_command.main, rollback_command.main):
        version = ["9"] if command is promote_command.main else ["--to", "9"]
        with pytest.raises(RegistryError, match=r"has no version 9; there are: 1, 2, 3$"):
            command([*version, "--why", "x", "--who", "Ada", "--registry", str(folder)])

    assert lines(folder) == [("refused", "undone", None, 9)] * 2
    assert champion(folder) is None


def test_a_judge_that_breaks_is_recorded_and_promotes_nothing(folder):
    def broken(*given):
        raise ZeroDivisionError("no rows")

    with pytest.raises(ZeroDivisionError):
        promote_command.main(["1", "--why", "x", "--who", "Ada", "--registry", str(folder)], judge=broken)
    assert "no rows" in ledger_of(open_registry(folder)).entries()[-1].note
    assert champion(folder) is None


def test_the_present_champion_is_not_promoted_again(folder, capsys):
    promoted(folder, 1)

    assert promote_command.main(["1", "--why", "x", "--who", "Ada", "--registry", str(folder)], judge=passing) == 1
    assert "version 1 is the champion already" in capsys.readouterr().err
    assert lines(folder)[-1] == ("refused", "undone", 1, 1)


@pytest.mark.proof
def test_of_two_promotions_at_once_one_wins_and_both_are_in_the_ledger(folder):
    """Two real processes, each held in the gate until the other has looked at the champion too."""
    promoted(folder, 1)
    piped = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(folder), one, "2"], **piped) for one in ("2", "3")]
    said = [racer.communicate()[1] for racer in racers]
    winner = champion(folder)
    loser = 5 - winner
    entries = ledger_of(open_registry(folder)).entries()[2:]

    assert sorted(racer.returncode for racer in racers) == [0, 1]
    assert racers[winner - 2].returncode == 0
    assert f"the champion is version {winner} by now and was version 1 when this promote began" in said[loser - 2]
    assert [(one.action, one.state, one.target) for one in entries] == [
        ("promote", "intent", winner),
        ("promote", "done", winner),
        ("refused", "undone", loser),
    ]


def test_rollback_goes_back_one_champion_at_a_time_and_then_says_there_is_none(folder, capsys):
    promoted(folder, 1, 2, 3)

    assert rolled_back(folder) == 0
    assert champion(folder) == 2
    assert rolled_back(folder) == 0
    assert champion(folder) == 1
    assert rolled_back(folder) == 1
    assert "nothing to roll back to: version 1 is the first champion" in capsys.readouterr().err
    assert champion(folder) == 1
    assert [line[:2] for line in lines(folder)[-3:]] == [
        ("rollback", "intent"),
        ("rollback", "done"),
        ("refused", "undone"),
    ]


def test_rollback_before_any_promotion_is_refused(folder, capsys):
    assert rolled_back(folder) == 1
    assert "nothing to roll back to: there has been no champion" in capsys.readouterr().err
    assert lines(folder) == [("refused", "undone", None, None)]


def test_rollback_to_takes_only_what_has_been_champion(folder, capsys):
    promoted(folder, 1, 3)

    assert rolled_back(folder, "--to", "2") == 1
    assert "version 2 has never been champion" in capsys.readouterr().err
    assert champion(folder) == 3
    assert rolled_back(folder, "--to", "1") == 0
    assert rolled_back(folder, "--to", "3") == 0  # it passed the gate once
    assert champion(folder) == 3


@pytest.mark.parametrize("stopped_at", ["before the alias", "after the alias"])
def test_a_promotion_that_was_killed_is_settled_by_where_the_alias_is(folder, monkeypatch, stopped_at):
    promoted(folder, 1)
    registry, ledger = open_both(folder)
    point = registry.point

    def killed(alias, number):
        if stopped_at == "after the alias":
            point(alias, number)
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "point", killed)
    with pytest.raises(KeyboardInterrupt):
        promote(registry, ledger, Asked("promote", "Ada", "x"), version=2, judge=passing)
    assert lines(folder)[-1] == ("promote", "intent", 1, 2)

    open_both(folder)
    moved = stopped_at == "after the alias"
    assert lines(folder)[-1] == ("promote", "done" if moved else "undone", 1, 2)
    assert champion(folder) == (2 if moved else 1)
    open_both(folder)
    assert len(lines(folder)) == 4  # settled once


def test_an_alias_moved_by_hand_is_seen_and_mended_by_a_rollback(folder, capsys):
    promoted(folder, 1, 2)
    open_registry(folder).point(CHAMPION, 3)

    assert models_command.main(["--registry", str(folder)]) == 0
    assert "points at version 3, and the ledger says version 2" in capsys.readouterr().err
    assert promote_command.main(["1", "--why", "x", "--who", "A", "--registry", str(folder)], judge=passing) == 1
    assert rolled_back(folder) == 1
    assert "`adloom rollback --to 2" in capsys.readouterr().err
    assert rolled_back(folder, "--to", "2") == 0
    assert champion(folder) == 2
    assert models_command.main(["--registry", str(folder)]) == 0
    assert capsys.readouterr().err == ""
    assert rolled_back(folder) == 0
    assert champion(folder) == 1


def test_lines_cut_off_the_end_of_the_ledger_are_missed(folder, capsys):
    promoted(folder, 1, 2)
    path = folder / "ledger.jsonl"
    whole = path.read_bytes()

    assert models_command.main(["--verify-ledger", "--registry", str(folder)]) == 0
    assert "4 lines" in capsys.readouterr().out
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    with pytest.raises(LedgerError, match="lines were cut off its end"):
        models_command.main(["--verify-ledger", "--registry", str(folder)])
    with pytest.raises(LedgerError, match="lines were cut off its end"):
        promote_command.main(["3", "--why", "x", "--who", "Ada", "--registry", str(folder)], judge=passing)
    path.write_bytes(whole)
    assert rolled_back(folder) == 0


def test_an_attempt_on_an_unreachable_registry_is_recorded(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(RegistryError, match="nobody answers at"):
        promote_command.main(["2", "--why", "x", "--who", "Ada", "--registry", str(folder)])
    took = time.monotonic() - started
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    assert took < 60  # with MLflow's own patience it takes minutes
    assert lines(folder) == [("refused", "undone", None, 2)]


def test_the_table_shows_every_version_and_json_says_the_same(folder, capsys):
    promoted(folder, 1)
    capsys.readouterr()
    models_command.main(["--registry", str(folder)])
    table = capsys.readouterr().out
    models_command.main(["--json", "--registry", str(folder)])
    listed = json.loads(capsys.readouterr().out)

    assert [one["version"] for one in listed["versions"]] == [1, 2, 3]
    assert [one["aliases"] for one in listed["versions"]] == [["champion"], [], ["candidate"]]
    assert listed["versions"][0]["champion_since"]
    assert listed["versions"][2]["champion_since"] == ""
    assert listed["disagreement"] == ""
    for one in listed["versions"]:
        assert one["bundle"][:12] in table
    for column in models_command.COLUMNS:
        assert column in table


def test_the_registry_that_the_variable_names_is_read(folder, monkeypatch, capsys):
    promoted(folder, 1)
    monkeypatch.setenv("ADLOOM_REGISTRY", str(folder))
    capsys.readouterr()

    assert models_command.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"][0]["aliases"] == ["champion"]


def test_an_empty_registry_says_what_to_run_and_is_not_made(tmp_path, capsys):
    nowhere = tmp_path / "registry"

    assert models_command.main(["--registry", str(nowhere)]) == 0
    assert "adloom register" in capsys.readouterr().out
    assert models_command.main(["--json", "--registry", str(nowhere)]) == 0
    assert json.loads(capsys.readouterr().out)["versions"] == []
    with pytest.raises(RegistryError, match="no model is registered yet"):
        models_command.main(["--registry", str(nowhere), "fetch", "@champion", "--to", str(tmp_path / "out")])
    assert not nowhere.exists()


def test_fetch_takes_an_alias_or_a_number_and_names_what_there_is(folder, tmp_path, capsys):
    promoted(folder, 2)
    run = ["--registry", str(folder), "fetch"]

    assert models_command.main([*run, "@champion", "--to", str(tmp_path / "champion")]) == 0
    assert open_bundle(tmp_path / "champion").manifest.name == "two"
    assert models_command.main([*run, "1", "--to", str(tmp_path / "one")]) == 0
    assert open_bundle(tmp_path / "one").manifest.name == "one"
    with pytest.raises(RegistryError, match="alias @best; there are: @candidate, @champion"):
        models_command.main([*run, "@best", "--to", str(tmp_path / "best")])
    with pytest.raises(ValueError, match="'latest' names no version"):
        models_command.main([*run, "latest", "--to", str(tmp_path / "best")])
    assert not (tmp_path / "best").exists()


def test_register_as_a_command_and_its_card(tiny_bundle, tmp_path, capsys):
    registry = fresh_registry(tmp_path / "registry")
    scores, certificate = hand_in(variant(tiny_bundle, tmp_path / "bundle", "one"), tmp_path / "reports")
    arguments = ["--bundle", str(tmp_path / "bundle"), "--scores", str(scores), "--certificate", str(certificate)]
    arguments += ["--registry", str(registry.folder)]

    assert register_command.main(arguments) == 0
    assert "registered as version 1 of adloom-writer, alias candidate" in capsys.readouterr().out
    assert register_command.main(arguments) == 0
    assert "is already version 1" in capsys.readouterr().out
    assert models_command.main(["--registry", str(registry.folder), "card", "@candidate"]) == 0
    assert capsys.readouterr().out.startswith("# one, bundle ")


def test_nobody_is_promoted_where_no_version_is_candidate(tmp_path, capsys):
    folder = fresh_registry(tmp_path / "registry").folder

    assert promote_command.main(["--why", "x", "--who", "Ada", "--registry", str(folder)], judge=passing) == 1
    assert "no version has the alias candidate" in capsys.readouterr().err
    assert len(lines(folder)) == 1


def test_a_refused_error_is_one_that_the_command_line_prints():
    assert issubclass(RefusedError, RuntimeError)
    assert issubclass(RegistryError, RuntimeError)


@pytest.mark.parametrize("name", ["register", "promote", "rollback", "models"])
def test_help_shows_an_example_and_needs_no_mlflow(name):
    code = (
        "import sys, contextlib\n"
        f"from model.{name}_command import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "sys.exit(len({'mlflow', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)

    assert done.returncode == 0, done.stderr
    assert f"Example: adloom {name}" in " ".join(done.stdout.split())
