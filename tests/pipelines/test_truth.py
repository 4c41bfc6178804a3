"""`adloom truth`: what each place says, and that neither silence nor a disagreement looks like agreement."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import pytest

from model.ledger import Entry, Ledger, champions, unfinished, unfinished_reversal
from pipelines import truth
from tests.pipelines.rollback_place import RollbackPlace, answering_service, three_deploys
from tests.real_parts import free_port


def needs_mlflow(test):
    missing = find_spec("mlflow") is None
    return pytest.mark.slow(pytest.mark.skipif(missing, reason="needs the lab extra: pip install '.[lab]'")(test))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return three_deploys(tmp_path_factory.mktemp("three"))


@pytest.fixture
def place(three, tmp_path, monkeypatch):
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "ADLOOM_GITOPS_TOKEN_FILE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("registry", "gitops.git"):
        shutil.copytree(three / name, tmp_path / name)
    with answering_service() as (address, version):
        made = RollbackPlace(tmp_path, address, version)
        made.serve(3)
        yield made


def tell(place, *more):
    where = ["--repository", str(place.bare), "--registry", str(place.registry), "--service", place.service]
    return truth.main(["--env", "dev", *where, *more])


@needs_mlflow
def test_four_that_agree_are_told_and_end_with_0(place, capsys):
    status = tell(place, "--json")
    told = json.loads(capsys.readouterr().out)

    assert status == 0
    assert told["agree"]
    assert {each["name"]: each["version"] for each in told["sides"]} == dict.fromkeys(
        ("Git", "registry", "ledger", "service"), 3
    )


@needs_mlflow
def test_each_disagreement_is_named_and_ends_with_1(place, capsys):
    place.serve(2)

    assert tell(place) == 1
    said = capsys.readouterr()
    assert "they disagree: Git says model 3, service says model 2" in said.err
    assert "Git       model 3, image" in said.out


@needs_mlflow
def test_the_same_model_in_another_image_is_a_disagreement(place, capsys):
    place.serve(3)
    place.version["image_digest"] = "sha256:" + "e" * 64

    assert tell(place) == 1
    assert "Git and service say different images" in capsys.readouterr().err


@needs_mlflow
def test_places_that_do_not_answer_are_unknown_and_the_others_are_compared(place, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    place.service = f"http://127.0.0.1:{free_port()}"

    assert tell(place) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["registry"].startswith("unknown: nobody answers")
    assert told["service"].startswith("unknown: it does not answer")


def test_where_only_one_place_says_anything_nothing_is_proven(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("ADLOOM_GITOPS_URL", raising=False)
    with answering_service() as (address, version):
        version["registry_version"] = "3"
        status = truth.main(["--env", "dev", "--registry", str(tmp_path), "--service", address])

    assert status == 1
    assert "fewer than two places say anything" in capsys.readouterr().err


@needs_mlflow
def test_an_unfinished_rollback_is_told(place, capsys):
    ledger = Ledger(place.registry / "ledger.jsonl")
    ledger.append(reversal("intent", "a"))

    tell(place)
    assert "a rollback of dev to model 2 is unfinished" in capsys.readouterr().err


def test_a_service_address_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must begin with http"):
        truth.service_says("file:///etc/hostname")


def reversal(state, attempt, environment="dev"):
    git = {"environment": environment, "from": "f" * 40, "to": "e" * 40}
    return Entry("reversal", state, attempt, "Ada", "odd ads", 3, 2, git=git)


def test_a_reversal_in_the_ledger_moves_no_champion_and_is_open_until_it_is_settled(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for entry in (
        Entry("promote", "done", "p", "Ada", "better", None, 3),
        reversal("intent", "a"),
        reversal("intent", "b", "prod"),
    ):
        ledger.append(entry)
    entries = ledger.entries()

    assert champions(entries) == (3,)
    assert unfinished(entries) is None
    assert unfinished_reversal(entries, "dev").attempt == "a"
    assert unfinished_reversal(entries, "dev").git["from"] == "f" * 40
    assert unfinished_reversal(entries, "staging") is None

    ledger.append(reversal("done", "a"))
    assert unfinished_reversal(ledger.entries(), "dev") is None
    assert unfinished_reversal(ledger.entries(), "prod").attempt == "b"


def test_a_line_without_git_is_written_as_it_was_before_there_were_reversals(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(Entry("promote", "done", "p", "Ada", "better", None, 3))

    assert "git" not in json.loads((tmp_path / "ledger.jsonl").read_text())
