"""
Which language and script a text is in, by counting function words and letters.

Tells a handful of languages of one script apart, and only when a few of their function words occur.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from model.lexicon import lexicon

FUNCTION_WORDS_MIN = 3
"""Fewer than this many words of a foreign language prove nothing: "La Table de Luc" is an English ad too."""

# First code point of a run of letters -> its script. Marks and symbols in between do no harm: only letters are asked.
_SCRIPTS = (
    (0x0000, "latin"), (0x0370, "greek"), (0x0400, "cyrillic"), (0x0530, "armenian"), (0x0590, "hebrew"),
    (0x0600, "arabic"), (0x0900, "indic"), (0x0E00, "thai"), (0x0E80, "other"), (0x10A0, "georgian"),
    (0x1100, "hangul"), (0x1200, "other"), (0x1E00, "latin"), (0x1F00, "greek"), (0x2C00, "other"),
    (0x3040, "kana"), (0x3130, "hangul"), (0x3400, "han"), (0xA000, "other"), (0xAC00, "hangul"),
    (0xD800, "other"), (0xF900, "han"), (0xFB00, "latin"), (0xFB1D, "hebrew"), (0xFB50, "arabic"),
    (0xFF00, "latin"), (0xFF66, "kana"), (0x10000, "other"), (0x20000, "han"),
)  # fmt: skip
_TOGETHER = {"kana": "japanese or chinese", "han": "japanese or chinese"}


@dataclass(frozen=True, slots=True)
class Language:
    """What a text is written in."""

    scripts: frozenset[str]
    main_script: str
    """The script of most letters; empty for a text without letters."""
    name: str
    """A language of the lexicon; empty where too few function words tell."""


def script_of(character: str) -> str:
    """The script of one letter."""
    point, found = ord(character), "latin"
    for first, script in _SCRIPTS:
        if point < first:
            break
        found = script
    return _TOGETHER.get(found, found)


def letters_by_script(text: str) -> Counter[str]:
    """How many letters of each script."""
    if text.isascii():
        return Counter(latin=sum(map(str.isalpha, text)))
    return Counter(script_of(character) for character in text if character.isalpha())


def identify(text: str) -> Language:
    """The script and, if it shows, the language of a normalised text."""
    letters = +letters_by_script(text)
    main = letters.most_common(1)[0][0] if letters else ""
    # Counted over different words, so that one loop of "en en en" is no language.
    words = set(lexicon().words(text).texts)
    counts = {name: len(words & marks) for name, marks in lexicon().languages.items()}
    english = counts.pop("english")
    best = max(counts, key=lambda name: counts[name])
    name = "english" if english else ""
    if counts[best] >= FUNCTION_WORDS_MIN and counts[best] > english:
        name = best
    return Language(frozenset(letters), main, name)


def foreign_letters(text: str, allowed: Language) -> int:
    """Letters of scripts that the product's own text does not use; Latin is always allowed."""
    if text.isascii():
        return 0
    counts = letters_by_script(text)
    return sum(number for script, number in counts.items() if script not in allowed.scripts and script != "latin")
