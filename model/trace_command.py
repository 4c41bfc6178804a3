"""
Print the chain that a thing belongs to: commit, dataset, pairs, run, version, bundle, request, creatives, feedback.

Example: adloom trace cr_f03e4e56d1774f5aaa31
Takes a creative (cr_), feedback (fb_), a batch (ba_), a set of training pairs (ps_), a version (v3), the digest of a
bundle or dataset, or, with --request, the x-request-id of an answer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from model.ledger import registry_folder
from model.registry import MODEL, RegistryError, Version, is_empty, open_registry
from model.replay_command import DEFAULT_DATABASE
from model.request_trace import HOURS_BACK_MAX, creatives_of, requests_of
from model.store import pair_sets
from model.store.objects import ObjectMissingError, ObjectStore
from model.store.pair_sets import PairSetRow
from model.store.tables import Database, creatives, feedback

DEFAULT_OBJECTS = ".adloom/service/objects"
LISTED_MAX = 5
DIGEST_PATTERN = re.compile(r"[0-9a-f]{8,64}")
VERSION_PATTERN = re.compile(r"v?([0-9]{1,6})")

Chain = dict[str, Any]


class TraceError(RuntimeError):
    """There is nothing by that name; the message says where was looked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    arguments = _parser().parse_args(argv)
    versions, note = _versions(arguments.registry)
    objects = ObjectStore(arguments.objects)
    names = _creatives_of(objects, arguments.id) if arguments.request else [arguments.id]
    database = Database(arguments.database)
    try:
        with database.connect() as connection:
            chain = trace(connection, versions, names[0], objects)
            if arguments.request:  # of one model and one commit, as its first creative
                chain |= _about(connection, creatives.c.id.in_(names)) | {"asked": arguments.id}
    finally:
        database.dispose()
    text = json.dumps(chain, indent=2, ensure_ascii=False) if arguments.json else told(chain)
    sys.stdout.write(text + "\n")
    if note:
        sys.stderr.write(f"adloom: note: {note}" + "\n")
    return 0


def trace(connection: Connection, versions: Sequence[Version], name: str, objects: ObjectStore | None = None) -> Chain:
    """
    The chain around `name`, upstream first; requests, and what a dataset is made of, come from `objects`.

    Raises TraceError, or StoreError.
    """
    if name.startswith("ps_"):
        return _of_set(connection, versions, name, objects)
    chain = _around(connection, versions, name, objects)
    chain["sets"] = _sets(connection, chain["dataset"], objects)
    return chain


def _around(connection: Connection, versions: Sequence[Version], name: str, objects: ObjectStore | None) -> Chain:
    if name.startswith("fb_"):
        found = connection.execute(select(feedback.c.creative_id).where(feedback.c.id == name)).scalar()
        if found is None:
            raise TraceError(f"no feedback {name} in the database")
        name = found
    if name.startswith("cr_"):
        return _of_creative(connection, versions, name, objects)
    if name.startswith("ba_"):
        return _chain(connection, versions, creatives.c.batch_id == name, name)
    if version := VERSION_PATTERN.fullmatch(name):
        number = int(version[1])
        chosen = [one for one in versions if one.number == number]
        if not chosen:
            raise TraceError(f"{MODEL} has no version {number}; `adloom models` lists them")
        return _chain(connection, versions, creatives.c.bundle_digest == chosen[0].bundle, name, chosen)
    if DIGEST_PATTERN.fullmatch(name):
        return _of_digest(connection, versions, name)
    raise TraceError(f"{name} is neither a creative, feedback, a batch, a set, a version nor a digest; see --help")


def _creatives_of(objects: ObjectStore, request_id: str) -> list[str]:
    """Those of the request's answer, one for each channel. Raises TraceError where there are none."""
    found = creatives_of(objects, request_id)
    if not found:
        raise TraceError(
            f"no creative of the request {request_id} in the generation log of the last {HOURS_BACK_MAX} hours; "
            "it is written some seconds after the answer, and a request that was refused wrote none"
        )
    return found


