"""
The word lists of data/lexicon.toml, made fast to look for: text in, the claims whose words occur in it out.

Knows nothing of products or scores (see grounding.py and validity.py).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

Role = Literal["says", "supports", "opposes", "mask"]

_PUNCTUATION = {"’": "'", "‘": "'", "“": '"', "”": '"', "″": '"', "‐": "-", "‑": "-", "−": "-", "×": "x", "İ": "i"}
_SPACES = dict.fromkeys("\u00a0\u2009\u202f", " ")
_TRANSLATION = str.maketrans(_PUNCTUATION | _SPACES | {"\u00ad": None, "\u200b": None})
_SPACED_DASH = re.compile(r"\s[-–—]+\s|[–—](?=[^\W\d])")
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,]\d+)*|[#%$€£&]|[^\w\s'\"-]|\n")
_BREAKS = frozenset(".,;:!?()[]…|\n")


TAG_WORD_CHARS_MIN = 6
"""Shorter words turn up by accident inside run-together hashtags: "gold" begins #goldenhour."""


class Words(NamedTuple):
    """A text cut into words, as parallel tuples."""

    texts: tuple[str, ...]
    """Lower case, spelling aliases applied."""
    stems: tuple[str, ...]
    clauses: tuple[int, ...]
    """Number of the clause that each word stands in; punctuation starts a new one."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something an ad may say that the product has to hold."""

    number: int
    kind: str
    name: str
    always: bool = False
    """No product can excuse it."""


class Phrase(NamedTuple):
    """One way of making, supporting, opposing or defusing a claim."""

    elements: tuple[str, ...]
    role: Role
    claim: Claim | None


class Match(NamedTuple):
    """Where a phrase stands in a text: words `start` to `end`, end excluded."""

    start: int
    end: int
    phrase: Phrase


def normalise(text: str) -> str:
    """Lower case with plain quotes, hyphens and spaces, so that one pattern fits every keyboard."""
    return unicodedata.normalize("NFC", text).translate(_TRANSLATION).lower()


@lru_cache(maxsize=20_000)
def singular(word: str) -> str:
    """The word without its plural ending; wrong for a few irregular nouns, the same for phrase and text."""
    word = word.removesuffix("'s")
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    return word.removesuffix("s")


_SUFFIXES = "ations ation ingly ness able ible ment ing ers est ed er ly al en y e".split()  # the longest first


