"""
Numbers and their units in running text: "1.2 l", "1,000 watts", "half a litre", "140 x 250 cm", "two steps".

Knows the forms a number takes, not whether it is true (see grounding.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from model.lexicon import lexicon, singular

# dimension -> {unit word: size in the dimension's smallest unit}; exact by definition (SI prefixes, the
# international inch of 25.4 mm and pound of 453.59237 g).
UNITS: dict[str, dict[str, float]] = {
    "volume": {
        "ml": 1, "millilitre": 1, "milliliter": 1, "cl": 10, "centilitre": 10, "dl": 100, "decilitre": 100, "l": 1000,
        "ltr": 1000, "litre": 1000, "liter": 1000, "gallon": 4546.09, "pint": 568.26125, "fl oz": 28.4130625, "cc": 1,
    },
    "length": {
        "mm": 1, "millimetre": 1, "millimeter": 1, "cm": 10, "centimetre": 10, "centimeter": 10, "m": 1000,
        "metre": 1000, "meter": 1000, "km": 1e6, "kilometre": 1e6, "kilometer": 1e6, "in": 25.4, "inch": 25.4,
        "inche": 25.4, '"': 25.4, "ft": 304.8, "foot": 304.8, "feet": 304.8, "yard": 914.4, "mile": 1609344,
    },
    "mass": {
        "mg": 0.001, "milligram": 0.001, "g": 1, "gr": 1, "gram": 1, "gramme": 1, "kg": 1000, "kilo": 1000,
        "kilogram": 1000, "oz": 28.349523125, "ounce": 28.349523125, "lb": 453.59237, "pound": 453.59237, "tonne": 1e6,
    },
    "power": {"w": 1, "watt": 1, "kw": 1000, "kilowatt": 1000},
    "voltage": {"v": 1, "volt": 1},
    "charge": {"mah": 1, "ah": 1000},
    "energy": {"wh": 1, "kwh": 1000},
    "light": {"lm": 1, "lumen": 1},
    "illuminance": {"lux": 1},
    "thousand": {"k": 1, "kelvin": 1},
    "frequency": {"hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    "sound": {"db": 1, "decibel": 1},
    "rotation": {"rpm": 1},
    "memory": {"mb": 1, "megabyte": 1, "gb": 1000, "gigabyte": 1000, "tb": 1e6, "terabyte": 1e6},
    "pixels": {"mp": 1, "megapixel": 1},
    "celsius": {"°c": 1, "°": 1, "degree": 1, "celsius": 1, "degree celsius": 1, "degree c": 1},
    "fahrenheit": {"°f": 1, "fahrenheit": 1, "degree fahrenheit": 1},
    "time": {
        "s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600,
        "day": 86400, "week": 604800,
    },
    "long time": {"month": 1, "year": 12, "yr": 12},
    "speed": {"mph": 1609344, "km/h": 1e6, "kph": 1e6},
    "pressure": {"bar": 1, "psi": 0.0689475729},
    "weave": {"gsm": 1, "g/m²": 1, "g/m2": 1},
    "denier": {"denier": 1, "d": 1, "den": 1},
    "percent": {"%": 1, "percent": 1, "per cent": 1},
    "calories": {"kcal": 1, "calorie": 1},
    "euro": {"€": 1, "eur": 1, "euro": 1},
    "dollar": {"$": 1, "usd": 1, "dollar": 1},
    "sterling": {"£": 1, "gbp": 1},
}  # fmt: skip
CHAIN_GAP_CHARS = 6
"""At most this far apart, "140 x 250 cm" and "62 to 127 cm" share the unit: " and " is the longest joint."""

_UNIT_OF = {unit: (dimension, size) for dimension, units in UNITS.items() for unit, size in units.items()}
_ONES = "one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_VALUE = (
    {word: value for value, word in enumerate(_ONES, 1)}
    | {word: value for value, word in enumerate(_TEENS, 10)}
    | dict(zip(_TENS, range(20, 100, 10), strict=True))
)
_VULGAR = {"½": ".5", "¼": ".25", "¾": ".75"}
_NOT_CLAIMS = re.compile(
    r"\b24/7\b|\b50/50\b|\b9 ?(?:-|to) ?5\b|\b\d{1,2}(?:[:.]\d\d)? ?(?:am|pm|a\.m|p\.m|o'clock)\b|\b\d{1,2}:\d\d\b"
    r"|\b\d*\d0s\b|\b\d+(?:st|nd|rd|th)\b|\bnine[ -]to[ -]five\b"
    r"|\b(?:a|one|day|night|hour|week|minute|cup) or (?:two|three|so)\b"
    r"|\bno two\b|\b(?:the|these|those) (?:other|last|first|next|same) (?:two|three)\b"
    r"|\b(?:two|three|2|3)[ -]in[ -](?:one|1)\b"
    r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) o'clock\b"
    r"|\bbetween two (?:call|meeting|desk|job|task|stop|lesson|chair|tree|train|class|errand|appointment)(?:s|es)?\b"
    r"|\b(?:chapter|page|step|day|part|lesson|round|number|level) 1\b(?![.,]\d| ?(?:cm|mm|kg|ml|[lgm])\b)"
)
"""Idioms, times of day, decades and ordinals: numbers that say nothing of the product."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it stands in a text."""

    text: str
    values: tuple[float, ...]
    """Usually one; "1.000" may be one or a thousand."""
    dimension: str
    """Empty for a bare number."""
    unit_size: float
    """One unit in the dimension's smallest; 0 where there is no unit."""
    noun: str
    """Singular of the word that follows a bare number, if it is a counted thing; "of them" for a part of a count."""
    plural: bool
    """Whether that word has a plural ending, which tells "six pockets" from "six steady"."""
    is_word: bool
    joint: str
    """What stands before the next number when it is close: "x", "to", "and", or empty."""
    before: str
    """The word before."""
    start: int
    inherited: str = ""
    """The dimension of the unit at the end of the chain: cm for the 62 of "62 to 127 cm"."""

    def amounts(self) -> tuple[float, ...]:
        """The values in the smallest unit of their own or inherited dimension; none for a bare number."""
        return tuple(value * self.unit_size for value in self.values) if self.unit_size else ()


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """(number with an optional unit, half or quarter with its unit)"""
    plain = [unit for unit in _UNIT_OF if unit[0].isalpha() and unit not in ("in", "km/h", "g/m²", "g/m2")]
    plural = {unit: "(?:s|es)?" if len(unit) > 3 else "s?" if len(unit) == 2 else "" for unit in plain}
    spelt = "|".join(re.escape(unit) + plural[unit] for unit in sorted(plain, key=len, reverse=True))
    inch = r"in(?=\s*(?:$|[.,;:!?)x/]|\d))"
    unit = rf"(?:[ -]?(?P<unit>km/h|g/m²|g/m2|(?:{spelt})(?![\w])|{inch})|\s?(?P<sign>%|€|\$|£|°\s?[cf]\b|°|\"))"
    ones, teens, tens = "|".join(_ONES), "|".join(_TEENS), "|".join(_TENS)
    sub = rf"(?:(?:{tens})(?:[ -](?:{ones}))?|{teens}|{ones})"
    hundred = rf"(?:(?:{ones})[ -]hundred(?:(?: and)? {sub})?|{sub})"
    spelled = rf"(?:{hundred}[ -]thousand(?:(?: and)? {hundred})?|{hundred}|half a dozen|dozen)(?: and a half)?"
    digits = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:[.,]\d+)?"
    number = rf"(?P<currency>[$€£])?\s?(?:(?<![\w.,#])(?P<digits>{digits})|\b(?P<word>{spelled})\b)"
    part = rf"(?<!and a )\b(?P<part>half|quarter)(?: of)?(?: an? |-| )(?P<unit>{spelt})(?!\w)"
    return re.compile(number + unit + "?"), re.compile(part)


