"""
Write creatives for a catalogue file: text, pictures, and a gallery to look at.

Knows the command line and the order of the work; app/batch_run.py does it.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from app import batch_run, gallery
from app.batch_run import Decoding, Drawing, Outcome, Task, WritesAds
from app.cli import EXIT_FAILED, CommandParser
from app.progress import progress_on
from app.run_folder import RunFolder, json_lines, write_whole
from app.summary import Rows, Summary, as_text, summarise
from model.catalogue import Catalogue, read_catalogue
from model.channel import ChannelSpec, UnknownChannelError, channel, channels
from model.layout import Brand
from model.product import Product
from model.prompt import VOICES
from model.writer import Provenance
from model.writer import open_writer as open_real_writer

CANDIDATES_MAX = 32
"""As the API's; each candidate is a row of one batch, and past 32 the best hardly gets better."""

SEED_MAX = 2**32 - 1
"""As the API's."""

DRAWING_ERRORS_SHOWN = 5

OpenWriter = Callable[[Path, int], WritesAds]
"""Bundle folder and threads in, writer out."""

EXAMPLE = """\
example:
  adloom generate products.csv --channel instagram --channel google_rsa --out out/ads --limit 20

Leaves in the folder: creatives.jsonl, rejected.jsonl, summary.json, pictures/ and index.html, the gallery.
Exit status: 0 all written, 1 something failed or nothing to write, 2 wrong usage, 130 interrupted.
"""


class GenerateError(ValueError):
    """The run cannot start or has nothing to do; the message says what to do about it."""


def main(argv: Sequence[str] | None = None, *, open_writer: OpenWriter | None = None) -> int:
    """Run the command. Expected failures are raised as ValueError or OSError, for `app.cli` to put in one line."""
    arguments = _parser().parse_args(argv)
    catalogue = read_catalogue(arguments.file, columns=arguments.columns)
    folder = RunFolder(arguments.out)
    folder.prepare()
    _refuse_to_mix(folder, arguments)
    write_whole(folder.rejected, json_lines(rejected_rows(catalogue)))
    products, voice = _selected(catalogue, arguments), arguments.voice
    tasks = [Task(product, spec, voice) for product in products for spec in arguments.channel]
    writer = (open_writer or open_bundle)(arguments.bundle or default_bundle(), arguments.threads)
    if arguments.force and (earlier := folder.set_aside()):
        print(f"earlier creatives moved to {earlier}")
    return _run(tasks, writer, folder, catalogue, arguments)


def default_bundle() -> Path:
    """Where `adloom bundle build` leaves the model: ADLOOM_BUNDLE, else .adloom/bundle below the current folder."""
    return Path(os.environ.get("ADLOOM_BUNDLE") or ".adloom/bundle")


def open_bundle(bundle: Path, threads: int) -> WritesAds:
    """The real writer. Raises GenerateError when there is no bundle, BundleError when it is not whole."""
    if not bundle.exists():
        raise GenerateError(f"no model at {bundle}: run `make bundle` or `adloom bundle build`, or give --bundle")
    known = {each.name: os.environ.get(f"ADLOOM_{each.name.upper()}", "") for each in fields(Provenance)}
    return open_real_writer(bundle, threads=threads, provenance=Provenance(**known))


def _run(
    tasks: Sequence[Task],
    writer: WritesAds,
    folder: RunFolder,
    catalogue: Catalogue,
    arguments: argparse.Namespace,
) -> int:
    """Write what is missing; whatever stops that, leave a gallery and a summary of what there is."""
    decoding = Decoding(arguments.candidates, arguments.seed)
    images = batch_run.product_images(arguments.images) if arguments.images else {}
    drawing = Drawing(arguments.brand_colours, images, arguments.png)
    todo = batch_run.still_to_write(tasks, folder.records(), writer.bundle.digest, decoding)
    if len(todo) < len(tasks):
        print(f"{len(tasks) - len(todo):,} of {len(tasks):,} creatives are there already")
    outcome = Outcome()
    started_seconds = time.monotonic()

    def summary(*, complete: bool) -> Summary:
        return summarise(
            folder.records(),
            rows=rows_of(catalogue),
            asked=len(tasks),
            written=outcome.written,
            seconds=time.monotonic() - started_seconds,
            complete=complete,
            bundle_digest=writer.bundle.digest,
            candidates=decoding.candidates,
            seed=decoding.seed,
        )

    try:
        with progress_on(sys.stderr, len(todo), noun="creatives") as advance:
            batch_run.run(
                todo,
                writer,
                folder,
                decoding=decoding,
                drawing=drawing,
                outcome=outcome,
                on_written=lambda _: advance(),
            )
    except (Exception, KeyboardInterrupt):
        _leave_in_order(folder, summary(complete=False), arguments.file.name)
        _say_how_to_go_on(folder, outcome.written, len(todo))
        raise
    done = summary(complete=True)
    finish(folder, done, title=arguments.file.name)
    _report(done, folder, catalogue, outcome)
    return EXIT_FAILED if arguments.strict and catalogue.rejected else 0


