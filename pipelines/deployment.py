"""
What an environment runs, and which model the next image shall hold: two small files of the GitOps repository.

Knows their form and the order of promotion; who may be released is decided by the gate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.truth import NO_MODEL, model_number, read_values
from pipelines.git_commit import Clone, DeployError, Draft, Landed, cloned, commit

ENVIRONMENTS = ("dev", "staging", "prod")
"""In the order of promotion: each takes only what the one before it runs."""
WANTED_FILE = "gitops/models/ad_writer.env"
"""The model that the next image shall hold."""
SERVICE_IMAGE = "docker.io/adloom/adloom-api"
IMAGE_FORM = "TAG@sha256:<64 hexadecimal digits>"

_IMAGE = re.compile(r"(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})@(?P<digest>sha256:[0-9a-f]{64})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"[A-Z][A-Z0-9_]*=[^\x00-\x1f\x7f]*")


class RefusedDeployError(DeployError):
    """Nothing was changed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Image:
    """A released image of the service, pinned."""

    tag: str
    digest: str
    """With its sha256: prefix."""

    def __str__(self) -> str:
        return f"{self.tag}@{self.digest}"

    @property
    def short(self) -> str:
        """For names of branches."""
        return self.digest.removeprefix("sha256:")[:12]


@dataclass(frozen=True, slots=True)
class Deployed:
    """What an environment's file says, and the commit that last changed it."""

    values: Mapping[str, str]
    commit: str


@dataclass(frozen=True, slots=True)
class Order:
    """What `adloom deploy` is asked for."""

    environment: str
    image: Image
    model: int | None = None
    """None: the model that the environment before this one runs, or, in the first, as before."""
    why: str = ""
    force_order: str = ""
    """Why promotion's order does not matter this once; kept in the commit."""
    propose: bool = False
    """For a pull request, whether or not the branch is protected."""


def model_file(environment: str) -> str:
    """Where an environment says what it runs."""
    return f"gitops/apps/adloom-api/overlays/{environment}/model.env"


def image_from(text: str) -> Image:
    """Raises ValueError where the digest is missing or a placeholder: a tag alone may mean another image tomorrow."""
    found = _IMAGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no pinned image; write {IMAGE_FORM}, as the build prints it")
    if set(found["digest"].removeprefix("sha256:")) == {"0"}:
        raise ValueError("a digest of zeros is the placeholder before the first deploy, and no image")
    return Image(found["tag"], found["digest"])


def with_values(text: str, values: Mapping[str, str]) -> str:
    """
    The file with other values, every other line as it was; a name that it lacks comes last.

    Raises DeployError for what one line cannot hold.
    """
    for name, value in values.items():
        line = f"{name}={value}"
        if not _LINE.fullmatch(line):
            raise DeployError(f"{name} cannot be written as one line NAME=value")
        text, found = re.subn(rf"(?m)^[ \t]*{re.escape(name)}[ \t]*=.*$", line.replace("\\", r"\\"), text)
        if not found:
            text = (text if not text or text.endswith("\n") else f"{text}\n") + f"{line}\n"
    return text


def deploy(url: str, order: Order, token: str = "") -> Landed:
    """
    Commit the image and model to one environment's file, and push; nothing is ever forced.

    Raises RefusedDeployError where the environment before it runs another image, and DeployError.
    """
    return commit(url, lambda clone: _deploy_draft(clone, order), token, propose=order.propose)


def want_model(url: str, version: int, bundle: str, why: str, token: str = "") -> Landed:
    """Commit which model the next image shall hold. Raises DeployError."""
    if not _DIGEST.fullmatch(bundle):
        raise DeployError(f"version {version} names no digest of its bundle; register it again")

    def draft(clone: Clone) -> Draft:
        before = clone.read(WANTED_FILE)
        title = f"ad-writer: want model {version} in the next image"
        was = read_values(before).get("MODEL_VERSION", str(NO_MODEL))
        body = f"{why}\n\nModel: {version}, before {was}\nBundle: {bundle}"
        values = {"MODEL_VERSION": str(version), "BUNDLE_DIGEST": bundle}
        return Draft({WANTED_FILE: with_values(before, values)}, title, body, f"deploy/model-{version}")

    return commit(url, draft, token)


def deployed(url: str, environment: str, token: str = "") -> Deployed:
    """What an environment is told to run; no values where it has no file."""
    with cloned(url, token) as clone:
        return deployed_in(clone, environment)


def deployed_in(clone: Clone, environment: str) -> Deployed:
    """The same of a clone that is there."""
    path = model_file(environment)
    text = clone.read(path)
    return Deployed(read_values(text), clone.newest(path) if text else "")


def wanted_model(url: str, token: str = "") -> Mapping[str, str]:
    """MODEL_VERSION and BUNDLE_DIGEST of the model that the next image shall hold."""
    with cloned(url, token) as clone:
        return read_values(clone.read(WANTED_FILE))


def before(environment: str) -> str:
    """The environment that a promotion comes from; "" for the first."""
    place = ENVIRONMENTS.index(environment)
    return ENVIRONMENTS[place - 1] if place else ""


def _deploy_draft(clone: Clone, order: Order) -> Draft:
    path, source = model_file(order.environment), before(order.environment)
    text = clone.read(path)
    now = read_values(text)
    theirs = read_values(clone.read(model_file(source))) if source else {}
    if source and not order.force_order:
        _require_order(order, source, theirs)
    given = str(order.model) if order.model is not None else (theirs or now).get("MODEL_VERSION", "")
    version = model_number(given)
    if version is None:
        raise RefusedDeployError(f"say with --model which model is in the image: {order.environment} ran none so far")
    title = f"adloom-api: run {order.image.tag} with model {version} in {order.environment}"
    was = f"{now.get('IMAGE', 'nothing')} with model {now.get('MODEL_VERSION', NO_MODEL)}"
    lines = [f"Image: {SERVICE_IMAGE}:{order.image}", f"Before: {was}"]
    if order.force_order:
        lines.append(f"Order of promotion set aside: {order.force_order}")
    values = {"IMAGE": str(order.image), "MODEL_VERSION": str(version)}
    branch = f"deploy/{order.environment}-{order.image.short}-model-{version}"
    return Draft({path: with_values(text, values)}, title, _body(order.why, lines), branch)


def _require_order(order: Order, source: str, theirs: Mapping[str, str]) -> None:
    runs = theirs.get("IMAGE", "").partition("@")[2]
    advice = 'deploy it there first, or give --force-order "why"'
    if runs != order.image.digest:
        raise RefusedDeployError(
            f"{source} does not run this image, and {order.environment} takes only what {source} runs: {advice}"
        )
    if order.model is not None and theirs.get("MODEL_VERSION") != str(order.model):
        raise RefusedDeployError(
            f"{source} runs this image with model {theirs.get('MODEL_VERSION')}, not {order.model}: {advice}"
        )


def _body(why: str, lines: Sequence[str]) -> str:
    return "\n".join([why or "No reason was given.", "", *lines])
