"""
What is measured of a product that comes in and of an ad that goes out: the ad writer's own part of drift.

Knows no statistics and no stores. A record that is none raises `BadRecordError`.
"""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.language import script_of
from model.lexicon import lexicon
from model.validity import FINDINGS, factor
from pipelines.drift.columns import Column, Floats, Measured, Table, WordsMaker
from pipelines.drift.trigrams import digits_and_trigrams, distances

COLUMNS: tuple[Column, ...] = (
    Column("title_chars", "input", "characters of the title", 2),
    Column("title_words", "input", "words of the title", 0.5),
    Column("description_chars", "input", "characters of the description", 15),
    Column("description_words", "input", "words of the description", 3),
    Column("digit_share", "input", "digits among the characters of both", 0.005),
    Column("unknown_word_share", "input", "words of both that the reference's yardstick does not know", 0.02),
    Column("embedding_distance", "input", "1 - cosine to the yardstick's mean vector of hashed trigrams", 0.01),
    Column("price_log10", "input", "order of magnitude of the price; 0.05 is a change of 12 %", 0.05),
    Column("price_given", "input", "whether there is a price"),
    Column("category", "input", "category, the yardstick's most frequent by name"),
    Column("language", "input", "language by its function words, or else the script"),
    Column("channel", "output", "channel the ad is for"),
    Column("validity", "output", "validity, 0 to 1", 0.02),
    Column("findings", "output", "findings of an ad", 0.05),
    Column("worst_finding", "output", "kind of the finding that costs most"),
    Column("ad_chars", "output", "characters of all texts of an ad", 10),
    Column("distinct_words", "output", "different words of an ad", 1.5),
)
CATEGORIES_MAX = 50
"""Merchants write what they like into a category; the rest are one."""
VOCABULARY_WORDS_MAX = 50_000
YARDSTICK_TEXTS_MAX = 50_000
"""The vocabulary of more products is not another one, and costs memory."""
RECENT_REQUESTS = 1024
"""Creatives of one request stand close together in the log; so many requests may be between them."""
TEXTS_AT_ONCE = 2048
NONE, OTHER = "(none)", "(other)"

_WORD = re.compile(r"[^\W\d_]+")
_AMOUNT = re.compile(r"\d+(?:[., ]\d+)*")
_FOREIGN_LETTERS_MIN = 10
_SCRIPT_CHARS = 200


class BadRecordError(ValueError):
    """A line of the log, or of a snapshot, that cannot be read."""


class ProductSeen(msgspec.Struct, gc=False):
    title: str
    digest: str = ""
    description: str = ""
    category: str = ""
    price: str = ""


class Record(msgspec.Struct, gc=False):
    """What of a line of the generation log is looked at."""

    time: str
    product: ProductSeen
    channel: str
    validity: Annotated[float, msgspec.Meta(ge=0, le=1)]
    findings: list[str]
    headlines: list[str]
    descriptions: list[str]
    call_to_action: str = ""
    request_id: str = ""
    batch_id: str = ""
    bundle_digest: str = ""


