"""`adloom gate-candidate`: who passes is champion and the feedback says so; who does not leaves it as it was."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import cli
from model.promotion import Asked, rollback
from model.registry import CHAMPION
from model.store import model_versions, retrains
from model.store.retrains import NewRetrain
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED
from pipelines.steps import build_dataset, gate_candidate, settle_retrain
from tests.pipelines.taught import NOON, curated, found, keep, kept, verdict
from tests.pipelines.versions import registered, registry_here
from tests.real_parts import free_port
from tests.registrations import ledger_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # MLflow's own dependencies warn of their deprecations
]

RUN = "0123456789abcdef"


@pytest.fixture
def taught(workplace, step):
    """A registry, and a dataset that one accepted ad is in and one that came later is not."""
    settings = PipelineSettings()
    database, objects = settings.open_database(), settings.open_objects()
    keep(database, kept("cr_0"), verdict("fb_learnt", "cr_0"))
    pairs = workplace / "pairs.jsonl"
    pairs.write_text("".join(f"{line}\n" for line in curated(4)), encoding="utf-8")
    dataset = step(build_dataset.main, "--pairs", pairs)[1]["dataset"]
    keep(database, kept("cr_1", place=1), verdict("fb_later", "cr_1"))
    return registry_here(), database, objects, dataset


def running(database, days=0):
    at = NOON + timedelta(days=days)
    with database.begin() as connection:
        row = retrains.ask(connection, NewRetrain(TASK, "manual", {}, "shop", at))
        retrains.start(connection, row.id, at, run_id="by:run-1")
    return row.id


def retrain(database, retrain_id):
    with database.connect() as connection:
        return retrains.find(connection, retrain_id)


def told(database):
    """Versions with their aliases and verdicts, and the ledger's last line, as the service shows them."""
    with database.connect() as connection:
        rows = model_versions.listed(connection, TASK, 10)
        (last,) = model_versions.history(connection, TASK, 1)
    return [(row.number, row.aliases, row.gate and row.gate["passed"]) for row in rows], last.action


def gate(step, version, asked):
    return step(gate_candidate.main, "--version", version, "--retrain", asked, "--run", RUN)


def test_a_promoted_version_is_told_to_its_retrain_and_to_the_feedback_that_it_learnt_from(taught, step):
    registry, database, objects, dataset = taught
    number, asked = registered(registry, objects, "first", dataset), running(database)
    answer = gate(step, number, asked)
    version, row, learnt = registry.version(number), retrain(database, asked), found(database, "fb_learnt")

    assert answer == (0, {"outcome": "promoted", "version": number, "bundle": version.bundle})
    assert CHAMPION in version.aliases
    assert (row.state, row.why, row.version) == ("promoted", "", str(number))
    assert (row.dataset_digest, row.run_id, row.bundle_digest) == (dataset, RUN, version.bundle)
    assert (learnt.state, learnt.dataset_digest, learnt.run_id, learnt.served_version) == (
        "used", dataset, RUN, str(number)
    )  # fmt: skip
    assert found(database, "fb_later").state == "waiting"
    assert found(database, "fb_later").served_version == ""


def test_what_the_gate_said_is_told_to_the_service_and_so_is_what_a_killed_gate_left(taught, step, monkeypatch):
    registry, database, objects, _ = taught
    first = registered(registry, objects, "first")
    gate(step, first, running(database))
    promoted = told(database)
    second, asked = registered(registry, objects, "second", chrf=0.1), running(database, days=1)
    with monkeypatch.context() as patch:
        patch.setattr(gate_candidate, "publish_after", lambda *_given: None)  # killed before it could tell
        gate(step, second, asked)
    between = told(database)
    step(settle_retrain.main, "--retrain", asked)

    assert promoted == ([(first, ["candidate", "champion"], True)], "promote")
    assert between == promoted
    assert told(database) == ([(second, ["candidate"], False), (first, ["champion"], True)], "refused")


