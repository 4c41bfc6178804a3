"""Fine-tuning on the tiny model: it learns, it is deterministic, and kill -9 changes nothing but the time."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from model.bundle import open_bundle
from model.prompt import few_shot_prompt, tuned_prompt
from model.training import bundle_command, train_command
from model.training.dataset import encode
from model.training.finetune import batch_loss, finetune, load_for_training
from model.training.pairs import PairsError, read_pairs
from model.training.run_config import FinetuneConfig, TrainingError, read_config
from model.training.weights import WeightsError
from tests.model.training.test_pairs import row
from tests.tiny import save_tiny_model

pytest.importorskip("peft", reason="peft is not installed: run `make test`, or pip install '.[train]'")

ROOT = Path(__file__).parents[3]
MUGS = "tin clay oak ash elm fir yew bay fig tea rye hop".split()
# 10 pairs to learn from, 2 a step: 5 steps an epoch, 10 in all, a checkpoint after steps 2, 4, 5, 6, 8 and 10.
SETTINGS = {
    "rank": 2,
    "alpha": 4,
    "dropout": 0.05,
    "learning_rate": 0.02,
    "warmup_share": 0.1,
    "weight_decay": 0.01,
    "epochs": 2,
    "batch_pairs": 2,
    "swap_share": 0.5,
    "validation_share": 0.17,
    "checkpoint_steps": 2,
    "seed": 17,
}
STEPS = 10
# Killed where the N-th line of metrics.jsonl has just been written: no time to close, flush or save anything.
KILLED = """
import os, signal, sys
from pathlib import Path
from model.prompt import tuned_prompt
from model.training.finetune import finetune
from model.training.run_config import read_config
from model.training.training_run import TrainingRun

config, folder, lines = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
record = TrainingRun._record

def record_and_die(run, line):
    record(run, line)
    if len((folder / "metrics.jsonl").read_text().splitlines()) == lines:
        os.kill(os.getpid(), signal.SIGKILL)