def _of_creative(connection: Connection, versions: Sequence[Version], name: str, objects: ObjectStore | None) -> Chain:
    kept = select(creatives.c.document, creatives.c.created_at).where(creatives.c.id == name)
    row = connection.execute(kept.order_by(creatives.c.created_at).limit(1)).first()
    if row is None:
        raise TraceError(f"no creative {name} in the database")
    passport = row.document["passport"]
    chain = _chain(connection, versions, creatives.c.id == name, name)
    chain["commit"] = passport["git_commit"] or chain["commit"]
    chain["image"] = passport["image_digest"]
    chain["dataset"] = passport["dataset_digest"] or chain["dataset"]
    chain["product"] = passport["product_digest"]
    chain["requests"] = [] if objects is None else requests_of(objects, name, row.created_at)
    return chain


def _of_digest(connection: Connection, versions: Sequence[Version], digest: str) -> Chain:
    """Of a bundle or a dataset; its first characters will do."""
    of_dataset = [one for one in versions if one.tags.get("dataset", "").startswith(digest)]
    condition = creatives.c.bundle_digest.startswith(digest)
    if of_dataset:
        condition = creatives.c.bundle_digest.in_([one.bundle for one in of_dataset])
    chosen = of_dataset or [one for one in versions if one.bundle.startswith(digest)]
    chain = _chain(connection, versions, condition, digest, chosen)
    if not chosen and not chain["creatives"]["count"]:
        raise TraceError(f"no bundle and no dataset begins with {digest}, in the registry or in any creative")
    return chain


def _of_set(connection: Connection, versions: Sequence[Version], name: str, objects: ObjectStore | None) -> Chain:
    """Down to every version that learnt from a dataset that held the set."""
    row = pair_sets.find(connection, name)
    if row is None:
        raise TraceError(f"no set of training pairs {name} in the database")
    datasets = {one.tags.get("dataset", "") for one in versions} - {""}
    holding = {each for each in datasets if name in (_sets_of(objects, each) or ())} | {row.dataset_digest}
    chosen = [one for one in versions if one.tags.get("dataset", "") in holding - {""}]
    condition = creatives.c.bundle_digest.in_([one.bundle for one in chosen])
    chain = _chain(connection, versions, condition, name, chosen)
    chain["dataset"] = row.dataset_digest
    chain["sets"] = [_set(row)]
    return chain


def _sets(connection: Connection, dataset: str, objects: ObjectStore | None) -> list[Chain]:
    """The sets of pairs that a dataset holds; those that came with it first where its manifest is not at hand."""
    if not DIGEST_PATTERN.fullmatch(dataset):
        return []
    named = _sets_of(objects, dataset)
    rows = pair_sets.learnable(connection) if named is None else [pair_sets.find(connection, each) for each in named]
    return [_set(row) for row in rows if row is not None and (named is not None or row.dataset_digest == dataset)]


def _sets_of(objects: ObjectStore | None, dataset: str) -> list[str] | None:
    """As the manifest says that the pipelines keep beside every dataset; None where there is none."""
    if objects is None:
        return None
    try:
        return [str(each) for each in json.loads(objects.get(f"datasets/{dataset}/manifest.json")).get("sets", ())]
    except ObjectMissingError:
        return None


def _set(row: PairSetRow) -> Chain:
    return {"id": row.id, "asked_by": row.asked_by, "state": row.state, "why": row.why, "pairs": row.accepted}


def _chain(
    connection: Connection,
    versions: Sequence[Version],
    condition: ColumnElement[bool],
    asked: str,
    chosen: Sequence[Version] = (),
) -> Chain:
    bundles = connection.execute(select(creatives.c.bundle_digest).where(condition).distinct()).scalars().all()
    if not chosen:
        chosen = [one for one in versions if one.bundle in bundles]
    first = chosen[0] if chosen else None
    return {
        "asked": asked,
        "commit": first.tags.get("git_commit", "") if first else "",
        "image": "",
        "dataset": first.tags.get("dataset", "") if first else "",
        "runs": [one.run_id for one in chosen],
        "versions": [{"version": one.number, "aliases": list(one.aliases)} for one in chosen],
        "bundles": list(bundles) or [one.bundle for one in chosen],
        **_about(connection, condition),
    }


