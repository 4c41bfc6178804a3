"""
One environment's way back as one transaction: intent, Git, alias, what is served, done.

The intent stands in the promotion ledger. Whoever runs it again after a kill goes on where it stopped, since every
part first looks whether it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from model.ledger import LEDGER, Entry, Ledger, State, ever_champions, new_attempt, unfinished_reversal
from model.promotion import Asked, RefusedError, disagreement, open_both, rollback
from model.registry import CHAMPION, RegistryError
from model.truth import Side, git_side, model_number, read_values
from pipelines.deployment import WANTED_FILE, deployed_in, model_file, with_values
from pipelines.git_commit import Clone, Draft, Landed, cloned, commit
from pipelines.pull_requests import PullRequestError, closed_pull_request, forge_of
from pipelines.reversals import Deploy, deploys, reversal_body, reversal_title, stands

POLL_SECONDS = 1.0
GIT_POLL_SECONDS = 5.0
AGREEING_ANSWERS = 3
"""One after the other: behind one address a canary and its stable version take turns."""


class UnfinishedError(RuntimeError):
    """A part is done and another is not; the message says which, and that the same command goes on from there."""


class OvertakenError(RefusedError):
    """Somebody deployed meanwhile; nothing of theirs was undone."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the truth is kept."""

    repository: str
    registry: Path
    token: str = ""

    @property
    def ledger(self) -> Ledger:
        """Readable without the registry."""
        return Ledger(self.registry / LEDGER)


@dataclass(frozen=True, slots=True)
class Progress:
    """How the transaction speaks, asks and waits."""

    say: Callable[[str], None]
    propose: Callable[[Landed, str, str], str]
    """Opens a pull request for a commit that waits on a branch, of this title and text; returns its address."""
    served: Callable[[], Side] | None
    """Asks the service; None: nobody waits for it."""
    wait_seconds: float
    """For the pull request and the service together."""


def roll_back(places: Places, environment: str, asked: Asked, to: int | None, progress: Progress) -> Entry:
    """
    Bring an environment back to the deploy before, or to the newest with model `to`; returns the ledger's last line.

    Raises RefusedError where nothing was changed, UnfinishedError, DeployError and LedgerError.
    """
    deadline = time.monotonic() + progress.wait_seconds
    intent = _begun(places, environment, asked, to, progress.say)
    landed = _in_git(places, intent, progress, deadline)
    progress.say(f"Git: {environment} is told to run model {intent.target} (commit {landed[:10]})")
    _in_registry(places, intent, progress.say)
    if progress.served is not None:
        _await_served(places, intent, progress, deadline)
    return _closed(places.ledger, intent, "done", "")


def given_up(places: Places, clone: Clone, intent: Entry) -> str:
    """
    Empty, or why there is no going on: somebody closed its pull request and did not merge it.

    By then it stands in the ledger as undone. Where the server does not answer it counts as open: a push may do.
    """
    forge, pull = forge_of(places.repository, places.token), None
    if forge is not None and not _is_in_git(clone, intent):
        with suppress(PullRequestError):
            pull = closed_pull_request(forge, _branch(intent))
    if pull is None:
        return ""
    why = (
        f"pull request {pull.number} was closed and not merged ({pull.url}), so nothing was rolled back; to have it "
        "after all, ask again: that opens a new one"
    )
    _closed(places.ledger, intent, "undone", why)
    return why


def _begun(places: Places, environment: str, asked: Asked, to: int | None, say: Callable[[str], None]) -> Entry:
    """The intent that stands open, or a new one. Raises RefusedError."""
    with cloned(places.repository, places.token) as clone:
        ledger = places.ledger
        begun = unfinished_reversal(ledger.entries(), environment)
        if begun is not None and _still_holds(clone, places, begun, to, say):
            say(f"going on with the rollback of {environment} to model {begun.target} that {begun.who} began")
            return begun
        intent = _planned(clone, ledger, environment, asked, to)
    with ledger.locked():
        if unfinished_reversal(ledger.entries(), environment) is not None:
            raise RefusedError(f"another rollback of {environment} began just now: run this again to go on with it")
        return ledger.append(intent)


