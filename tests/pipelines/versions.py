"""Registered versions for the steps that judge them: real MLflow, real forms of files, scores as a test wants them."""

from __future__ import annotations

from pathlib import Path

from model.bundle import FILES, Bundle, seal
from model.ledger import DEFAULT_FOLDER
from model.promotion import Asked, promote
from model.registration import register
from model.submission import read_submission
from pipelines import datasets
from tests.registrations import COMMIT, fresh_registry, hand_in, ledger_of, training_run


def registry_here():
    """A registry where a step of this working folder looks for it."""
    return fresh_registry(DEFAULT_FOLDER.resolve())  # MLflow keeps what it opened by its address


def empty_bundle(folder: Path) -> Bundle:
    """Sealed like any other, and with nothing in its files: no step here writes an ad."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(f"{folder.name}\n", encoding="utf-8")
    return seal(
        folder, name="tiny", base="tiny", scheme="int8-weight", prompt_digest="a" * 64, measured={}, built_with={}
    )


def registered(registry, objects, name, dataset="", **scores):
    """The number of a new version that learnt from a dataset of the store."""
    work = Path("made", name)
    bundle = empty_bundle(work / "bundle" / name)
    files = hand_in(bundle, work / "reports", **scores)
    run = None
    if dataset:
        datasets.fetch(objects, dataset, work / "pairs.jsonl")
        run = training_run(work / "run", work / "pairs.jsonl")
    submission = read_submission(bundle.folder, scores=files[0], certificate=files[1], run=run)
    return register(registry, submission, lambda line: None, git_commit=COMMIT)[0].number


def champion(registry, objects, name, dataset=""):
    """The number of a new version that is champion, past the gate."""
    number = registered(registry, objects, name, dataset)
    promote(registry, ledger_of(registry), Asked("promote", "Ada", "begin"), version=number, without_gate="a test")
    return number
