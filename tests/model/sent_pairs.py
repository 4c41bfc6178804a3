"""Pairs as owners of the model send them, made of the curated ones: every row keeps every rule."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import model
from model.feedback_rules import holds_orders

DATA = Path(str(model.__file__)).parent / "data"
HEADER = ("id", "family", "title", "description", "category", "price", "channel", "voice", "angle", "trap",
          "headline 1", "body", "call to action", "hashtags")  # fmt: skip


def curated(count: int, channel: str = "instagram", start: int = 0) -> list[str]:
    """Lines of the package's file that go to one channel, less those with attributes or with orders to the writer."""
    with (DATA / "pairs.jsonl").open(encoding="utf-8") as file:
        lines = [line.strip() for line in file if f'"channel":"{channel}' in line and '"attributes"' not in line]
    good = (line for line in lines if not holds_orders(json.loads(line)["product"].values()))
    return list(islice(good, start, start + count))


def row(place: int = 0, *, channel: str = "", attributes: dict[str, str] | None = None) -> dict[str, Any]:
    """A pair for Instagram under an id of its own."""
    table: dict[str, Any] = json.loads(curated(1, start=place)[0])
    table["id"] = f"own-{place}"
    table["channel"] = channel or table["channel"]
    table["product"] |= {"attributes": attributes} if attributes else {}
    return table


def cells(table: dict[str, Any]) -> list[str]:
    """The row of a spreadsheet with the columns of HEADER."""
    product, words = table["product"], table["copy"]
    return [
        table["id"], table["family"], product["title"], product.get("description", ""), product.get("category", ""),
        product.get("price", ""), table["channel"], table["voice"], table["angle"], table["trap"],
        "\n".join(words["headlines"]), "\n".join(words["bodies"]), words["call_to_action"], " ".join(words["hashtags"]),
    ]  # fmt: skip


def sheet(tables: Sequence[dict[str, Any]], names: Sequence[str] = HEADER, extra: dict[str, str] | None = None) -> str:
    """A CSV file; `extra` are columns with the same value in every row."""
    extra = extra or {}
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow([*names, *extra])
    writer.writerows([*cells(table), *extra.values()] for table in tables)
    return stream.getvalue()
