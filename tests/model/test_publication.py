"""What the service is told of a real MLflow on SQLite: by every command that changes it, and never at its cost."""

from __future__ import annotations

import json
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from model import models_command, promote_command, publication, register_command, rollback_command
from model.bundle import FILES, open_bundle, seal
from model.gate import Verdict
from model.heldout_samples import samples_file
from model.ledger import Entry, Ledger
from model.publication import CARD_BYTES_MAX, CUT, TASK, publish, publish_after, service_database
from model.registration import register
from model.registry import MODEL, RegistryError, open_registry
from model.store import model_versions
from model.store.tables import Database, StoreError
from model.submission import SubmissionError, read_submission
from tests.real_parts import postgres_server
from tests.registrations import COMMIT, fresh_registry, hand_in, ledger_of

pytestmark = [
    pytest.mark.slow,  # MLflow alone takes seconds to import and ten to make its tables
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'"),
]
SAMPLE = {
    "row": "h1", "product": "Bowl", "channel": "x", "headlines": ["A bowl"], "bodies": ["Blue."],
    "call_to_action": "Look", "hashtags": [], "validity": 0.9, "findings": ["too_long"],
}  # fmt: skip


def passing(candidate, champion, certificate):
    return Verdict(passed=True, reasons=("Better.",))


def failing(candidate, champion, certificate):
    return Verdict(passed=False, reasons=("Worse on grounding.",))


def handed_in(folder, name, *, samples=True):
    """The arguments of `adloom register` for a bundle that holds nothing that could write."""
    (folder / name).mkdir(parents=True)
    for each in FILES:
        (folder / name / each).write_text(f"{name}\n", encoding="utf-8")
    seal(folder / name, name=name, base="t", scheme="int8", prompt_digest="a" * 64, measured={}, built_with={})
    bundle = open_bundle(folder / name)
    scores, certificate = hand_in(bundle, folder / f"{name}-reports")
    if samples:
        scores.with_name("samples.json").write_text(json.dumps(samples_file(bundle.digest, [SAMPLE])))
    return folder / name, scores, certificate


def registered(registry, folder, name, **given):
    bundle, scores, certificate = handed_in(folder, name, **given)
    submission = read_submission(bundle, scores=scores, certificate=certificate)
    return register(registry, submission, lambda line: None, git_commit=COMMIT)[0].number


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A registry with two versions, the second without samples: its database is copied, its files are only read."""
    folder = tmp_path_factory.mktemp("two")
    registry = fresh_registry(folder / "registry")
    registered(registry, folder, "one")
    registered(registry, folder, "two", samples=False)
    return folder / "registry"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder whose service keeps things in it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{tmp_path}/service.db")
    return tmp_path


@pytest.fixture
def folder(two, tmp_path):
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/mlflow.db").write_bytes((two / "mlflow.db").read_bytes())
    return tmp_path / "registry"


@pytest.fixture
def database(tmp_path):
    kept = Database(f"sqlite:///{tmp_path}/service.db")
    yield kept
    kept.dispose()


def told(database):
    """What the service would answer: versions newest first, and the ledger's lines oldest first."""
    database.upgrade()
    with database.connect() as connection:
        rows = model_versions.listed(connection, TASK, 100)
        lines = model_versions.history(connection, TASK, 100)
        versions = [model_versions.find(connection, TASK, row.number) for row in rows]
    return versions, [(line.action, line.state, line.source, line.target) for line in reversed(lines)]


def publishes(folder):
    return models_command.main(["--registry", str(folder), "publish"])


def promotes(folder, version, judge=passing):
    return promote_command.main(
        [str(version), "--why", "better", "--who", "Ada", "--registry", str(folder)], judge=judge
    )


def test_publish_tells_of_every_version_what_was_registered(folder, database, capsys):
    status = publishes(folder)
    (second, first), lines = told(database)
    registry = open_registry(folder)
    version = registry.version(1)

    assert (status, lines) == (0, [])
    assert capsys.readouterr().out == "the service knows 2 versions now\n"
    assert (first.version, first.bundle_digest, first.git_commit) == ("1", version.bundle, COMMIT)
    assert (first.run_id, first.certificate, first.created_at.isoformat()) == (
        version.run_id,
        "passed",
        version.created,
    )
    assert first.scores["validity"] == {"mean": 1.0, "low": 0.99, "high": 1.0}
    assert first.card == registry.card(version)
    assert (first.samples, second.samples) == ([SAMPLE], [])
    assert (first.aliases, second.aliases) == ([], ["candidate"])
    assert (first.gate, second.gate) == (None, None)