def _spelled_value(text: str) -> float:
    half = 0.5 if text.endswith(" and a half") else 0.0
    if "dozen" in text:
        return (6.0 if text.startswith("half") else 12.0) + half
    total = current = 0
    for word in text.removesuffix(" and a half").replace("-", " ").split():
        if word == "hundred":
            current *= 100
        elif word == "thousand":
            total, current = total + current * 1000, 0
        else:
            current += _VALUE.get(word, 0)
    return total + current + half


def _digit_values(text: str) -> tuple[float, ...]:
    if re.fullmatch(r"\d{1,3}[.,]\d{3}", text):  # a thousands point or a decimal comma: either reading will do
        return tuple(sorted({float(text.replace(",", "").replace(".", "")), float(text.replace(",", "."))}))
    thousands = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text)
    return (float(text.replace(",", "" if thousands else ".")),)


def _prepared(text: str) -> str:
    """Fractions written out, and numbers that touch taken apart, so that one pattern reads them all."""
    text = re.sub(r"(\d*)\s?([½¼¾])", lambda match: (match[1] or "0") + _VULGAR[match[2]], text)
    text = re.sub(r"(\d+) (\d)/([248])\b", lambda match: f"{int(match[1]) + int(match[2]) / int(match[3]):g}", text)
    text = re.sub(r"(?<![\d/])([1357])/([248])(?![\d/])", lambda match: f"{int(match[1]) / int(match[2]):g}", text)
    text = re.sub(r"\bx(?=\d{1,3}(?!\w))", "x ", text)  # "candles x12"
    text = re.sub(r"(?<=\d)\s*\(\+\s*(\d+(?:[.,]\d+)?)\)", r" and \1", text)  # "31 (+4) cm"
    text = re.sub(r"(?<=\d)\s*x\s*(?=\d)", " x ", text)
    text = re.sub(r"(?<=[a-z\"])\s+x\s+(?=\d)|(?<=\dcm|\dmm|\din)\s*x\s*(?=\d)", " x ", text)
    text = re.sub(r"(?<=\d)\s*[-–—]\s*(?=\d)", " to ", text)
    return re.sub(r"(?<=\d)/(?=\d)", " / ", text)


