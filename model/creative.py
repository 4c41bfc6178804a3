"""
A creative: the words of one ad for one product on one channel, and the passport that lets it be written again.

Knows no model and no HTTP; `as_dict` is its JSON form everywhere (files, API, logs).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Copy:
    """The words alone. A channel without a field leaves it empty."""

    headlines: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()
    call_to_action: str = ""
    hashtags: tuple[str, ...] = ()
    """Each with its leading #."""

    def texts(self, field: str) -> tuple[str, ...]:
        """The texts of one field, by the names of `channel.FIELD_NAMES`."""
        if field == "headline":
            return self.headlines
        if field == "body":
            return self.bodies
        if field == "hashtags":
            return self.hashtags
        if field == "call_to_action":
            return (self.call_to_action,) if self.call_to_action else ()
        raise ValueError(f"no such field: {field!r}")

    def joined(self) -> str:
        """Everything a reader sees, fields joined by single spaces."""
        return " ".join((*self.headlines, *self.bodies, *self.texts("call_to_action"), *self.hashtags))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a creative, named so that it can be counted."""

    kind: str
    """One of `validity.FINDINGS`."""
    field: str
    """headline, body, call_to_action, hashtags, or creative for the whole."""
    detail: str
    """The words in question, in a sentence a merchant understands."""


@dataclass(frozen=True, slots=True)
class Passport:
    """Everything needed to write the same creative again. Empty where the fact does not exist yet."""

    bundle_digest: str
    prompt_digest: str
    product_digest: str
    seed: int
    candidates: int
    decoding: dict[str, float | int]
    validity_version: str
    voice: str = "plain"
    git_commit: str = ""
    image_digest: str = ""
    registry_version: str = ""
    dataset_digest: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**_members(self), "decoding": dict(self.decoding)}


@dataclass(frozen=True, slots=True)
class Creative:
    """One ad. `id` is derived from content and passport, so the same ad has the same id on every machine."""

    id: str
    sku: str
    channel: str
    copy: Copy
    validity: float
    findings: tuple[Finding, ...]
    passport: Passport
    repairs: tuple[str, ...] = ()
    """What the writer mended in the model's own words, one short sentence each; empty is best."""

    def as_dict(self) -> dict[str, Any]:
        """JSON form; `headline` is the first headline and `body` all bodies joined, for channels with one of each."""
        return {
            "id": self.id,
            "sku": self.sku,
            "channel": self.channel,
            "headline": self.copy.headlines[0] if self.copy.headlines else "",
            "body": " ".join(self.copy.bodies),
            "headlines": list(self.copy.headlines),
            "descriptions": list(self.copy.bodies),
            "call_to_action": self.copy.call_to_action,
            "hashtags": list(self.copy.hashtags),
            "validity": self.validity,
            "findings": [_members(finding) for finding in self.findings],
            "repairs": list(self.repairs),
            "passport": self.passport.as_dict(),
        }


def creative_from_dict(table: Mapping[str, Any]) -> Creative:
    """A creative from its JSON form, `as_dict`. Raises KeyError or TypeError where that is something else."""
    return Creative(
        id=table["id"],
        sku=table["sku"],
        channel=table["channel"],
        copy=Copy(
            headlines=tuple(table["headlines"]),
            bodies=tuple(table["descriptions"]),
            call_to_action=table["call_to_action"],
            hashtags=tuple(table["hashtags"]),
        ),
        validity=table["validity"],
        findings=tuple(Finding(**finding) for finding in table["findings"]),
        passport=Passport(**table["passport"]),
        repairs=tuple(table["repairs"]),
    )


def creative_id(sku: str, channel: str, copy: Copy, passport: Passport) -> str:
    """Content address: `cr_` and 20 hex digits of the sha256 over words and passport."""
    payload = json.dumps([sku, channel, _members(copy), passport.as_dict()], sort_keys=True, ensure_ascii=False)
    return "cr_" + hashlib.sha256(payload.encode()).hexdigest()[:20]


def _members(row: Copy | Finding | Passport) -> dict[str, Any]:
    """Members by name; `dataclasses.asdict` would copy each in depth, which costs more than all else that is done."""
    return {name: getattr(row, name) for name in row.__slots__}
