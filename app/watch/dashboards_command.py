"""
Write the dashboards' JSON, check that it is up to date, or draw the dashboards from a running Prometheus.

What stands on them is app/watch/boards/; their thresholds come from the rules.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from app.cli import EXIT_FAILED, CommandParser
from app.watch import dashboards
from app.watch.arguments import number, whole
from app.watch.series import Window
from app.watch.thresholds import thresholds

FIGURE = "dashboard-{name}.png"
EXAMPLE = """\
example:
  adloom dashboards write
  adloom dashboards check
  adloom dashboards draw --prometheus http://127.0.0.1:9090 --minutes 10 --out architecture/figures

Run it from the root of the repository. check exits with 1 where a file differs from what
write would make, or a panel asks for a metric that nobody publishes.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError, RuntimeError or OSError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    root = Path.cwd()
    if arguments.action == "write":
        return _write(root)
    if arguments.action == "check":
        return _check(root)
    window = Window.until_now(arguments.minutes * 60, arguments.rate_seconds)
    return draw_all(root, arguments.prometheus.rstrip("/"), window, arguments.out, arguments.caption)


def draw_all(root: Path, prometheus: str, window: Window, out: Path, caption: str) -> int:
    """One picture for each board, into the folder; raises as draw.draw."""
    from app.watch.draw import draw

    limits = thresholds(root)
    for board in dashboards.all_boards():
        path = out / FIGURE.format(name=board.uid.removeprefix("adloom-"))
        draw(board, prometheus, window, limits, path, caption)
        sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")
        sys.stdout.flush()
    return 0


def _write(root: Path) -> int:
    changed = dashboards.write(root)
    for path in changed:
        sys.stdout.write(f"{path}\n")
    sys.stdout.write(f"{len(changed)} of {len(dashboards.all_boards())} dashboards changed.\n")
    return 0


def _check(root: Path) -> int:
    told = [f"{path} is not what its board says: run `adloom dashboards write`" for path in dashboards.outdated(root)]
    told += dashboards.unknown_metrics(root)
    for line in told:
        sys.stderr.write(f"adloom: error: {line}\n")
    if told:
        return EXIT_FAILED
    sys.stdout.write(f"{len(dashboards.all_boards())} dashboards are up to date.\n")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom dashboards",
        description="Write, check or draw the dashboards.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("write", help="write the JSON files that Grafana is given")
    actions.add_parser("check", help="say whether they are up to date, and exit with 1 where one is not")
    add = actions.add_parser("draw", help="draw every dashboard from a Prometheus, as PNG").add_argument
    add("--prometheus", required=True, metavar="URL", help="its address, like http://127.0.0.1:9090")
    add("--out", type=Path, default=Path("out/dashboards"), help="folder of the pictures (default: %(default)s)")
    minutes = number(0.1, 43_200, "write minutes, from 0.1 to 43200 (30 days)")
    add("--minutes", type=minutes, default=10.0, help="time that is shown, until now (default: %(default)g)")
    rate_seconds = whole(4, 86_400, "write seconds, from 4 to 86400: at least four scrapes")
    add("--rate-seconds", type=rate_seconds, default=60, help="window of rates (default: %(default)d)")
    add("--caption", default="", help="where the data come from; stands in the corner")
    return parser


if __name__ == "__main__":
    sys.exit(main())
