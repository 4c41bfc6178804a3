"""
One creative as a picture, SVG or PNG: the words choose the composition, so the same words give the same bytes.

Text is outlined and artwork is drawn here, so nothing depends on the viewer's fonts; nothing is ever fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from xml.sax.saxutils import escape

import resvg_py

from model import artwork, palette, photograph, typeface
from model.composition import choose
from model.creative import Copy
from model.scene import SENTENCE_END, Brief, Scene, Words

SIDE_PIXELS_MIN, SIDE_PIXELS_MAX = 300, 4000
XML_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
FIGURE = re.compile(r"(?<![\w.,])\d{1,3}(?![\w]|[.,]\d)")


class LayoutError(ValueError):
    """The picture cannot be drawn from this input; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Brand:
    """A merchant's colours as #rrggbb. The background stays; text and shapes move until they can be read and seen."""

    background: str
    foreground: str
    accent: str

    def __post_init__(self) -> None:
        """Raise LayoutError, naming the field, for anything but #rrggbb."""
        try:
            for name in ("background", "foreground", "accent"):
                palette.require_hex(getattr(self, name), field=f"brand {name}")
        except palette.ColourError as error:
            raise LayoutError(str(error)) from None


def _words(copy: Copy, title: str, category: str, label: str) -> Words:
    """
    What can be drawn of the copy.

    A channel without headlines lends the body's first sentence; without any words the title stands in.
    """
    headline = next((text for text in map(typeface.drawable, copy.headlines) if text), "")
    body = typeface.drawable(" ".join(copy.bodies[:1]), typeface.TEXT)
    if not headline and body:
        first, *others = SENTENCE_END.split(body)
        # Set large, a sentence that others follow in small reads as a title: without its full stop.
        headline, body = (re.sub(r"(?<!\.)\.$", "", first), " ".join(others)) if others else (body, "")
    shelf = re.split(r"\s*(?:>|/|\||»)\s*", category.strip())[-1]
    names = [typeface.drawable(text, typeface.EYEBROW) for text in (label, shelf)]
    eyebrow = " · ".join(name for name in names if name)
    call = typeface.drawable(copy.call_to_action, typeface.LABEL)
    return Words(headline or typeface.drawable(title), body, call, eyebrow.upper())


def _require_size(size: tuple[int, ...]) -> None:
    if len(size) != 2 or not all(type(side) is int and SIDE_PIXELS_MIN <= side <= SIDE_PIXELS_MAX for side in size):
        raise LayoutError(
            f"size {size!r} is not supported: give whole pixels (width, height), "
            f"each from {SIDE_PIXELS_MIN} to {SIDE_PIXELS_MAX}, for instance (1080, 1080)"
        )


def _brief(
    words: Copy,
    *,
    title: str,
    category: str,
    size: tuple[int, int],
    brand: Brand | None,
    image: bytes | None,
    label: str,
) -> Brief:
    _require_size(size)
    if not (title + words.joined()).strip():
        raise LayoutError("there is nothing to draw: give a headline, a body or a title")
    content = json.dumps([asdict(words), title, category, label, size], sort_keys=True)
    seed = hashlib.sha256(content.encode()).hexdigest()
    drawn = _words(words, title, category, label)
    colours = palette.for_category(category, title)
    if brand is not None:
        colours = palette.for_brand(brand.background, brand.foreground, brand.accent)
    return Brief(
        words=drawn,
        size=size,
        colours=colours,
        seed=seed,
        object=artwork.object_for(f"{category} {title}") if image is None else "",
        figure=match[0] if (match := FIGURE.search(drawn.headline)) else "",
        image=image,
        # Two pictures in five are set in the serif.
        display=typeface.DISPLAY_SERIF if int(seed[:2], 16) % 5 < 2 else typeface.DISPLAY_SANS,
    )


def compose(
    words: Copy,
    *,
    title: str,
    category: str,
    size: tuple[int, int],
    brand: Brand | None = None,
    image: bytes | None = None,
    label: str = "",
) -> Scene:
    """The picture as shapes and placed text. Raises LayoutError for a size or an image that cannot be used."""
    brief = _brief(words, title=title, category=category, size=size, brand=brand, image=image, label=label)
    try:
        return choose(brief)(brief)
    except photograph.PhotographError as error:
        raise LayoutError(str(error)) from None


def _xml(text: str) -> str:
    return escape(XML_FORBIDDEN.sub("", text))


def _document(scene: Scene, title: str, spoken: str) -> str:
    width, height = scene.size
    ground = artwork.rectangle(artwork.Box(0, 0, width, height), scene.ground)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">'
        f"<title>{_xml(title)}</title><desc>{_xml(spoken)}</desc>"
        f"{ground}{''.join(scene.shapes)}{''.join(block.svg() for block in scene.blocks)}</svg>\n"
    )


def render_svg(
    words: Copy,
    *,
    title: str,
    category: str,
    size: tuple[int, int],
    brand: Brand | None = None,
    image: bytes | None = None,
    label: str = "",
) -> str:
    """
    A self-contained SVG document: glyphs as outlines, the image (PNG, JPEG or WebP) as a data URI, words in `desc`.

    `label` is the shop or brand above the headline. Emoji and characters that no font here has are left out of the
    picture, not of `desc`. Raises LayoutError for a size, an image or words that cannot be drawn.
    """
    scene = compose(words, title=title, category=category, size=size, brand=brand, image=image, label=label)
    spoken = " ".join((*words.headlines[:1], *words.bodies[:1], words.call_to_action)).strip()
    return _document(scene, title, spoken)


def render_png(svg: str) -> bytes:
    """The SVG at its own size. Raises LayoutError when it is no SVG."""
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))
    except ValueError as error:
        raise LayoutError(f"this is no SVG document: {error}") from None
