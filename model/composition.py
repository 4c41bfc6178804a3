"""
Six ways to put words, artwork and a product picture on one canvas.

Each takes a `Brief` and returns a `Scene`; text lies on flat colour only, artwork keeps to its own box.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace

from model import artwork, photograph, typeface
from model.artwork import Box, number
from model.palette import CONTRAST_LARGE, contrast, text_on
from model.scene import Brief, Scene, place_column, place_foot, place_head, size_words


def picture(brief: Brief, box: Box, ground: str, page: str) -> str:
    """The product image where there is one, else an object or abstract artwork on `ground`, amid the `page`."""
    if brief.image is not None:
        return photo(brief, box, ground)
    if brief.object:
        ink = artwork.inks(ground, brief.colours, ground)
        return artwork.field(box, ground, artwork.still_life(box, ink, brief.object))
    ink = artwork.inks(ground, brief.colours, page)
    draw = artwork.ABSTRACTS[brief.pick("abstract", len(artwork.ABSTRACTS))]
    return artwork.field(box, ground, draw(box, ink, brief.seed))


def photo(brief: Brief, box: Box, ground: str) -> str:
    """The product image, covering the box."""
    uri = photograph.data_uri(brief.image or b"", (math.ceil(box.width), math.ceil(box.height)), ground)
    frame = f'x="{number(box.x)}" y="{number(box.y)}" width="{number(box.width)}" height="{number(box.height)}"'
    return f'<image {frame} preserveAspectRatio="xMidYMid slice" href="{uri}"/>'


def clipped(shapes: str, outline: str) -> str:
    """Shapes cut to an outline. The id is the outline's digest: pictures inlined in one page do not clash."""
    name = "clip-" + hashlib.sha256(outline.encode()).hexdigest()[:12]
    return f'<clipPath id="{name}"><path d="{outline}"/></clipPath><g clip-path="url(#{name})">{shapes}</g>'


def _regions(brief: Brief, share: float, *, first: bool) -> tuple[Box, Box]:
    """(artwork, text): the canvas cut in two, side by side when wide, else one above the other."""
    width, height = brief.size
    if brief.wide:
        cut = round(width * share)
        art = Box(0 if first else width - cut, 0, cut, height)
        return art, Box(cut if first else 0, 0, width - cut, height)
    cut = round(height * share)
    art = Box(0, 0 if first else height - cut, width, cut)
    return art, Box(0, cut if first else 0, width, height - cut)


def _halves(brief: Brief) -> Scene:
    """Artwork and words side by side, each with its own ground."""
    colours = brief.colours
    grounds = (
        (colours.background, colours.accent),
        (colours.foreground, colours.accent),
        (colours.accent, colours.background),
        (colours.background, colours.second),
    )
    text_ground, art_ground = grounds[brief.pick("grounds", 4)]
    share = 0.42 if brief.wide else (0.46 if brief.image is not None else 0.41)
    art, text = _regions(brief, share, first=bool(brief.pick("side", 2)))
    scene = Scene(brief.size, text_ground, [picture(brief, art, art_ground, text_ground)])
    place_column(brief, scene, brief.column(text, brief.margin), text_ground)
    return scene


def _corner(brief: Brief) -> Scene:
    """Rings out of one corner, the headline over the full width, the rest beside the rings."""
    ground = (brief.colours.background, brief.colours.foreground)[brief.pick("ground", 2)]
    width, height = brief.size
    canvas = brief.column(brief.canvas, brief.margin)
    tall = height > 1.3 * width
    side = min(0.44 * width, 0.9 * height) if brief.wide else (0.74 if tall else 0.46) * width
    side = min(side, 0.46 * height) if not brief.wide else side
    art = Box(width - side, height - side, side, side)
    ink = artwork.inks(ground, brief.colours, ground)
    shares = ((1.0, ink.main), (0.79, ground), (0.72, ink.second), (0.5, ground), (0.43, ink.dark), (0.2, ground))
    rings = [artwork.disc(width, height, side * share, colour) for share, colour in shares]
    scene = Scene(brief.size, ground, [artwork.field(art, ground, rings)])
    if brief.wide:
        place_column(brief, scene, replace(canvas, width=width - side - brief.margin * 1.5), ground)
        return scene
    if tall:
        place_column(brief, scene, replace(canvas, height=height - side - brief.margin - canvas.y), ground)
        return scene
    head = replace(canvas, height=height - side - brief.margin * 1.4)
    foot = Box(canvas.x, height - side, width - side - brief.margin * 1.5, side - brief.margin)
    stack = size_words(brief, head, foot)
    place_head(brief, scene, stack, head, ground)
    place_foot(brief, scene, stack, replace(foot, y=foot.bottom - stack.foot_height), ground)
    return scene


def _monument(brief: Brief) -> Scene:
    """A number from the copy, as large as its half of the picture."""
    colours = brief.colours
    ground = (colours.accent, colours.second, colours.foreground)[brief.pick("ground", 3)]
    art, text = _regions(brief, 0.44 if brief.wide else 0.47, first=False)
    strong = [c for c in (colours.second, colours.accent, colours.background) if contrast(c, ground) >= CONTRAST_LARGE]
    line = typeface.shape(brief.figure, typeface.DISPLAY_SANS)
    shapes = [artwork.figure(art, line, strong[0] if strong else text_on(ground, colours), wide=brief.wide)]
    scene = Scene(brief.size, ground, [artwork.field(art, ground, shapes)])
    place_column(brief, scene, brief.column(text, brief.margin), ground)
    return scene


