"""
The words of one picture, sized together and placed: what stands where, before any composition adds artwork.

Every block of text knows the one flat colour beneath it. Knows no files and no XML document.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace

from model import artwork, palette, typeface
from model.artwork import Box
from model.palette import Palette, text_on
from model.paragraph import Paragraph, fit
from model.typeface import Family

SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class Words:
    """What is drawn, emptied of all that cannot be."""

    headline: str
    body: str
    call_to_action: str
    eyebrow: str


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph in its place."""

    role: str
    """eyebrow, headline, body or call_to_action."""
    paragraph: Paragraph
    box: Box
    """The column; lines start at its left, or at its right when the words run that way."""
    colour: str
    ground: str
    """The one flat colour beneath the text."""
    centred: bool = False

    def origin(self, index: int) -> tuple[float, float]:
        """Start of the baseline of one line, pixels."""
        line, size = self.paragraph.lines[index], self.paragraph.size
        y = self.box.y + size * (0.8 + index * self.paragraph.leading)
        left, right = line.ink[0] * size, line.ink[2] * size
        if self.centred:
            return self.box.x + (self.box.width - left - right) / 2, y
        # Ink, not the em box, is flush: a large T and a small one start on the same vertical.
        return (self.box.right - right if self.paragraph.right_to_left else self.box.x - left), y

    def bounds(self) -> Box:
        """What the ink covers."""
        size, corners = self.paragraph.size, []
        for index, line in enumerate(self.paragraph.lines):
            x, y = self.origin(index)
            left, bottom, right, top = (value * size for value in line.ink)
            corners += [(x + left, y - top), (x + right, y - bottom)]
        xs, ys = zip(*corners, strict=True)
        return Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))

    def svg(self) -> str:
        """Every line as outlines."""
        lines = enumerate(self.paragraph.lines)
        return "".join(
            artwork.outlines(line, *self.origin(index), self.paragraph.size, self.colour) for index, line in lines
        )


@dataclass(frozen=True)
class Scene:
    """A picture before it is written out."""

    size: tuple[int, int]
    ground: str
    shapes: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Brief:
    """All that a composition may look at."""

    words: Words
    size: tuple[int, int]
    colours: Palette
    seed: str
    object: str
    figure: str
    """A number from the copy, or empty."""
    image: bytes | None
    display: Family

    @property
    def canvas(self) -> Box:
        """The whole picture."""
        return Box(0, 0, *self.size)

    @property
    def scale(self) -> float:
        """1.0 for 1080 x 1080."""
        width, height = self.size
        return min(math.sqrt(width * height) / 1080, min(width, height) / 500)

    @property
    def margin(self) -> float:
        """Distance from the edge, pixels."""
        return max(18.0, 72 * self.scale)

    @property
    def safe(self) -> Box:
        """
        Where text may stand: all of the picture, but for full-screen stories the part that apps do not cover.

        Shares from https://odysseymediagroup.co.uk/client-resources/instagram-stories: 14 % above, 20 % below.
        """
        width, height = self.size
        return Box(0, 0.14 * height, width, 0.66 * height) if self.story else self.canvas

    @property
    def story(self) -> bool:
        """Whether the format fills a telephone's screen (9:16)."""
        return self.size[1] >= 1.7 * self.size[0]

    def column(self, box: Box, margin: float) -> Box:
        """The part of the box, less a margin, that is safe for text."""
        inner, safe = box.inset(margin), self.safe
        top, bottom = max(inner.y, safe.y), min(inner.bottom, safe.bottom)
        return replace(inner, y=top, height=bottom - top)

    @property
    def wide(self) -> bool:
        """Whether text and artwork stand side by side."""
        return self.size[0] > 1.25 * self.size[1]

    def pick(self, name: str, count: int) -> int:
        """A choice that depends on the words alone."""
        return next(artwork.choices(f"{self.seed}:{name}")) % count


