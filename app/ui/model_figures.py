"""
What the page Model shows of versions that were published: which two stand side by side, how their scores differ,
their ads of the same products, and the history without the lines that a later one settles.

Knows the members of the API's answers, and no request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Literal

from markupsafe import Markup

WIDTH = 400
PLOT_LEFT, PLOT_RIGHT = 58, 336
LANES_MAX = 2
LANE = 22
"""Height of one version's line; the scale stands below them."""
SPAN_MIN = 0.05
"""Of a scale: two means that differ by less than a point must not look far apart."""
CHAMPION, CANDIDATE = "champion", "candidate"
OPEN = ("waiting", "running")

Direction = Literal[1, -1, 0]
Outcome = Literal["better", "worse", "alike", "other", "missing"]

SCORES: Mapping[str, tuple[str, str, Direction]] = MappingProxyType(
    {
        "validity": ("Validity", "how fit to publish the ads are, 0 to 1", 1),
        "valid": ("Valid ads", "share of ads that are good enough to publish", 1),
        "grounded": ("Grounded ads", "share of ads that claim nothing the product does not say", 1),
        "structural": ("Within limits", "share of ads within every limit of their channel", 1),
        "makes_sense": ("Makes sense", "share of ads that a reader found sensible for the product", 1),
        "relevance": ("Relevance", "how near an ad is to its product in meaning", 1),
        "rouge_l": ("ROUGE-L", "words in common with the reference ad", 1),
        "chrf": ("chrF", "letters in common with the reference ad", 1),
        "untouched": ("Untouched", "share of ads in which nothing had to be mended", 1),
        "memorised_words": ("Memorised words", "longest run of words taken from a training ad; fewer is better", -1),
    }
)
"""Name on the page, what it says, and whether more is better; 0 for a score that this page does not know."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with the ends of its 95 % interval; None where they are not known."""

    mean: float
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, float]:
        """Of the whisker; without an interval the dot itself."""
        low = self.mean if self.low is None else self.low
        high = self.mean if self.high is None else self.high
        return low, high

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{figure(self.mean)}, interval not known"
        return f"{figure(self.mean)} ({figure(self.low)} to {figure(self.high)})"


@dataclass(frozen=True, slots=True)
class Compared:
    """One score of two versions: the second judged by the first."""

    name: str
    says: str
    left: Mean | None
    right: Mean | None
    outcome: Outcome
    words: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Event:
    """One attempt of the history; `kind` chooses its colour, which the words say too."""

    time: str
    who: str
    words: str
    kind: Literal["done", "bad", "open"]
    why: str
    note: str


def figure(value: float) -> str:
    """Three digits after the point for shares, one for counts."""
    return f"{value:.3f}" if abs(value) < 2 else f"{value:,.1f}"


def aliased(versions: Sequence[Mapping[str, Any]], alias: str) -> Mapping[str, Any] | None:
    """The version that carries it."""
    return next((one for one in versions if alias in one["aliases"]), None)


def chosen(versions: Sequence[Mapping[str, Any]], left: str, right: str) -> tuple[str, str]:
    """
    The numbers of the two versions that stand side by side; "" where there is none.

    What was asked for, else the champion on the left, and on the right the candidate or else the newest other.
    """
    known = [str(one["version"]) for one in versions]
    champion, candidate = (str((aliased(versions, alias) or {}).get("version", "")) for alias in (CHAMPION, CANDIDATE))
    first = left if left in known else champion
    if not first and right not in known:
        first = next((one for one in known if one != candidate), candidate)
    second = right if right in known else next((one for one in (candidate, *known) if one and one != first), "")
    if not first:
        first = next((one for one in (candidate, *known) if one and one != second), "")
    return first, "" if second == first else second


def compared(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> list[Compared]:
    """Every score that either version has, in the order of SCORES, others by name. Either may be missing."""
    scores = [_means(one) for one in (left, right)]
    numbers = [str(one["version"]) if one else "" for one in (left, right)]
    order = list(SCORES)
    names = sorted({*scores[0], *scores[1]}, key=lambda name: (order.index(name) if name in SCORES else 99, name))
    return [_compared(name, (scores[0].get(name), scores[1].get(name)), (numbers[0], numbers[1])) for name in names]


def _means(version: Mapping[str, Any] | None) -> dict[str, Mean]:
    scores = version["scores"] if version else {}
    return {
        name: Mean(one["mean"], one.get("low"), one.get("high"))
        for name, one in scores.items()
        if one.get("mean") is not None
    }


def _compared(name: str, means: tuple[Mean | None, Mean | None], numbers: tuple[str, str]) -> Compared:
    title, says, direction = SCORES.get(name, (name.replace("_", " ").capitalize(), "", 0))
    outcome = outcome_of(*means, direction)
    words = _outcome_words(outcome, means, numbers)
    said = "; ".join(f"version {number}: {mean}" for number, mean in zip(numbers, means, strict=True) if mean)
    drawing = whiskers([(number, mean) for number, mean in zip(numbers, means, strict=True)], f"{title}. {said}.")
    return Compared(title, says, *means, outcome, words, drawing)


def outcome_of(left: Mean | None, right: Mean | None, direction: Direction) -> Outcome:
    """
    Of the second: better or worse only where the intervals do not meet; "other" where nobody said which way is good.

    Without an interval nothing is told from chance, and so the two are alike.
    """
    if left is None or right is None:
        return "missing"
    if None in (left.low, left.high, right.low, right.high):
        return "alike"
    higher, lower = right.ends[0] > left.ends[1], right.ends[1] < left.ends[0]
    if not higher and not lower:
        return "alike"
    if direction == 0:
        return "other"
    return "better" if higher == (direction > 0) else "worse"


def _outcome_words(outcome: Outcome, means: tuple[Mean | None, Mean | None], numbers: tuple[str, str]) -> str:
    if outcome == "missing":
        number = numbers[1] if means[1] is None else numbers[0]
        return f"not measured for version {number}" if number else ""
    return {
        "better": f"version {numbers[1]} is better",
        "worse": f"version {numbers[1]} is worse",
        "other": f"version {numbers[1]} differs",
        "alike": "no clear difference",
    }[outcome]


def summary(rows: Sequence[Compared], left: str, right: str) -> str:
    """One sentence over all scores that both have."""
    counts = {kind: sum(row.outcome == kind for row in rows) for kind in ("better", "worse", "alike", "other")}
    both = sum(counts.values())
    if not both:
        return f"Version {left} and version {right} have no score in common."
    said = f"version {right} is clearly better on {counts['better']} and clearly worse on {counts['worse']}"
    other = (
        f" It differs on {counts['other']} of which this page does not know the better way." if counts["other"] else ""
    )
    return f"Of {both} scores, {said} than version {left}; on {counts['alike']} no difference is clear.{other}"


def whiskers(lanes: Sequence[tuple[str, Mean | None]], says: str) -> Markup:
    """One dot with its interval for each version that has a number: a circle above, a diamond below, on one scale."""
    lanes = [lane for lane in lanes if lane[0]][:LANES_MAX]
    height = LANE * (len(lanes) + 1)
    shown = [mean for _, mean in lanes if mean is not None]
    low, high = _scale(shown)

    def at(value: float) -> float:
        return PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * (value - low) / (high - low)

    parts = [
        _line(PLOT_LEFT, height - 14, PLOT_RIGHT, height - 14, "axis"),
        _text(PLOT_LEFT, height - 2, figure(low), "note"),
        _text(PLOT_RIGHT, height - 2, figure(high), "note", "end"),
    ]
    for place, (number, mean) in enumerate(lanes):
        if mean is None:
            continue
        y, kind = LANE * place + 16, f"kind{place}"
        ends = [at(end) for end in mean.ends]
        parts += [
            _text(PLOT_LEFT - 10, y + 4, f"v {number}", "name", "end"),
            _line(ends[0], y, ends[1], y, f"whisker {kind}"),
            *(_line(end, y - 5, end, y + 5, f"whisker {kind}") for end in ends),
            _mark(at(mean.mean), y, place),
            _text(PLOT_RIGHT + 12, y + 4, figure(mean.mean), "name"),
        ]
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}" class="chart whiskers">{}</svg>').format(
        WIDTH, height, says, Markup().join(parts)
    )


def _scale(means: Sequence[Mean]) -> tuple[float, float]:
    """From below the lowest end to above the highest; shares stay between 0 and 1 where they are."""
    ends = [end for mean in means for end in mean.ends] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    spare = max((SPAN_MIN - (high - low)) / 2, (high - low) * 0.12, 0.005)
    is_share = low >= 0 and high <= 1
    return (max(0.0, low - spare), min(1.0, high + spare)) if is_share else (low - spare, high + spare)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(
        f"{x1:.1f}", f"{y1:.1f}", f"{x2:.1f}", f"{y2:.1f}", kind
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        f"{x:.1f}", f"{y:.1f}", anchor, kind, text
    )


