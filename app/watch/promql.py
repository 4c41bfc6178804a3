"""
What an expression in PromQL asks for: tokens, the series it selects, and its operands.

Reads what Prometheus accepts, and checks nothing. Grafana's variables ($name) count as words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![\w.]))
  | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|0x[0-9a-fA-F]+)
  | (?P<word>[a-zA-Z_:$][\w:.$]*|\$\{\w+\})
  | (?P<operator>=~|!~|==|!=|<=|>=|[-+*/%^<>=(){}\[\],:@])
  | (?P<space>\s+)
    """,
    re.VERBOSE,
)
SET_OPERATORS = frozenset({"and", "or", "unless"})
COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = SET_OPERATORS | _LABEL_LISTS | {"bool", "offset", "start", "end", "inf", "nan", "atan2"}
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of an expression; `start` is its place in it."""

    kind: str
    """text, duration, number, word or operator."""
    text: str
    start: int

    @property
    def end(self) -> int:
        """Place behind it."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric with its conditions."""

    metric: str
    matchers: tuple[Matcher, ...] = ()


def tokens(expression: str) -> list[Token]:
    """Without space and comments. Raises ValueError at a character that PromQL does not have."""
    found, place = [], 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise ValueError(f"PromQL has no {expression[place]!r}: {expression[:place]}<here>")
        if match.lastgroup not in ("space", "comment"):
            found.append(Token(match.lastgroup or "", match[0], place))
        place = match.end()
    return found


def selectors(expression: str) -> list[Selector]:
    """Every metric that the expression asks for, as often as it does."""
    pieces, found, place = tokens(expression), [], 0
    while place < len(pieces):
        piece, following = pieces[place], _text(pieces, place + 1)
        if piece.text == "[":
            place = _closing(pieces, place) + 1
        elif piece.kind != "word" and piece.text != "{":
            place += 1
        elif piece.text.lower() in _LABEL_LISTS and following == "(":
            place = _closing(pieces, place + 1) + 1
        elif piece.text.lower() in _WORDS or following in ("(", "by", "without") or piece.text.startswith("$"):
            place += 1
        elif following == "{" or piece.text == "{":
            begin = place if piece.text == "{" else place + 1
            end = _closing(pieces, begin)
            matchers = _matchers(pieces[begin + 1 : end])
            named = [each.value for each in matchers if each.label == "__name__"]
            metric = piece.text if piece.kind == "word" else (named or [""])[0]
            found.append(Selector(metric, tuple(each for each in matchers if each.label != "__name__")))
            place = end + 1
        else:
            found.append(Selector(piece.text))
            place += 1
    return found


def grouping_labels(expression: str) -> frozenset[str]:
    """Labels that the expression keeps, drops or joins by."""
    pieces, found = tokens(expression), set()
    for place, piece in enumerate(pieces):
        if piece.text.lower() in _LABEL_LISTS and _text(pieces, place + 1) == "(":
            inside = pieces[place + 2 : _closing(pieces, place + 1)]
            found |= {each.text for each in inside if each.kind == "word"}
    return frozenset(found)


def operands(expression: str) -> list[tuple[str, str]]:
    """The parts that stand beside and, or and unless at the top, each with what joins it to those before it."""
    pieces = tokens(expression)
    parts, joint, begin, depth, place = [], "", 0, 0, 0
    while place < len(pieces):
        piece = pieces[place]
        depth += (piece.text in _OPEN) - (piece.text in _CLOSE) if piece.kind == "operator" else 0
        if depth == 0 and piece.kind == "word" and piece.text.lower() in SET_OPERATORS:
            parts.append((joint, expression[begin : piece.start].strip()))
            end = place
            while _text(pieces, end + 1).lower() in _LABEL_LISTS:
                end = _closing(pieces, end + 2)
            joint, begin = expression[piece.start : pieces[end].end], pieces[end].end
            place = end
        place += 1
    parts.append((joint, expression[begin:].strip()))
    return parts


def unwrapped(expression: str) -> str | None:
    """What stands in the brackets that hold the whole expression; None where none do."""
    pieces = tokens(expression)
    if not pieces or pieces[0].text != "(" or _closing(pieces, 0) != len(pieces) - 1:
        return None
    return expression[pieces[0].end : pieces[-1].start].strip()


def _matchers(inside: Sequence[Token]) -> list[Matcher]:
    found = []
    for place, piece in enumerate(inside):
        if piece.text in ("=", "!=", "=~", "!~") and 0 < place < len(inside) - 1:
            found.append(Matcher(inside[place - 1].text, piece.text, unquoted(inside[place + 1].text)))
    return found


def unquoted(text: str) -> str:
    """Of a text in quotes; what a backslash says of quotes and backslashes is undone."""
    return text[1:-1] if text.startswith("`") else re.sub(r"\\(.)", r"\1", text[1:-1])


def _closing(pieces: Sequence[Token], place: int) -> int:
    """Of the bracket at `place`. Raises ValueError where there is none."""
    depth = 0
    for number, piece in enumerate(pieces[place:], start=place):
        if piece.kind == "operator":
            depth += (piece.text in _OPEN) - (piece.text in _CLOSE)
        if depth == 0:
            return number
    raise ValueError("a bracket of the expression is not closed")


def _text(pieces: Sequence[Token], place: int) -> str:
    return pieces[place].text if place < len(pieces) else ""
