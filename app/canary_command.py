"""
Ask two releases for the same ads and judge the newer one: answers, validity, invented facts, pair by pair.

Knows the API and no cluster: the `quality` step of a canary runs it as a Job (architecture/canary.md), and so can you.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import numpy.typing as npt

from app.cli import CommandParser
from model.catalogue import read_catalogue
from model.channel import channels
from model.product import Product
from model.validity import GROUNDING

NO_WORSE, WORSE, CANNOT_SAY = 0, 1, 3
PAIRS = 200
"""Enough for an equally good canary that invents in other ads than the stable release (architecture/canary.md)."""
PAIRS_MIN = 100
"""With 60 not even a canary without any difference could keep the margin: its bound would be -3 / 60."""
MARGIN = 0.05
"""How much worse the canary may truly be, as a share of 1; the same for all three scores."""
ERROR_RATE = 0.05
"""Of each bound: a canary that is worse by the margin gets through this often, at most."""
RESAMPLES = 10_000
TRIES = 3
WAIT_SECONDS_MAX = 60.0
"""The longest that a Retry-After is obeyed."""
UNGROUNDED = GROUNDING | {"contradicts_product"}
SCORES = ("answered", "validity", "grounded")

Floats = npt.NDArray[np.float64]

EXAMPLE = """\
example:
  adloom canary --stable http://adloom-api:8000 --canary http://adloom-api-canary:8000 \\
    --client-file client_id --secret-file client_secret

exit status: 0 no worse, 1 worse, 2 wrong arguments, 3 cannot say (too few answers, or nobody let us in).
"""


class CannotSayError(RuntimeError):
    """Nothing can be judged; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Order:
    """One request, sent to both."""

    product: Product
    channel: str
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """The body of POST /v1/creatives."""
        sent = {name: value for name, value in self.product.as_dict().items() if value}
        if self.product.attributes:
            sent["attributes"] = dict(self.product.attributes)
        return {"product": sent, "channels": [self.channel], "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one release made of it, each as a number from 0 to 1; no answer is 0 in all of them."""

    answered: float = 0.0
    validity: float = 0.0
    grounded: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One score, canary less stable, over the pairs."""

    name: str
    stable: float
    canary: float
    low: float
    """One-sided 95 % bound of the mean difference."""
    high: float


def main(argv: Sequence[str] | None = None) -> int:
    """0 no worse, 1 worse, 3 cannot say."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not arguments.token_file and not (arguments.client_file and arguments.secret_file):
        parser.error("give --client-file and --secret-file, or --token-file")
    try:
        orders = _orders(arguments.catalogue, arguments.pairs)
        with ExitStack() as stack:
            releases = [stack.enter_context(_client(url)) for url in (arguments.stable, arguments.canary)]
            token = _token(arguments, releases)
            pairs = _asked(orders, releases, token, arguments.parallel)
    except (CannotSayError, httpx.InvalidURL, OSError, ValueError) as error:
        # Not raised: 1, which `adloom` would end with, means worse here.
        print(f"adloom: cannot say: {error}", file=sys.stderr)
        return CANNOT_SAY
    return _told(*judged(pairs, arguments.margin))


def judged(pairs: Sequence[tuple[Answer, Answer]], margin: float = MARGIN) -> tuple[int, str, list[Comparison]]:
    """
    The exit status, the reason and the comparisons.

    Only pairs count that the stable release answered: what it cannot do says nothing about the canary.
    """
    counted = [pair for pair in pairs if pair[0].answered]
    if len(counted) < PAIRS_MIN:
        return CANNOT_SAY, f"the stable release answered {len(counted)} of {len(pairs)}, {PAIRS_MIN} are needed", []
    compared = [_compared(name, counted) for name in SCORES]
    worse = [one for one in compared if one.high < 0]
    unproven = [one for one in compared if not one.low > -margin]
    if not unproven:
        return NO_WORSE, f"the canary is no worse by more than {margin:g}, of {len(counted)} pairs", compared
    if worse:
        return WORSE, f"the canary is worse on {', '.join(one.name for one in worse)}", compared
    names = ", ".join(one.name for one in unproven)
    return CANNOT_SAY, f"{len(counted)} pairs do not show that the canary keeps the margin on {names}", compared


def _compared(name: str, pairs: Sequence[tuple[Answer, Answer]]) -> Comparison:
    stable, canary = (np.array([getattr(pair[side], name) for pair in pairs], np.float64) for side in (0, 1))
    low, high = _bounds(canary - stable)
    return Comparison(name, float(stable.mean()), float(canary.mean()), low, high)


def _bounds(differences: Floats) -> tuple[float, float]:
    """
    Bounds of the mean by bootstrap over the pairs, with one imagined pair in which the canary loses, or wins, all.

    A hundred pairs without a difference do not show that there is none: with the imagined one the bound is then
    about -3 / pairs, as the rule of three has it. The gate of the registry (model/gate.py) decides the same way.
    """
    rows = len(differences) + 1
    low, high = (_resamples(rows) @ np.append(differences, imagined) / rows for imagined in (-1.0, 1.0))
    return float(np.quantile(low, ERROR_RATE)), float(np.quantile(high, 1 - ERROR_RATE))


@lru_cache(maxsize=2)
def _resamples(rows: int) -> Floats:
    """How often each row is drawn in each resample; the same on every call."""
    draw = np.random.default_rng(rows)
    return draw.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float64)


