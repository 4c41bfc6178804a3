"""
Whether a text is whole and readable: repetition, token salad, cut-off endings, leftovers of the prompt, addresses.

Knows the text alone and, where a word is excused by the product, the product's own words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from model.creative import Finding
from model.grounding import ProductView
from model.lexicon import Words, lexicon, normalise

REPEATED_RUN_WORDS = 5
"""Five words twice in one ad text are a loop; four words twice still are rhetoric ("see it in the morning, ...")."""
LOOP_RUN_WORDS = 3
LOOP_TIMES = 3
DISTINCT_SHARE_MIN = 0.5
"""Below this share of different words a text of 16 or more goes round in circles; the least of 74 good ads was 0.75."""
DISTINCT_WORDS_MIN = 16
SALAD_WORDS_MIN = 14
SALAD_FUNCTION_SHARE = 0.08
"""The lowest share of 74 good ads was 0.19, the median 0.44; bare lists of facts have less, and commas instead."""
WORD_CHARS_MAX = 28
"""Longer than any word of an English ad; compounds of other languages stay below it too."""
EMOJI_MAX = 1

_MARKUP = re.compile(
    r"</?[a-z][^>]{0,60}>|<\||\|>|\*\*|__|```|^\s*#{1,4}\s|\]\(|&(?:amp|nbsp|lt|gt|quot|#\d+);|\\n|\\u[0-9a-f]{4}"
    r"|\ufffd|â€|ã[©¨¤¶¼±]"  # lower case: a text is normalised before it is searched
)
_PLACEHOLDER = re.compile(
    r"\{[^}]{0,60}\}|\[[a-z_ ]{2,40}\]|<[a-z_ ]{2,40}>|\b(?:tbd|tba|todo|xxx+|n/a|asdf\w*)\b|\blorem ipsum\b|_{3,}"
    r"|\b(?:your|product|brand|company) name here\b"
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.\w{2,}")
_PHONE = re.compile(
    r"(?<![\w.,])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,5}\)[ .-]?)?\d{3,5}[ .-]\d{3,4}(?:[ .-]\d{3,4})?(?![\w.,]?\d)"
    r"(?! ?(?:mm|cm|m|ml|l|g|kg|w|x)\b)|\+\d{8,14}\b|\b0\d{9,11}\b"
)
_LETTER_RUN = re.compile(r"([^\W\d_])\1{3,}")
_MARK_RUN = re.compile(r"([^\w\s])\1{3,}")
_LOOSE = re.compile(r"\w [.,;](?:\s|$)|\( | \)|\s{3,}|,,|,\.|\.,|;;")
_EMOJI = re.compile("[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55]")
_CAPITALS = re.compile(r"\b[A-Z]{4,}\b")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{6,}|^[bcdfghjklmnpqrstvwxz]{4,}$")
_END = re.compile(r"[.!?…)\"'”’]\s*$")
_ADJACENT_OK = frozenset(
    "bye chop knock night so tick tut very many far long ho had that yum no there choo woof ha boo".split()
)


@cache
def _label() -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(lexicon().labels, key=len, reverse=True))
    anywhere = r"\b(?:headline|call to action|cta|hashtags?)\s?\d?:"
    return re.compile(rf"(?:^|[\n.!?]\s*)(?:\d+[.)]\s*)?(?:{names})\s*\d*\s*:|{anywhere}")


@cache
def _address() -> re.Pattern[str]:
    return re.compile(rf"https?:|www\.|(?<![a-z0-9-])[a-z0-9-]{{3,63}}\.(?:{'|'.join(lexicon().domains)})\b(?!\w)")


def wording_findings(product: ProductView, text: str, field: str) -> Iterator[Finding]:
    """Everything wrong with the form of one text."""
    plain = normalise(text)
    words = lexicon().words(plain)
    yield from _leftovers(product, plain, field)
    if field == "hashtags":
        yield from _bad_tag(text)
        return
    yield from _repetition(product, words, plain, field)
    yield from _salad(product, words, plain, field)
    yield from _ending(words, plain, field)
    yield from _manners(product, text, plain, field)


def _leftovers(product: ProductView, text: str, field: str) -> Iterator[Finding]:
    if label := _label().search(text):
        yield Finding("leftover_label", field, f'"{label[0].strip()}"')
    if found := _PLACEHOLDER.search(text):
        yield Finding("placeholder", field, f'"{found[0]}"')
    elif found := _MARKUP.search(text):
        yield Finding("broken_markup", field, f'"{found[0].strip()}"')
    for pattern in (_EMAIL, _address(), _PHONE):
        found = pattern.search(text)
        if found and re.sub(r"[\s-]", "", found[0]) not in product.compact:
            yield Finding("contact_leak", field, f'"{found[0]}"')
            return


def _bad_tag(tag: str) -> Iterator[Finding]:
    if not re.fullmatch(r"#[^\W_][\w]*", tag) or tag[1:].isdigit():
        yield Finding("malformed_hashtag", "hashtags", f'"{tag}"')


def _repetition(product: ProductView, words: Words, text: str, field: str) -> Iterator[Finding]:
    run = _repeated_run(words) or _stutter(product, words)
    if run is None and (marks := _LETTER_RUN.search(text) or _MARK_RUN.search(text)):
        run = marks[0][:12]
    if run is None and len(words.texts) >= DISTINCT_WORDS_MIN:
        share = len(set(words.texts)) / len(words.texts)
        if share < DISTINCT_SHARE_MIN:
            run = Counter(words.texts).most_common(1)[0][0]
    if run is not None:
        yield Finding("repetition", field, f'"{run}" comes again and again')


def _repeated_run(words: Words) -> str | None:
    texts = words.texts
    for size, times in ((REPEATED_RUN_WORDS, 2), (LOOP_RUN_WORDS, LOOP_TIMES)):
        if len(texts) < size + times - 1:
            continue
        runs = Counter(texts[i : i + size] for i in range(len(texts) - size + 1))
        for run, count in runs.most_common(3):
            if count < times:
                break
            if not all(word.isdigit() for word in run) and not (size < REPEATED_RUN_WORDS and _is_triple(words, run)):
                return " ".join(run)
    return None


def _is_triple(words: Words, run: tuple[str, ...]) -> bool:
    """As in "one for the bun, one for the wrist, one for the bag": grammar alone, once a clause, with another end."""
    if not lexicon().sets["function_words"].issuperset(run):
        return False
    texts, clauses = words.texts, words.clauses
    at = [i for i in range(len(texts) - len(run)) if texts[i : i + len(run)] == run]
    following = {texts[i + len(run)] for i in at}
    return len(at) <= LOOP_TIMES + 1 and len({clauses[i] for i in at}) == len(at) == len(following)


def _stutter(product: ProductView, words: Words) -> str | None:
    """The same word twice in a row where English does not do it, or three times anywhere in a clause."""
    texts, clauses = words.texts, words.clauses
    doubled = 0
    for i in range(1, len(texts)):
        same = texts[i] == texts[i - 1] and clauses[i] == clauses[i - 1] and texts[i][0].isalpha()
        doubled = doubled + 1 if same else 0
        excused = texts[i] in _ADJACENT_OK or texts[i] * 2 in product.compact  # pom-pom, ylang-ylang
        if doubled >= 2 or (doubled == 1 and not excused):
            return f"{texts[i]} {texts[i]}"
    content = Counter(text for text in texts if len(text) > 2 and text not in lexicon().sets["function_words"])
    most = content.most_common(1)
    if most and most[0][1] >= 4 and most[0][1] * 5 >= len(texts) and not _is_list(words, most[0][0]):
        return most[0][0]
    return None


def _is_list(words: Words, word: str) -> bool:
    """As in "bank card, travel card, staff card": each in a clause of its own, behind another word."""
    at = [i for i, text in enumerate(words.texts) if text == word]
    before = {words.texts[i - 1] if i and words.clauses[i - 1] == words.clauses[i] else "" for i in at}
    return len({words.clauses[i] for i in at}) == len(at) == len(before)


def _salad(product: ProductView, words: Words, text: str, field: str) -> Iterator[Finding]:
    letters = sum(map(str.isalpha, text))
    if letters == 0 and not any(map(str.isdigit, text)):
        yield Finding("gibberish", field, "no words in it")
        return
    symbols = sum(not (character.isalnum() or character.isspace()) for character in text)
    latin = [word for word in words.texts if word.isascii() and word.isalpha()]
    odd = [word for word in latin if len(word) > WORD_CHARS_MAX or _CONSONANTS.search(word)]
    odd = [word for word in odd if word not in product.compact]
    if len(odd) >= 2 or (odd and len(odd) * 4 >= len(words.texts)) or any(len(word) > WORD_CHARS_MAX for word in odd):
        yield Finding("gibberish", field, f'"{odd[0][:30]}"')
    elif symbols > 0.35 * len(text) and len(text) > 6:
        yield Finding("gibberish", field, "more signs than letters")
    elif len(latin) >= SALAD_WORDS_MIN and product.language.name in ("", "english"):
        function = sum(word in lexicon().sets["function_words"] for word in latin)
        pauses = words.clauses[-1]
        if function < SALAD_FUNCTION_SHARE * len(latin) and pauses * 6 < len(latin):
            yield Finding("gibberish", field, "words without a sentence")


def _ending(words: Words, text: str, field: str) -> Iterator[Finding]:
    if not words.texts:
        return
    ended = bool(_END.search(text)) or bool(_EMOJI.search(text[-2:]))
    last, sets = words.texts[-1], lexicon().sets
    stripped = text.rstrip()
    if stripped.endswith((",", ";", ":", "-", "–", "—", "&", "(", "/")) or text.count("(") > text.count(")"):
        yield Finding("truncated", field, f'stops on "{stripped[-12:]}"')
    elif last in sets["dangling"] and not stripped.endswith(("!", "?", '"')):
        yield Finding("truncated", field, f'stops on "{last}"')
    elif field == "body" and not ended:
        if last in sets["dangling_in_body"]:
            yield Finding("truncated", field, f'stops on "{last}"')
        elif len(words.texts) >= 8 and "#" not in text[-30:]:
            yield Finding("unfinished_sentence", field, f'no full stop after "{last}"')


def _manners(product: ProductView, text: str, plain: str, field: str) -> Iterator[Finding]:
    if found := _LOOSE.search(plain):
        yield Finding("loose_punctuation", field, f'"{found[0].strip()}"')
    loud = [word for word in _CAPITALS.findall(text) if word.lower() not in product.compact]
    if len(loud) >= 2 or plain.count("!") > 1 or re.search(r"[!?]{2,}", plain):
        yield Finding("shouting", field, f'"{loud[0] if len(loud) >= 2 else "!"}"')


def emoji_count(text: str) -> int:
    """How many emoji a text holds; flags and joined emoji count by their parts."""
    return 0 if text.isascii() else len(_EMOJI.findall(text))
