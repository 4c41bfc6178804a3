"""
From what the model wrote for each field to a copy that its channel accepts.

Cuts on word and sentence boundaries, drops what the product does not support or joins otherwise, fills the gaps from
what the model wrote beside it, and lets the product's own words stand in where nothing is left. Knows no tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from model.attachment import RowClauses, clause_stems, loose, row_clauses
from model.channel import ChannelSpec, FieldSpec
from model.creative import Copy
from model.grounding import ProductView, view
from model.lexicon import lexicon, singular
from model.product import Product
from model.validity import CRITICAL, GROUNDING, STRUCTURAL, assess, text_findings

Written = Mapping[str, Sequence[tuple[str, bool]]]
"""Field name to its texts, each with whether the model ended it itself."""

DANGLING = frozenset(
    "a an and are as at be but by for from has have if in into is it its no not of on or our than that the their this"
    " to up was were when where which with without you your".split()
)
"""English words that a text does not end on."""
PLAIN_ACTIONS = ("See the details", "Take a closer look", "Look at it up close")
"""Claim nothing, so they stand in for any call to action or headline."""
STAND_IN_WORDS_MIN = 5
"""A shorter sentence of a description says too little to be a body."""
STAND_INS_TRIED = 12
"""Beginnings tried for a copy of the product's own words before the last is taken as it is."""
PLAIN_BODIES = ("See the details before you decide.", "Take a closer look at it.")
CLOSING = (".", "!", "?", "…")
SENTENCE_END = re.compile(r"(?<=[.!?…])(?<!\b[Mm]ax\.)(?<!\b[Mm]in\.)(?<!\b[Aa]pprox\.)[\"'”’)]*\s+")
WORD = re.compile(r"[^\W_]+", re.UNICODE)
QUOTES = "\"'“”‘’"
OPENING_QUOTE = re.compile(rf"(?:^|(?<=[\s(]))[{QUOTES}](?=\w)")
CLOSING_QUOTE = re.compile(rf"(?<=\w)[{QUOTES}](?=\W|$)")
TAG_WORD_CHARS_MIN = 3
LEANING = frozenset("they these those both their".split())
"""A sentence that begins so says nothing without the one before it."""
PRONOUNS = LEANING | {"it", "its", "this", "that"}
TERSE_WORDS = 8
"""A body of fewer takes in a sentence of the product's own."""
READER = frozenset("you your yours yourself".split())
PREPOSITION = re.compile(r"[,.;:]| (?:in|of|with|for|from|on|at|by) ")
BARE_WORDS_MAX = 3
ARTICLES = frozenset("a an the".split())
CLAUSE_WORDS = range(2, 7)
"""Words of a clause of the description that may be a headline."""
SERIOUS = CRITICAL | GROUNDING
"""Findings that cost a sentence its place; matters of style only lower the score."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What every field of one copy is made for."""

    product: Product
    spec: ChannelSpec
    clauses: RowClauses | None = None
    """To see by what hangs together; None for rows that are not in English, the language of what is written."""
    spares: Sequence[Written] = ()
    bodies: frozenset[str] = frozenset()
    """Folded: a headline has to differ from them."""
    stand_ins_skipped: int = 0
    """How many of the best stand-ins for a body to pass over."""

    def sound(self, text: str, field: str) -> bool:
        return _is_sound(self.product, text, field)

    def attached(self, text: str, field: str) -> bool:
        return self.clauses is None or _is_attached(self.product, text, field)

    def structural(self, words: Copy) -> bool:
        return any(finding.kind in STRUCTURAL for finding in assess(self.product, words, self.spec).findings)


@lru_cache(maxsize=4096)
def _is_sound(product: Product, text: str, field: str) -> bool:
    """Cached, since each of 32 candidates may ask about the sentences of all others."""
    return not any(finding.kind in SERIOUS for finding in text_findings(view(product), text, field))


@lru_cache(maxsize=4096)
def _is_attached(product: Product, text: str, field: str) -> bool:
    clauses = row_clauses(product)
    torn = clauses.is_torn_off(text) or _has_open_quote(text)
    return not torn and not any(loose(clauses, text, field))


