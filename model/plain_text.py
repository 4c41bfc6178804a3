"""
Text as a shop's export holds it, HTML and control characters included, made into one clean line.

Every step is linear in the length of the text, whatever the text is: rows come from strangers.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator

# An attribute value ends at its quote, but nothing here reads past the next "<": otherwise unclosed tags
# cost quadratic time. (The stdlib's html.parser, 3.11.7, takes minutes on 200 kB of "<a <a <a".)
_TAG = re.compile(
    r"""</?([a-zA-Z][^\s<>/"']*+)(?>[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>"""
    r"""|</?([a-zA-Z][^\s<>/"']*+)[^<>]*+>"""
    r"""|<[!?][^<>]*+>"""
)
_UNCLOSED_TAG = re.compile(r"</?[a-zA-Z][^\s<>]*+(?:/?$|\s+[\w:-]+\s*=)")
_MARKUP = re.compile(r"<[a-zA-Z/!?]|&(?:#|[a-zA-Z])")
_HIDDEN = frozenset({"script", "style", "template", "noscript", "iframe", "object", "svg", "textarea", "select"})
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hr html li main nav ol p pre section summary table tbody tfoot thead title tr ul".split()
)
_SPACES = frozenset({"td", "th", "img", "option", "button", "label"})
_LONG_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{9,}+;?")

_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls that are not white space
    "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width spaces, byte order mark
    "\u202a-\u202e\u2066-\u2069"  # overrides of the writing direction; the marks U+200E, U+200F stay
    "\ud800-\udfff\ufffe\uffff"  # lone surrogates and noncharacters: they cannot be written as UTF-8
    "\U000e0000-\U000e007f"  # tag characters: text that a model reads and a person does not see
    "]"
)
_STRUCTURED = re.compile("[<&\n\x1e\x1f]")
_PARAGRAPH = re.compile(r"\n[ \t\r\f\v]*\n\s*")
_BREAK = "\x1e"
"""Stands between two blocks while a text is taken apart; a control character, so never part of the text itself."""
_LINE = "\x1f"
"""Likewise for <br>: one is a space, two in a row are a paragraph."""
_LINES = re.compile(f"{_LINE}\\s*{_LINE}[\\s{_LINE}]*")

_MARKS_MAX = 30
"""Combining marks in a row, as in Unicode's Stream-Safe Text Format (UAX #15); NFC is quadratic in longer runs."""
_MARK_RUN = re.compile(rf"[^\w\s\x00-\x7f]{{{_MARKS_MAX + 1},}}")


def plain_text(text: str) -> str:
    """
    One line without markup, entities, control or invisible characters, in Unicode NFC.

    Paragraphs, list items and other blocks become sentences of their own. Markup that was escaped once
    ("&lt;p&gt;") counts as markup.
    """
    if text.isascii() and text.isprintable() and "<" not in text and "&" not in text:
        # A space is the only white space that is printable ASCII.
        return " ".join(text.split()) if "  " in text else text.strip(" ")
    if _STRUCTURED.search(text):
        text = _PARAGRAPH.sub(_BREAK, text.replace(_BREAK, " ").replace(_LINE, " "))
        if _MARKUP.search(text):
            text = _without_markup(text)
        text = _joined(_LINES.sub(_BREAK, text).replace(_LINE, " ").split(_BREAK))
    text = _INVISIBLE.sub("", text)
    return " ".join(unicodedata.normalize("NFC", _MARK_RUN.sub(_fewer_marks, text)).split())


def _without_markup(text: str) -> str:
    """Blocks end in `_BREAK`. Two passes, because feeds often hold HTML that was escaped."""
    was_markup = "<" in text and _TAG.search(text) is not None
    text = "".join(_visible(text))
    if not was_markup and _TAG.search(text):
        text = "".join(_visible(text))
    return text


def _visible(text: str) -> Iterator[str]:
    text = text.replace("<![CDATA[", "").replace("]]>", "")
    lowered = text.lower() if text.isascii() else re.sub("[A-Z]+", lambda found: found[0].lower(), text)
    start, last = 0, text.rfind("<")
    while (opening := text.find("<", start)) >= 0:
        yield _unescaped(text[start:opening])
        if text.startswith("<!--", opening):
            end = text.find("-->", opening + 4)
            start = end + 3 if end >= 0 else len(text)
        elif tag := _TAG.match(text, opening):
            name = (tag[1] or tag[2] or "").lower()
            yield _separator(name)
            start = tag.end()
            if name in _HIDDEN and lowered[opening + 1] != "/" and not tag[0].endswith("/>"):
                end = lowered.find("</" + name, start)
                start = end if end >= 0 else len(text)
        elif opening == last and (start or "=" in text[last:]) and _UNCLOSED_TAG.match(text, last):
            return  # the export cut the description off inside a tag; "a<b" alone is no tag
        else:
            yield "<"
            start = opening + 1
    yield _unescaped(text[start:])


def _separator(tag: str) -> str:
    if tag in _BLOCKS:
        return _BREAK
    if tag == "br":
        return _LINE
    return " " if tag in _SPACES else ""


def _unescaped(text: str) -> str:
    return html.unescape(_LONG_REFERENCE.sub("", text)) if "&" in text else text


def _joined(blocks: Iterable[str]) -> str:
    """Blocks as sentences: a full stop is added where a block ends in none of the marks that end or introduce one."""
    joined = ""
    for block in filter(None, map(str.strip, blocks)):
        if joined and joined[-1] not in ".!?:;,…。！？：；،؟؛-–—•|":
            joined += "。" if "\u3040" <= joined[-1] <= "\u9fff" else "."
        joined += f" {block}" if joined else block
    return joined


def _fewer_marks(run: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for character in run[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MARKS_MAX:
            kept.append(character)
    return "".join(kept)