def test_asked_again_the_gate_changes_nothing_not_even_after_a_rollback(taught, step):
    registry, database, objects, dataset = taught
    first = registered(registry, objects, "first")
    gate(step, first, running(database))
    second, asked = registered(registry, objects, "second", dataset, chrf=0.5), running(database, days=1)
    promoted = gate(step, second, asked)
    again = gate(step, second, asked)
    rollback(registry, ledger_of(registry), Asked("rollback", "Ada", "it writes worse"))
    lines, row = ledger_of(registry).entries(), retrain(database, asked)
    after = gate(step, second, asked)

    assert (promoted[0], promoted[1]["outcome"]) == (0, "promoted")
    assert again == after == (0, promoted[1] | {"outcome": "unchanged"})
    assert registry.aliased(CHAMPION).number == first
    assert ledger_of(registry).entries() == lines
    assert retrain(database, asked) == row


def test_cut_off_between_promotion_and_record_a_second_try_records_it(taught, step, monkeypatch):
    registry, database, objects, dataset = taught
    number, asked = registered(registry, objects, "first", dataset), running(database)

    def cut_off(*_given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gate_candidate, "_settle", cut_off)
        with pytest.raises(KeyboardInterrupt):
            gate(step, number, asked)
    between = retrain(database, asked).state, found(database, "fb_learnt").served_version
    lines = ledger_of(registry).entries()
    status, answer = gate(step, number, asked)

    assert between == ("running", "")
    assert (status, answer["outcome"]) == (0, "unchanged")
    assert ledger_of(registry).entries() == lines
    assert retrain(database, asked).state == "promoted"
    assert found(database, "fb_learnt").served_version == str(number)


def test_a_refused_version_ends_its_retrain_and_leaves_champion_and_feedback(taught, step):
    registry, database, objects, dataset = taught
    first = registered(registry, objects, "first")
    gate(step, first, running(database))
    second, asked = registered(registry, objects, "second", dataset, chrf=0.1), running(database, days=1)
    answer = gate(step, second, asked)
    lines, row = ledger_of(registry).entries(), retrain(database, asked)
    again = gate(step, second, asked)

    assert answer == again == (
        EXIT_REFUSED, {"outcome": "refused", "version": second, "bundle": registry.version(second).bundle}
    )  # fmt: skip
    assert registry.aliased(CHAMPION).number == first
    assert (lines[-1].action, lines[-1].target) == ("refused", second)
    assert ledger_of(registry).entries() == lines
    assert (row.state, row.version, row.dataset_digest) == ("refused", str(second), dataset)
    assert row.why.startswith(f"the gate refuses version {second}: ")
    assert (found(database, "fb_learnt").state, found(database, "fb_learnt").served_version) == ("used", "")


def test_a_version_of_a_later_dataset_tells_earlier_feedback_too(taught, step, workplace):
    registry, database, objects, dataset = taught
    later = step(build_dataset.main, "--pairs", workplace / "pairs.jsonl")[1]["dataset"]
    number = registered(registry, objects, "first", later)
    step(gate_candidate.main, "--version", number, "--run", RUN)
    learnt = [found(database, name) for name in ("fb_learnt", "fb_later")]

    assert [row.dataset_digest for row in learnt] == [dataset, later]
    assert [row.served_version for row in learnt] == [str(number)] * 2


def test_for_a_retrain_or_version_that_there_is_not_nobody_is_promoted(taught, step):
    registry, database, objects, _ = taught
    number = registered(registry, objects, "first")

    with pytest.raises(ValueError, match="there is no retrain rt_0"):
        gate(step, number, "rt_0")
    with pytest.raises(RuntimeError, match="has no version 9; there are: 1"):
        gate(step, 9, running(database))
    assert registry.aliased(CHAMPION) is None


@pytest.mark.parametrize("arguments", [["gate-candidate", "--version", "1"], ["release"]])
def test_a_tracking_server_that_is_down_is_one_clear_line_and_no_verdict(workplace, monkeypatch, capsys, arguments):
    monkeypatch.setenv("ADLOOM_GITOPS_URL", str(workplace / "gitops.git"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    status = cli.main(arguments)
    told = capsys.readouterr()

    assert status == cli.EXIT_FAILED != EXIT_REFUSED
    assert told.out == ""
    assert told.err.startswith("adloom: error: nobody answers at http://127.0.0.1:")
    assert told.err.endswith("start the tracking server, or correct MLFLOW_TRACKING_URI\n")
    assert told.err.count("\n") == 1