def _about(connection: Connection, condition: ColumnElement[bool]) -> Chain:
    return {"creatives": _counted(connection, condition), "feedback": _feedback(connection, condition)}


def _counted(connection: Connection, condition: ColumnElement[bool]) -> Chain:
    count = connection.execute(select(func.count()).select_from(creatives).where(condition)).scalar_one()
    newest = select(creatives.c.id).where(condition).order_by(creatives.c.created_at.desc()).limit(LISTED_MAX)
    return {"count": count, "newest": list(connection.execute(newest).scalars())}


def _feedback(connection: Connection, condition: ColumnElement[bool]) -> list[Chain]:
    joined = feedback.join(
        creatives, (feedback.c.creative_id == creatives.c.id) & (feedback.c.client == creatives.c.client)
    )
    columns = ("id", "creative_id", "verdict", "state", "why", "dataset_digest", "run_id", "served_version")
    asked = select(*(feedback.c[name] for name in columns)).select_from(joined).where(condition)
    rows = connection.execute(asked.order_by(feedback.c.created_at.desc()).limit(LISTED_MAX)).mappings()
    return [dict(row) for row in rows]


def told(chain: Chain) -> str:
    """The chain as lines of text, upstream first; what is not known says so."""
    versions = [
        f"{MODEL} version {one['version']}" + (f" ({', '.join(one['aliases'])})" if one["aliases"] else "")
        for one in chain["versions"]
    ]
    counted = chain["creatives"]
    more = f" of {counted['count']:,}" if counted["count"] > len(counted["newest"]) else ""
    lines = [
        ("commit", [chain["commit"]]),
        ("image", [chain["image"]]),
        ("dataset", [chain["dataset"]]),
        (
            "pairs",
            [f"{each['id']} {each['pairs']:,} from {each['asked_by']} ({each['state']})" for each in chain["sets"]],
        ),
        ("run", chain["runs"]),
        ("model", versions),
        ("bundle", chain["bundles"]),
        ("request", chain.get("requests", [])),
        ("creative" + more, counted["newest"]),
        ("feedback", [_feedback_line(row) for row in chain["feedback"]]),
    ]
    return "\n".join(f"{label:<18} {'; '.join(filter(None, texts)) or '-'}" for label, texts in lines)


def _feedback_line(row: Chain) -> str:
    became = {
        "used": f"used in dataset {row['dataset_digest']}, run {row['run_id']}, served since {row['served_version']}",
        "excluded": f"excluded: {row['why']}",
    }.get(row["state"], row["state"])
    return f"{row['id']} {row['verdict']} ({became})"


def _versions(folder: Path) -> tuple[list[Version], str]:
    """What the registry knows; without one, or where it does not answer, a note instead."""
    if is_empty(folder):
        return [], "there is no registry here, so runs and versions are left out"
    try:
        return open_registry(folder).versions(), ""
    except RegistryError as error:
        return [], f"runs and versions are left out: {error}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom trace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("id", help="of what is to be traced")
    database = os.environ.get("ADLOOM_DATABASE_URL", DEFAULT_DATABASE)
    parser.add_argument("--database", default=database, help="of the service (ADLOOM_DATABASE_URL)")
    objects = os.environ.get("ADLOOM_OBJECTS_URL", DEFAULT_OBJECTS)
    parser.add_argument("--objects", default=objects, help="of the service, for its log (ADLOOM_OBJECTS_URL)")
    parser.add_argument("--request", action="store_true", help="the id is the x-request-id of an answer")
    parser.add_argument("--registry", type=Path, default=registry_folder(), help="folder (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser
