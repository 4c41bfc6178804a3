"""
Carry out the rollback that somebody asked for at the API, or go on with one whose carrier was lost.

Exit 0 with how far it is, also where none waits; 3 where it was refused: the reason stands in its row.

Example: adloom carry-rollback
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from model.ledger import Entry, LedgerError, ever_champions, unfinished_reversal
from model.promotion import Asked, RefusedError, open_both, rollback
from model.publication import publish_after
from model.registry import RegistryError, is_empty
from model.store import rollbacks
from model.store.rollbacks import Ended, RollbackRow
from model.store.tables import Database, StoreError
from model.truth import read_values
from pipelines.deploy_command import settle
from pipelines.deployment import deployed_in, model_file
from pipelines.environment_rollback import Places, Progress, UnfinishedError, given_up, roll_back
from pipelines.git_commit import DeployError, Landed, cloned
from pipelines.pull_requests import PullRequestError, token_from
from pipelines.reversals import stands
from pipelines.settings import TASK, PipelineSettings
from pipelines.step import EXIT_REFUSED, give, parser, say
from pipelines.truth import service_says

WAIT_SECONDS = 120.0
"""For a merge and the service together, in one go: the next run goes on, so no pod stands idle through a canary."""
LEASE = timedelta(seconds=30)
"""Who has not been heard of for so long is gone."""
BEAT_SECONDS = 5.0
GIVEN_UP_AFTER = timedelta(hours=24)
"""What nobody merged or mended in a day is for people to look at."""


class NotSetUpError(ValueError):
    """The settings do not say what goes back; the message is fit for whoever asked, too."""


class LostError(RuntimeError):
    """Another carrier goes on: this one was not heard of for too long."""


class GivenUpError(RuntimeError):
    """It was tried for a day; the message says what stood in the way."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How far it is."""

    state: Ended | None
    """None: it is not at its end, and the next carrier goes on."""
    why: str
    source: int | None = None
    target: int | None = None


class Hold:
    """The right to carry one rollback, renewed by a thread until the block is left."""

    def __init__(self, database: Database, rollback_id: str, carrier: str) -> None:
        self._database, self._id, self._carrier = database, rollback_id, carrier
        self._over = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._is_lost = False
        self.waits_for = ""
        """What has to be merged, where something has."""

    def __enter__(self) -> Self:
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._beats.join()

    def note(self, **facts: str) -> None:
        """Into the row, where whoever asked sees it. Raises LostError."""
        with self._database.begin() as connection:
            is_ours = rollbacks.note(connection, self._id, self._carrier, **facts)
        if self._is_lost or not is_ours:
            raise LostError("another carrier goes on with this rollback; nothing was undone")

    def leave(self, why: str) -> None:
        """The next carrier may go on at once."""
        with self._database.begin() as connection:
            rollbacks.leave(connection, self._id, self._carrier, why)

    def finish(self, state: Ended, ending: Ending) -> None:
        """Raises LostError where somebody else has it by now."""
        facts = {name: str(number or "") for name, number in (("source", ending.source), ("target", ending.target))}
        at = datetime.now(UTC)
        with self._database.begin() as connection:
            if not rollbacks.finish(connection, self._id, self._carrier, state, at=at, why=ending.why, **facts):
                raise LostError("another carrier goes on with this rollback; nothing was undone")

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                with self._database.begin() as connection:
                    until = datetime.now(UTC) + LEASE
                    self._is_lost = not rollbacks.renew(connection, self._id, self._carrier, until)
            except StoreError:
                continue  # the lease lasts for several beats


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("carry-rollback", __doc__)
    options.add_argument(
        "--wait-seconds", type=float, default=WAIT_SECONDS, help="for a merge and the service (default: %(default)g)"
    )
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    database, carrier = settings.open_database(), uuid.uuid4().hex
    row = _claimed(settings, database, carrier)
    if row is None:
        say("no rollback waits for a carrier")
        give({"outcome": "none", "rollback": None})
        return 0
    say(f"rollback {row.id} to {f'model {row.target}' if row.target else 'what ran before'}, asked by {row.asked_by}")
    with Hold(database, row.id, carrier) as hold:
        ending = _carried(settings, row, hold, arguments.wait_seconds)
        publish_after(settings.registry, settings.database_url)  # before the end: a kill leaves it to the next carrier
        if ending.state is None:
            hold.leave(ending.why)
        else:
            hold.finish(ending.state, ending)
    say(f"rollback {row.id} is {ending.state or 'running'}: {ending.why}")
    if ending.state == "failed":
        raise GivenUpError(ending.why)
    give({"outcome": ending.state or "running", "rollback": row.id, "from": ending.source, "to": ending.target})
    return EXIT_REFUSED if ending.state == "refused" else 0