def _card(brief: Brief) -> Scene:
    """A quilt or the photograph behind a card that holds the words."""
    colours, (width, height) = brief.colours, brief.size
    edge = brief.margin * 0.62
    if brief.wide:
        card = Box(edge, edge, width * 0.58, height - 2 * edge)
        seen = Box(card.right - edge, 0, width - card.right + edge, height)
    else:
        share = (0.52 if brief.image is not None else 0.58) if height < 1.3 * width else 0.48
        bottom = min(height - edge, brief.safe.bottom + edge)
        card = Box(edge, bottom - height * share, width - 2 * edge, height * share)
        seen = Box(0, 0, width, card.y + edge)
    ground = (colours.background, colours.foreground)[brief.pick("ground", 2)]
    backdrop = (colours.accent, colours.second)[brief.pick("backdrop", 2)]
    if brief.image is None:
        quilt = artwork.tiles(brief.canvas, artwork.inks(backdrop, colours, ground), brief.seed, 4)
        shapes = [artwork.field(brief.canvas, backdrop, quilt)]
    else:
        shapes = [photo(brief, seen, ground)]
    scene = Scene(brief.size, backdrop, [*shapes, artwork.rectangle(card, ground)])
    place_column(brief, scene, brief.column(card, brief.margin * 0.8), ground)
    return scene


def _editorial(brief: Brief) -> Scene:
    """A page: a rule, a large headline, words at the foot, and a strip of artwork along one edge."""
    colours, (width, height) = brief.colours, brief.size
    ground, margin = colours.background, brief.margin
    thick = max(2.0, 5 * brief.scale)
    if brief.wide:
        strip = Box(width - 0.3 * width, 0, 0.3 * width, height)
        page = Box(margin, margin, width - strip.width - 2 * margin, height - 2 * margin)
    else:
        share = (0.42 if height > 1.3 * width else 0.36) if brief.image is not None else 0.2
        strip = Box(0, height * (1 - share), width, height * share)
        page = brief.column(Box(0, 0, width, height - strip.height), margin)
    if brief.image is None:
        art = artwork.field(strip, colours.accent, _strip(brief, strip))
    else:
        art = photo(brief, strip, ground)
    rule = artwork.rectangle(Box(page.x, page.y, page.width, thick), colours.foreground)
    scene = Scene(brief.size, ground, [art, rule])
    drop = margin * 0.5
    place_column(brief, scene, replace(page, y=page.y + drop, height=page.height - drop), ground, spread=1)
    return scene


def _strip(brief: Brief, strip: Box) -> list[str]:
    ink = artwork.inks(brief.colours.accent, brief.colours, brief.colours.background)
    return artwork.tiles(strip, ink, brief.seed, 2)


def _stage(brief: Brief) -> Scene:
    """An arch with the object, the artwork or the photograph in it; words centred below or set beside it."""
    colours, (width, height), margin = brief.colours, brief.size, brief.margin
    ground = (colours.background, colours.foreground, colours.background)[brief.pick("ground", 3)]
    inner = (colours.second, colours.accent)[brief.pick("inner", 2)]
    if brief.wide:
        arch = Box(width - margin - 0.34 * width, margin, 0.34 * width, height - margin)
        column = Box(margin, margin, arch.x - 2.2 * margin, height - 2 * margin)
    else:
        share = 0.42 if brief.story else 0.5 if height > 1.3 * width else 0.46
        across = min(width - 2 * margin, share * height * 0.9)
        arch = Box((width - across) / 2, margin, across, share * height - margin)
        column = brief.column(Box(0, arch.bottom - margin * 0.25, width, height - arch.bottom + margin * 0.25), margin)
    scene = Scene(brief.size, ground, [_arch(brief, arch, inner, ground)])
    place_column(brief, scene, column, ground, centred=not brief.wide, spread=0)
    return scene


def _arch(brief: Brief, box: Box, ground: str, page: str) -> str:
    radius = number(box.width / 2)
    shoulder = number(box.y + box.width / 2)
    outline = f"M{number(box.x)} {number(box.bottom)}V{shoulder}A{radius} {radius} 0 0 1 {number(box.right)} {shoulder}"
    return clipped(picture(brief, box, ground, page), f"{outline}V{number(box.bottom)}z")


def _wordless(brief: Brief) -> Scene:
    """The picture alone, for words that no font here can draw."""
    return Scene(
        brief.size, brief.colours.accent, [picture(brief, brief.canvas, brief.colours.accent, brief.colours.accent)]
    )


Composition = Callable[[Brief], Scene]


def choose(brief: Brief) -> Composition:
    """The composition for these words: any that suits what there is to show, picked by the seed."""
    if not brief.words.headline:
        return _wordless
    if brief.image is not None:
        options: tuple[Composition, ...] = (_halves, _card, _editorial, _stage)
    elif brief.object:
        options = (_halves, _stage, _stage, _halves, _card)
    else:
        options = (_halves, _corner, _card, _editorial, _stage)
    if brief.figure and brief.image is None:
        options += (_monument,)
    return options[brief.pick("composition", len(options))]