def finish(folder: RunFolder, summary: Summary, *, title: str) -> None:
    """Leave summary.json and the gallery, each in one move. Raises OSError."""
    write_whole(folder.summary, (json.dumps(summary.as_dict(), indent=2) + "\n").encode())
    write_whole(folder.gallery, gallery.page(folder, summary, title=title).encode())


def _leave_in_order(folder: RunFolder, summary: Summary, title: str) -> None:
    """As `finish`, where a failure is already on its way: that is to be reported, not that the disk is still full."""
    with suppress(OSError):
        finish(folder, summary, title=title)


def _say_how_to_go_on(folder: RunFolder, written: int, asked: int) -> None:
    print(
        f"adloom: {written:,} of {asked:,} creatives are whole in {folder.creatives};"
        " the same command with --resume goes on from there",
        file=sys.stderr,
    )


def _report(summary: Summary, folder: RunFolder, catalogue: Catalogue, outcome: Outcome) -> None:
    print(as_text(summary), end="")
    if catalogue.rejected:
        first = catalogue.rejected[0]
        where = f"line {first.line}" + (f", {first.column}" if first.column else "")
        print(f"rejected    {len(catalogue.rejected):,} rows, the first at {where}: {first.reason}")
        print(f"            all of them: {folder.rejected}")
    for sentence in outcome.drawing_errors[:DRAWING_ERRORS_SHOWN]:
        print(f"picture     {sentence}")
    if len(outcome.drawing_errors) > DRAWING_ERRORS_SHOWN:
        print(f"picture     and {len(outcome.drawing_errors) - DRAWING_ERRORS_SHOWN:,} more like these")
    print(f"gallery     {folder.gallery}")


def rows_of(catalogue: Catalogue) -> Rows:
    """The catalogue's account of its rows."""
    return Rows(catalogue.rows, len(catalogue.products), len(catalogue.rejected), catalogue.merged)


def rejected_rows(catalogue: Catalogue) -> Iterable[dict[str, str | int]]:
    """Lines of rejected.jsonl."""
    return ({"line": row.line, "column": row.column, "reason": row.reason} for row in catalogue.rejected)


def _refuse_to_mix(folder: RunFolder, arguments: argparse.Namespace) -> None:
    """An earlier run's creatives are gone on from or moved aside, as asked; never mixed up or lost."""
    if folder.has_creatives() and not (arguments.resume or arguments.force):
        advice = "go on with --resume, start afresh with --force (it keeps the old file), or choose another --out"
        raise GenerateError(f"{folder.creatives} holds creatives of an earlier run: {advice}")


def _selected(catalogue: Catalogue, arguments: argparse.Namespace) -> Sequence[Product]:
    """The products asked for, in the order of the file. Raises GenerateError when there are none."""
    products = list(catalogue.products)
    if not products:
        raise GenerateError(_nothing_to_write(catalogue, arguments.file))
    if arguments.sku:
        products = _by_sku(products, arguments.sku)
    if arguments.sample is not None and arguments.sample < len(products):
        chosen = random.Random(arguments.seed).sample(range(len(products)), arguments.sample)
        products = [products[number] for number in sorted(chosen)]
    return products[: arguments.limit]