def quantities(text: str, *, claims_only: bool) -> tuple[Quantity, ...]:
    """
    The numbers of a normalised text, in order.

    With `claims_only` idioms, times of day, and number words that count nothing ("for two") are left out.
    """
    if claims_only:
        text = _NOT_CLAIMS.sub(" ; ", text)
    found = sorted(_read(_prepared(text)), key=lambda quantity: quantity.start)
    for position in range(len(found) - 2, -1, -1):  # from the right, so that a unit travels along 20 x 30 x 40 cm
        here, following = found[position], found[position + 1]
        unit = following.dimension or following.inherited
        if here.joint and not here.dimension and unit:
            found[position] = replace(here, inherited=unit, unit_size=following.unit_size)
    return tuple(quantity for quantity in found if not claims_only or _counts(quantity))


def _read(text: str) -> Iterator[Quantity]:
    number, part = _patterns()
    taken: list[tuple[int, int]] = []
    for match in part.finditer(text):
        dimension, size = _unit(match["unit"])
        value = 0.5 if match["part"] == "half" else 0.25
        taken.append(match.span())
        yield Quantity(match[0], (value,), dimension, size, "", False, False, "", "", match.start())
    for match in number.finditer(text):
        if not any(start <= match.start() < end for start, end in taken):
            yield _quantity(match, text)


def _unit(word: str) -> tuple[str, float]:
    word = word.replace(" ", "") if word.startswith("°") else word
    for form in (word, word.removesuffix("s"), singular(word), word.removesuffix("es")):
        if form in _UNIT_OF:
            return _UNIT_OF[form]
    raise KeyError(f"no such unit: {word!r}")