class _Moment(msgspec.Struct, gc=False):
    time: str


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What texts are held against: made from one stretch of records, so that no other is known from itself."""

    vocabulary: frozenset[str]
    centroid: tuple[float, ...]
    categories: frozenset[str]


_record = msgspec.json.Decoder(Record)
_product = msgspec.json.Decoder(ProductSeen)
_moment = msgspec.json.Decoder(_Moment)


def record_of(line: bytes) -> Record:
    """One line of the generation log. Raises BadRecordError."""
    try:
        return _record.decode(line)
    except msgspec.MsgspecError as error:
        raise BadRecordError("a line of the log is no record") from error


def product_of(line: bytes) -> ProductSeen:
    """One line of a snapshot. Raises BadRecordError."""
    try:
        return _product.decode(line)
    except msgspec.MsgspecError as error:
        raise BadRecordError("a line of the snapshot is no product") from error


def moment_of(line: bytes) -> str:
    """When a record was made, as it says. Raises BadRecordError."""
    try:
        return _moment.decode(line).time
    except msgspec.MsgspecError as error:
        raise BadRecordError("a line of the log is no record") from error


@dataclass(slots=True)
class YardstickMaker:
    """Counts words and trigrams of different products."""

    texts_of_word_min: int = 1
    """2 where the same products will be measured: a word of one product alone is then known from itself."""
    _seen: set[str] = field(default_factory=set)
    _words: Counter[str] = field(default_factory=Counter)
    _categories: Counter[str] = field(default_factory=Counter)
    _texts: list[str] = field(default_factory=list)
    _total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))

    def add(self, product: ProductSeen) -> None:
        """Each product counts once, and only so many of them."""
        key = product.digest or f"{product.title}\n{product.description}"
        if key in self._seen or len(self._seen) >= YARDSTICK_TEXTS_MAX:
            return
        self._seen.add(key)
        text = _text(product)
        self._words.update(set(_WORD.findall(text)))
        self._categories[product.category] += 1
        self._texts.append(text)
        if len(self._texts) == TEXTS_AT_ONCE:
            self._flush()

    def made(self) -> Yardstick:
        """Raises ValueError where nothing was added."""
        self._flush()
        length = float(np.linalg.norm(self._total))
        if not length:
            raise ValueError("there is no product to make a yardstick from")
        known = sorted(self._words.items(), key=lambda item: (-item[1], item[0]))[:VOCABULARY_WORDS_MAX]
        often = sorted(self._categories.items(), key=lambda item: (-item[1], item[0]))[:CATEGORIES_MAX]
        return Yardstick(
            frozenset(word for word, count in known if count >= self.texts_of_word_min),
            tuple(np.round(self._total / length, 6).tolist()),
            frozenset(name for name, _ in often if name),
        )

    def _flush(self) -> None:
        if self._texts:
            self._total = self._total + digits_and_trigrams(self._texts)[1].sum(axis=0, dtype=np.float64)
            self._texts.clear()


class Measurer:
    """Takes records or products one by one; keeps a few bytes of each."""

    def __init__(self, yardstick: Yardstick) -> None:
        self._yardstick = yardstick
        self._centroid = np.array(yardstick.centroid, np.float32)
        self._numbers: dict[str, list[float]] = {column.name: [] for column in COLUMNS if column.is_number}
        self._words = {column.name: WordsMaker() for column in COLUMNS if not column.is_number}
        self._whole: dict[str, list[Floats]] = {name: [] for name in self._numbers}
        self._texts: list[str] = []
        self._chars: list[int] = []
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._cost = {kind: factor(kind) for kind in FINDINGS}
        self._languages = [(name, frozenset(marks)) for name, marks in sorted(lexicon().languages.items())]
        self._marks = frozenset[str]().union(*(marks for _, marks in self._languages))
        self.finding_counts: Counter[str] = Counter()
        self.bundles: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """A creative, and its product unless the request brought it before."""
        key = (record.request_id or record.batch_id, record.product.digest)
        if key in self._recent:
            self._recent.move_to_end(key)
        else:
            self._recent[key] = None
            if len(self._recent) > RECENT_REQUESTS:
                self._recent.popitem(last=False)
            self.add_product(record.product)
        self._add_output(record)

    def add_product(self, product: ProductSeen) -> None:
        """What came in."""
        text, numbers, words = _text(product), self._numbers, self._words
        found = _WORD.findall(text)
        numbers["title_chars"].append(len(product.title))
        numbers["title_words"].append(product.title.count(" ") + 1)
        numbers["description_chars"].append(len(product.description))
        numbers["description_words"].append(product.description.count(" ") + bool(product.description))
        known = sum(map(self._yardstick.vocabulary.__contains__, found))
        numbers["unknown_word_share"].append(1 - known / len(found) if found else math.nan)
        price = price_log10(product.price)
        numbers["price_log10"].append(price)
        words["price_given"].append("no" if math.isnan(price) else "yes")
        words["category"].append(self._category(product.category))
        words["language"].append(self._language(text, found))
        self._texts.append(text)
        self._chars.append(len(text))
        if len(self._texts) == TEXTS_AT_ONCE:
            self._flush()

    def table(self) -> Measured:
        """Everything so far, by side; a side that nothing was added to has no rows."""
        self._flush()
        made: dict[str, Floats] = {
            name: np.concatenate(parts) if parts else np.empty(0, np.float32) for name, parts in self._whole.items()
        }
        return {"input": self._side("input", made), "output": self._side("output", made)}

    def _side(self, side: str, made: Mapping[str, Floats]) -> Table:
        columns = [column for column in COLUMNS if column.side == side]
        words = {column.name: self._words[column.name].made() for column in columns if not column.is_number}
        numbers = {column.name: made[column.name] for column in columns if column.is_number}
        return Table(numbers, words, len(next(iter(words.values())).codes))

    def _add_output(self, record: Record) -> None:
        numbers, words, findings = self._numbers, self._words, record.findings
        ad = " ".join((*record.headlines, *record.descriptions, record.call_to_action))
        words["channel"].append(record.channel)
        numbers["validity"].append(record.validity)
        numbers["findings"].append(len(findings))
        numbers["ad_chars"].append(len(ad))
        numbers["distinct_words"].append(len(set(ad.lower().split())))
        words["worst_finding"].append(self._worst(findings) if findings else NONE)
        self.finding_counts.update(findings)
        self.bundles[record.bundle_digest] += 1
        if len(numbers["validity"]) >= 2 * TEXTS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Lists of numbers become arrays: a tenth of the memory."""
        if self._texts:
            digits, trigrams = digits_and_trigrams(self._texts)
            self._whole["digit_share"].append((digits / np.array(self._chars)).astype(np.float32))
            self._whole["embedding_distance"].append(distances(trigrams, self._centroid))
            self._texts.clear()
            self._chars.clear()
        for name, values in self._numbers.items():
            if values:
                self._whole[name].append(np.array(values, np.float32))
                values.clear()

    def _category(self, given: str) -> str:
        return given if given in self._yardstick.categories else OTHER if given else NONE

    def _language(self, text: str, found: Iterable[str]) -> str:
        if not text.isascii():
            foreign = [letter for letter in text[:_SCRIPT_CHARS] if letter > "\u024f" and letter.isalpha()]
            if len(foreign) >= _FOREIGN_LETTERS_MIN:
                return script_of(foreign[0])
        marks = self._marks.intersection(found)
        return max((len(marks & own), name) for name, own in self._languages)[1] if marks else NONE

    def _worst(self, findings: Iterable[str]) -> str:
        return min(findings, key=lambda kind: (self._cost.get(kind, 1.0), kind))


def price_log10(text: str) -> float:
    """Of the first amount in a price; NaN where there is none, or it is 0."""
    found = _AMOUNT.search(text)
    if found is None:
        return math.nan
    digits = found[0].replace(" ", "")
    whole, mark, part = digits.rpartition("," if digits.rfind(",") > digits.rfind(".") else ".")
    if mark and len(part) != 3:
        amount = float(re.sub(r"[.,]", "", whole or "0") + "." + part)
    else:  # "1,299" is a thousand and more: nobody writes a price to three decimals
        amount = float(re.sub(r"[.,]", "", digits))
    return math.log10(amount) if amount > 0 else math.nan


def _text(product: ProductSeen) -> str:
    return f"{product.title} {product.description}".lower()