@lru_cache(maxsize=20_000)
def topic_stem(word: str) -> str:
    """A rougher stem that ties "unscented" to "scent-free" no more than it should, but "pours" to "pouring"."""
    stem = singular(word)
    for suffix in _SUFFIXES:
        if stem.endswith(suffix) and len(stem) - len(suffix) >= 3:
            stem = stem[: -len(suffix)]
            break
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "ls":
        stem = stem[:-1]
    return stem


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Everything in data/lexicon.toml. Build it with `lexicon()`."""

    claims: tuple[Claim, ...]
    index: Mapping[str, tuple[Phrase, ...]]
    """Phrases by their first element, longest first."""
    aliases: Mapping[str, str]
    sets: Mapping[str, frozenset[str]]
    labels: tuple[str, ...]
    domains: tuple[str, ...]
    languages: Mapping[str, frozenset[str]]
    tag_words: Mapping[str, Claim]
    """One-word claims long enough to recognise inside a hashtag."""
    tag_masks: frozenset[str]
    """Idioms run together, as hashtags have them: rubberstamp."""

    def words(self, text: str) -> Words:
        """Cut `text`, already normalised, into words."""
        texts: list[str] = []
        clauses: list[int] = []
        clause = 0
        for token in _TOKEN.findall(_SPACED_DASH.sub(" ; ", text)):
            if token in _BREAKS:
                clause += 1
                continue
            texts.append(self.aliases.get(token, token))
            clauses.append(clause)
        return Words(tuple(texts), tuple(singular(word) for word in texts), tuple(clauses))

    def matches(self, words: Words) -> Iterator[Match]:
        """Every phrase that occurs, overlapping ones too, by position and then the longest first."""
        index = self.index
        for start, (text, stem) in enumerate(zip(words.texts, words.stems, strict=True)):
            for phrase in (*index.get(stem, ()), *index.get("=" + text, ()), *index.get("*", ())):
                end = start + len(phrase.elements)
                if end <= len(words.texts) and _fits(phrase.elements, words, start, end):
                    yield Match(start, end, phrase)


def _fits(elements: tuple[str, ...], words: Words, start: int, end: int) -> bool:
    if words.clauses[start] != words.clauses[end - 1]:
        return False
    for position, element in enumerate(elements[1:], start + 1):
        if element in (words.stems[position], "*") or element == "=" + words.texts[position]:
            continue
        return False
    return True


class _Builder:
    """Collects phrases while the file is read."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.table = table
        self.aliases: dict[str, str] = dict(table["aliases"])
        self.claims: list[Claim] = []
        self.phrases: list[Phrase] = []

    def claim(self, kind: str, name: str, *, always: bool = False) -> Claim:
        self.claims.append(Claim(len(self.claims), kind, name, always))
        return self.claims[-1]

    def add(self, claim: Claim | None, role: Role, phrases: Iterable[str]) -> None:
        for phrase in phrases:
            elements = tuple(self._elements(phrase))
            self.phrases.append(Phrase(elements, role, claim))

    def _elements(self, phrase: str) -> Iterator[str]:
        for word in phrase.replace("-", " ").split():
            if word == "*":
                yield word
            elif word.startswith("="):
                yield "=" + self.aliases.get(word[1:], word[1:])
            else:
                for token in _TOKEN.findall(word):
                    if token not in _BREAKS:
                        yield singular(self.aliases.get(token, token))

    def read(self) -> None:
        self.add(None, "mask", self.table["masks"]["phrases"])
        for name, entry in self.table["claim"].items():
            claim = self.claim(entry["kind"], name)
            self.add(claim, "says", entry["says"])
            self.add(claim, "supports", entry.get("supported_by", ()))
            self.add(claim, "opposes", entry.get("opposed_by", ()))
        for section, always in (("own_words", False), ("policy", False), ("never", True), ("style", True)):
            for kind, phrases in self.table[section].items():
                for phrase in phrases:
                    self.add(self.claim(kind, phrase.replace("=", ""), always=always), "says", [phrase])
        for name, phrases in self.table["origins"].items():
            self.add(self.claim("unsupported_origin", name), "says", phrases)
        self._colours()
        self._materials()

    def _colours(self) -> None:
        for colour, shades in self.table["colours"].items():
            claim = self.claim("unsupported_colour", colour)
            self.add(claim, "says", ["=" + colour])
            self.add(claim, "supports", [colour, colour + "ish", *shades])

    def _materials(self) -> None:
        parents: dict[str, str] = self.table["materials"]
        contexts = self.table["material_contexts"]
        claims = {name: self.claim("unsupported_material", name) for name in parents}
        for name, claim in claims.items():
            self.add(claim, "supports" if name in contexts["bare_no_claim"] else "says", [name])
            parent = parents[name]
            while parent:  # the narrower word supports everything it is a kind of
                self.add(claims[parent], "supports", [name])
                parent = parents[parent]
        for word in contexts["words"]:
            claim = claims.get(word) or self.claim("unsupported_material", word)
            self.add(claim, "supports", [word])
            beside = [f"{word} {noun}" for noun in contexts["nouns"]]
            says = [f"solid {word}", f"{word} wood", *beside]
            self.add(claim, "says", says)
            # "Chestnut" alone is more often a colour or a smell than a wood.
            wood = [word] if word in contexts["woods"] else says if word in contexts["woods_beside"] else []
            for parent in ("wood", "hardwood") if word not in contexts["softwoods"] else ("wood",):
                self.add(claims[parent], "supports", wood)


@cache
def lexicon() -> Lexicon:
    """The lexicon, read once a process. Raises KeyError naming a section that the file lacks."""
    table = tomllib.loads(files("model").joinpath("data/lexicon.toml").read_text(encoding="utf-8"))
    builder = _Builder(table)
    builder.read()
    index: dict[str, list[Phrase]] = defaultdict(list)
    for phrase in builder.phrases:
        index[phrase.elements[0]].append(phrase)
    for found in index.values():
        found.sort(key=lambda phrase: -len(phrase.elements))
    return Lexicon(
        claims=tuple(builder.claims),
        index={key: tuple(found) for key, found in index.items()},
        aliases=builder.aliases,
        sets={name: frozenset(words) for name, words in table["words"].items()},
        labels=tuple(table["structure"]["labels"]),
        domains=tuple(table["structure"]["top_level_domains"]),
        languages={name: frozenset(words) for name, words in table["languages"].items()},
        tag_words=dict(_tag_words(builder.phrases)),
        tag_masks=frozenset("".join(phrase.elements) for phrase in builder.phrases if phrase.role == "mask"),
    )


def _tag_words(phrases: Iterable[Phrase]) -> Iterator[tuple[str, Claim]]:
    for phrase in phrases:
        claim, word = phrase.claim, "".join(phrase.elements).replace("=", "")
        if claim is None or phrase.role != "says" or not claim.kind.startswith("unsupported_"):
            continue
        if len(word) >= TAG_WORD_CHARS_MIN and len(phrase.elements) <= 2:
            yield word, claim
