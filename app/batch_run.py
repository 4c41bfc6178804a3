"""
One run: each product and channel in turn is written, drawn, and only then entered as a line of creatives.jsonl.

Knows the writer by its protocol, and no command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from app.run_folder import Record, RunFolder, WholeLines, write_whole
from model.channel import ChannelSpec
from model.creative import Copy, Creative
from model.layout import Brand, LayoutError, render_png, render_svg
from model.product import Product
from model.prompt import VOICES

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

Settings = tuple[str, str, str, str, str, int, int]
"""What decides a creative: sku, channel, voice, product digest, bundle digest, candidates, seed."""


class BundleFacts(Protocol):
    """What a run needs to know of the loaded model."""

    @property
    def digest(self) -> str: ...


class WritesAds(Protocol):
    """`model.writer.Writer`, and the fake of the tests."""

    @property
    def bundle(self) -> BundleFacts: ...

    def write(
        self, product: Product, spec: ChannelSpec, *, voice: str, candidates: int, seed: int
    ) -> tuple[Creative, ...]:
        """Best first."""


@dataclass(frozen=True, slots=True)
class Task:
    """One creative to be written."""

    product: Product
    spec: ChannelSpec
    voice: str = VOICES[0]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How every creative of a run is written."""

    candidates: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """How every creative of a run is drawn."""

    brand: Brand | None = None
    product_images: Mapping[str, Path] = field(default_factory=dict)
    """By sku."""
    png: bool = True


@dataclass(slots=True)
class Outcome:
    """What a run has done so far; still true when it is cut short."""

    written: int = 0
    drawing_errors: list[str] = field(default_factory=list)
    """One sentence each; the creatives they are about were written all the same."""


def settings_of(record: Record) -> Settings:
    """What decided an earlier line; compare with `settings_for`."""
    passport = record.get("passport", {})
    return (
        record["sku"],
        record["channel"],
        passport.get("voice", ""),
        passport.get("product_digest", ""),
        passport.get("bundle_digest", ""),
        passport.get("candidates", -1),
        passport.get("seed", -1),
    )


def settings_for(task: Task, bundle_digest: str, decoding: Decoding) -> Settings:
    """What would decide this task's creative."""
    product, digest = task.product, task.product.digest()
    return (product.sku, task.spec.name, task.voice, digest, bundle_digest, decoding.candidates, decoding.seed)


def still_to_write(
    tasks: Iterable[Task], records: Iterable[Record], bundle_digest: str, decoding: Decoding
) -> list[Task]:
    """The tasks that no earlier line has done with these very settings."""
    done = {settings_of(record) for record in records}
    return [task for task in tasks if settings_for(task, bundle_digest, decoding) not in done]


def product_images(folder: Path) -> dict[str, Path]:
    """Pictures in `folder` by file name without suffix, which is to be the sku. Raises OSError."""
    return {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURE_SUFFIXES}


def run(
    tasks: Sequence[Task],
    writer: WritesAds,
    folder: RunFolder,
    *,
    decoding: Decoding,
    drawing: Drawing,
    outcome: Outcome,
    on_written: Callable[[Record], None],
) -> None:
    """
    Write every task's best creative into the folder, keeping `outcome` up to date.

    Pictures come before their line, so that a line promises pictures that exist. Raises what the writer raises, and
    OSError when the disk refuses; what `outcome` counts is then safe.
    """
    with WholeLines(folder.creatives) as lines:
        for task in tasks:
            written = writer.write(
                task.product, task.spec, voice=task.voice, candidates=decoding.candidates, seed=decoding.seed
            )
            best = written[0]
            images = _draw(best, task, folder, drawing, outcome)
            record = _record(best, task.product, images)
            lines.append(record)
            outcome.written += 1
            on_written(record)


def _record(creative: Creative, product: Product, images: list[dict[str, Any]]) -> Record:
    said = {key: value for key, value in asdict(product).items() if key != "sku"}
    return {**creative.as_dict(), "images": images, "product": said}


def _draw(
    creative: Creative, task: Task, folder: RunFolder, drawing: Drawing, outcome: Outcome
) -> list[dict[str, Any]]:
    """Every size of the channel, as files; their names relative to the folder."""
    images: list[dict[str, Any]] = []
    for width, height in task.spec.images:
        svg = _svg(creative.copy, task.product, (width, height), drawing, outcome)
        if svg is None:
            continue
        name = f"{creative.id}_{width}x{height}"
        image: dict[str, Any] = {"width": width, "height": height, "svg": f"pictures/{name}.svg"}
        write_whole(folder.pictures / f"{name}.svg", svg.encode())
        if drawing.png:
            write_whole(folder.pictures / f"{name}.png", render_png(svg))
            image["png"] = f"pictures/{name}.png"
        images.append(image)
    return images


def _svg(words: Copy, product: Product, size: tuple[int, int], drawing: Drawing, outcome: Outcome) -> str | None:
    """The picture; without the product's own where that cannot be drawn, and None where nothing can be."""
    image = _product_image(product.sku, drawing)
    for chosen in (image, None) if image else (None,):
        try:
            return render_svg(
                words, title=product.title, category=product.category, size=size, brand=drawing.brand, image=chosen
            )
        except LayoutError as error:
            sentence = f"{product.sku}: {error}"
            if sentence not in outcome.drawing_errors:
                outcome.drawing_errors.append(sentence)
    return None


def _product_image(sku: str, drawing: Drawing) -> bytes | None:
    file = drawing.product_images.get(sku)
    return file.read_bytes() if file else None