TrainingRun._record = record_and_die
finetune(read_config(config), tuned_prompt(), folder, print)
"""


def silent(line):
    pass


def adapter_bytes(folder):
    return {path.name: path.read_bytes() for path in (folder / "adapter").iterdir()}


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write_pairs(path, names):
    rows = [
        row(
            id=f"T-{name}",
            family=f"{name} mug",
            product__title=f"{name} mug, 350 ml".capitalize(),
            product__description="Not for the microwave.",
            copy__headlines=[f"350 ml of {name}"],
            copy__bodies=[f"A blue {name} mug for 350 ml of soup."],
        )
        for name in names
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A base model, twelve pairs and the settings of a run, as files."""
    folder = tmp_path_factory.mktemp("ground")
    save_tiny_model(folder / "hub")
    table = {"base": str(folder / "hub"), "pairs": str(write_pairs(folder / "pairs.jsonl", MUGS)), **SETTINGS}
    (folder / "run.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
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


def test_the_loss_falls(unbroken):
    lines = metrics(unbroken)
    losses = [line["loss"] for line in lines if "loss" in line]
    validation = [line["validation_loss"] for line in lines if "validation_loss" in line]

    assert [line["step"] for line in lines if "loss" in line] == list(range(1, STEPS + 1))
    assert losses[-1] < losses[0] - 1
    assert len(validation) == 2
    assert validation[1] < validation[0]


def test_the_rate_warms_up_to_its_peak_and_falls_to_a_tenth(config, ground, tmp_path):
    finetune(
        replace(config, warmup_share=0.3, learning_rate=0.003, epochs=1, batch_pairs=1),
        tuned_prompt(),
        tmp_path,
        silent,
    )
    rates = [line["learning_rate"] for line in metrics(tmp_path) if "loss" in line]

    assert rates[:4] == pytest.approx([0.001, 0.002, 0.003, 0.003])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert 0.0003 < rates[-1] < 0.0006


def test_the_adapter_loads_with_peft_and_changes_the_logits(unbroken, ground):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.arange(1, 40).unsqueeze(0)
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(ground / "hub")
        before = base(ids).logits
        tuned = PeftModel.from_pretrained(base, str(unbroken / "adapter")).eval()
        after = tuned(ids).logits

    assert (after - before).abs().max() > 0.1
    assert tuned.peft_config["default"].r == SETTINGS["rank"]


def test_the_adapter_is_half_precision_and_readable_by_all_and_carries_its_prompt(unbroken):
    from safetensors.torch import load_file

    weights = load_file(unbroken / "adapter" / "adapter_model.safetensors")

    assert {str(value.dtype) for value in weights.values()} == {"torch.float16"}
    assert len(weights) == 2 * 2 * 7  # two factors, two layers, seven projections
    assert json.loads((unbroken / "adapter" / "prompt.json").read_text()) == tuned_prompt().as_dict()
    assert {path.stat().st_mode & 0o044 for path in (unbroken / "adapter").iterdir()} == {0o044}


@pytest.mark.parametrize(("best", "replaced"), [(0.0, False), (100.0, True)])
def test_an_epoch_that_validates_no_better_leaves_the_adapter_alone(best, replaced, unbroken, config, tmp_path):
    import torch

    folder = shutil.copytree(unbroken, tmp_path / "run")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    torch.save(state | {"done": STEPS // 2, "best": best}, folder / "checkpoint.pt")
    finetune(config, tuned_prompt(), folder, silent)

    assert (adapter_bytes(folder) != adapter_bytes(unbroken)) == replaced


@pytest.mark.proof
def test_the_same_seed_gives_the_same_adapter_by_way_of_the_command(unbroken, ground, tmp_path, capsys):
    assert train_command.main([str(ground / "run.yaml"), "--out", str(tmp_path)]) == 0

    assert adapter_bytes(tmp_path) == adapter_bytes(unbroken)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (unbroken / "metrics.jsonl").read_bytes()
    assert f"adapter in {tmp_path / 'adapter'}" in capsys.readouterr().out


def test_another_seed_gives_another_adapter(unbroken, config, tmp_path):
    finetune(replace(config, seed=18), tuned_prompt(), tmp_path, silent)

    assert adapter_bytes(tmp_path)["adapter_model.safetensors"] != adapter_bytes(unbroken)["adapter_model.safetensors"]


def killed_after(lines, ground, folder):
    command = [sys.executable, "-c", KILLED, ground / "run.yaml", folder, str(lines)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(metrics(folder)) == lines


@pytest.mark.proof
def test_a_run_killed_between_two_checkpoints_ends_like_an_unbroken_one(unbroken, config, ground, tmp_path):
    killed_after(3, ground, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # as a full disk would leave it
    said = []
    finetune(config, tuned_prompt(), tmp_path, said.append)

    assert said[0] == "going on after step 2 of 10"
    assert adapter_bytes(tmp_path) == adapter_bytes(unbroken)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (unbroken / "metrics.jsonl").read_bytes()


# 1: before any checkpoint. 5: an epoch's last step, not yet validated. 6: validated, adapter not yet written.
# 12: the last line of all.
@pytest.mark.proof
@pytest.mark.parametrize("lines", [1, 5, 6, 12])
def test_wherever_a_run_is_killed_it_ends_like_an_unbroken_one(lines, unbroken, config, ground, tmp_path):
    killed_after(lines, ground, tmp_path)
    finetune(config, tuned_prompt(), tmp_path, silent)

    assert adapter_bytes(tmp_path) == adapter_bytes(unbroken)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (unbroken / "metrics.jsonl").read_bytes()


@pytest.mark.proof
def test_an_epoch_that_ends_on_a_checkpoint_is_validated_after_a_kill_too(config, ground, tmp_path):
    # With a checkpoint every 5 steps, one falls on the epoch's last step.
    table = yaml.safe_load((ground / "run.yaml").read_text()) | {"checkpoint_steps": 5, "epochs": 1}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(table))
    killed_after(6, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run" / "adapter").exists()
    adapter = finetune(read_config(tmp_path / "run.yaml"), tuned_prompt(), tmp_path / "run", silent)

    assert (adapter / "adapter_model.safetensors").is_file()
    assert sum("validation_loss" in line for line in metrics(tmp_path / "run")) == 1


def test_a_finished_run_has_nothing_left_to_do(unbroken, config, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    before = (folder / "checkpoint.pt").stat().st_mtime_ns
    finetune(config, tuned_prompt(), folder, silent)

    assert (folder / "checkpoint.pt").stat().st_mtime_ns == before
    assert (folder / "metrics.jsonl").read_bytes() == (unbroken / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_named(kept, unbroken, config, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    whole = (folder / "checkpoint.pt").read_bytes()
    (folder / "checkpoint.pt").write_bytes(whole[: int(kept * len(whole))])

    with pytest.raises(TrainingError, match=r"run/checkpoint\.pt is cut short .* delete it to start over"):
        finetune(config, tuned_prompt(), folder, silent)
    assert adapter_bytes(folder) == adapter_bytes(unbroken)


def test_a_checkpoint_of_something_else_is_named(unbroken, config, tmp_path):
    import torch

    folder = shutil.copytree(unbroken, tmp_path / "run")
    torch.save({"weights": torch.zeros(2)}, folder / "checkpoint.pt")

    with pytest.raises(TrainingError, match=r"run/checkpoint\.pt is cut short or of another model"):
        finetune(config, tuned_prompt(), folder, silent)


def test_a_folder_of_another_configuration_is_refused(unbroken, config):
    with pytest.raises(TrainingError, match="holds another run; choose another folder"):
        finetune(replace(config, learning_rate=0.01), tuned_prompt(), unbroken, silent)


def test_a_folder_whose_pairs_were_changed_since_is_refused(unbroken, config, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    pairs = Path(config.pairs)
    text = pairs.read_text()
    pairs.write_text(text.replace("of soup", "of stew", 1))
    try:
        with pytest.raises(TrainingError, match="holds another run"):
            finetune(config, tuned_prompt(), folder, silent)
    finally:
        pairs.write_text(text)


def test_a_run_that_left_no_checkpoint_may_be_started_with_other_settings(config, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 9.0}\n')
    finetune(replace(config, epochs=1), tuned_prompt(), tmp_path, silent)

    assert [line["step"] for line in metrics(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("count", "share"), [(2, 0.2), (12, 0.04), (12, 1.0)])
def test_pairs_too_few_to_set_any_aside_are_refused(count, share, config, tmp_path):
    path = write_pairs(tmp_path / "few.jsonl", MUGS[:count])

    with pytest.raises(TrainingError, match=f"{count} pairs are too few"):
        finetune(replace(config, pairs=str(path), validation_share=share), tuned_prompt(), tmp_path / "run", silent)
    assert not (tmp_path / "run").exists()


def test_a_bad_pair_stops_the_run_before_it_leaves_a_trace(config, tmp_path):
    path = write_pairs(tmp_path / "bad.jsonl", MUGS)
    path.write_text(path.read_text() + "{}\n")

    with pytest.raises(PairsError, match=r"bad\.jsonl, line 13"):
        finetune(replace(config, pairs=str(path)), tuned_prompt(), tmp_path / "run", silent)
    assert not (tmp_path / "run").exists()


def test_a_base_that_is_not_there_is_named(config, tmp_path):
    with pytest.raises(WeightsError, match=r"cannot load weights from .*absent"):
        finetune(replace(config, base=str(tmp_path / "absent")), tuned_prompt(), tmp_path / "run", silent)


def test_a_run_that_diverges_says_so_and_stops(config, tmp_path):
    with pytest.raises(TrainingError, match=r"step \d+: the loss is (nan|inf); lower learning_rate"):
        finetune(replace(config, learning_rate=1e30), tuned_prompt(), tmp_path, silent)


@pytest.fixture(scope="module")
def model_and_tokenizer(config):
    import torch

    torch.manual_seed(0)
    model, tokenizer = load_for_training(replace(config, dropout=0.0))
    return model.float().eval(), tokenizer.backend_tokenizer


@pytest.fixture(scope="module")
def examples(config, model_and_tokenizer):
    return [encode(pair, tuned_prompt(), model_and_tokenizer[1]) for pair in read_pairs(Path(config.pairs))]


def test_the_loss_is_the_models_own_on_what_is_learnt(model_and_tokenizer, examples):
    import torch

    model, _ = model_and_tokenizer
    example = examples[0]
    ids = torch.tensor([example.ids])
    labels = torch.where(torch.tensor([example.learnt]), ids, -100)
    with torch.no_grad():
        expected = float(model(input_ids=ids, labels=labels).loss)

        assert float(batch_loss(model, [example])) == pytest.approx(expected, rel=1e-5)


def test_padding_changes_no_loss(model_and_tokenizer, examples):
    import torch

    model, _ = model_and_tokenizer
    short, long = min(examples, key=lambda x: len(x.ids)), max(examples, key=lambda x: len(x.ids))
    long = replace(long, ids=long.ids + long.ids, learnt=long.learnt + long.learnt)
    with torch.no_grad():
        alone = [float(batch_loss(model, [example])) * sum(example.learnt) for example in (short, long)]
        together = float(batch_loss(model, [short, long]))

    assert together == pytest.approx(sum(alone) / (sum(short.learnt) + sum(long.learnt)), rel=1e-4)


def test_only_the_adapter_is_trained(model_and_tokenizer):
    model, _ = model_and_tokenizer
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]

    assert len(trained) == 2 * 2 * 7
    assert all(".lora_" in name for name in trained)


def whole(config, **changes):
    return replace(config, method="full", rank=0, alpha=0, dropout=0.0, learning_rate=0.005, **changes)


@pytest.fixture(scope="module")
def fully_tuned(config, tmp_path_factory):
    """Folder of an unbroken run that trained every weight."""
    folder = tmp_path_factory.mktemp("whole")
    assert finetune(whole(config), tuned_prompt(), folder, silent) == folder / "model"
    return folder


def model_bytes(folder):
    return {path.name: path.read_bytes() for path in (folder / "model").iterdir()}


def test_full_fine_tuning_learns_and_changes_every_weight(fully_tuned, ground):
    from safetensors.torch import load_file

    losses = [line["loss"] for line in metrics(fully_tuned) if "loss" in line]
    before = load_file(ground / "hub" / "model.safetensors")
    after = load_file(fully_tuned / "model" / "model.safetensors")

    assert losses[-1] < losses[0] - 1
    assert before.keys() == after.keys()
    assert all((before[name] - after[name].float()).abs().max() > 0.001 for name in before)
    assert {str(value.dtype) for value in after.values()} == {"torch.float16"}


@pytest.mark.proof
def test_a_fully_tuned_run_resumes_to_the_same_model(fully_tuned, config, ground, tmp_path):
    table = yaml.safe_load((ground / "run.yaml").read_text())
    table = {key: value for key, value in table.items() if key not in ("rank", "alpha", "dropout")}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(table | {"method": "full", "learning_rate": 0.005}))
    killed_after(3, tmp_path, tmp_path / "run")
    finetune(read_config(tmp_path / "run.yaml"), tuned_prompt(), tmp_path / "run", silent)

    assert model_bytes(tmp_path / "run") == model_bytes(fully_tuned)


def test_a_fully_tuned_model_becomes_a_bundle_with_its_own_prompt(fully_tuned, tmp_path):
    base = str(fully_tuned / "model")
    assert bundle_command.main(["build", "--base", base, "--root", str(tmp_path)]) == 0
    tuned = open_bundle(tmp_path / "bundle").manifest
    assert bundle_command.main(["build", "--base", base, "--untuned", "--root", str(tmp_path)]) == 0

    assert tuned.prompt_digest == tuned_prompt().digest()
    assert tuned.base.startswith("model@sha256:")
    assert open_bundle(tmp_path / "bundle").manifest.prompt_digest == few_shot_prompt().digest()


@pytest.mark.proof
# Validated after steps 2, 4, 6, 8 and 10. At a rate of 1e-9 nothing gets better after the first time.
@pytest.mark.parametrize(("patience", "steps"), [(0, 10), (1, 4), (3, 8), (4, 10)])
def test_a_run_that_stops_getting_better_stops_early(patience, steps, config, tmp_path):
    said = []
    slow = replace(config, learning_rate=1e-12, weight_decay=0.0, validation_steps=2, patience=patience)
    finetune(slow, tuned_prompt(), tmp_path, said.append)
    again = []
    finetune(slow, tuned_prompt(), tmp_path, again.append)

    assert metrics(tmp_path)[-1]["step"] == steps
    assert any("stopped early" in line for line in said) == (steps < STEPS)
    assert again == [f"going on after step {steps} of 10"]


def test_a_budget_of_steps_ends_the_run_and_its_learning_rate(config, tmp_path):
    finetune(replace(config, steps_max=3, warmup_share=0), tuned_prompt(), tmp_path, silent)
    lines = metrics(tmp_path)

    assert [line["step"] for line in lines] == [1, 2, 3, 3]
    assert lines[2]["learning_rate"] < 0.6 * config.learning_rate
    assert "validation_loss" in lines[3]


def test_pairs_that_bring_much_of_their_own_are_left_out_and_counted(config, tmp_path):
    path = write_pairs(tmp_path / "pairs.jsonl", MUGS)
    odd = row(id="T-odd", family="odd mug", copy__bodies=["Dragons sing of castles while ravens dance."])
    path.write_text(path.read_text() + json.dumps(odd) + "\n")
    said = []
    finetune(replace(config, pairs=str(path), novelty_max=0.5, epochs=1), tuned_prompt(), tmp_path / "run", said.append)

    assert said[0] == "1 of 13 pairs left out: over 50% of their ad is not in the row"


def test_a_limit_that_leaves_no_pairs_is_refused(config, tmp_path):
    with pytest.raises(TrainingError, match=r"novelty_max 0\.0 leaves too few pairs"):
        finetune(replace(config, novelty_max=0.0), tuned_prompt(), tmp_path / "run", silent)


def test_a_held_out_row_among_the_pairs_stops_the_run(config, tmp_path):
    path = write_pairs(tmp_path / "pairs.jsonl", MUGS)
    held = (ROOT / "model/data/heldout.jsonl").read_text().splitlines()[3]
    path.write_text(path.read_text() + held + "\n")

    with pytest.raises(TrainingError, match=r"held-out row leaked into training: pair .* repeats the family"):
        finetune(replace(config, pairs=str(path)), tuned_prompt(), tmp_path / "run", silent)
    assert not (tmp_path / "run").exists()


DPO = {"method": "dpo", "start": "adapter", "preferences": "preferences.jsonl", "beta": 0.1, "sft_weight": 0.1}
SOUND = {"base": "", "pairs": "pairs.jsonl", **SETTINGS}


def config_file(tmp_path, table):
    path = tmp_path / "run.yaml"
    path.write_text(table if isinstance(table, str) else yaml.safe_dump(table), encoding="utf-8")
    return path


def test_a_sound_file_is_read_into_its_object(tmp_path):
    assert read_config(config_file(tmp_path, SOUND)) == FinetuneConfig(**SOUND)


def test_a_whole_number_will_do_where_a_fraction_may_stand(tmp_path):
    assert read_config(config_file(tmp_path, SOUND | {"dropout": 0})).dropout == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learning_rat": 0.1}, "learning_rat is unknown"),
        ({7: 0.1}, "7 is unknown"),
        ({"rank": "16"}, "rank should be a int, and is '16'"),
        ({"rank": 1.5}, "rank should be a int, and is 1.5"),
        ({"seed": True}, "seed should be a int, and is True"),
        ({"learning_rate": "1e-3"}, "learning_rate should be a float, and is '1e-3'"),
        ({"pairs": None}, "pairs should be a str, and is None"),
        ({"rank": 0}, "rank should be above zero, and is 0"),
        ({"epochs": -1}, "epochs should be above zero, and is -1"),
        ({"batch_pairs": 0}, "batch_pairs should be above zero"),
        ({"checkpoint_steps": 0}, "checkpoint_steps should be above zero"),
        ({"learning_rate": float("nan")}, "learning_rate should be above zero, and is nan"),
        ({"learning_rate": float("inf")}, "learning_rate should be above zero, and is inf"),
        ({"swap_share": 1.01}, "swap_share should lie between 0 and 1, and is 1.01"),
        ({"validation_share": -0.1}, "validation_share should lie between 0 and 1"),
        ({"novelty_max": 1.01}, "novelty_max should lie between 0 and 1, and is 1.01"),
        ({"patience": -1}, "patience should not be below zero, and is -1"),
        ({"method": "prompt"}, "method should be one of lora, full, dpo, and is 'prompt'"),
        ({"method": "full"}, "alpha belongs to method lora, and the method is full"),
        ({"method": "dpo"}, "beta is missing"),
        ({"novelty_max": 0.5} | DPO, "novelty_max chooses pairs, and method dpo learns from preferences"),
        ({"swap_share": 0.5} | DPO, "swap_share belongs to method full, and the method is dpo"),
        ({"beta": 0.1}, "beta belongs to method dpo, and the method is lora"),
    ],
)
def test_a_wrong_setting_is_named(change, told, tmp_path):
    with pytest.raises(TrainingError) as caught:
        read_config(config_file(tmp_path, SOUND | change))
    assert str(caught.value).startswith(f"{tmp_path / 'run.yaml'}: {told}")


@pytest.mark.parametrize("key", SOUND)
def test_a_missing_setting_is_named(key, tmp_path):
    table = {name: value for name, value in SOUND.items() if name != key}

    with pytest.raises(TrainingError, match=rf"run\.yaml: {key} is missing"):
        read_config(config_file(tmp_path, table))


@pytest.mark.parametrize(
    ("text", "told"), [("", "holds no settings"), ("- 1", "holds no settings"), ("a: [", "cannot be read")]
)
def test_a_file_that_is_no_table_is_refused_by_name(text, told, tmp_path):
    with pytest.raises(TrainingError, match=rf"run\.yaml {told}"):
        read_config(config_file(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"absent\.yaml cannot be read"):
        read_config(tmp_path / "absent.yaml")


def test_every_config_in_the_repository_reads_and_names_pairs_that_exist():
    paths = sorted((ROOT / "model/training/configs").glob("*.yaml"))

    assert train_command.DEFAULT_CONFIG in paths
    for path in paths:
        assert (ROOT / read_config(path).pairs).is_file()


def test_the_adapter_of_the_default_config_is_as_large_as_its_header_says(bundle):
    """Counted on the real base's shapes without its weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = read_config(train_command.DEFAULT_CONFIG)
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(bundle))
        tuned = get_peft_model(base, LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules="all-linear"))
    trained, every = tuned.get_nb_trainable_parameters()
    header = train_command.DEFAULT_CONFIG.read_text()

    assert f"{trained / 1e6:.1f} million of {every / 1e6:.0f} million parameters" in header
    assert f"an adapter of {2 * trained / 1e6:.0f} MB in fp16" in header
    assert 2 * trained < 12e6