def finish(
    written: Written, product: Product, facts: ProductView, spec: ChannelSpec, spares: Sequence[Written] = ()
) -> tuple[Copy, tuple[str, ...]]:
    """
    Make a copy within every limit of `spec`, and say in a short sentence each what had to be mended.

    `spares` are the other candidates for the same product: what is cut from this one is made up from them. Where the
    model's words do not add up to an ad (too short, looping, cut off), the product's own replace them all.
    """
    english = facts.language.main_script == "latin" and facts.language.name in ("", "english")
    case = _Case(product, spec, row_clauses(product) if english else None, spares)
    words, repairs = _assemble(written, case)
    if case.structural(words):
        words = _own_words(case)
        return words, ("creative: the product's own words stand in for all of it",)
    if less := _less_copied(words, case):
        return less, (*repairs, "body: a sentence was cut, too much of it was the description's")
    return words, repairs


def _less_copied(words: Copy, case: _Case) -> Copy | None:
    """The copy with one sentence fewer in a body, where that ends a long run of the description's words."""
    found = {finding.kind for finding in assess(case.product, words, case.spec).findings}
    if "echo" not in found:
        return None
    for place, body in enumerate(words.bodies):
        sentences = split_sentences(body)
        for cut in reversed(range(len(sentences) if len(sentences) > 1 else 0)):
            shorter = " ".join((*sentences[:cut], *sentences[cut + 1 :]))
            other = replace(words, bodies=(*words.bodies[:place], shorter, *words.bodies[place + 1 :]))
            if {finding.kind for finding in assess(case.product, other, case.spec).findings} <= found - {"echo"}:
                return other
    return None


def _own_words(case: _Case) -> Copy:
    """An ad of stand-ins alone: begins with the best of them, and with a later one where that makes no whole ad."""
    copies = (_assemble({}, replace(case, stand_ins_skipped=skipped))[0] for skipped in range(STAND_INS_TRIED))
    words = next(copies)
    for other in copies:
        if not case.structural(words):
            break
        words = other
    return words


def _assemble(written: Written, case: _Case) -> tuple[Copy, tuple[str, ...]]:
    repairs: list[str] = []
    texts: dict[str, tuple[str, ...]] = {}
    for limits in sorted(case.spec.fields, key=lambda limits: limits.name != "body"):
        make = _hashtags if limits.name == "hashtags" else _texts
        texts[limits.name] = make(written.get(limits.name, ()), case, limits, repairs)
        if limits.name == "body":
            case = replace(case, bodies=frozenset(map(_fold, texts["body"])))
    words = Copy(
        headlines=texts.get("headline", ()),
        bodies=texts.get("body", ()),
        call_to_action=next(iter(texts.get("call_to_action", ())), ""),
        hashtags=texts.get("hashtags", ()),
    )
    return words, tuple(repairs)


