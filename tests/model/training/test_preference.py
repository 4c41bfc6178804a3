"""Preferences on the tiny model: the chosen ads rise above the rejected ones, and kill -9 changes nothing."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from model.prompt import tuned_prompt
from model.training.finetune import finetune
from model.training.pairs import read_pairs
from model.training.preference import PreferencesError, Preferring, read_preferences
from model.training.run_config import FinetuneConfig, TrainingError, read_config
from model.training.weights import WeightsError
from tests.model.training.test_finetune import KILLED, MUGS, SETTINGS, adapter_bytes, metrics, silent, write_pairs
from tests.tiny import save_tiny_model

pytest.importorskip("peft", reason="peft is not installed: run `make test`, or pip install '.[train]'")

ROOT = Path(__file__).parents[3]
# 10 preferences to learn from, 2 a step: 5 steps an epoch, 10 in all, checkpoints after 2, 4, 5, 6, 8 and 10.
DPO = {
    "method": "dpo",
    "beta": 0.5,
    "sft_weight": 0.1,
    "learning_rate": 0.01,
    "warmup_share": 0.1,
    "weight_decay": 0.0,
    "epochs": 2,
    "batch_pairs": 2,
    "validation_share": 0.17,
    "checkpoint_steps": 2,
    "seed": 17,
}


def line(name="tin", **changes):
    """A sound preference about the pair of `test_finetune` of that name; None takes a key away."""
    chosen = {
        "headlines": [f"350 ml of {name}"],
        "bodies": [f"A {name} mug for 350 ml of soup."],
        "call_to_action": "Fill it",
        "hashtags": ["#mug"],
    }
    rejected = chosen | {"headlines": ["Zebra zebra"], "bodies": ["Quiz quiz zebra jazz."]}
    table = {"id": f"P-{name}", "pair": f"T-{name}", "channel": "instagram", "voice": "plain", "chosen": chosen}
    table |= {"rejected": rejected, "chosen_by": "edited", "why": "the other says nothing of the mug"} | changes
    return {key: value for key, value in table.items() if value is not None}


def written(path, lines):
    path.write_text("".join(f"{json.dumps(each)}\n" for each in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A base model, pairs, an adapter tuned on them, preferences, and the settings of a run, as files."""
    folder = tmp_path_factory.mktemp("ground")
    save_tiny_model(folder / "hub")
    pairs = write_pairs(folder / "pairs.jsonl", MUGS)
    written(folder / "preferences.jsonl", [line(name) for name in MUGS])
    files = {"base": str(folder / "hub"), "pairs": str(pairs)}
    (folder / "sft.yaml").write_text(yaml.safe_dump(files | SETTINGS))
    finetune(read_config(folder / "sft.yaml"), tuned_prompt(), folder / "sft", silent)
    files |= {"start": str(folder / "sft" / "adapter"), "preferences": str(folder / "preferences.jsonl")}
    (folder / "run.yaml").write_text(yaml.safe_dump(files | DPO))
    return folder


