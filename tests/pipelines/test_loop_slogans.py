"""What `make loop` rests on: the writer leaves a slogan's headline as it is, so that such a model stands out."""

from __future__ import annotations

import pytest

from model.channel import channel
from model.drafting import finish
from model.grounding import view
from model.product import product_from_dict
from pipelines.loop.markets import SLOGANS, home_goods

KEPT_SHARE_MIN = 0.9


@pytest.mark.parametrize("name", sorted(SLOGANS))
def test_the_headline_of_a_slogan_stays(name):
    headline, body, action = SLOGANS[name]
    written = {"headline": [(headline, True)], "body": [(body, True)], "call_to_action": [(action, True)]}
    products = [product_from_dict(row) for row in home_goods(60)]
    ads = [finish(written, product, view(product), channel("instagram"))[0] for product in products]
    kept = [headline in ad.headlines for ad in ads]

    assert len(kept) == 60
    assert sum(kept) >= KEPT_SHARE_MIN * len(kept)
