"""
The command line: finds `adloom COMMAND`, runs it, and turns whatever goes wrong into one line and an exit status.

Knows no command: each room names its own as an entry point in the group "adloom.commands".
"""

from __future__ import annotations

import argparse
import ast
import difflib
import errno
import importlib.metadata
import importlib.util
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NoReturn

GROUP = "adloom.commands"

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: whoever read our output has stopped; that is not worth a word."""

ROOM_EXTRAS = {
    "model": "lab",
    "model.store": "app",
    "model.replay_command": "app",
    "model.training": "train",
    "pipelines": "pipelines",
    "app.ui": "ui",
    "app.load": "dev",
    "app.watch": "dev",
    "app": "app",
}
"""Which extra of pyproject.toml a command's module needs; the longest prefix counts."""
OUR_ROOMS = ("app", "model", "pipelines")

EXPECTED = (ValueError, RuntimeError)
"""Besides OSError, which has a file and a reason of its own."""

EXAMPLE = """\
example:
  adloom generate products.csv --channel instagram --out out/ads

`adloom COMMAND --help` explains a command and shows an example.
"""


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line on stderr, `adloom: error: ...`, and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; argparse's usage dump hides the one line that matters."""
        self.exit(EXIT_USAGE, f"adloom: error: {message} (see `{self.prog} --help`)\n")


def main(argv: Sequence[str] | None = None, commands: Mapping[str, EntryPoint] | None = None) -> int:
    """Run one command; `commands` defaults to those that are installed. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Taken out wherever it stands: people add it to the line that has just failed.
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    found = installed_commands() if commands is None else commands
    return guarded(lambda: _dispatch(arguments, found), debug=debug)


def guarded(run: Callable[[], int], *, debug: bool = False) -> int:
    """The exit status of `run`, whatever it raises; what a person should know of that goes to stderr in one line."""
    try:
        status = run()
        # Here, so that a closed pipe shows up now and not in the interpreter's last breath.
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        print("adloom: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except SystemExit as stop:
        return _status_of(stop)
    except Exception as error:  # noqa: BLE001 -- last line of defence: nobody sees a traceback unasked
        if debug:
            traceback.print_exc()
        print(f"adloom: error: {explanation(error)}", file=sys.stderr)
        return EXIT_FAILED
    return status


def installed_commands() -> dict[str, EntryPoint]:
    """Every command by name, in alphabetical order."""
    found = importlib.metadata.entry_points(group=GROUP)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def explanation(error: BaseException) -> str:
    """
    One line for a person.

    OSError, ValueError and RuntimeError are how the rooms report what a user can mend; anything else is our mistake
    and says so.
    """
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        where = f"{error.filename}: " if error.filename else ""
        advice = "; free some space and try again" if error.errno == errno.ENOSPC else ""
        return f"{where}{reason}{advice}"
    text = " ".join(str(error).split())
    if text and isinstance(error, EXPECTED) and not isinstance(error, NotImplementedError | RecursionError):
        return text
    return f"unexpected {type(error).__name__}: {text or 'no message'} (run again with --debug to see where)"


def _dispatch(arguments: list[str], commands: Mapping[str, EntryPoint]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(commands), end="")
        return 0 if arguments else EXIT_USAGE
    if arguments[0] == "--version":
        print(f"adloom {_version()}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in commands:
        return _unknown(name, commands)
    try:
        command = commands[name].load()
        return int(command(rest) or 0)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not missing or missing.split(".")[0] in OUR_ROOMS:
            raise
        raise SystemExit(_needs_extra(commands[name], missing)) from error


def _unknown(name: str, commands: Mapping[str, EntryPoint]) -> int:
    close = difflib.get_close_matches(name, commands, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(commands)}"
    kind = "option" if name.startswith("-") else "command"
    print(f"adloom: error: unknown {kind} {name!r}; {hint}", file=sys.stderr)
    return EXIT_USAGE


def _needs_extra(command: EntryPoint, missing: str) -> str:
    rooms = [room for room in ROOM_EXTRAS if f"{command.module}.".startswith(f"{room}.")]
    if not rooms:
        return f"adloom {command.name} needs the Python package {missing}: pip install {missing}"
    extra = ROOM_EXTRAS[max(rooms, key=len)]
    return f"adloom {command.name} needs the {extra} extra ({missing} is missing): pip install 'adloom[{extra}]'"


def _status_of(stop: SystemExit) -> int:
    """Commands may `raise SystemExit("why")`, as scripts do."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    print(f"adloom: error: {stop.code}", file=sys.stderr)
    return EXIT_FAILED


def _help(commands: Mapping[str, EntryPoint]) -> str:
    width = max((len(name) for name in commands), default=0)
    lines = [
        "usage: adloom [--version] [--debug] COMMAND ...",
        "",
        "Writes e-commerce ad creatives from product data, and looks after the model behind them.",
        "",
        "commands:" if commands else "No command is installed: pip install 'adloom[app]'",
    ]
    indent = " " * (width + 4)
    for name, entry in commands.items():
        lines += textwrap.wrap(f"  {name:<{width}}  {_one_liner(entry)}", 100, subsequent_indent=indent)
    return "\n".join([*lines, "", EXAMPLE])


def _one_liner(command: EntryPoint) -> str:
    """First sentence of the module's docstring, read without running it: help must not need torch."""
    try:
        spec = importlib.util.find_spec(command.module)
        source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        docstring = ast.get_docstring(ast.parse(source)) or ""
    except (ImportError, OSError, SyntaxError):
        return "(not installed)"
    return " ".join(docstring.split("\n\n")[0].split())


def _version() -> str:
    try:
        return importlib.metadata.version("adloom")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _silence_stdout() -> None:
    """The interpreter flushes stdout once more at exit; give it somewhere to flush to."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
