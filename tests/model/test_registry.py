"""Registering, finding and fetching versions, on a real MLflow with SQLite."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.util import find_spec

import pytest

from model.bundle import open_bundle
from model.ledger import LedgerError, exclusive
from model.registration import RUN_KEY, TRAINING_EXPERIMENT, register
from model.registry import CANDIDATE, DATABASE, MODEL, RegistryError, is_empty, open_registry, without_password
from model.submission import TRACKED, SubmissionError, read_submission
from tests.registrations import (
    COMMIT,
    certificate_of,
    fresh_registry,
    hand_in,
    put_in,
    scores_of,
    training_run,
    variant,
)

pytestmark = [
    pytest.mark.slow,  # MLflow alone takes seconds to import and ten to make its tables
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the lab extra: pip install '.[lab]'"),
]


def silent(line):
    """Nobody reads the progress here."""


@pytest.fixture(autouse=True)
def no_tracking_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def filled(tiny_bundle, tmp_path_factory):
    """A registry with one version, made from a training run; nothing in it may be changed."""
    folder = tmp_path_factory.mktemp("filled")
    registry = fresh_registry(folder / "registry")
    bundle = variant(tiny_bundle, folder / "bundle", "first")
    scores, certificate = hand_in(bundle, folder / "reports")
    (folder / "reports/report.html").write_text("<p>report</p>")
    run = training_run(folder / "run")
    (folder / "bundle/notes.txt").write_text("not part of the bundle")
    submission = read_submission(folder / "bundle", scores=scores, certificate=certificate, run=run)
    version, is_new = register(registry, submission, silent, git_commit=COMMIT)
    assert is_new
    return registry, version, submission


def test_a_registered_bundle_is_version_1_and_candidate(filled):
    _, version, submission = filled

    assert (version.number, version.aliases) == (1, (CANDIDATE,))
    assert version.bundle == submission.bundle.digest
    assert version.means["chrf"] == pytest.approx(0.302)
    assert version.tags["git_commit"] == COMMIT


def test_the_run_holds_parameters_metrics_by_step_datasets_and_files(filled):
    registry, version, submission = filled
    run = registry.client.get_run(version.run_id)
    losses = [(one.step, one.value) for one in registry.client.get_metric_history(version.run_id, "loss")]
    datasets = {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs}
    files = {one.path for one in registry.client.list_artifacts(version.run_id)}

    assert run.info.status == "FINISHED"
    assert run.data.params["rank"] == "4"
    assert losses == [(1, 3.5), (2, 2.25)]
    assert run.data.metrics["validation_loss"] == 2.125
    assert run.data.metrics["chrf_low"] == pytest.approx(0.292)
    assert run.data.metrics["baseline/copy/chrf"] == 0.111
    assert "perplexity" not in run.data.metrics
    assert datasets == {"pairs": submission.training.pairs_sha256[:36], "heldout": ("ab" * 32)[:36]}
    assert {"scores.json", "certificate.json", "report.html", "model_card.md", "config.json", "bundle.json"} <= files


def test_steps_that_training_logged_itself_are_linked_and_not_logged_again(tiny_bundle, tmp_path):
    """Only a finished run counts: of another the steps may be missing."""
    registry = fresh_registry(tmp_path / "registry")
    client = registry.client
    experiment = client.create_experiment(TRAINING_EXPERIMENT, (tmp_path / "artifacts").as_uri())
    ended, cut = (client.create_run(experiment, tags={RUN_KEY: key}).info.run_id for key in ("abc", "def"))
    client.set_terminated(ended, "FINISHED")
    found = {}
    for name, key in (("one", "abc"), ("two", "def")):
        scores, certificate = hand_in(variant(tiny_bundle, tmp_path / name, name), tmp_path / f"{name}-reports")
        run = training_run(tmp_path / f"{name}-run")
        (run / "mlflow.json").write_text(json.dumps({"key": key}))
        submission = read_submission(tmp_path / name, scores=scores, certificate=certificate, run=run)
        found[name] = register(registry, submission, silent, git_commit="")[0]

    assert found["one"].tags["training_run"] == ended
    assert client.get_metric_history(found["one"].run_id, "loss") == []
    assert "training_run" not in found["two"].tags
    assert len(client.get_metric_history(found["two"].run_id, "loss")) == 2
    assert client.get_run(cut).info.status == "RUNNING"


def test_a_version_loads_as_a_pyfunc_and_writes_an_ad(filled):
    registry, version, _ = filled
    import pandas as pd

    model = registry.mlflow.pyfunc.load_model(f"models:/{MODEL}/{version.number}")
    rows = pd.DataFrame({"title": ["Mug, 300 ml", "Oak shelf"], "channel": ["x", "linkedin"], "sku": ["a", None]})
    ads = model.predict(rows, params={"candidates": 1, "seed": 3})
    again = model.predict(rows, params={"candidates": 1, "seed": 3})

    assert list(ads["channel"]) == ["x", "linkedin"]
    assert ads["sku"][0] == "a"
    assert ads["id"].str.startswith("cr_").all()
    assert ads["body"].str.len().gt(0).all()
    assert ads["validity"].between(0, 1).all()
    assert ads.equals(again)


def test_a_pyfunc_names_the_row_that_it_cannot_write_for(filled):
    registry, version, _ = filled
    import pandas as pd

    model = registry.mlflow.pyfunc.load_model(f"models:/{MODEL}/{version.number}")

    with pytest.raises(ValueError, match="row 0: unknown channel 'myspace'"):
        model.predict(pd.DataFrame({"title": ["Mug"], "channel": ["myspace"]}))
    with pytest.raises(ValueError, match="row 0: title"):
        model.predict(pd.DataFrame({"title": [""], "channel": ["x"]}))


def test_fetch_copies_the_bundle_out_whole_and_only_the_bundle(filled, tmp_path):
    registry, version, submission = filled
    target = tmp_path / "release" / "bundle"

    assert registry.fetch(version, target)
    assert open_bundle(target).digest == submission.bundle.digest
    assert {path.name for path in target.iterdir()} == {"bundle.json", *submission.bundle.manifest.files}
    assert not registry.fetch(version, target)  # the same bundle lies there
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]


def test_fetch_does_not_overwrite_what_it_does_not_know(filled, tmp_path):
    registry, version, _ = filled
    (tmp_path / "precious.txt").write_text("mine")

    with pytest.raises(RegistryError, match="holds something else already"):
        registry.fetch(version, tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_version_that_does_not_exist_is_refused_with_those_that_do(filled):
    registry, _, _ = filled

    with pytest.raises(RegistryError, match=r"has no version 7; there are: 1$"):
        registry.version(7)


def test_the_same_bundle_registered_twice_is_one_version(tiny_bundle, tmp_path):
    registry = fresh_registry(tmp_path / "registry")
    put_in(registry, tiny_bundle, tmp_path, "one")
    put_in(registry, tiny_bundle, tmp_path, "two")
    submission = read_submission(
        tmp_path / "one",
        scores=tmp_path / "one-reports/scores.json",
        certificate=tmp_path / "one-reports/certificate.json",
    )
    version, is_new = register(registry, submission, silent, git_commit="")

    assert (version.number, is_new) == (1, False)
    assert [(one.number, one.aliases) for one in registry.versions()] == [(1, ()), (2, (CANDIDATE,))]


@pytest.mark.parametrize(
    "stopped_at", ["log_batch", "log_artifact", "create_model_version", "set_registered_model_alias"]
)
def test_what_a_stopped_registration_leaves_is_whole_or_not_seen(tiny_bundle, tmp_path, monkeypatch, stopped_at):
    """Stopped before the version is written there is none; after it the next attempt only finishes."""
    registry = fresh_registry(tmp_path / "registry")
    with monkeypatch.context() as patch:
        patch.setattr(registry.client, stopped_at, _stop)
        with pytest.raises(KeyboardInterrupt):
            put_in(registry, tiny_bundle, tmp_path, "one")
    seen = [one.number for one in registry.versions()]
    submission = read_submission(
        tmp_path / "one",
        scores=tmp_path / "one-reports/scores.json",
        certificate=tmp_path / "one-reports/certificate.json",
    )
    version, is_new = register(registry, submission, silent, git_commit="")
    kept = list((tmp_path / "registry/artifacts").glob("models/*/artifacts/data"))

    assert seen == ([1] if stopped_at == "set_registered_model_alias" else [])
    assert is_new == (not seen)
    assert (version.number, version.aliases) == (1, (CANDIDATE,))
    assert registry.client.get_run(version.run_id).info.status == "FINISHED"
    assert len(kept) == 1  # the first attempt's copy of the bundle is gone


def _stop(*arguments, **options):
    raise KeyboardInterrupt


def test_altered_scores_of_a_version_are_refused(tiny_bundle, tmp_path):
    registry = fresh_registry(tmp_path / "registry")
    version = registry.version(put_in(registry, tiny_bundle, tmp_path, "one"))
    stored = next((tmp_path / "registry/artifacts").glob("*/artifacts/scores.json"))

    assert registry.report(version, "scores.json")["bundle"] == version.bundle
    stored.write_text(stored.read_text().replace("0.7", "0.9"))
    with pytest.raises(RegistryError, match=r"scores\.json of version 1 is not the file that was registered"):
        registry.report(version, "scores.json")


@pytest.mark.parametrize("what", ["scores", "certificate"])
def test_reports_of_another_bundle_missing_or_of_another_form_are_refused(tiny_bundle, tmp_path, what):
    bundle = open_bundle(tiny_bundle)
    files = dict(zip(("scores", "certificate"), hand_in(bundle, tmp_path / "reports"), strict=True))
    assert read_submission(tiny_bundle, **files).bundle.digest == bundle.digest

    make = {"scores": scores_of, "certificate": certificate_of}[what]
    for content, complaint in (
        (json.dumps(make("f" * 64)), f"is of the bundle ffffffffffff, not {bundle.digest[:12]}"),
        (json.dumps(make(bundle.digest) | {"form": 2}), "is of form 2 instead of 1"),
        ("[]", "it is no JSON object"),
        ("{", f"holds no {what}"),
    ):
        files[what].write_text(content)
        with pytest.raises(SubmissionError, match=complaint):
            read_submission(tiny_bundle, **files)
    files[what].unlink()
    with pytest.raises(SubmissionError, match=f"no {what} at .* or name the file with --{what}"):
        read_submission(tiny_bundle, **files)


def test_reports_are_found_where_the_bundles_digest_says(tiny_bundle, tmp_path):
    bundle = open_bundle(tiny_bundle)
    hand_in(bundle, tmp_path / bundle.digest[:16])

    assert read_submission(tiny_bundle, reports=tmp_path).scores_file.parent.name == bundle.digest[:16]
    with pytest.raises(SubmissionError, match="adloom evaluate"):
        read_submission(tiny_bundle, reports=tmp_path / "elsewhere")


def test_a_bundle_of_the_shipped_adapter_brings_its_runs_record(tiny_bundle, tmp_path):
    from model.bundle import file_sha256, seal

    shipped = tmp_path / "adapter"
    shipped.mkdir()
    (shipped / "adapter_model.safetensors").write_bytes(b"weights")
    adapter = f"tiny + adapter@sha256:{file_sha256(shipped / 'adapter_model.safetensors')}"
    bundle = variant(tiny_bundle, tmp_path / "bundle", "shipped")
    manifest = bundle.manifest
    bundle = seal(tmp_path / "bundle", name="shipped", base=adapter, scheme=manifest.scheme,
                  prompt_digest=manifest.prompt_digest, measured={}, built_with={})  # fmt: skip
    hand_in(bundle, shipped)
    (shipped / "run.json").write_text(json.dumps({"parameters": {"rank": 16}, "metrics": [{"step": 5, "loss": 2.0}]}))
    found = read_submission(tmp_path / "bundle", reports=tmp_path / "reports", shipped=shipped)

    assert found.training.parameters == {"rank": 16}
    assert [step["step"] for step in found.training.metrics] == [5]
    assert found.scores_file == shipped / "scores.json"
    with pytest.raises(SubmissionError):  # another bundle has nothing to take from there
        read_submission(tiny_bundle, reports=tmp_path / "reports", shipped=shipped)


def test_a_run_folder_that_is_none_is_named(tiny_bundle, tmp_path):
    scores, certificate = hand_in(open_bundle(tiny_bundle), tmp_path)

    with pytest.raises(SubmissionError, match=r"config\.json holds no settings of a run"):
        read_submission(tiny_bundle, scores=scores, certificate=certificate, run=tmp_path / "absent")
    run = training_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text('{"loss": 1}\n')
    with pytest.raises(SubmissionError, match=r"metrics\.jsonl holds no metrics"):
        read_submission(tiny_bundle, scores=scores, certificate=certificate, run=run)


def test_an_unreachable_server_is_named_within_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    started = time.monotonic()

    with pytest.raises(RegistryError, match=r"nobody answers at http://user:\*\*\*@127\.0\.0\.1:9") as caught:
        open_registry(tmp_path)
    assert time.monotonic() - started < 60  # with MLflow's own patience it takes minutes
    assert "secret" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_an_address_of_no_known_kind_is_refused(tmp_path):
    with pytest.raises(RegistryError, match="it takes sqlite:///FILE"):
        open_registry(tmp_path, uri="./mlruns")


def test_a_locked_database_is_named_and_a_free_one_opens(tmp_path, monkeypatch):
    monkeypatch.setattr("model.registry.ANSWER_SECONDS", 0.2)
    registry = fresh_registry(tmp_path)
    assert registry.versions() == []

    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryError, match="database is locked; wait for the other process"):
            open_registry(tmp_path)
    assert open_registry(tmp_path).versions() == []


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / DATABASE).write_text("this is a letter, and no database at all " * 50)

    with pytest.raises(RegistryError, match="file is not a database; restore the file"):
        open_registry(tmp_path)


def test_a_registry_that_is_not_there_is_empty_and_is_not_made_by_asking(tmp_path, monkeypatch):
    assert is_empty(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert not is_empty(tmp_path / "absent")  # a server has to be asked


def test_opening_leaves_the_callers_environment_as_it_was(tmp_path, monkeypatch):
    import os

    fresh_registry(tmp_path)

    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_passwords_are_not_shown():
    assert without_password("postgresql://me:word@host/db") == "postgresql://me:***@host/db"
    assert without_password("sqlite:////tmp/x.db") == "sqlite:////tmp/x.db"


def test_a_lock_that_is_held_is_named(tmp_path):
    hold = (
        "import sys; from pathlib import Path; from model.ledger import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    lock = tmp_path / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LedgerError, match=r"another process holds .*a\.lock"), exclusive(lock, wait_seconds=0.1):
            pass
        holder.stdin.close()
        holder.wait()
    with exclusive(lock, wait_seconds=0.1):
        assert holder.returncode == 0


def test_the_names_by_which_training_marks_its_runs_are_one():
    """Nothing outside training may import it, so the registry repeats three words of `model.training.tracking`."""
    from model.training import tracking

    assert (tracking.EXPERIMENT, tracking.KEY_TAG) == (TRAINING_EXPERIMENT, RUN_KEY)
    assert tracking.STATE == TRACKED