def _told(status: int, reason: str, compared: Sequence[Comparison]) -> int:
    if compared:
        print(f"{'score':10} {'stable':>8} {'canary':>8} {'low':>8} {'high':>8}")
    for one in compared:
        print(f"{one.name:10} {one.stable:8.4f} {one.canary:8.4f} {one.low:+8.4f} {one.high:+8.4f}")
    print({NO_WORSE: "no worse", WORSE: "worse", CANNOT_SAY: "cannot say"}[status] + f": {reason}")
    return status


def _orders(catalogue: Path | None, pairs: int) -> list[Order]:
    """The first products on every channel in turn; a product comes again with another seed, never the same order."""
    with as_file(files("model").joinpath("data/catalogue.csv")) as sample:
        products = read_catalogue(catalogue or sample).products
    if not products:
        raise CannotSayError("the catalogue holds no product that can be read: give another with --catalogue")
    names = tuple(channels())
    return [
        Order(products[place % len(products)], names[(place + place // len(products)) % len(names)], place)
        for place in range(pairs)
    ]


def _client(url: str) -> httpx.Client:
    # A full queue ends after 60 s on the service's side: its own answer must come first.
    return httpx.Client(base_url=url, timeout=httpx.Timeout(75.0, connect=5.0), trust_env=False)


def _token(arguments: argparse.Namespace, releases: Sequence[httpx.Client]) -> str:
    """One token for both: releases of one environment sign with one key. Raises CannotSayError."""
    if arguments.token_file:
        return str(arguments.token_file.read_text(encoding="utf-8").strip())
    secrets = [path.read_text(encoding="utf-8").strip() for path in (arguments.client_file, arguments.secret_file)]
    try:
        given = releases[0].post(
            "/v1/token", data={"grant_type": "client_credentials"}, auth=httpx.BasicAuth(secrets[0], secrets[1])
        )
    except httpx.HTTPError as error:
        raise CannotSayError(f"the stable release cannot be reached for a token ({type(error).__name__})") from error
    if not given.is_success:
        raise CannotSayError(f"the stable release gave no token ({given.status_code}): check the client and its secret")
    try:
        return str(given.json()["access_token"])
    except (ValueError, KeyError, TypeError):
        raise CannotSayError("what answers as the stable release is no Adloom: check its address") from None


def _asked(
    orders: Sequence[Order], releases: Sequence[httpx.Client], token: str, parallel: int
) -> list[tuple[Answer, Answer]]:
    """Both releases, one after the other, for every order: each has the same load at the same time."""
    headers = {"Authorization": f"Bearer {token}"}
    began = time.monotonic()

    def ask(order: Order) -> tuple[Answer, Answer]:
        stable, canary = (_answer(release, order, headers) for release in releases)
        return stable, canary

    pairs: list[tuple[Answer, Answer]] = []
    with ThreadPoolExecutor(parallel) as pool:
        for pair in pool.map(ask, orders):
            pairs.append(pair)
            if len(pairs) % 20 == 0 or len(pairs) == len(orders):
                print(f"asked {len(pairs)} of {len(orders)}, {time.monotonic() - began:.0f} s", flush=True)
    return pairs


def _answer(release: httpx.Client, order: Order, headers: Mapping[str, str]) -> Answer:
    """Raises CannotSayError where we are not let in: that is nobody's quality."""
    for left in reversed(range(TRIES)):
        try:
            response = release.post("/v1/creatives", json=order.as_dict(), headers=headers)
        except httpx.HTTPError:
            return Answer()
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS and left:
            time.sleep(_wait_seconds(response))
            continue
        if response.status_code in {401, 403, 429}:
            raise CannotSayError(f"a release answers {response.status_code}: check token, scopes and limits")
        return _read(response) if response.is_success else Answer()
    raise AssertionError("the last try returns")


def _wait_seconds(response: httpx.Response) -> float:
    said = response.headers.get("retry-after", "")
    return min(float(said), WAIT_SECONDS_MAX) if said.isdigit() else 1.0


def _read(response: httpx.Response) -> Answer:
    """What cannot be read is no answer."""
    try:
        creative = response.json()["creatives"][0]
        kinds = {finding["kind"] for finding in creative["findings"]}
        return Answer(1.0, min(1.0, max(0.0, float(creative["validity"]))), float(not kinds & UNGROUNDED))
    except (ValueError, KeyError, IndexError, TypeError):
        return Answer()


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="adloom canary",
        description="Ask two releases for the same ads and say whether the newer one is worse.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stable", required=True, type=_url, metavar="URL", help="address of the release that serves")
    parser.add_argument("--canary", required=True, type=_url, metavar="URL", help="address of the one to be judged")
    parser.add_argument("--client-file", type=Path, metavar="FILE", help="holds the id of a client of both")
    parser.add_argument("--secret-file", type=Path, metavar="FILE", help="holds its secret")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds a token, instead of client and secret")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="products to ask for; the sample's by default")
    parser.add_argument("--pairs", type=_pairs, default=PAIRS, metavar="N", help=f"requests to each; {PAIRS}")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="pairs at a time; 2", choices=range(1, 17))
    parser.add_argument("--margin", type=_share, default=MARGIN, metavar="SHARE", help=f"how much worse; {MARGIN}")
    return parser


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError("write an address such as http://adloom-api:8000")
    return text.rstrip("/")


def _pairs(text: str) -> int:
    if not text.isdigit() or not PAIRS_MIN <= int(text) <= 5000:
        raise argparse.ArgumentTypeError(f"a number from {PAIRS_MIN} to 5000")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError("a number between 0 and 1, such as 0.05")
    return share


if __name__ == "__main__":
    sys.exit(main())