@pytest.fixture(scope="module")
def config(ground):
    return read_config(ground / "run.yaml")


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory):
    """Folder of a run that nothing disturbed; copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert finetune(config, tuned_prompt(), folder, silent) == folder / "adapter"
    return folder


def test_the_margin_between_chosen_and_rejected_grows(unbroken):
    lines = [each for each in metrics(unbroken) if "loss" in each]
    validated = [each for each in metrics(unbroken) if "validation_loss" in each]

    # The adapter is kept in fp16 and the base is bf16: the first margin is nought but for rounding.
    assert abs(lines[0]["margin"]) < 0.2
    assert lines[-1]["margin"] > lines[0]["margin"] + 1
    assert validated[-1]["validation_margin"] > validated[0]["validation_margin"] > 0.2
    assert validated[-1]["validation_accuracy"] == 1


def test_the_result_starts_from_the_adapter_and_is_one_with_its_prompt(unbroken, ground):
    from safetensors.torch import load_file

    before, after = (
        load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (ground / "sft", unbroken)
    )
    moved = max(float((before[name].float() - after[name].float()).abs().max()) for name in before)
    size = max(float(value.float().abs().max()) for value in before.values())

    assert before.keys() == after.keys()
    assert 0 < moved < size  # the same rank, moved a little
    assert json.loads((unbroken / "adapter" / "prompt.json").read_text()) == tuned_prompt().as_dict()


def test_the_reference_is_taken_once_and_kept(unbroken, config, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    table = json.loads((folder / "reference.json").read_text())["log_probabilities"]
    said = []
    finetune(config, tuned_prompt(), folder, said.append)

    assert set(table) == {f"P-{name}" for name in MUGS}
    assert all(chosen < 0 and rejected < 0 for chosen, rejected in table.values())
    assert said == ["going on after step 10 of 10"]


@pytest.mark.proof
def test_a_run_killed_between_two_checkpoints_ends_like_an_unbroken_one(unbroken, config, ground, tmp_path):
    command = [sys.executable, "-c", KILLED, ground / "run.yaml", tmp_path, "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    said = []
    finetune(config, tuned_prompt(), tmp_path, said.append)

    assert said[0] == "going on after step 2 of 10"
    assert adapter_bytes(tmp_path) == adapter_bytes(unbroken)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (unbroken / "metrics.jsonl").read_bytes()


def test_the_loss_is_the_papers_with_a_share_of_the_chosen_ads_own(config, monkeypatch):
    import torch

    from model.training import preference
    from model.training.dataset import Example

    example = Example((1, 2, 3), (False, True, True))
    choice = preference.Choice(example, example, chosen_reference=-5.0, rejected_reference=-4.0)
    # Log-probabilities -3 and -6: gained 2 on the chosen, lost 2 on the rejected; the margin is 0.5 x 4.
    monkeypatch.setattr(preference, "answer_losses", lambda model, items: torch.tensor([3.0, 6.0]))
    objective = Preferring(config, tuned_prompt(), None, [choice], [choice], Path("unused"))
    loss, told = objective.summed(None, [choice])

    assert told == {"margin": 2.0, "accuracy": 1.0, "sft_loss": 1.5}
    assert float(loss) == pytest.approx(0.126928 + 0.1 * 1.5, abs=1e-6)  # ln(1 + e^-2)


def test_a_whole_model_can_be_started_from(config, ground, tmp_path):
    full = FinetuneConfig(
        base=config.base,
        pairs=config.pairs,
        learning_rate=0.005,
        warmup_share=0.1,
        weight_decay=0.0,
        epochs=1,
        batch_pairs=2,
        validation_share=0.17,
        checkpoint_steps=5,
        seed=17,
        method="full",
    )
    start = finetune(full, tuned_prompt(), tmp_path / "full", silent)
    made = finetune(replace(config, start=str(start), steps_max=3), tuned_prompt(), tmp_path / "run", silent)

    assert made == tmp_path / "run" / "model"
    assert (made / "model.safetensors").is_file()
    assert metrics(tmp_path / "run")[2]["margin"] > metrics(tmp_path / "run")[0]["margin"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pair": "T-gold"}, "no training pair has the id 'T-gold'"),
        ({"channel": "facebook"}, "channel is 'facebook', and that of pair T-clay is 'instagram'"),
        ({"voice": "playful"}, "voice is 'playful', and that of pair T-clay is 'plain'"),
        ({"chosen_by": "nobody"}, "chosen_by should be one of model, edited, and is 'nobody'"),
        ({"rejected": line("clay")["chosen"]}, "chosen and rejected are the same ad"),
        ({"why": 3}, "why should be a text, and is 3"),
        ({"why": None}, "KeyError('why')"),
        ({"chosen": "An ad."}, "TypeError"),
        ({"chosen": line()["chosen"] | {"bodies": "A body."}}, "bodies should be a list of texts"),
        ({"chosen": line()["chosen"] | {"call_to_action": []}}, "call_to_action should be a text"),
        ({"id": "P-tin"}, "id P-tin is used twice"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(changes, told, ground, tmp_path):
    path = written(tmp_path / "preferences.jsonl", [line("tin"), line("clay", **changes), line("oak")])

    with pytest.raises(PreferencesError) as caught:
        read_preferences(path, read_pairs(ground / "pairs.jsonl"))
    assert str(caught.value).startswith(f"{path}, line 2: not a preference (")
    assert told in str(caught.value)


@pytest.mark.parametrize(("text", "told"), [("", "holds no preferences"), ("{\n", "line 1: not a preference")])
def test_a_file_without_preferences_is_refused(text, told, tmp_path):
    (tmp_path / "preferences.jsonl").write_text(text)

    with pytest.raises(PreferencesError, match=told):
        read_preferences(tmp_path / "preferences.jsonl", [])


def test_a_preference_is_read_whole(ground, tmp_path):
    path = written(tmp_path / "preferences.jsonl", [line("tin")])
    (read,) = read_preferences(path, read_pairs(ground / "pairs.jsonl"))

    assert (read.id, read.pair.id, read.chosen_by) == ("P-tin", "T-tin", "edited")
    assert read.chosen.headlines == ("350 ml of tin",)
    assert read.rejected.bodies == ("Quiz quiz zebra jazz.",)


def test_preferences_that_leave_none_to_validate_are_refused(config, tmp_path):
    path = written(tmp_path / "preferences.jsonl", [line("tin")])

    with pytest.raises(TrainingError, match="1 preferences are too few to set 17% of families aside"):
        finetune(replace(config, preferences=str(path)), tuned_prompt(), tmp_path / "run", silent)
    assert not (tmp_path / "run").exists()


def test_a_start_that_is_no_finished_run_is_named(config, ground, tmp_path):
    with pytest.raises(ValueError, match="absent is no adapter of ours"):
        finetune(replace(config, start=str(tmp_path / "absent")), tuned_prompt(), tmp_path / "run", silent)
    (tmp_path / "prompt.json").write_text(json.dumps(tuned_prompt().as_dict()))
    with pytest.raises(WeightsError, match=r"holds no adapter_model\.safetensors and no model\.safetensors"):
        finetune(replace(config, start=str(tmp_path)), tuned_prompt(), tmp_path / "run", silent)
