"""
Made-up traffic for the benchmark and the tests: records of the generation log, ordinary or shifted.

A shop of kitchen and garden goods in English. Shifted: part of the requests come from a new supplier who writes German,
at greater length, about clothes, and whose ads are worse.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

CHANNELS = ("google_rsa", "instagram", "facebook")
_ENGLISH = """the and with of for in is it this that a you your from bowl plate cup knife pan lid handle ceramic steel
oak glass linen fog sand blue green grey white round deep shallow light heavy soft matt glossy fired turned forged woven
washed kitchen table garden shelf oven dishwasher safe litre holds made stands stacks fits keeps warm cool clean dry
rain frost sun seed pot soil water hose rake spade bench cushion basket jar tray board tea coffee bread salt spice
summer winter morning evening family guests gift everyday small large wide narrow pair set""".split()
_GERMAN = """der die das und mit von für in ist es diese ein eine zu aus Hose Jacke Kleid Hemd Bluse Mantel Schal Mütze
Wolle Baumwolle Leinen Seide weich warm leicht dehnbar gefüttert gestrickt gewebt gewaschen Taschen Kragen Knöpfe Saum
Ärmel schmal weit lang kurz hoch grau blau rot grün schwarz weiß Winter Sommer Alltag Büro Reise Regen""".split()
_CATEGORIES = ("Kitchen > Bowls", "Kitchen > Knives", "Garden > Tools", "Garden > Pots", "Table > Linen")
_FINDINGS = ("echo", "repetition", "truncated", "unsupported_number", "off_topic")
_SYLLABLES = "ba ko li mur na pe ru sol ta ven wi yor za del fro gim".split()
PRODUCTS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked for, and how well it is answered."""

    seed: int
    shifted_share: float = 0.0
    """Of requests, those of the new supplier."""
    known_products: int = 20_000
    """Ordinary requests name one of so many, whatever the seed: a shop's catalogue stays the same."""
    flaw_share: float = 0.12
    """Of ads, those with a finding."""
    shifted_flaw_share: float = 0.55


def records(traffic: Traffic, start: datetime, end: datetime, count: int) -> Iterator[Mapping[str, Any]]:
    """So many creatives, three a request, spread evenly over the time."""
    random = np.random.default_rng(traffic.seed)
    step = (end - start) / max(count, 1)
    requests = itertools.chain.from_iterable(_requests(traffic, random) for _ in itertools.repeat(None))
    for number in range(0, count, len(CHANNELS)):
        product, is_shifted = next(requests)
        flaw_share = traffic.shifted_flaw_share if is_shifted else traffic.flaw_share
        flaws = random.random(len(CHANNELS)) < flaw_share
        kinds = random.integers(0, len(_FINDINGS), len(CHANNELS))
        for place, channel in enumerate(CHANNELS[: count - number]):
            time = start + (number + place) * step
            findings = [_FINDINGS[kinds[place]]] if flaws[place] else []
            yield _record(f"rq{traffic.seed}-{number}", time, product, channel, findings)


def _requests(traffic: Traffic, random: np.random.Generator) -> Iterator[tuple[dict[str, Any], bool]]:
    shifted = random.random(PRODUCTS_AT_ONCE) < traffic.shifted_share
    numbers = random.integers(0, traffic.known_products, PRODUCTS_AT_ONCE)
    for is_shifted, number in zip(shifted.tolist(), numbers.tolist(), strict=True):
        yield product(number, is_foreign=is_shifted), is_shifted


def product(number: int, *, is_foreign: bool = False) -> dict[str, Any]:
    """The one of that number, always the same."""
    drawn = hashlib.shake_128(f"{number} {is_foreign}".encode()).digest(90)
    words = _GERMAN if is_foreign else _ENGLISH
    length = 40 + drawn[0] % 48 if is_foreign else 14 + drawn[0] % 28
    text = [words[byte % len(words)] for byte in drawn[1 : length + 1]]
    for place in range(2, length, 9):
        text[place] = _name(drawn[place] << 8 | drawn[place + 1])
    cents = round(100 * 10 ** (1.0 + drawn[89] / 255 + (0.4 if is_foreign else 0.0)))
    return {
        "digest": drawn[:16].hex(),
        "sku": f"{'D' if is_foreign else 'E'}{number}",
        "title": " ".join(text[2 : 4 + drawn[85] % 4]).capitalize(),
        "description": f"{' '.join(text).capitalize()}, {drawn[88] % 90} cm.",
        "category": "Clothes" if is_foreign else _CATEGORIES[drawn[87] % len(_CATEGORIES)],
        "brand": "",
        "price": "" if drawn[86] < 12 else f"{cents // 100}.{cents % 100:02} EUR",
    }


def _name(number: int) -> str:
    """One of 65,536: product names are what a vocabulary never has all of."""
    return "".join(_SYLLABLES[number >> shift & 15] for shift in (12, 8, 4, 0))


def _record(
    request_id: str, time: datetime, product: Mapping[str, Any], channel: str, findings: list[str]
) -> dict[str, Any]:
    words = str(product["description"]).split()
    return {
        "form": 1,
        "time": time.isoformat(timespec="milliseconds"),
        "client": "shop",
        "request_id": request_id,
        "batch_id": "",
        "creative_id": f"cr_{request_id}-{channel}",
        "product": product,
        "channel": channel,
        "headlines": [str(product["title"])],
        "descriptions": [" ".join(words[: 10 + len(channel)])],
        "call_to_action": "See it",
        "hashtags": [],
        "validity": 0.6 if findings else 1.0,
        "findings": findings,
        "bundle_digest": "b" * 64,
        "registry_version": "1",
        "seconds": 1.0,
    }


def hours(start: datetime, count: int) -> Iterator[tuple[datetime, datetime]]:
    """So many, one after the other."""
    for number in range(count):
        yield start + number * timedelta(hours=1), start + (number + 1) * timedelta(hours=1)