def _fitting_body(words: str, width: float, height: float, size: float) -> Paragraph:
    """As many whole sentences as fit; the first one cut short if not even that does."""

    def fitted(text: str) -> Paragraph:
        # 27 em are about 55 letters: beyond that the eye loses the next line.
        size_min = size * 0.84
        return fit(
            text,
            typeface.TEXT,
            min(width, 27 * size),
            height,
            size_max=size,
            size_min=size_min,
            leading=1.4,
            lines_max=6,
            balance=True,
        )

    sentences = SENTENCE_END.split(words)
    for count in range(len(sentences), 1, -1):
        paragraph = fitted(" ".join(sentences[:count]))
        if not paragraph.truncated:
            return paragraph
    return fitted(sentences[0])


@dataclass(frozen=True)
class Stack:
    """The paragraphs of one text column, sized together."""

    eyebrow: Paragraph
    headline: Paragraph
    body: Paragraph
    button: Paragraph
    gap: float

    @property
    def button_height(self) -> float:
        """Pixels, padding included."""
        return self.button.height + self.button.size * 1.5 if self.button.lines else 0.0

    @property
    def head_height(self) -> float:
        """Eyebrow, gap and headline."""
        between = self.gap * 0.9 if self.eyebrow.lines and self.headline.lines else 0.0
        return self.eyebrow.height + between + self.headline.height

    @property
    def foot_height(self) -> float:
        """Body, gap and button."""
        return self.body.height + self.button_height + (self.gap if self.body.lines and self.button.lines else 0)


def _fitting_button(words: str, width: float, size: float) -> Paragraph:
    """The call to action and an arrow that points on, in one line, or two when one would be too small."""
    if not words:
        return nothing(size)
    label = f"{words} {'←' if typeface.is_right_to_left(words) else '→'}"
    # 2.6 em of the width are the button's own padding.
    room, smallest = width - 2.6 * size, size * 0.76
    one = fit(label, typeface.LABEL, room, size, size_max=size, size_min=smallest, lines_max=1)
    if not one.truncated:
        return one
    return fit(
        label,
        typeface.LABEL,
        room,
        size * 2.4,
        size_max=size,
        size_min=smallest,
        leading=1.2,
        lines_max=2,
        balance=True,
    )


def _fitting_headline(brief: Brief, width: float, height: float) -> Paragraph:
    words, scale = brief.words.headline, brief.scale
    # Few words may shout; many must not.
    size_max = (190 if len(words) <= 14 else 164 if len(words) <= 24 else 138) * scale
    leading = 1.04 if brief.display is typeface.DISPLAY_SERIF else 0.99
    size_min = max(13.0, 40 * scale)
    return fit(
        words,
        brief.display,
        width,
        height,
        size_max=size_max,
        size_min=size_min,
        leading=leading,
        lines_max=7,
        balance=True,
    )


def nothing(size: float) -> Paragraph:
    """A paragraph without lines."""
    return Paragraph((), size, 1.0, right_to_left=False, truncated=False)


def size_words(brief: Brief, head: Box, foot: Box | None = None) -> Stack:
    """
    Fit all words into one column, or headline and the rest into two.

    The headline has the right of way: in a small column the body goes first, then the eyebrow, then the button.
    """
    scale, words = brief.scale, brief.words
    size, gap, column = max(12.0, 36 * scale), max(10.0, 34 * scale), foot or head
    button = _fitting_button(words.call_to_action, column.width, max(11.0, 31 * scale))
    small = max(9.5, 23 * scale)
    eyebrow = fit(
        words.eyebrow, typeface.EYEBROW, head.width, small * 1.1, size_max=small, size_min=small * 0.8, lines_max=1
    )
    room = foot.height - button.height - button.size * 1.5 - gap if foot else head.height * 0.3
    body = _fitting_body(words.body, column.width, room, size) if words.body and room > size else nothing(size)
    stack = Stack(eyebrow, nothing(size), body, button, gap)
    without_body = replace(stack, body=nothing(size))
    without_eyebrow = replace(without_body, eyebrow=nothing(small))
    for smaller in (stack, without_body, without_eyebrow, replace(without_eyebrow, button=nothing(size))):
        taken = smaller.eyebrow.height + (gap * 0.9 if smaller.eyebrow.lines else 0)
        taken += 0 if foot else smaller.foot_height + (gap * 1.4 if smaller.foot_height else 0)
        headline = _fitting_headline(brief, head.width, head.height - taken)
        stack = replace(smaller, headline=headline)
        if headline.lines and not headline.truncated:
            break
    return stack


