"""Two real processes train as one: the same steps, the same losses, the same adapter within rounding."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from model.prompt import tuned_prompt
from model.training.finetune import finetune
from model.training.processes import Processes
from model.training.run_config import read_config
from tests.model.training.test_finetune import MUGS, SETTINGS, metrics, silent, write_pairs
from tests.tiny import save_tiny_model

pytest.importorskip("peft", reason="peft is not installed: run `make test`, or pip install '.[train]'")

ROOT = Path(__file__).parents[3]
# 10 training pairs by 3 a step: 3, 3, 3 and 1, so that one process has an empty share each epoch.
TABLE = SETTINGS | {"batch_pairs": 3, "dropout": 0.0, "warmup_share": 0.5, "learning_rate": 0.01}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.parametrize(("rank", "share"), [(0, [1, 3, 5]), (1, [2, 4])])
def test_a_batch_is_dealt_out_whole(rank, share):
    assert Processes(rank, 2).share([1, 2, 3, 4, 5]) == share


def test_one_process_has_everything_to_itself():
    alone = Processes()

    assert alone.first
    assert alone.share([1, 2, 3]) == [1, 2, 3]
    assert alone.sum([1.5, 2.5]) == [1.5, 2.5]


def launched(config, folder):
    command = [*TORCHRUN, "-m", "model.training.train_command", config, "--out", folder, "--no-tracking"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.proof
def test_two_processes_do_what_one_does_and_go_on_where_they_stopped(tmp_path):
    from safetensors.torch import load_file

    save_tiny_model(tmp_path / "hub")
    pairs = write_pairs(tmp_path / "pairs.jsonl", MUGS)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"base": str(tmp_path / "hub"), "pairs": str(pairs), **TABLE}))
    done = launched(config, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "two" / "metrics.jsonl").read_bytes()
    again = launched(config, tmp_path / "two")
    finetune(read_config(config), tuned_prompt(), tmp_path / "one", silent)
    alone, together = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    one, two = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("one", "two"))
    apart = max(float((one[name].float() - two[name].float()).abs().max()) for name in one)
    moved = max(float(value.float().abs().max()) for value in one.values())

    assert [line["step"] for line in together] == [line["step"] for line in alone]
    assert done.stdout.count("adapter in") == 2  # both end well; one of them wrote
    assert done.stderr.count("epoch 2: validation loss") == 1
    # The base is bf16: its sums, rounded to 2^-8, hang on how many rows share a matrix product.
    for ours, theirs in zip(together, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=0.02)
    assert apart < 0.1 * moved
    assert again.stderr.count("going on after step 8 of 8") == 1
    assert (tmp_path / "two" / "metrics.jsonl").read_bytes() == written