def _still_holds(clone: Clone, places: Places, begun: Entry, to: int | None, say: Callable[[str], None]) -> bool:
    """
    Whether an open intent is to be gone on with.

    False where it reached Git and a later deploy went past it: it is closed as done. Also where it was given up and
    another model is asked for; RefusedError where the same is, since that was said no to. Raises OvertakenError where
    somebody deployed before it reached Git: then it is closed as undone, and whoever asked has to look first.
    """
    environment, ledger = begun.git["environment"], places.ledger
    if why := given_up(places, clone, begun):
        if to in (None, begun.target):
            raise RefusedError(why)
        say(f"the rollback of {environment} to model {begun.target} that {begun.who} began is over: {why}")
        return False
    if to not in (None, begun.target):
        raise RefusedError(
            f"a rollback of {environment} to model {begun.target} is unfinished: run this again without --to first, "
            "or close its pull request where it has one"
        )
    landed = stands(clone, environment, begun.attempt)
    now = deployed_in(clone, environment)
    if now.commit == begun.git["from"] or (landed and now.commit == landed) or _says(now.values, clone, begun):
        return True
    if landed:
        _closed(ledger, begun, "done", "it reached Git, and a later deploy followed")
        return False
    _closed(ledger, begun, "undone", f"overtaken in Git by {now.commit[:10]} before it got there")
    raise OvertakenError(_overtaken(environment, now.values))


def _planned(clone: Clone, ledger: Ledger, environment: str, asked: Asked, to: int | None) -> Entry:
    every, stack = deploys(clone, environment)
    if not stack:
        raise RefusedError(f"nothing was ever deployed to {environment}, so there is nothing to roll back")
    present, target = stack[-1], _target(every, stack, environment, to)
    if target.model != present.model and target.model not in ever_champions(ledger.entries()):
        raise RefusedError(
            f"by the ledger model {target.model} has never been champion, so there is no going back to it; put it "
            f"before the gate with `adloom promote {target.model}`, or look whether --registry names the right ledger"
        )
    git = {
        "environment": environment,
        "from": deployed_in(clone, environment).commit,
        "to": target.commit,
        "reverts": present.commit,
    }
    return Entry("reversal", "intent", new_attempt(), asked.who, asked.why, present.model, target.model, git=git)


def _target(every: list[Deploy], stack: list[Deploy], environment: str, to: int | None) -> Deploy:
    if to is None:
        if len(stack) < 2:
            raise RefusedError(f"nothing to roll back to: {environment} never ran anything before this")
        return stack[-2]
    found = next((one for one in reversed(every) if one.model == to), None)
    if found is None:
        known = ", ".join(sorted({str(one.model) for one in every}))
        raise RefusedError(f"{environment} never ran model {to}; it ran {known}")
    if found.says_what(stack[-1]):
        raise RefusedError(f"{environment} runs model {to} already")
    return found


def _in_git(places: Places, intent: Entry, progress: Progress, deadline: float) -> str:
    """The commit that tells the environment so. Raises OvertakenError, UnfinishedError, DeployError."""
    environment = intent.git["environment"]
    try:
        landed = commit(places.repository, lambda clone: _draft(clone, intent), places.token)
    except OvertakenError as error:
        _closed(places.ledger, intent, "undone", str(error))
        raise
    if not landed.branch:
        return landed.commit
    title = reversal_title(environment, intent.target)
    address = progress.propose(landed, title, intent.why) or f"a pull request from {landed.branch}"
    progress.say(f"Git: {landed.base} is protected; waiting for {address} to be merged")
    while time.monotonic() < deadline:
        with cloned(places.repository, places.token) as clone:
            if _is_in_git(clone, intent):
                return deployed_in(clone, environment).commit
            if why := given_up(places, clone, intent):
                raise RefusedError(why)
        time.sleep(min(GIT_POLL_SECONDS, max(0.0, deadline - time.monotonic())))
    raise UnfinishedError(f"{address} is not merged yet: merge it, then run the same command again to finish")


