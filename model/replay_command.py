"""
Write a creative again from its passport and compare it with the one that was kept, byte for byte.

Example: adloom replay cr_f03e4e56d1774f5aaa31
Without a database, from what `adloom generate` wrote: adloom replay cr_... --file out/ads/creatives.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from model.bundle import MANIFEST, BundleError, open_bundle
from model.channel import channel, channels
from model.creative import Creative, Passport, creative_from_dict
from model.product import Product, product_from_dict
from model.sampling import Sampling
from model.store import tables
from model.store.tables import Database
from model.validity import VALIDITY_VERSION
from model.writer import Provenance, Writer

DEFAULT_DATABASE = "sqlite:///.adloom/service/adloom.db"
DEFAULT_BUNDLES = (Path(".adloom/bundle"), Path(".adloom/bundles"))
SHOWN_CHARS_MAX = 200


class ReplayError(RuntimeError):
    """The creative cannot be written again; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A creative as it was kept, and the product it was written for."""

    document: Mapping[str, Any]
    product: Product


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 where every byte agrees, 1 where one does not. Raises ReplayError."""
    arguments = _parser().parse_args(argv)
    kept = kept_in_file(arguments.file, arguments.id) if arguments.file else kept_in(arguments.database, arguments.id)
    places = [arguments.bundle] if arguments.bundle else DEFAULT_BUNDLES
    again = replay(kept, places)
    differences = compare(kept.document, again.as_dict())
    for line in differences:
        sys.stdout.write(line + "\n")
    if differences:
        sys.stderr.write(f"{arguments.id}: not the same; {_code_note(again.passport)}" + "\n")
        return 1
    told = f"{arguments.id}: the same, {len(canonical(again.as_dict()))} bytes, bundle {again.passport.bundle_digest}"
    sys.stdout.write(told + "\n")
    return 0


def kept_in(url: str, creative_id: str) -> Kept:
    """Look a creative up in the database, whoever's it is. Raises ReplayError, or StoreError."""
    database = Database(url)
    try:
        with database.connect() as connection:
            columns = (tables.creatives.c.document, tables.creatives.c.product)
            found = connection.execute(select(*columns).where(tables.creatives.c.id == creative_id).limit(1)).first()
    finally:
        database.dispose()
    if found is None:
        raise ReplayError(f"{creative_id} is not in the database; check the id, or name its file with --file")
    return Kept(found.document, product_from_dict(found.product))


def kept_in_file(path: Path, creative_id: str) -> Kept:
    """Look a creative up in the creatives.jsonl of a run of `adloom generate`. Raises ReplayError."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record["id"] == creative_id:
                    return Kept(record, product_from_dict({"sku": record["sku"], **record["product"]}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReplayError(f"{path} is no creatives.jsonl of `adloom generate` ({error})") from error
    raise ReplayError(f"{creative_id} is not in {path}")


def replay(kept: Kept, places: Sequence[Path]) -> Creative:
    """Write it again on the bundle that its passport names, looked for in `places`. Raises ReplayError."""
    before = creative_from_dict(kept.document)
    passport = before.passport
    if (digest := kept.product.digest()) != passport.product_digest:
        raise ReplayError(
            f"the product kept beside it has digest {digest}, and the passport names {passport.product_digest}"
        )
    if before.channel not in channels():
        raise ReplayError(f"there is no channel {before.channel} in this version; use that of {_commit(passport)}")
    writer = Writer(
        open_bundle(bundle_with(passport.bundle_digest, places)),
        provenance=Provenance(passport.git_commit, passport.image_digest, passport.registry_version),
    )
    ranked = writer.write(
        kept.product,
        channel(before.channel),
        voice=passport.voice,
        candidates=passport.candidates,
        seed=passport.seed,
        sampling=Sampling(**passport.decoding),  # type: ignore[arg-type]
    )
    # Two candidates with the same words have the same id, and may have been mended differently.
    same = [each for each in ranked if each.id == before.id] or list(ranked[:1])
    return next((each for each in same if not compare(kept.document, each.as_dict())), same[0])


def bundle_with(digest: str, places: Sequence[Path]) -> Path:
    """The folder, among `places` and the folders in them, whose bundle has this digest. Raises ReplayError."""
    for folder in _folders(places):
        try:
            if open_bundle(folder).digest == digest:
                return folder
        except BundleError:
            continue  # a broken one is none, and the right one may lie beside it
    looked = " and ".join(str(place) for place in places)
    raise ReplayError(f"bundle {digest} is missing: it is not in {looked}; fetch it, then name it with --bundle")


def _folders(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if (place / MANIFEST).is_file():
            yield place
        elif place.is_dir():
            yield from sorted(path for path in place.iterdir() if (path / MANIFEST).is_file())


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one form of a creative's JSON that is compared."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False).encode()


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each member that differs; members that `after` does not have belong to the file, not the creative."""
    return [
        f"{name}\n  kept:   {_shown(before.get(name))}\n  again:  {_shown(value)}"
        for name, value in after.items()
        if canonical({"": before.get(name)}) != canonical({"": value})
    ]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."


def _code_note(passport: Passport) -> str:
    if passport.validity_version != VALIDITY_VERSION:
        return f"it was judged by validity version {passport.validity_version}, and this code has {VALIDITY_VERSION}"
    return f"the rules may have changed since {_commit(passport)}: run that version's `adloom replay`"


def _commit(passport: Passport) -> str:
    return f"commit {passport.git_commit}" if passport.git_commit else "the version that wrote it"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("id", help="of the creative: cr_ and 20 digits")
    database = os.environ.get("ADLOOM_DATABASE_URL", DEFAULT_DATABASE)
    parser.add_argument("--database", default=database, help="where it was kept (ADLOOM_DATABASE_URL)")
    parser.add_argument("--file", type=Path, help="creatives.jsonl of `adloom generate`, in place of a database")
    parser.add_argument("--bundle", type=Path, help="folder of the bundle, or of several (default: below .adloom)")
    return parser