def _claimed(settings: PipelineSettings, database: Database, carrier: str) -> RollbackRow | None:
    now = datetime.now(UTC)
    with database.begin() as connection:
        return rollbacks.claim(connection, TASK, carrier, now=now, until=now + LEASE, environment=settings.environment)


def _carried(settings: PipelineSettings, row: RollbackRow, hold: Hold, wait_seconds: float) -> Ending:
    """How far it came. Where something failed, the row says so in plain words, and the error goes on."""
    failure: Exception | None = None
    try:
        if bool(settings.environment) != bool(settings.gitops_url):
            raise NotSetUpError("the pipelines need ADLOOM_ENVIRONMENT and ADLOOM_GITOPS_URL, or neither of them")
        if settings.environment:
            return _environment_back(settings, row, hold, wait_seconds)
        return _alias_back(settings, row)
    except RefusedError as error:
        return Ending("refused", str(error))
    except LostError:
        raise
    except UnfinishedError as error:
        why = _what_is_left(error, hold)
    except (RuntimeError, ValueError, OSError) as error:
        why, failure = f"{_plainly(error)}; it is tried again every few minutes", error
    if row.started_at is not None and datetime.now(UTC) - row.started_at > GIVEN_UP_AFTER:
        return Ending("failed", f"given up after {GIVEN_UP_AFTER.total_seconds() / 3600:.0f} hours: {why}")
    if failure is not None:
        hold.leave(why)
        raise failure
    return Ending(None, why)


def _alias_back(settings: PipelineSettings, row: RollbackRow) -> Ending:
    """Where nothing is deployed from Git: alias and ledger alone. Raises RefusedError and RegistryError."""
    if is_empty(settings.registry):
        raise RefusedError("there is nothing to go back to: no model was ever registered")
    registry, ledger = open_both(settings.registry)
    entries, to = ledger.entries(), _wanted(row)
    line = _settled(entries, row, "rollback")
    if line is None or line.state != "done":
        if to is not None and to not in ever_champions(entries):
            raise RefusedError(f"version {to} has never been champion, so there is no going back to it")
        line = rollback(registry, ledger, _asked(row), to=to)
    why = f"model {line.target} is champion; no environment is set up here, so nothing was deployed"
    return Ending("done", why, line.source, line.target)


def _environment_back(settings: PipelineSettings, row: RollbackRow, hold: Hold, wait_seconds: float) -> Ending:
    """Git, alias, what is served and ledger, as `adloom rollback --env`, and never more than one deploy back."""
    places = Places(settings.gitops_url, settings.registry, token_from(os.environ))
    environment, entries = settings.environment, places.ledger.entries()
    if (line := _settled(entries, row, "reversal")) is not None:
        if line.state == "undone":
            raise RefusedError(line.note)
        return _all_say(settings, line)
    begun = unfinished_reversal(entries, environment)
    if begun is not None:
        has_passed = _was_passed(places, begun)
        if has_passed and _is_of(begun, row):
            return Ending("done", "it reached Git, and a later deploy followed", begun.source, begun.target)
        if not has_passed and (_is_of(begun, row) or not _was_given_up(places, begun)):
            _adopt(begun, row, hold)
    progress = _progress(settings, places, hold, wait_seconds)
    return _all_say(settings, roll_back(places, environment, _asked(row), _wanted(row), progress))


