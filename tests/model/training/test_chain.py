"""
The whole life of a model on a tiny one, by the commands that a person types: train, bundle, evaluate, certify,
register, gate, promote, roll back.

Each stage finds the work of the one before it where that command leaves it by default.
"""

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from model import gate_command, models_command, promote_command, register_command, rollback_command
from model.bundle import Bundle, file_sha256, open_bundle
from model.channel import channel
from model.ledger import DEFAULT_FOLDER
from model.product import Product
from model.registry import CANDIDATE, CHAMPION, open_registry
from model.training import bundle_command, certify_command, evaluate, train_command
from model.training.lab import MEASURING
from model.training.tracking import KEY_TAG
from model.writer import open_writer
from tests.registrations import fresh_registry, ledger_of
from tests.tiny import save_tiny_model

pytestmark = [
    pytest.mark.proof,
    pytest.mark.filterwarnings("ignore"),  # MLflow's own dependencies warn of their deprecations
    pytest.mark.skipif(
        not all(map(find_spec, ("mlflow", "optimum", "peft", *MEASURING))),
        reason="needs the extras train and lab: run `make test`",
    ),
]

DATA = Path(__file__).parents[3] / "model/data"
REPORTS = Path(".adloom/reports")
LEARNT, JUDGED = 24, 76
"""Pairs to learn from; rows to be judged on: from 75 on the gate can find a candidate of equal worth no worse."""
BY = ["--who", "Ada", "--why", "the chain"]
STOOL = Product("H-1", "Wooden step stool", "Solid beech, two steps, 42 cm high.", "Home > Stools", "", "49.00 EUR")
RUN = {
    "base": "hub",
    "pairs": "pairs.jsonl",
    "learning_rate": 0.02,
    "warmup_share": 0.1,
    "weight_decay": 0.0,
    "epochs": 2,
    "batch_pairs": 4,
    "validation_share": 0.2,
    "checkpoint_steps": 100,
    "seed": 17,
}
TUNED = RUN | {"rank": 4, "alpha": 8, "dropout": 0.0, "swap_share": 0.5}
PREFERRED = RUN | {
    "method": "dpo",
    "start": "runs/first/adapter",
    "preferences": "preferences.jsonl",
    "beta": 0.5,
    "sft_weight": 0.1,
}


@dataclass(frozen=True)
class Made:
    """A registered version and what it was made of."""

    number: int
    run: Path
    bundle: Bundle
    scores: Path
    certificate: Path

    @property
    def adapter(self):
        return self.run / "adapter/adapter_model.safetensors"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path, tables):
    Path(path).write_text("".join(json.dumps(table) + "\n" for table in tables), encoding="utf-8")