def _button(brief: Brief, stack: Stack, place: Box, ground: str, *, centred: bool) -> tuple[str, Block]:
    colours, paragraph = brief.colours, stack.button
    fills = [c for c in (colours.accent, colours.foreground, colours.background) if palette.contrast(c, ground) >= 2.2]
    fill = fills[0] if fills else text_on(ground, colours)
    ink = max(line.ink[2] - line.ink[0] for line in paragraph.lines) * paragraph.size
    width = ink + 2.6 * paragraph.size
    rtl = runs_left(brief)
    x = place.x + (place.width - width) / 2 if centred else (place.right - width if rtl else place.x)
    box = Box(x, place.y, width, stack.button_height)
    radius = box.height / 2 if brief.display is typeface.DISPLAY_SANS else 0
    # 0.05 em: the label's middle is that of its capitals, which stand above the middle of the em box.
    inner = Box(x, place.y + paragraph.size * 0.7, width, paragraph.height)
    block = Block("call_to_action", paragraph, inner, text_on(fill, colours), fill, centred=True)
    return artwork.rectangle(box, fill, radius), block


def runs_left(brief: Brief) -> bool:
    return typeface.is_right_to_left(brief.words.headline)


def place_head(brief: Brief, scene: Scene, stack: Stack, column: Box, ground: str, *, centred: bool = False) -> float:
    """Place eyebrow and headline at the top of the column; returns y below them."""
    text, y = text_on(ground, brief.colours), column.y
    rtl = runs_left(brief)
    if stack.eyebrow.lines:
        colour = palette.legible(brief.colours.accent if brief.colours.accent != ground else text, ground)
        box = replace(column, y=y, height=stack.eyebrow.height)
        eyebrow = replace(stack.eyebrow, right_to_left=rtl)
        scene.blocks.append(Block("eyebrow", eyebrow, box, colour, ground, centred))
        y += stack.eyebrow.height + stack.gap * 0.9
    if stack.headline.lines:
        box = replace(column, y=y, height=stack.headline.height)
        scene.blocks.append(Block("headline", stack.headline, box, text, ground, centred))
        y += stack.headline.height
    return y


def place_foot(brief: Brief, scene: Scene, stack: Stack, column: Box, ground: str, *, centred: bool = False) -> None:
    """Place body and button at the top of the column."""
    y = column.y
    if stack.body.lines:
        body = replace(stack.body, right_to_left=runs_left(brief))
        box = replace(column, y=y, height=body.height)
        scene.blocks.append(Block("body", body, box, text_on(ground, brief.colours), ground, centred))
        y += stack.body.height + stack.gap
    if stack.button.lines:
        shape, block = _button(brief, stack, replace(column, y=y), ground, centred=centred)
        scene.shapes.append(shape)
        scene.blocks.append(block)


def place_column(
    brief: Brief, scene: Scene, column: Box, ground: str, *, centred: bool = False, spread: float = 0.4
) -> None:
    """
    All words in one column: the head at its top and the foot at its bottom, or both together in its middle.

    The second where more than a share `spread` of the column would stay empty between them.
    """
    stack = size_words(brief, column)
    free = column.height - stack.head_height - stack.foot_height
    if free < column.height * spread:
        place_head(brief, scene, stack, column, ground, centred=centred)
        place_foot(brief, scene, stack, replace(column, y=column.bottom - stack.foot_height), ground, centred=centred)
        return
    gap = min(free, stack.gap * 1.4)
    top = column.y + (free - gap) / 2
    below = place_head(brief, scene, stack, replace(column, y=top), ground, centred=centred)
    place_foot(brief, scene, stack, replace(column, y=below + gap), ground, centred=centred)
