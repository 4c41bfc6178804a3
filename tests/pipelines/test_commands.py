"""A command of ours as a child of a step: what it says goes to stderr, and it never outlives the step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipelines import commands
from pipelines.commands import CommandError
from tests.real_parts import wait_until

# Stands in for app/cli.py on the path of the child: what a command does is not the matter here.
CHILD = """
import os, pathlib, signal, subprocess, sys, time

def tell(name):
    path = pathlib.Path(name)
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)

what, *rest = sys.argv[1:]
if what == "say":
    print(f"said {rest}", flush=True)
if what == "exit":
    sys.exit(int(rest[0]))
if what == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if what in ("hang", "stubborn"):
    subprocess.Popen([sys.executable, __file__, "grandchild"])
    tell("child")
    time.sleep(600)
if what == "leave":
    subprocess.Popen([sys.executable, __file__, "grandchild"])
    while not pathlib.Path("grandchild").exists():
        time.sleep(0.01)
if what == "grandchild":
    tell("grandchild")
    time.sleep(600)
"""
STEP = """
import pathlib, sys
sys.path[:0] = sys.argv[1].split(":")
from pipelines import commands
try:
    commands.run(sys.argv[2:], seconds_max=600)
finally:
    pathlib.Path("cleaned").touch()
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """A working folder where `adloom` is the script above, which finds our own modules behind it."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").touch()
    (tmp_path / "app/cli.py").write_text(textwrap.dedent(CHILD))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def is_alive(pid):
    """A process that has ended and that nobody has asked about yet is dead, too."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def started(*names):
    wait_until(lambda: all(Path(name).exists() for name in names), f"{' and '.join(names)} to start")
    return [int(Path(name).read_text()) for name in names]


def all_ended(pids):
    wait_until(lambda: not any(map(is_alive, pids)), "every process to end")
    return True


def test_what_a_command_says_goes_to_stderr_and_its_status_is_returned(child, capfd):
    status = commands.run(["say", Path("a b"), "--so"], seconds_max=60)
    told = capfd.readouterr()

    assert status == 0
    assert (told.out, told.err) == ("", "said ['a b', '--so']\n")


@pytest.mark.parametrize("accept", [(0, 3), (3,)])
def test_a_status_that_is_accepted_is_returned(child, accept):
    assert commands.run(["exit", "3"], seconds_max=60, accept=accept) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exit", "1"], "adloom exit ended with status 1; what it said stands above"),
        (["exit", "4"], "adloom exit ended with status 4; what it said stands above"),
        (["die"], "adloom die ended by SIGKILL; what it said stands above"),
    ],
)
def test_any_other_status_is_an_error_that_names_the_command(child, arguments, said):
    with pytest.raises(CommandError) as caught:
        commands.run(arguments, seconds_max=60, accept=(0, 3))

    assert str(caught.value) == said


@pytest.mark.parametrize("command", ["hang", "stubborn"])
def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(child, monkeypatch, command):
    monkeypatch.setattr(commands, "GRACE_SECONDS", 0.5)
    for seconds in (5, 20, 60):  # a busy machine may need longer until both have started
        with pytest.raises(CommandError, match=rf"adloom {command} took longer than {seconds} s and was ended"):
            commands.run([command], seconds_max=seconds)
        if Path("child").exists() and Path("grandchild").exists():
            break

    assert all_ended(started("child", "grandchild"))


def test_what_a_command_leaves_running_is_ended_when_the_command_ends(child):
    commands.run(["leave"], seconds_max=60)

    assert all_ended(started("grandchild"))


def step_process(*arguments):
    ours = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen([sys.executable, "-c", STEP, ours, *arguments])


def test_sigterm_to_the_step_ends_the_command_and_the_step_cleans_up(child):
    process = step_process("hang")
    pids = started("child", "grandchild")
    process.send_signal(signal.SIGTERM)

    assert process.wait(120) == 128 + signal.SIGTERM
    assert all_ended(pids)
    assert Path("cleaned").exists()


def test_an_interrupt_ends_the_command_too(child):
    process = step_process("hang")
    pids = started("child", "grandchild")
    process.send_signal(signal.SIGINT)

    assert process.wait(120) != 0
    assert all_ended(pids)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: elsewhere a child outlives a parent that is killed")
def test_a_step_that_is_killed_takes_its_command_with_it(child):
    process = step_process("hang")
    (pid,) = started("child")
    (left,) = started("grandchild")
    process.kill()
    process.wait()

    assert all_ended([pid])
    os.kill(left, signal.SIGKILL)  # what the command itself started hears of nothing


def test_the_handler_that_was_there_before_is_there_again(child):
    def mine(_number, _frame):
        """Of the caller."""

    before = signal.signal(signal.SIGTERM, mine)
    try:
        commands.run(["say"], seconds_max=60)
        with pytest.raises(CommandError):
            commands.run(["exit", "1"], seconds_max=60)
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert after is mine