def _texts(written: Sequence[tuple[str, bool]], case: _Case, limits: FieldSpec, repairs: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for raw, complete in written:
        text = _mended(raw, case, limits, kept, repairs, complete=complete)
        if text and _is_new(text, kept, case, limits):
            kept.append(text)
        elif text:
            repairs.append(f"{limits.name}: a repeated text was dropped")
    spares = _spares(case, limits, kept) if len(kept) < len(written) else ()
    for others, count, whose in (
        (spares, len(written), "another candidate's words stand in"),
        (_stand_ins(case, limits), limits.count_min, "the product's own words stand in"),
    ):
        for text in others:
            if len(kept) >= count:
                break
            if _is_new(text, kept, case, limits):
                kept.append(text)
                repairs.append(f"{limits.name}: {whose}")
    return tuple(kept)


def _is_new(text: str, kept: Sequence[str], case: _Case, limits: FieldSpec) -> bool:
    if limits.name == "body":
        return not _says_again(text, kept) and _fold(text) not in map(_fold, kept)
    return _fold(text) not in {*map(_fold, kept), *case.bodies}


def _mended(
    raw: str, case: _Case, limits: FieldSpec, said: Sequence[str], repairs: list[str], *, complete: bool
) -> str:
    """What is left of one text: within its limits, supported, joined as the product joins it, and not `said` before."""
    whole = tidy(raw)
    text = fit(whole, limits, case.spec.length, complete=complete)
    if text and not complete:
        repairs.append(f"{limits.name}: cut at the limit")  # may miss the words that made sense of it
    if limits.name == "headline" and case.clauses is not None and (not complete or len(text) < len(whole.rstrip("."))):
        text = _ended(text, case.clauses)
    return _attached(_supported(text, case, limits.name, repairs), case, limits, said, repairs)


def _ended(headline: str, clauses: RowClauses) -> str:
    """A headline that was cut, back to where it ends as a clause of the product does: no "Sesame paste from hulled"."""
    while headline and not clauses.ends_as(headline):
        headline = headline.rpartition(",")[0].rstrip()
    return headline


def _supported(text: str, case: _Case, field: str, repairs: list[str]) -> str:
    """`text` without the sentences that have a finding of their own."""
    sentences = split_sentences(text)
    sound = [sentence for sentence in sentences if case.sound(sentence, field)]
    if len(sound) < len(sentences):
        repairs.append(f"{field}: {len(sentences) - len(sound)} of {len(sentences)} sentences were cut")
    return " ".join(sound)


def _attached(text: str, case: _Case, limits: FieldSpec, said: Sequence[str], repairs: list[str]) -> str:
    """`text` without sentences that join facts as the product does not or say nothing new; others fill the gap."""
    sentences = [_bared(sentence, case) if limits.name == "body" else sentence for sentence in split_sentences(text)]
    kept: list[str] = []
    cut = False
    for sentence in sentences:
        leans = cut and _first_word(sentence) in LEANING
        cut = leans or not case.attached(sentence, limits.name)
        empty = limits.name == "body" and (sentence.rstrip(".").isalpha() or _says_again(sentence, (*said, *kept)))
        if not cut and not empty:
            kept.append(sentence)
    if len(kept) == len(sentences):
        return " ".join(kept)
    repairs.append(f"{limits.name}: {len(sentences) - len(kept)} of {len(sentences)} sentences joined facts anew")
    if kept and limits.name == "body":
        for spare in _spare_sentences(case, limits, kept):
            if len(kept) == len(sentences):
                break
            longer = " ".join((*kept, spare))
            if case.spec.length(longer) <= limits.chars_budget and _adds(spare, (*said, *kept)):
                kept.append(spare)
    return " ".join(kept)


def _bared(sentence: str, case: _Case) -> str:
    """A clause of the product's that got a wrong article, without it: "The heel 5 cm.", "A padded dividers"."""
    article, _, rest = sentence.partition(" ")
    if article.lower() not in ARTICLES or case.clauses is None or not case.clauses.is_clause(rest):
        return sentence
    noun = PREPOSITION.split(rest)[0].strip(" .,")
    plural = article.lower() != "the" and noun.endswith("s") and not noun.endswith(("ss", "us"))
    if plural or len(rest.split()) <= BARE_WORDS_MAX:
        return rest[:1].upper() + rest[1:]
    return sentence


def _says_again(sentence: str, said: Sequence[str]) -> bool:
    """Whether all of it has been said: "The engraved numbers are 1 to 5." after "engraved with its number, 1 to 5"."""
    stems = clause_stems(sentence)
    return bool(stems) and stems <= frozenset().union(*map(clause_stems, said))


def _adds(sentence: str, said: Sequence[str]) -> bool:
    """Whether at least half of the longer words of `sentence` have not been said."""
    words = {word for word in WORD.findall(sentence.casefold()) if len(word) > TAG_WORD_CHARS_MIN}
    new = words.difference(*(WORD.findall(other.casefold()) for other in said))
    return 2 * len(new) >= len(words) > 0


def _spare_sentences(case: _Case, limits: FieldSpec, kept: Sequence[str]) -> Iterator[str]:
    """Good sentences of the other candidates that stand on their own; then, for a very short body, the product's."""
    theirs = (sentence for text in _spares(case, limits, ()) for sentence in split_sentences(text))
    own = map(tidy, _plainest(case.product))
    yield from (sentence for sentence in theirs if _first_word(sentence) not in PRONOUNS)
    for sentence in own:
        if len(" ".join(kept).split()) >= TERSE_WORDS:
            return
        if _first_word(sentence) not in PRONOUNS and case.sound(sentence, limits.name):
            yield sentence


def _spares(case: _Case, limits: FieldSpec, said: Sequence[str]) -> Iterator[str]:
    """What is left of the other candidates' texts for this field, in their order; `said` is read as it grows."""
    alone = replace(case, spares=())
    for other in case.spares:
        for raw, complete in other.get(limits.name, ()):
            if text := _mended(raw, alone, limits, said, [], complete=complete):
                yield text


def _has_open_quote(text: str) -> bool:
    return len(OPENING_QUOTE.findall(text)) != len(CLOSING_QUOTE.findall(text))


def _first_word(sentence: str) -> str:
    return next(iter(WORD.findall(sentence.casefold())), "")


def _stand_ins(case: _Case, limits: FieldSpec) -> Iterator[str]:
    """Texts made of the product's own words, best first; the last ones always fit and claim nothing."""
    product = case.product
    if limits.name == "call_to_action":
        candidates: Iterable[str] = PLAIN_ACTIONS
    elif limits.name == "headline":
        named = (product.title, product.title.partition(",")[0])
        general = product.category.rpartition(">")[2].strip()
        candidates = (*named, *_short_clauses(product.description), general, *PLAIN_ACTIONS)
    else:
        sentences = [part for part in _plainest(product) if len(part.split()) >= STAND_IN_WORDS_MIN]
        pairs = [" ".join(pair) for pair in pairwise(sentences)]
        titled = [f"{product.title}. {text}" for text in (*sentences[:1], *PLAIN_BODIES, " ".join(PLAIN_BODIES))]
        own = (*pairs[:1], *sentences, *pairs[1:], *titled)
        whole_first = sorted(own, key=lambda text: case.spec.length(text) > limits.chars_budget)
        # The last two are never passed over: they are what always fits.
        candidates = (*whole_first[min(case.stand_ins_skipped, len(own)) :], *PLAIN_BODIES)
    plain = {*PLAIN_ACTIONS, *PLAIN_BODIES}
    for candidate in candidates:
        text = fit(tidy(candidate), limits, case.spec.length, complete=True)
        if limits.name == "headline" and case.clauses is not None and case.spec.length(candidate) > limits.chars_budget:
            text = _ended(text, case.clauses)
        if text and not _has_open_quote(text) and (candidate in plain or case.sound(text, limits.name)):
            yield text


def _plainest(product: Product) -> list[str]:
    """The sentences of a description in their order, those that speak to the reader or shout after the others."""
    sentences = split_sentences(product.description)
    return sorted(
        sentences, key=lambda text: text.endswith("!") or bool(READER.intersection(WORD.findall(text.lower())))
    )


def _short_clauses(description: str) -> Iterator[str]:
    """Clauses of a description that say something by themselves: "Solid beech", "25 cm rolling width"."""
    for sentence in split_sentences(description):
        for clause in re.split(r"[,;:](?=\s)(?!\s\d)", sentence.rstrip("".join(CLOSING))):
            words = clause.split()
            if len(words) in CLAUSE_WORDS and words[0].lower() not in DANGLING | PRONOUNS:
                yield " ".join((words[0][:1].upper() + words[0][1:], *words[1:]))


def _hashtags(
    written: Sequence[tuple[str, bool]], case: _Case, limits: FieldSpec, repairs: list[str]
) -> tuple[str, ...]:
    """Hashtags that share a word with the product and are spelt of words, filled up from its title and category."""
    facts = [word.lower() for word in WORD.findall(case.product.facts())]
    words = [word for word in facts if len(word) > TAG_WORD_CHARS_MIN]
    spelt = lexicon().sets["tag_words"].union(*(_forms(word) for word in facts if len(word) > 1))
    kept: dict[str, None] = {}
    for raw, complete in written:
        chunks = raw.replace("#", " ").split()
        for chunk in chunks if complete else chunks[:-1]:
            tag = "#" + "".join(WORD.findall(chunk.lower()))
            tied = any(word in tag for word in words) and _is_spelt_of(spelt, tag[1:])
            if tied and case.sound(tag, limits.name):
                kept[tag] = None
    fitting = [tag for tag in kept if 1 < case.spec.length(tag) <= limits.chars_budget][: limits.count_written]
    if len(fitting) < limits.count_min:
        repairs.append("hashtags: taken from the product's title and category")
        fitting = list(_title_tags(case.product, case.spec.length, limits))[: limits.count_min]
    return tuple(fitting)


def _forms(word: str) -> set[str]:
    """A product's word as a hashtag may have it: singular, plural, or as what one does with it."""
    stem = singular(word)
    return {word, stem, f"{stem}s", f"{stem}es", f"{stem}ing", f"{stem.removesuffix('e')}ing"}


def _is_spelt_of(words: AbstractSet[str], tag: str) -> bool:
    """Whether `tag` is a run of whole words: #recycledpestory is not, however much of it is the product's."""
    reached = [True]
    for end in range(1, len(tag) + 1):
        reached.append(any(reached[start] and tag[start:end] in words for start in range(end)))
    return reached[-1]


def _title_tags(product: Product, length: Callable[[str], int], limits: FieldSpec) -> Iterator[str]:
    for text in (product.category.rpartition(">")[2], *product.title.split(), product.sku, "product"):
        tag = "#" + "".join(WORD.findall(text.lower()))
        if len(tag) > TAG_WORD_CHARS_MIN and length(tag) <= limits.chars_budget and not tag[1:].isdigit():
            yield tag


def tidy(text: str) -> str:
    """One line of plain text: no markup, no labels, no quotes around it, white space folded."""
    visible = "".join(" " if unicodedata.category(char).startswith("C") else char for char in text)
    return _unquoted(" ".join(visible.split()).strip(" *_`|~#-–—"))


def _unquoted(text: str) -> str:
    """Without quotes around the whole of it, nor one at an end that has no partner: "Table 'Oru'" keeps both."""
    if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES and not set(text[1:-1]) & set(QUOTES):
        return text[1:-1].strip()
    if text[:1] and text[0] in QUOTES and not CLOSING_QUOTE.search(text, 1):
        text = text[1:]
    if text[-1:] and text[-1] in QUOTES and not OPENING_QUOTE.search(text[:-1]):
        text = text[:-1]
    return text.strip()


def fit(text: str, limits: FieldSpec, length: Callable[[str], int], *, complete: bool) -> str:
    """
    Cut `text` to the field's budget, measured by `length`, on a sentence boundary for bodies and a word boundary else.

    A text that the model did not end itself (`complete` false) is cut back to its last whole sentence or word too.
    """
    within = length(text) <= limits.chars_budget
    if not text or (within and complete):
        return _closed(text, limits) if text else ""
    head = text if within else _head(text, limits.chars_budget, length)
    if limits.name == "body":
        whole = split_sentences(head)
        if len(whole) > 1 and not head.rstrip().endswith(CLOSING):
            return " ".join(whole[:-1])
    if not head.rstrip().endswith(CLOSING):
        head = head.rpartition(" ")[0] or head
    return _closed(head, limits)


def _head(text: str, chars_max: int, length: Callable[[str], int]) -> str:
    """The longest run of whole words within `chars_max`; a single longer word is cut hard."""
    head = ""
    for word in text.split(" "):
        longer = f"{head} {word}" if head else word
        if length(longer) > chars_max:
            break
        head = longer
    while not head and text and length(text) > chars_max:
        text = text[:-1]
    # The extra blank marks for fit() that `head` ends on a whole word.
    return f"{head} " if head else text


def _closed(text: str, limits: FieldSpec) -> str:
    """Drop what a text does not end on: dangling words, commas; bodies end with a full stop where one fits."""
    words = text.rstrip(" ,;:-–—&/(").split(" ")
    while len(words) > 1 and words[-1].lower().strip(",;:-–—&/(") in DANGLING:
        words.pop()
    closed = " ".join(words).rstrip(" ,;:-–—&/(")
    if limits.name == "body" and closed and closed[-1].isalnum() and len(closed) < limits.chars_budget:
        closed += "."
    return closed


def split_sentences(text: str) -> list[str]:
    """Split after ., !, ? and … where white space follows; decimals and "2.5 l" stay whole."""
    return [sentence for sentence in SENTENCE_END.split(text.strip()) if sentence]


def _fold(text: str) -> str:
    return " ".join(WORD.findall(text.casefold()))
