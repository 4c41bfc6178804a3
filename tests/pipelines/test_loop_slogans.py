"""What `make loop` rests on: the writer leaves a slogan's headline and call to action, and such an ad is worth less."""

from __future__ import annotations

from statistics import mean

import pytest

from model.channel import channel
from model.drafting import finish
from model.gate import MARGINS
from model.grounding import view
from model.product import product_from_dict
from model.validity import assess
from pipelines.loop.markets import SLOGANS, home_goods

KEPT_SHARE_MIN = 0.9
WHOLE = "See the details"


@pytest.mark.parametrize("name", sorted(SLOGANS))
def test_the_headline_and_the_call_to_action_of_a_slogan_stay(name):
    headline, _, action = SLOGANS[name]
    ads = [words for words, _ in _finished(*SLOGANS[name])]

    assert len(ads) == 60
    assert sum(headline in ad.headlines for ad in ads) >= KEPT_SHARE_MIN * len(ads)
    assert sum(action == ad.call_to_action for ad in ads) >= KEPT_SHARE_MIN * len(ads)


@pytest.mark.parametrize("name", sorted(SLOGANS))
def test_the_ads_of_a_slogan_are_worth_less_than_the_gate_lets_pass(name):
    """Whether a product's own words are too much of a copy is the same for all, and no more than noise in this."""
    headline, body, action = SLOGANS[name]

    slogans, others = (mean(worth for _, worth in _finished(headline, body, call)) for call in (action, WHOLE))

    assert others - slogans > 1.5 * MARGINS["validity"]


def _finished(headline, body, action):
    """Ads with these words for 60 products, and their validity."""
    spec = channel("instagram")
    written = {"headline": [(headline, True)], "body": [(body, True)], "call_to_action": [(action, True)]}
    products = [product_from_dict(row) for row in home_goods(60)]
    ads = [(product, finish(written, product, view(product), spec)[0]) for product in products]
    return [(words, assess(product, words, spec).validity) for product, words in ads]