def _mark(x: float, y: float, place: int) -> Markup:
    path = (
        "M{a:.1f},{y:.1f}a5,5 0 1 0 10,0a5,5 0 1 0 -10,0",
        "M{x:.1f},{t:.1f}l6,6l-6,6l-6,-6z",
    )[place].format(a=x - 5, x=x, y=y, t=y - 6)
    return Markup('<path d="{}" class="dot kind{}"/>').format(path, place)


def pairs_of_samples(
    left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Ads of the same product and channel beside each other first; then what only one of them has."""
    theirs: dict[object, list[Mapping[str, Any]]] = {}
    for one in right:
        theirs.setdefault(_place(one), []).append(one)
    both, alone = [], []
    for one in left:
        same = theirs.get(_place(one))
        if same:
            both.append((one, same.pop(0)))
        else:
            alone.append(one)
    rest = [one for group in theirs.values() for one in group]
    return [*both, *zip_longest(alone, (), fillvalue=None), *((None, one) for one in rest)]


def _place(ad: Mapping[str, Any]) -> object:
    """What two ads have to share to stand beside each other: the held-out row, or else product and channel."""
    return ad.get("row") or (ad["product"], ad["channel"])


def earlier_champions(entries: Sequence[Mapping[str, Any]], versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Versions that were champion, are not now, and are still there: the newest time first."""
    champion = str((aliased(versions, CHAMPION) or {}).get("version", ""))
    known = {str(one["version"]) for one in versions}
    were = [
        str(entry[end])
        for entry in entries
        if entry["state"] == "done" and entry["action"] in ("promote", "rollback")
        for end in ("to", "from")
    ]
    return [one for one in dict.fromkeys(were) if one in known and one != champion]


def timeline(entries: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Newest first, as they come; an intent that a later line settles is that line."""
    events: list[Event] = []
    settled: set[tuple[Any, ...]] = set()
    for entry in entries:
        attempt = tuple(entry[name] for name in ("who", "action", "from", "to", "why"))
        if entry["state"] == "intent" and attempt in settled:
            settled.remove(attempt)
            continue
        if entry["state"] != "intent":
            settled.add(attempt)
        events.append(Event(entry["time"], entry["who"], *_event_words(entry), entry["why"], entry["note"]))
    return events


def _event_words(entry: Mapping[str, Any]) -> tuple[str, Literal["done", "bad", "open"]]:
    target, source = entry["to"] or "a version that is not named", entry["from"]
    after = f", after version {source}" if source else ""
    said = {
        "promote": f"Version {target} became champion{after}" if entry["to"] else "A promotion",
        "rollback": f"Back to version {target}{after}",
        "reversal": f"An environment went back to version {target}{after}",
        "refused": f"Version {target} was refused{'; version ' + str(source) + ' stays' if source else ''}",
        "mended": f"Alias and ledger were brought together at version {target}",
    }.get(entry["action"], f"{entry['action']}: version {target}{after}")
    if entry["action"] == "refused":
        return said, "bad"
    if entry["state"] == "undone":
        return f"{said}: begun, and not carried out", "bad"
    if entry["state"] == "intent":
        return f"{said}: begun, and not finished yet", "open"
    return said, "done"


def retrains(rows: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Those that have ended, in their order; the open one is shown step by step."""
    return [
        Event(row["ended_at"], _asker(row), *_retrain_words(row), str(row["cause"].get("reason", "")), row["why"])
        for row in rows
        if row["state"] not in OPEN
    ]


def open_one(rows: Sequence[Mapping[str, Any]]) -> str:
    """Id of the retrain or rollback that waits or runs; empty where none does."""
    return next((str(row["id"]) for row in rows if row["state"] in OPEN), "")


def _asker(row: Mapping[str, Any]) -> str:
    return {"drift": "because of drift", "feedback": "because of feedback", "schedule": "by the schedule"}.get(
        row["trigger"], f"asked for by {row['asked_by']}"
    )


def _retrain_words(row: Mapping[str, Any]) -> tuple[str, Literal["done", "bad", "open"]]:
    if row["state"] == "promoted":
        helped = {True: "and helped", False: "and did not help", None: "whether it helped is judged later"}
        return f"Version {row['version']} became champion, {helped[row['helped']]}", "done"
    if row["state"] == "refused":
        return f"{'Version ' + row['version'] if row['version'] else 'What it made'} was not better", "bad"
    return {"failed": "It failed", "dismissed": "It was not started"}.get(row["state"], row["state"]), "bad"