def _draft(clone: Clone, intent: Entry) -> Draft:
    """Asked anew on top of what others pushed."""
    environment, path = intent.git["environment"], model_file(intent.git["environment"])
    text, now = clone.read(path), deployed_in(clone, environment)
    if _is_in_git(clone, intent):
        return Draft({path: text}, "", "", "")
    if now.commit != intent.git["from"]:
        raise OvertakenError(_overtaken(environment, now.values))
    earlier = read_values(clone.at(intent.git["to"], path))
    files = {path: with_values(text, {name: earlier[name] for name in ("IMAGE", "MODEL_VERSION")})}
    if intent.source != intent.target:
        files |= _wanted(clone, intent.target)
    return Draft(files, reversal_title(environment, intent.target), reversal_body(intent), _branch(intent))


def _branch(intent: Entry) -> str:
    """Each attempt has its own, so a pull request that was closed says nothing of the next attempt."""
    return f"rollback/{intent.git['environment']}-{intent.attempt}"


def _wanted(clone: Clone, version: int | None) -> dict[str, str]:
    """The next image must not bring the bad model back; its digest is where Git last named that version."""
    text = clone.read(WANTED_FILE)
    for each in reversed(clone.history(WANTED_FILE)):
        earlier = read_values(clone.at(each, WANTED_FILE))
        if model_number(earlier.get("MODEL_VERSION", "")) == version:
            return {WANTED_FILE: with_values(text, earlier)}
    return {}


def _in_registry(places: Places, intent: Entry, say: Callable[[str], None]) -> None:
    if intent.source == intent.target:
        say("registry: the model stays, only the image goes back")
        return
    again = "Git is rolled back already; run the same command again to finish"
    try:
        registry, ledger = open_both(places.registry)
        champion = registry.aliased(CHAMPION)
        if champion is None or champion.number != intent.target or disagreement(registry, ledger):
            rollback(registry, ledger, Asked("rollback", intent.who, intent.why), to=intent.target)
    except (RegistryError, RefusedError) as error:
        raise UnfinishedError(f"{error}; {again}") from error
    say(f"registry: model {intent.target} is champion")


def _await_served(places: Places, intent: Entry, progress: Progress, deadline: float) -> None:
    """Until it is served, several answers in a row."""
    assert progress.served is not None
    with cloned(places.repository, places.token) as clone:
        wanted = git_side(clone.read(model_file(intent.git["environment"])))
    agreeing = 0
    while agreeing < AGREEING_ANSWERS:
        said = progress.served()
        is_so = said.version == intent.target and (not said.image or said.image == wanted.image)
        agreeing = agreeing + 1 if is_so else 0
        if not is_so and time.monotonic() >= deadline:
            raise UnfinishedError(
                f"Git and registry say model {intent.target}, and the service says {said} after "
                f"{progress.wait_seconds:g} s: look at Argo CD, then run the same command again to finish"
            )
        time.sleep(POLL_SECONDS)
    progress.say(f"service: model {intent.target}, {AGREEING_ANSWERS} answers in a row")


def _closed(ledger: Ledger, intent: Entry, state: State, note: str) -> Entry:
    """Settle the intent, unless somebody who ran the same command did so."""
    with ledger.locked():
        if unfinished_reversal(ledger.entries(), intent.git["environment"]) != intent:
            return intent
        return ledger.append(replace(intent, state=state, note=note))


def _is_in_git(clone: Clone, intent: Entry) -> bool:
    environment = intent.git["environment"]
    values = deployed_in(clone, environment).values
    return stands(clone, environment, intent.attempt) != "" or _says(values, clone, intent)


def _says(values: Mapping[str, str], clone: Clone, intent: Entry) -> bool:
    """Whether Git holds what the intent asks for, by whatever commit: a squashed merge keeps no trailer."""
    earlier = read_values(clone.at(intent.git["to"], model_file(intent.git["environment"])))
    return values == earlier


def _overtaken(environment: str, values: Mapping[str, str]) -> str:
    runs = values.get("MODEL_VERSION", "none")
    return (
        f"somebody deployed model {runs} to {environment} meanwhile; nothing of theirs was undone: look at it, and "
        "run this again where it has to go back as well"
    )