def cut_data():
    """Shipped pairs and preferences of the channel with the shortest ads; rows of other products to be judged on."""
    pairs = [pair for pair in lines_of(DATA / "pairs.jsonl") if pair["channel"] == "x"]
    preferences = {line["pair"]: line for line in lines_of(DATA / "preferences.jsonl") if line["channel"] == "x"}
    learnt = [pair for pair in pairs if pair["id"] in preferences][:LEARNT]
    families = {pair["family"] for pair in learnt}
    unseen = [pair for pair in pairs if pair["family"] not in families]
    write_lines("pairs.jsonl", learnt)
    write_lines("preferences.jsonl", [preferences[pair["id"]] for pair in learnt])
    write_lines("unseen.jsonl", sorted(unseen, key=lambda pair: len(str(pair["product"])))[:JUDGED])


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A working folder with a tiny base and the data, no model made or registered yet."""
    import torch

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small lose by being shared out
    save_tiny_model(Path("hub"))
    cut_data()
    fresh_registry(DEFAULT_FOLDER)  # its tables alone take MLflow ten seconds
    yield tmp_path
    torch.set_num_threads(threads)


def make(name, settings, number):
    """Train, build, evaluate, certify and register; a breached certificate is the gate's to weigh."""
    run = Path("runs", name)
    Path(f"{name}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    made_of = ["--base", "hub", "--adapter", str(run / "adapter")]
    judged_on = ["--pairs", "unseen.jsonl", "--threads", "1"]

    assert train_command.main([f"{name}.yaml", "--out", str(run)]) == 0
    assert bundle_command.main(["build", *made_of]) == 0
    bundle = open_bundle(Path(".adloom/bundle"))
    compared = ["--training", "pairs.jsonl", "--baselines", "none", "--candidates", "1"]
    assert evaluate.main([*judged_on, *compared]) == 0
    status = certify_command.main([*made_of, *judged_on, "--rows", "1"])
    reports = REPORTS / bundle.digest[:16]
    assert status == (0 if read(reports / "certificate.json")["passed"] else certify_command.EXIT_BREACHED)
    assert register_command.main(["--run", str(run)]) == 0
    return Made(number, run, bundle, reports / "scores.json", reports / "certificate.json")


def assert_each_stage_used_what_the_one_before_it_made(made, registry):
    trained, manifest = read(made.run / "config.json"), made.bundle.manifest
    scores, certificate = read(made.scores), read(made.certificate)
    version = registry.version(made.number)
    tracked = registry.client.get_run(version.tags["training_run"])

    assert trained["pairs_sha256"] == file_sha256(Path("pairs.jsonl"))
    base, adapter = file_sha256(Path("hub/model.safetensors")), file_sha256(made.adapter)
    assert manifest.base == f"hub@sha256:{base} + adapter@sha256:{adapter}"
    assert manifest.prompt_digest == trained["prompt"]
    assert scores["bundle"] == certificate["bundle"] == version.bundle == made.bundle.digest
    assert scores["base"] == manifest.base
    assert scores["dataset"] == {"pairs_sha256": file_sha256(Path("unseen.jsonl")), "rows": JUDGED}
    assert len(scores["per_row"]) == JUDGED
    assert certificate["rows"][-1]["runtime"] == f"fused {manifest.scheme}" == "fused int8-weight"
    assert version.tags["dataset"] == trained["pairs_sha256"]
    assert version.tags["scores_sha256"] == file_sha256(made.scores)
    assert version.tags["certificate_sha256"] == file_sha256(made.certificate)
    assert tracked.data.tags[KEY_TAG] == read(made.run / "mlflow.json")["key"]
    assert registry.report(version, "scores.json") == scores
    assert registry.report(version, "samples.json") == read(made.scores.with_name("samples.json"))


def verdict_on(made, champion, capsys):
    """What `adloom gate` says of the files; `adloom promote` reads them from the registry and has to agree."""
    files = [str(one.scores) for one in (made, champion) if one]
    capsys.readouterr()
    status = gate_command.main([*files, "--certificate", str(made.certificate), "--json"])
    verdict = json.loads(capsys.readouterr().out)

    assert status == (0 if verdict["passed"] else gate_command.EXIT_REFUSED)
    return verdict


def champion_of(registry):
    found = registry.aliased(CHAMPION)
    return found and found.number


def promote(made, champion, registry, capsys):
    """Make it champion, past the gate where the gate refuses; returns what the ledger has to say of that."""
    before = champion.number if champion else None
    verdict = verdict_on(made, champion, capsys)
    status = promote_command.main(BY)
    last = ledger_of(registry).entries()[-1]
    promoted = [("promote", state, before, made.number) for state in ("intent", "done")]

    assert last.verdict == verdict
    if verdict["passed"]:
        assert status == 0
        return promoted
    assert status == promote_command.EXIT_REFUSED
    assert f"the gate refuses version {made.number}: {verdict['reasons'][0]}" in capsys.readouterr().err
    assert champion_of(registry) == before
    assert promote_command.main([*BY, "--without-gate", "a tiny model"]) == 0
    assert ledger_of(registry).entries()[-1].note == "without the gate: a tiny model"
    return [("refused", "undone", before, made.number), *promoted]


def test_a_model_is_made_judged_promoted_improved_and_rolled_back(workshop, capsys):
    registry = open_registry(DEFAULT_FOLDER)
    first = make("first", TUNED, 1)
    assert_each_stage_used_what_the_one_before_it_made(first, registry)
    expected = promote(first, None, registry, capsys)
    assert champion_of(registry) == 1

    second = make("second", PREFERRED, 2)
    assert_each_stage_used_what_the_one_before_it_made(second, registry)
    assert read(second.run / "config.json")["start_sha256"] == file_sha256(first.adapter)
    assert second.bundle.digest != first.bundle.digest
    expected += promote(second, first, registry, capsys)
    assert champion_of(registry) == 2

    assert rollback_command.main(BY) == 0
    expected += [("rollback", "intent", 2, 1), ("rollback", "done", 2, 1)]
    assert registry.version(1).aliases == (CHAMPION,)
    assert registry.version(2).aliases == (CANDIDATE,)
    entries = ledger_of(registry).entries()
    assert [(one.action, one.state, one.source, one.target) for one in entries] == expected
    capsys.readouterr()
    assert models_command.main(["--verify-ledger"]) == 0
    assert f"{len(expected)} lines, each following the one before it" in capsys.readouterr().out

    assert models_command.main(["fetch", f"@{CHAMPION}", "--to", "served"]) == 0
    shutil.rmtree(".adloom")  # serving asks neither the registry nor what is beside it
    writer = open_writer(Path("served"), threads=1)
    creative = writer.write(STOOL, channel("x"), candidates=1)[0]
    assert writer.bundle.digest == creative.passport.bundle_digest == first.bundle.digest
