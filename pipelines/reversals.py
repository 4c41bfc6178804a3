"""
An environment's deploys as Git tells them, and the form of a commit that goes back to one of them.

A rollback takes off whatever stands after the deploy that it returns to: a second one goes further back, never forth.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.ledger import Entry
from model.truth import model_number, read_values
from pipelines.deployment import model_file
from pipelines.git_commit import Clone

DEPLOYS_MAX = 500
"""The newest that are looked at: each is read from Git on its own."""
TITLE_START = "adloom-api: roll back"
"""release.yml builds nothing for a commit that begins so: the bot must not fight the person."""
_RETURNS, _ATTEMPT = "Returns-to", "Rollback-attempt"


@dataclass(frozen=True, slots=True)
class Deploy:
    """One commit that told an environment what to run."""

    commit: str
    image: str
    """TAG@DIGEST."""
    model: int

    def says_what(self, other: Deploy) -> bool:
        """Whether both tell the environment to run the same."""
        return (self.image, self.model) == (other.image, other.model)


@dataclass(frozen=True, slots=True)
class _Commit:
    commit: str
    returns: str
    attempt: str


def deploys(clone: Clone, environment: str) -> tuple[list[Deploy], list[Deploy]]:
    """Every deploy, and those that a rollback can return through; oldest first, the present one last."""
    every: list[Deploy] = []
    stack: list[Deploy] = []
    for each in _commits(clone, environment):
        values = read_values(clone.at(each.commit, model_file(environment)))
        model = model_number(values.get("MODEL_VERSION", ""))
        if model is None:
            continue
        deploy = Deploy(each.commit, values.get("IMAGE", ""), model)
        every.append(deploy)
        place = next((at for at, one in enumerate(stack) if one.commit == each.returns), None)
        if place is not None:
            stack = stack[: place + 1]
        if not stack or not stack[-1].says_what(deploy):  # a comment may change without a deploy
            stack.append(deploy)
    return every, stack


def stands(clone: Clone, environment: str, attempt: str) -> str:
    """The commit of a rollback's attempt; "" where it is not in the branch."""
    return next((each.commit for each in _commits(clone, environment) if each.attempt == attempt), "")


def reversal_title(environment: str, model: int | None) -> str:
    """The commit's first line."""
    return f"{TITLE_START} to model {model} in {environment}"


def reversal_body(intent: Entry) -> str:
    """The rest of it; the trailers are what is read back."""
    return (
        f"{intent.why}\n\nThis reverts commit {intent.git['reverts']}.\n\n"
        f"{_RETURNS}: {intent.git['to']}\n{_ATTEMPT}: {intent.attempt}"
    )


def _commits(clone: Clone, environment: str) -> list[_Commit]:
    if not clone.has_commits():
        return []
    trailers = "%x00".join(f"%(trailers:key={key},valueonly,separator=%x20)" for key in (_RETURNS, _ATTEMPT))
    told = clone.git(
        "log", "--reverse", f"--max-count={DEPLOYS_MAX}", f"--format=%H%x00{trailers}", "--", model_file(environment)
    )
    return [_Commit(*(part.strip() for part in line.split("\0"))) for line in told.splitlines()]