def test_each_command_that_changes_the_registry_tells_the_service(folder, database, here, capsys):
    bundle, scores, certificate = handed_in(here, "three")
    run = ["--bundle", str(bundle), "--scores", str(scores), "--certificate", str(certificate)]
    seen = []
    for command in (
        lambda: register_command.main([*run, "--registry", str(folder)]),
        lambda: promotes(folder, 1),
        lambda: promotes(folder, 2, judge=failing),
        lambda: promotes(folder, 3),
        lambda: rollback_command.main(["--why", "odd ads", "--who", "Ada", "--registry", str(folder)]),
    ):
        command()
        versions, lines = told(database)
        seen.append(({row.number: row.aliases for row in reversed(versions)}, lines[-1:]))

    assert seen == [
        ({1: [], 2: [], 3: ["candidate"]}, []),
        ({1: ["champion"], 2: [], 3: ["candidate"]}, [("promote", "done", "", "1")]),
        ({1: ["champion"], 2: [], 3: ["candidate"]}, [("refused", "undone", "1", "2")]),
        ({1: [], 2: [], 3: ["candidate", "champion"]}, [("promote", "done", "1", "3")]),
        ({1: ["champion"], 2: [], 3: ["candidate"]}, [("rollback", "done", "3", "1")]),
    ]
    assert [row.gate for row in versions] == [
        {"passed": True, "reasons": ["Better."]},
        {"passed": False, "reasons": ["Worse on grounding."]},
        {"passed": True, "reasons": ["Better."]},
    ]
    assert "warning" not in capsys.readouterr().err


def test_a_service_that_cannot_be_told_costs_no_promotion_and_the_next_publish_mends_it(
    folder, database, here, monkeypatch, capsys
):
    monkeypatch.setenv("ADLOOM_DATABASE_URL", "postgresql+psycopg://adloom:hunter2@127.0.0.1:9/adloom")
    status = promotes(folder, 1)
    output = capsys.readouterr()
    monkeypatch.setenv("ADLOOM_DATABASE_URL", f"sqlite:///{here}/service.db")
    before = told(database)
    publishes(folder)
    versions, lines = told(database)

    assert (status, before) == (0, ([], []))
    assert "version 1 is champion" in output.out
    assert output.err.count("\n") == 1
    assert "the database cannot be used" in output.err
    assert "run `adloom models publish`" in output.err
    assert "hunter2" not in output.err
    assert versions[1].aliases == ["champion"]
    assert lines == [("promote", "intent", "", "1"), ("promote", "done", "", "1")]


def test_whatever_else_breaks_is_a_warning_without_its_words(folder, monkeypatch, capsys):
    def breaks(*given, **more):
        raise ZeroDivisionError("SELECT secret")

    monkeypatch.setattr(publication, "publish", breaks)
    publish_after(folder)
    said = capsys.readouterr().err

    assert "ZeroDivisionError; the change stands" in said
    assert "secret" not in said


def test_a_shared_database_is_written_once_a_job_has_made_its_tables(folder):
    with postgres_server() as server:
        database = Database(server.new_database())
        registry, ledger = open_registry(folder), ledger_of(open_registry(folder))
        with pytest.raises(StoreError, match=r"at revision none, and \d+ is needed: run `adloom database upgrade`"):
            publish(registry, ledger, database)
        database.upgrade()
        published = publish(registry, ledger, database)
        publish(registry, ledger, database)
        (second, first), _ = told(database)
        database.dispose()

    assert published.versions == 2
    assert (first.samples, second.aliases) == ([SAMPLE], ["candidate"])


def test_twice_is_once_and_a_version_that_was_deleted_disappears(folder, database):
    publishes(folder)
    first = told(database)
    publishes(folder)
    second = told(database)
    open_registry(folder).client.delete_model_version(MODEL, "2")
    publishes(folder)
    versions, _ = told(database)

    assert first == second
    assert [row.number for row in versions] == [1]


def test_what_cannot_change_is_read_once_and_afresh_when_asked(folder, database):
    registry = open_registry(folder)
    publish(registry, ledger_of(registry), database)
    asked = []
    registry.report = lambda version, name: asked.append((version.number, name)) or {"scores": {}}
    publish(registry, ledger_of(registry), database)
    usual = list(asked)
    publish(registry, ledger_of(registry), database, afresh=True)
    versions, _ = told(database)

    assert usual == []
    assert asked == [(1, "scores.json"), (1, "samples.json"), (2, "scores.json")]
    assert versions[1].scores["validity"]["mean"] == 1.0


def test_a_version_whose_file_is_damaged_is_told_without_it_and_named(folder, database, here, capsys):
    registry = open_registry(folder)
    tags = registry.client.get_model_version(MODEL, "1").tags
    registry.tag(1, "samples_sha256", "0" * 64)
    publish_after(folder)
    said = capsys.readouterr().err
    (second, first), _ = told(database)
    registry.tag(1, "samples_sha256", tags["samples_sha256"])
    publish_after(folder)
    (_, mended), _ = told(database)

    assert "version 1: samples.json of version 1 is not the file that was registered" in said
    assert (first.samples, mended.samples) == ([], [SAMPLE])
    assert first.scores
    assert second.scores


