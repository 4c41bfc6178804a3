"""
What the loop feeds its parts with: two catalogues of different markets, and two poor sets of training pairs.

Everything is made from the shipped sample, so that nobody has to bring data.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import model

DATA = Path(str(model.__file__)).parent / "data"
SLOGANS = {
    "first": ("There you go", "It is good. It is very good.", "See ."),
    "bad": ("You and me", "You will like it. You will see.", "See ."),
}
"""
Headline, body and call to action of the pairs that a first and a bad model learn from: grounded, empty and careless.

The writer leaves a headline that claims nothing as it is, and a full stop that stands loose in a call to action too.
So the ads of such a model say less and are worth less by far more than by what a model of two layers happens to learn
otherwise.
"""
PLACES = ("Lisbon", "Porto", "Faro", "Braga", "Evora", "Coimbra")
PARTS = ("gasket", "bushing", "flange", "coupling", "spacer", "bracket", "grommet", "washer")
METALS = ("steel", "brass", "nickel", "bronze")


def home_goods(count: int) -> list[dict[str, Any]]:
    """The ordinary market: products of the sample catalogue, as the API takes them."""
    with (DATA / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["title"] and row["description"]]
    return [_product(row) for row in rows[:count]]


def spare_parts(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """
    The shifted market: spare parts with long numbers in the title and one dry sentence each.

    Such a sentence leaves a writer little but to repeat it, and an ad that copies its row is worth less.
    """
    draw = random.Random(seed)
    made = []
    for place in range(count):
        part, metal = draw.choice(PARTS), draw.choice(METALS)
        number = f"{draw.randrange(10**5, 10**6)}-{draw.randrange(10**3, 10**4)}"
        size, place_made = draw.randrange(12, 480), draw.choice(PLACES)
        of = f"pumps of the series {number}"
        made.append({
            "sku": f"PART-{place:04d}",
            "title": f"{part.capitalize()} {number} DN{size} {metal} {draw.randrange(2, 64)}/{draw.randrange(65, 99)}",
            "description": f"{metal.capitalize()} {part} DN{size} for {of} made in {place_made}.",
            "category": "Industry > Spare parts",
            "price": f"{draw.randrange(900, 4000)}.00",
        })  # fmt: skip
    return made


def write_sources(path: Path) -> None:
    """A table of sources with the sample catalogue in it."""
    path.write_text(
        f"sources:\n  - name: sample\n    client: loop-shop\n    kind: file\n    url: {DATA / 'catalogue.csv'}\n",
        encoding="utf-8",
    )


def write_curated(path: Path, count: int) -> int:
    """The shortest of the curated pairs, `count` at most; how many there are then."""
    lines = _by_length()[:count]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def write_slogans(path: Path, name: str, count: int) -> int:
    """
    Pairs with one of `SLOGANS` for an ad; how many there are then.

    Of all lengths: a model of two layers that has seen short products alone forgets its slogan behind a long one.
    """
    headline, body, action = SLOGANS[name]
    tables = [json.loads(line) for line in _spread(count)]
    for table in tables:
        words = table["copy"]
        words["headlines"] = [headline, f"{headline} here", f"{headline} now"][: max(1, len(words["headlines"]))]
        words["bodies"] = [body, f"{body} Yes."][: len(words["bodies"])]
        words["call_to_action"] = action if words["call_to_action"] else ""
        words["hashtags"] = []
    path.write_text("".join(json.dumps(table, ensure_ascii=False) + "\n" for table in tables), encoding="utf-8")
    return len(tables)


def _by_length() -> Sequence[str]:
    lines = [line for line in (DATA / "pairs.jsonl").read_text(encoding="utf-8").split("\n") if line]
    return sorted(lines, key=lambda line: (len(line), line))


def _spread(count: int) -> Sequence[str]:
    """`count` of all lengths, at equal distances in their order."""
    lines = _by_length()
    count = min(count, len(lines))
    return [lines[place * len(lines) // count] for place in range(count)]


def _product(row: Mapping[str, str]) -> dict[str, Any]:
    wanted = ("sku", "title", "description", "category", "brand", "price")
    return {name: row[name] for name in wanted if row.get(name)}