def _quantity(match: re.Match[str], text: str) -> Quantity:
    values = _digit_values(match["digits"]) if match["digits"] else (_spelled_value(match["word"]),)
    unit = match["unit"] or match["sign"] or match["currency"] or ""
    if unit == "in" and match["word"]:  # "two in, and still room"
        unit = ""
    dimension, size = _unit(unit) if unit else ("", 0.0)
    rest = text[match.end() : match.end() + 40]
    following = re.match(r"[ -](of (?:them|these|those|which)\b|[a-z']+)", rest)
    joint = re.match(r"\s*(x|by|to|and|or|/|-|–)\s+\d", rest[: CHAIN_GAP_CHARS + 2])
    before = re.search(r"([a-z']+)[ -]*$", text[max(0, match.start() - 20) : match.start()])
    return Quantity(
        text=match[0].strip(),
        values=values,
        dimension=dimension,
        unit_size=size,
        noun=_noun(following[1]) if following and not dimension else "",
        plural=following is not None and not dimension and following[1] == singular(following[1]) + "s",
        is_word=match["word"] is not None,
        joint=joint[1] if joint else "",
        before=before[1] if before else "",
        start=match.start(),
    )


PART_OF_COUNT = "of them"
AGES = re.compile(r"\bage[sd]?(?: range| group)?:? (?:from )?(\d{1,2})(?: ?(?:to|-|–) ?(\d{1,2}))?\b")
"""Years without their unit: "ages 8+", "aged 3 to 6"."""
MULTIPLES = {"twin": 2.0, "double": 2.0, "dual": 2.0, "triple": 3.0, "pair of": 2.0, "pairs of": 2.0}
"""Words that count without a number."""
_MULTIPLE = re.compile(rf"\b({'|'.join(MULTIPLES)})[ -]([a-z]{{3,}})")


def multiples(text: str) -> Iterator[tuple[str, float]]:
    """(counted word, how many) for "twin straps" and "double-lidded" in a normalised text."""
    for match in _MULTIPLE.finditer(text):
        yield match[2], MULTIPLES[match[1]]


def _noun(word: str) -> str:
    return PART_OF_COUNT if word.startswith("of ") else singular(word)


LABELS = frozenset("size sizes number no model type grade level stage series mark".split())
"""A number behind one of these names a thing and counts nothing: "stage 3 red" has no three reds."""


def counted(numbers: tuple[Quantity, ...]) -> dict[str, set[float]]:
    """Counted noun -> how many."""
    counts: dict[str, set[float]] = defaultdict(set)
    last = ""
    for number in numbers:
        noun = last if number.noun == PART_OF_COUNT else number.noun  # "five shelves, three of them"
        if noun and number.before not in LABELS:
            counts[noun].update(number.values)
            last = noun
    return counts


def spans(numbers: tuple[Quantity, ...]) -> Iterator[tuple[float, float, str]]:
    """Spans such as "62 to 127 cm", in the smallest unit, or bare."""
    for low, high in pairwise(numbers):
        spanning = low.joint == "to" or (low.joint == "and" and low.before == "between")
        if not spanning or low.values[0] >= high.values[0]:
            continue
        yield low.values[0], high.values[0], ""
        dimension = high.dimension or high.inherited
        if dimension and (low.dimension or low.inherited) == dimension:
            yield low.amounts()[0], high.amounts()[0], dimension


_COUNTING = frozenset("seats serves sleeps holds fits seat serve sleep hold fit of".split())


def _counts(quantity: Quantity) -> bool:
    """Whether a number in an ad says something of the product."""
    if not quantity.is_word:
        return True
    if quantity.values == (1.0,):
        return False
    sets = lexicon().sets
    if quantity.dimension:
        return True
    if quantity.noun in sets["uncounted_nouns"]:
        return False
    if quantity.before in _COUNTING:
        return True
    return bool(quantity.noun) and quantity.noun != PART_OF_COUNT and quantity.noun not in sets["function_words"]