def test_a_registry_that_goes_away_in_the_middle_leaves_the_picture_that_there_was(folder, database, monkeypatch):
    registry = open_registry(folder)
    publish(registry, ledger_of(registry), database)
    before = told(database)
    looked = []

    def versions():
        looked.append(1)
        if len(looked) > 1:
            raise RegistryError("nobody answers")
        return real()

    def report(version, name):
        raise RegistryError("nobody answers")

    real = registry.versions
    monkeypatch.setattr(registry, "versions", versions)
    monkeypatch.setattr(registry, "report", report)
    with pytest.raises(RegistryError, match="nobody answers"):
        publish(registry, ledger_of(registry), database, afresh=True)

    assert told(database) == before


def test_where_reading_takes_too_long_nothing_is_told(folder, database, monkeypatch):
    monkeypatch.setattr(publication, "SECONDS_MAX", -1.0)
    registry = open_registry(folder)

    with pytest.raises(RegistryError, match="took longer"):
        publish(registry, ledger_of(registry), database)
    assert told(database) == ([], [])


@pytest.mark.parametrize("has_ledger", [False, True])
def test_who_has_no_ledger_or_another_tells_of_versions_and_leaves_the_lines(folder, database, here, has_ledger):
    promotes(folder, 1)
    before = told(database)
    elsewhere = Ledger(here / "elsewhere/ledger.jsonl")
    if has_ledger:
        elsewhere.append(Entry("promote", "done", "first", "Bo", "another registry's", None, 7))
    published = publish(open_registry(folder), elsewhere, database)

    assert (published.versions, published.lines) == (2, None)
    assert told(database) == before
    assert before[1][-1] == ("promote", "done", "", "1")


def test_before_the_first_promotion_who_has_no_ledger_leaves_what_was_refused(folder, database, here):
    promotes(folder, 1, judge=failing)
    publish(open_registry(folder), Ledger(here / "elsewhere/ledger.jsonl"), database)
    (_, first), lines = told(database)

    assert lines == [("refused", "undone", "", "1")]
    assert first.gate == {"passed": False, "reasons": ["Worse on grounding."]}


def test_a_picture_that_was_overtaken_is_taken_anew(folder, database, monkeypatch):
    """Somebody promotes and publishes between our look at the registry and our writing."""
    registry = open_registry(folder)
    database.upgrade()
    real, overtaken = registry.versions, []

    def versions():
        found = real()
        if not overtaken:
            overtaken.append(1)
            promotes(folder, 2)
        return found

    monkeypatch.setattr(registry, "versions", versions)
    publish(registry, ledger_of(registry), database)
    (second, _), lines = told(database)

    assert second.aliases == ["candidate", "champion"]
    assert lines[-1] == ("promote", "done", "", "2")


def test_many_at_once_all_end_well(folder, database):
    database.upgrade()
    failures = []

    def one():
        mine = Database(str(database.engine.url))
        try:
            publish(open_registry(folder), Ledger(folder / "ledger.jsonl"), mine)
        except Exception as error:  # noqa: BLE001 -- any of them is a failure of the test
            failures.append(error)
        finally:
            mine.dispose()

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert len(told(database)[0]) == 2


@pytest.mark.parametrize("extra", [0, 1])
def test_a_card_is_cut_where_it_is_too_long_and_says_so(extra):
    text = "# Card\n" + "é\n" * ((CARD_BYTES_MAX - 7) // 3)
    text += "x" * (CARD_BYTES_MAX - len(text.encode()) + extra)
    card = publication._card(text)

    assert (card == text) is (extra == 0)
    assert card.endswith(CUT) is (extra == 1)
    assert len(card.encode()) <= CARD_BYTES_MAX


def test_samples_of_another_bundle_are_refused_and_the_way_named(here):
    bundle, scores, certificate = handed_in(here, "one")
    scores.with_name("samples.json").write_text(json.dumps(samples_file("0" * 64, [SAMPLE])))

    with pytest.raises(SubmissionError, match="adloom evaluate"):
        read_submission(bundle, scores=scores, certificate=certificate)


@pytest.mark.parametrize(
    ("folder", "environ", "url"),
    [
        (".adloom/registry", {}, "sqlite:///.adloom/service/adloom.db"),
        ("elsewhere", {}, ""),
        ("elsewhere", {"ADLOOM_REGISTRY": "elsewhere"}, "sqlite:///.adloom/service/adloom.db"),
        (".adloom/registry", {"ADLOOM_REGISTRY": "elsewhere"}, ""),
        ("elsewhere", {"ADLOOM_DATABASE_URL": "sqlite:///x.db"}, "sqlite:///x.db"),
    ],
)
def test_the_database_is_the_one_that_is_named_or_of_the_same_place(folder, environ, url):
    assert service_database(Path(folder), environ) == url


def test_without_a_registry_nothing_is_told_and_publish_says_how_to_make_one(here):
    publish_after(here / "nowhere")
    with pytest.raises(RegistryError, match="no model is registered yet"):
        publishes(here / "nowhere")

    assert list(here.iterdir()) == []


def test_service_and_pipelines_call_the_model_the_same():
    from app.retrains_route import TASK as SERVED
    from pipelines.settings import TASK as RUN

    assert TASK == SERVED == RUN
