"""
Take Alertmanager's webhook, and ask whether to retrain when drift hurts: the decision is the same as decide-retrain's.

Trains nothing and keeps nothing of its own: called twice, it finds the retrain that the first call left waiting.

example:
  adloom alert-hook --port 9110 --token-file hook-token
  curl -sS -H "Authorization: Bearer $(cat hook-token)" -d @notification.json localhost:9110/v1/alerts
"""

from __future__ import annotations

import argparse
import hmac
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from model.store.tables import Database, StoreError
from pipelines.retraining import Decision, RetrainRules
from pipelines.retraining_facts import judge_promoted, settle
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import parser, say

RETRAIN_ALERT = "AdloomDriftHurts"
"""The one alert that asks for a decision; whatever else is routed here is answered and left alone."""
BODY_BYTES_MAX = 1024 * 1024
"""A notification of ten alerts, with every label and text that Alertmanager has, is far below."""
WEBHOOK_VERSION = "4"
TOKEN_CHARS_MIN = 16
"""A shorter one can be guessed."""
PORT_MAX = 65_535

Decide = Callable[[], tuple[Decision, str | None]]


class NotificationError(ValueError):
    """No notification of Alertmanager's; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What of a notification counts here."""

    group: str
    firing: tuple[str, ...]
    """Names of the alerts that fire."""


def read_notification(content: bytes) -> Notification:
    """Of a webhook's body. Raises NotificationError."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotificationError("the body is no JSON") from error
    if not isinstance(told, dict) or told.get("version") != WEBHOOK_VERSION:
        raise NotificationError(f"the body is no webhook of Alertmanager's, version {WEBHOOK_VERSION}")
    alerts, group = told.get("alerts"), told.get("groupKey")
    if not isinstance(alerts, list) or not isinstance(group, str):
        raise NotificationError("a webhook has alerts, a list, and groupKey, a text")
    return Notification(group, tuple(_name(alert) for alert in alerts if _is_firing(alert)))


def decider(
    database: Database, rules: RetrainRules, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Decide:
    """Judges whether earlier retrains helped, and decides: one transaction, and one at a time."""
    one_at_a_time = threading.Lock()

    def decide() -> tuple[Decision, str | None]:
        now = clock()
        with one_at_a_time, database.begin() as connection:
            judge_promoted(connection, TASK, rules, now)
            return settle(connection, TASK, rules, now)

    return decide


def create_hook(decide: Decide, read_token: Callable[[], str]) -> Starlette:
    """The application; the token is read for every call, so that a new one needs no restart."""

    async def take(request: Request) -> JSONResponse:
        if not _is_allowed(request, read_token):
            return _problem(401, "Send the hook's token as Authorization: Bearer.", {"WWW-Authenticate": "Bearer"})
        content = await _body(request)
        if content is None:
            return _problem(413, f"Send at most {BODY_BYTES_MAX} bytes: lower max_alerts of the receiver.")
        try:
            notification = read_notification(content)
        except NotificationError as error:
            return _problem(400, f"{str(error).capitalize()}.")
        if RETRAIN_ALERT not in notification.firing:
            return JSONResponse({"decision": "none", "why": f"{RETRAIN_ALERT} does not fire"})
        try:
            decision, retrain = await anyio.to_thread.run_sync(decide)
        except StoreError:
            say("the database could not be asked; Alertmanager will call again")
            return _problem(503, "The database cannot be asked: call again in a while.", {"Retry-After": "30"})
        say(f"{decision.word}: {decision.why}")
        return JSONResponse({"decision": decision.word, "retrain": retrain, "why": decision.why})

    async def live(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/v1/alerts", take, methods=["POST"]), Route("/healthz", live, methods=["GET"])])


def main(argv: Sequence[str] | None = None) -> int:
    """
    Serve until SIGTERM or Ctrl-C.

    Raises ValueError for a token that is none, OSError where it cannot be read, RuntimeError for a port that is taken.
    """
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    file: Path = arguments.token_file
    _read_token(file)
    with ExitStack() as stack:
        database = PipelineSettings().open_database()
        stack.callback(database.dispose)
        app = create_hook(decider(database, RetrainRules()), lambda: _read_token(file))
        listener = stack.enter_context(_listen(arguments.host, arguments.port))
        say(f"Adloom's alert hook listens on http://{arguments.host}:{listener.getsockname()[1]}/v1/alerts")
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """Raises RuntimeError where the port cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise RuntimeError(f"cannot listen on port {port} of {host}: {error.strerror}; --port gives another") from None


def _parser() -> argparse.ArgumentParser:
    made = parser("alert-hook", __doc__)
    add = made.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=_port, default=9110, help="port to listen on (default: %(default)s)")
    add("--token-file", type=Path, required=True, metavar="FILE", help="holds the token that callers have to send")
    return made


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > PORT_MAX:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {PORT_MAX}")
    return int(text)


def _read_token(file: Path) -> str:
    token = file.read_text(encoding="utf-8").strip()
    if len(token) < TOKEN_CHARS_MIN:
        raise ValueError(f"{file} holds no token: write one of at least {TOKEN_CHARS_MIN} characters into it")
    return token


def _is_allowed(request: Request, read_token: Callable[[], str]) -> bool:
    """Never where there is no token to compare with."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        wanted = read_token()
    except (OSError, ValueError):
        say("the token's file cannot be read: every call is refused")
        return False
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), wanted.encode())


async def _body(request: Request) -> bytes | None:
    """None where it is too large; no more than that is held in memory."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_BYTES_MAX:
            return None
    return bytes(content)


def _is_firing(alert: Any) -> bool:
    if not isinstance(alert, dict) or not isinstance(alert.get("labels"), dict):
        raise NotificationError("each alert of a webhook is an object with labels")
    return alert.get("status") == "firing"


def _name(alert: Mapping[str, Any]) -> str:
    return str(alert["labels"].get("alertname", ""))


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": detail}, status_code=status, headers=dict(headers or {}))


if __name__ == "__main__":
    sys.exit(main())
