"""
Serve the page for people until stopped: `adloom-ui --api http://127.0.0.1:8000`.

Reads the environment and opens the port; the application is put together in application.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn
from pydantic import ValidationError

from app.cli import EXIT_USAGE, CommandParser, guarded
from app.ui.application import create_app
from app.ui.settings import Settings

STOP_SECONDS_MAX = 10
EXAMPLE = """\
example:
  adloom serve --port 8000 &
  adloom-ui --port 8501 --api http://127.0.0.1:8000

Sign in with what `adloom client create NAME --scope ...` printed. Everything else is set by the ADLOOM_UI_*
variables of app/ui/settings.py. Stop it with Ctrl-C or SIGTERM.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. 0: stopped in order; 1: could not start; 2: wrong arguments or settings."""
    return guarded(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings(**({"api_url": arguments.api} if arguments.api else {}))
    except ValidationError as error:
        print(f"adloom-ui: error: {_trouble(error)}", file=sys.stderr)  # noqa: T201 -- commands speak to people
        return EXIT_USAGE
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=arguments.host,
            port=arguments.port,
            access_log=False,  # addresses hold ids, and nobody needs a second log of what the service logs
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=STOP_SECONDS_MAX,
        )
    )
    address = f"http://{arguments.host}:{arguments.port}"
    print(f"Adloom's page is on {address} (the service: {settings.api_url})", flush=True)  # noqa: T201
    server.run()
    return 0 if server.started else 1


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom-ui",
        description="Serve the page for people.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=int, default=8501, help="port to listen on (default: %(default)s)")
    add("--api", metavar="URL", help="where the service is (default: $ADLOOM_UI_API_URL, else http://127.0.0.1:8000)")
    return parser


def _trouble(error: ValidationError) -> str:
    """Each wrong setting by the name of its variable and without its value."""
    return "; ".join(
        f"ADLOOM_UI_{str(each['loc'][0]).upper()}: {each['msg']}" if each["loc"] else each["msg"]
        for each in error.errors(include_input=False)
    )


if __name__ == "__main__":
    sys.exit(main())
