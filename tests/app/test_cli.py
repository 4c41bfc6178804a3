"""The dispatcher, with commands of its own as entry points: `pytest tests/app/test_cli.py`."""

from __future__ import annotations

import errno
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from app import cli

COMMANDS = {
    "greet": """
        def main(argv):
            print("hello", *argv)
            return 3
    """,
    "interrupted": "def main(argv): raise KeyboardInterrupt",
    "full": "def main(argv): raise OSError(28, 'No space left on device', 'out/creatives.jsonl')",
    "mistaken": "def main(argv): raise ValueError('give the\\n file a title column')",
    "broken": "def main(argv): raise TypeError('oops')",
    "stopped": "def main(argv): raise SystemExit('nothing to do')",
    "chatty": """
        def main(argv):
            for _ in range(100_000):
                print("a line that nobody reads")
            return 0
    """,
    "heavy": "import torch_of_another_world",
    "ours": "import app.no_such_module",
}


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The table above as importable modules, one entry point each."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, source in COMMANDS.items():
        body = "\n".join(line.removeprefix("        ") for line in source.splitlines())
        (tmp_path / f"cli_probe_{name}.py").write_text(f'"""\nDo the {name} thing.\n\nMore.\n"""\n{body}\n')
    return {name: EntryPoint(name, f"cli_probe_{name}:main", cli.GROUP) for name in COMMANDS}


def test_a_command_gets_its_arguments_and_its_status_comes_back(commands, capsys):
    status = cli.main(["greet", "big", "--world"], commands)

    assert status == 3
    assert capsys.readouterr().out == "hello big --world\n"


def test_help_lists_every_command_with_its_docstring_and_runs_none(commands, capsys):
    status = cli.main(["--help"], commands)

    out = capsys.readouterr().out
    assert status == 0
    assert "  heavy        Do the heavy thing.\n" in out
    assert "adloom generate products.csv" in out


def test_no_command_shows_the_help_as_wrong_usage(commands, capsys):
    assert cli.main([], commands) == cli.EXIT_USAGE
    assert "commands:" in capsys.readouterr().out


def test_an_unknown_command_suggests_the_close_one(commands, capsys):
    assert cli.main(["gret"], commands) == cli.EXIT_USAGE
    assert capsys.readouterr().err == "adloom: error: unknown command 'gret'; did you mean greet?\n"


def test_an_unknown_command_like_no_other_names_them_all(commands, capsys):
    assert cli.main(["zzzz"], commands) == cli.EXIT_USAGE
    assert f"choose from {', '.join(COMMANDS)}" in capsys.readouterr().err


def test_a_missing_package_names_the_extra_of_the_room():
    entry = EntryPoint("bundle", "model.training.bundle_command:main", cli.GROUP)

    assert "needs the train extra (torch is missing): pip install 'adloom[train]'" in cli._needs_extra(entry, "torch")


def test_the_longest_room_decides_the_extra():
    assert "adloom[ui]" in cli._needs_extra(EntryPoint("ui", "app.ui:main", cli.GROUP), "jinja2")
    assert "adloom[app]" in cli._needs_extra(EntryPoint("serve", "app.serve:main", cli.GROUP), "uvicorn")


def test_a_missing_package_of_others_is_one_line_and_exit_1(commands, capsys):
    assert cli.main(["heavy"], commands) == cli.EXIT_FAILED

    err = capsys.readouterr().err
    assert err == (
        "adloom: error: adloom heavy needs the Python package torch_of_another_world:"
        " pip install torch_of_another_world\n"
    )


def test_a_missing_module_of_ours_is_our_mistake_and_no_extra(commands, capsys):
    assert cli.main(["ours"], commands) == cli.EXIT_FAILED
    assert "unexpected ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("interrupted", 130, "adloom: interrupted"),
        ("full", 1, "adloom: error: out/creatives.jsonl: No space left on device; free some space and try again"),
        ("mistaken", 1, "adloom: error: give the file a title column"),
        ("broken", 1, "adloom: error: unexpected TypeError: oops (run again with --debug to see where)"),
        ("stopped", 1, "adloom: error: nothing to do"),
    ],
)
def test_every_failure_is_one_line_and_a_status(commands, capsys, name, status, line):
    found = cli.main([name], commands)

    assert found == status
    assert capsys.readouterr().err == line + "\n"


def test_debug_shows_the_traceback_wherever_it_stands(commands, capsys):
    assert cli.main(["broken", "--debug"], commands) == cli.EXIT_FAILED
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_version_is_the_one_of_the_distribution(capsys):
    assert cli.main(["--version"], {}) == 0
    assert capsys.readouterr().out == f"adloom {cli._version()}\n"


def test_a_closed_pipe_is_quiet(commands, tmp_path):
    script = (
        "import sys; from importlib.metadata import EntryPoint; from app import cli\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.exit(cli.main(['chatty'], {'chatty': EntryPoint('chatty', 'cli_probe_chatty:main', cli.GROUP)}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()

    assert process.wait(120) == cli.EXIT_BROKEN_PIPE
    assert err == b""


def test_the_parser_answers_wrong_usage_in_one_line(capsys):
    parser = cli.CommandParser(prog="adloom probe")
    parser.add_argument("--number", type=int)

    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--number", "many"])

    assert stopped.value.code == cli.EXIT_USAGE
    assert capsys.readouterr().err == (
        "adloom: error: argument --number: invalid int value: 'many' (see `adloom probe --help`)\n"
    )


def test_an_error_without_a_file_still_has_its_reason():
    assert cli.explanation(OSError(errno.EROFS, "Read-only file system")) == "Read-only file system"