def _adopt(begun: Entry, row: RollbackRow, hold: Hold) -> None:
    """Remember whose end is this one's, before it may come: else a kill would have the next carrier go further back."""
    if _wanted(row) not in (None, begun.target):
        raise RefusedError(
            f"a rollback to model {begun.target} that {begun.who} began is not finished: ask for one to "
            f"{begun.target} first, which goes on with it, or close its pull request where it has one"
        )
    hold.note(**_facts(begun))


def _was_passed(places: Places, begun: Entry) -> bool:
    """Whether it reached Git and a later deploy went past it: who went on then would undo that deploy."""
    environment = begun.git["environment"]
    with cloned(places.repository, places.token) as clone:
        landed, now = stands(clone, environment, begun.attempt), deployed_in(clone, environment)
        asked_for = read_values(clone.at(begun.git["to"], model_file(environment)))
    return bool(landed) and now.commit != landed and now.values != asked_for


def _was_given_up(places: Places, begun: Entry) -> bool:
    """Whether its pull request was closed before this one was taken up: that was no answer to this one."""
    with cloned(places.repository, places.token) as clone:
        return bool(given_up(places, clone, begun))


def _progress(settings: PipelineSettings, places: Places, hold: Hold, wait_seconds: float) -> Progress:
    """Every line goes to whoever watches and into the row."""

    def tell(line: str) -> None:
        say(line)
        begun = unfinished_reversal(places.ledger.entries(), settings.environment)
        hold.note(why=line, **(_facts(begun) if begun else {}))

    def propose(landed: Landed, title: str, why: str) -> str:
        address = settle(places.repository, places.token, landed, title, why)
        hold.waits_for = address or f"a pull request from {landed.branch}"
        return address

    served = (lambda: service_says(settings.service_url)) if settings.service_url else None
    return Progress(tell, propose, served, wait_seconds)


def _settled(entries: Sequence[Entry], row: RollbackRow, action: str) -> Entry | None:
    """The ledger's line that ended what was done for this row: a carrier was lost before it could say so."""
    ours = (one for one in reversed(entries) if one.action == action and one.state != "intent")
    return next((one for one in ours if _is_of(one, row)), None)


def _is_of(line: Entry, row: RollbackRow) -> bool:
    return line.attempt == row.attempt or line.why == _asked(row).why


def _asked(row: RollbackRow) -> Asked:
    """The id makes the reason this row's alone; on one line, since Git takes a commit's last lines for trailers."""
    return Asked("rollback", row.asked_by, f"{' '.join(row.reason.split())} ({row.id})")


def _wanted(row: RollbackRow) -> int | None:
    return int(row.target) if row.target else None


def _facts(begun: Entry) -> dict[str, str]:
    return {"attempt": begun.attempt, "source": str(begun.source or ""), "target": str(begun.target or "")}


def _all_say(settings: PipelineSettings, line: Entry) -> Ending:
    who = "Git, registry and service say" if settings.service_url else "Git and registry say"
    return Ending("done", f"{who} model {line.target}", line.source, line.target)


def _what_is_left(error: UnfinishedError, hold: Hold) -> str:
    """For whoever asked, who has no command to run again."""
    cause = error.__cause__
    if isinstance(cause, RefusedError):
        return f"Git is rolled back already, and the registry is not: {cause}"
    if cause is not None:
        return f"Git is rolled back already; {_plainly(cause)}"
    if "not merged" in str(error) and hold.waits_for:
        return f"waiting for {hold.waits_for} to be merged"
    return str(error).partition(", then run")[0]


def _plainly(error: BaseException) -> str:
    """What failed, without addresses and paths: those stand in the log."""
    if isinstance(error, NotSetUpError):
        return str(error)
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (DeployError, "the GitOps repository cannot be read, or takes no push"),
        (PullRequestError, "the commit waits on a branch, and no pull request could be opened for it"),
        (RegistryError, "the registry does not answer as it should"),
        (LedgerError, "the promotion ledger cannot be read or written"),
    )
    said = next((words for kind, words in kinds if isinstance(error, kind)), "a part that it needs failed")
    return f"{said}: the pipelines' log says more"