def _nothing_to_write(catalogue: Catalogue, file: Path) -> str:
    if not catalogue.rejected:
        return f"{file}: no product in it"
    first = catalogue.rejected[0]
    return f"{file}: all {len(catalogue.rejected):,} rows were rejected, the first (line {first.line}): {first.reason}"


def _by_sku(products: Sequence[Product], wanted: Sequence[str]) -> list[Product]:
    known = {product.sku for product in products}
    for sku in wanted:
        if sku not in known:
            close = difflib.get_close_matches(sku, known, n=3)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise GenerateError(f"no product with sku {sku!r}{hint}")
    return [product for product in products if product.sku in wanted]


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom generate",
        description="Write creatives for a catalogue: text, pictures, and a gallery to look at.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="catalogue: CSV, JSON, JSON Lines or YAML")
    parser.add_argument(
        "--channel", action=_Channels, required=True, help=f"{', '.join(channels())}, or all; may be repeated"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for everything this writes")
    _add_selection(parser)
    _add_writing(parser)
    _add_drawing(parser)
    _add_running(parser)
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which products")
    group.add_argument("--limit", type=_integer(1), metavar="N", help="the first N of those selected")
    group.add_argument("--sku", action="append", help="this product; may be repeated")
    group.add_argument("--sample", type=_integer(1), metavar="N", help="N at random, the same N for the same --seed")
    group.add_argument(
        "--columns", type=_columns, metavar="OURS=THEIRS,...", help="column names of the file: title=Produktname,..."
    )
    group.add_argument("--strict", action="store_true", help="exit with 1 when any row was rejected")


def _add_writing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how they are written")
    group.add_argument("--voice", choices=VOICES, default=VOICES[0], help="how the brand sounds (default: %(default)s)")
    group.add_argument(
        "--candidates",
        type=_integer(1, CANDIDATES_MAX),
        default=4,
        metavar="N",
        help=f"write N of each and keep the best (1 to {CANDIDATES_MAX}, default 4)",
    )
    group.add_argument("--seed", type=_integer(0, SEED_MAX), default=0, help="same seed, same creatives (default 0)")
    group.add_argument("--bundle", type=Path, help="model to write with (default: ADLOOM_BUNDLE or .adloom/bundle)")
    group.add_argument("--threads", type=_integer(0), default=0, help="engine threads; 0 (default): one for each core")


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how they are drawn")
    group.add_argument(
        "--brand-colours", type=_brand, metavar="'#BG,#FG,#ACCENT'", help="background, text and accent as #rrggbb"
    )
    group.add_argument("--images", type=_folder, metavar="DIR", help="product pictures named SKU.png, .jpg or .webp")
    group.add_argument(
        "--png", action=argparse.BooleanOptionalAction, default=True, help="pictures as PNG beside SVG (default: yes)"
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("an --out that holds an earlier run").add_mutually_exclusive_group()
    group.add_argument("--resume", action="store_true", help="write only what is missing")
    group.add_argument("--force", action="store_true", help="start afresh; the earlier creatives.jsonl is kept aside")


class _Channels(argparse.Action):
    """Collects channels in the order given, each once; "all" is every one. An unknown name ends the parse."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002 -- argparse passes it
    ) -> None:
        try:
            named = list(channels().values()) if values == "all" else [channel(values)]
        except UnknownChannelError as error:
            parser.error(str(error))
        chosen: list[ChannelSpec] = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*chosen, *(spec for spec in named if spec not in chosen)])


def _integer(least: int, most: int | None = None) -> Callable[[str], int]:
    bounds = f"from {least} to {most:,}" if most is not None else f"of at least {least}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{text} is not a number {bounds}")
        return number

    return parse


def _brand(text: str) -> Brand:
    colours = [part.strip() for part in text.split(",")]
    if len(colours) != 3 or not all(re.fullmatch(r"#[0-9a-fA-F]{6}", colour) for colour in colours):
        raise argparse.ArgumentTypeError(f"{text!r} is not three colours like '#fffaf0,#1a2342,#d2273a'")
    return Brand(*colours)


def _columns(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(ours.strip() and theirs.strip() for ours, _, theirs in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form title=Name,description=Text")
    # The reader wants it the other way round: two columns of a file may both become ours.
    return {theirs.strip(): ours.strip() for ours, _, theirs in pairs}


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return folder
