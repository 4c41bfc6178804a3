"""
A model card, or any Markdown of somebody else's, as HTML that can do no harm.

Headings, lists, tables, code and links to https; HTML in it becomes text, and pictures become their words.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

CARD_CHARS_MAX = 32_000
"""Four times a card of ours; this much of the worst text known takes half a second."""
NESTED_MAX = 20
LEVELS_DOWN = 2
"""The page and the panel around a card have headings of their own."""
LEVEL_MAX = 6
SCROLLS = '<div class="scroll" tabindex="0" role="group" aria-label="Table">'
"""Around a table: it may be wider than a telephone, and the keyboard has to reach its end."""
CUT = "\n\nThe rest of this card is longer than this page shows: `adloom models card` prints it."


_ONE_AT_A_TIME = threading.Lock()
"""The library fills tables of its own while it renders, and a second thread would read them half filled."""


def card_html(text: str) -> Markup:
    """Of the first CARD_CHARS_MAX characters; what is past them is said to be missing."""
    shown = text if len(text) <= CARD_CHARS_MAX else text[:CARD_CHARS_MAX] + CUT
    with _ONE_AT_A_TIME:
        return Markup(_renderer().render(shown))  # noqa: S704 - the renderer escapes every text and passes no HTML on


class _CardRenderer(RendererHTML):
    """Without what our Content-Security-Policy forbids anyway."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Its words: nothing is fetched from elsewhere."""
        return str(Markup("{}").format(self.renderInlineAsText(tokens[idx].children or [], options, env)))

    def renderToken(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: N802
        """Headings further down, cells without style, links that tell the other side nothing."""
        token = tokens[idx]
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(LEVEL_MAX, int(token.tag[1:]) + LEVELS_DOWN)}"
        if token.type in ("td_open", "th_open"):
            _to_class(token)
        if token.type == "link_open":
            token.attrs |= {"rel": "noreferrer noopener nofollow", "target": "_blank"}
        shown = super().renderToken(tokens, idx, options, env)
        return {"table_open": SCROLLS + shown, "table_close": shown + "</div>"}.get(token.type, shown)


def _to_class(token: Token) -> None:
    """A style attribute, which the policy refuses, becomes the class of our style sheet."""
    if str(token.attrs.pop("style", "")).endswith("right"):
        token.attrs["class"] = "number"


class _CardMarkdown(MarkdownIt):
    """Without links that could run something or lead to plain http."""

    def validateLink(self, url: str) -> bool:  # noqa: N802
        """A link of any other kind stays the text that it was written as."""
        return url.strip().lower().startswith("https://")


@cache
def _renderer() -> MarkdownIt:
    options = {"html": False, "maxNesting": NESTED_MAX}
    return _CardMarkdown("commonmark", options, renderer_cls=_CardRenderer).enable("table")
