"""What an environment costs at rest is counted from its own files."""

from __future__ import annotations

import re
import shutil

import pytest

from infra.costs import KEYS, PRICES, monthly_table
from infra.tables import ROOT, with_table
from infra.terraform import DeployError

ENVIRONMENTS = ROOT / "environments"


def sums(table):
    """USD at rest of dev, staging and prod."""
    row = next(line for line in table.splitlines() if line.startswith("| **at rest**"))
    return [int(usd.replace(",", "")) for usd in re.findall(r"([\d,]+) USD", row)]


def test_the_page_has_the_figures_of_today():
    page = (ROOT / "README.md").read_text(encoding="utf-8")

    assert page == with_table(page, monthly_table(ENVIRONMENTS)), "run `make infra-docs`"


def test_the_budget_of_each_environment_is_above_what_it_costs_at_rest():
    texts = [
        (ENVIRONMENTS / name / "network.tfvars").read_text(encoding="utf-8") for name in ("dev", "staging", "prod")
    ]
    budgets = [int(re.search(r"^monthly_usd += (\d+)$", text, re.MULTILINE)[1]) for text in texts]

    assert all(cost < budget for cost, budget in zip(sums(monthly_table(ENVIRONMENTS)), budgets, strict=True))


def test_the_keys_that_are_counted_are_those_that_modules_make():
    modules = [path.read_text(encoding="utf-8") for path in (ROOT / "modules").glob("*/*.tf")]

    assert sum(text.count('source = "../encryption_key"') for text in modules) == KEYS


def test_another_node_is_paid_for(tmp_path):
    shutil.copytree(ENVIRONMENTS, tmp_path / "environments")
    cluster = tmp_path / "environments/dev/cluster.tfvars"
    cluster.write_text(cluster.read_text(encoding="utf-8").replace("nodes_min = 2", "nodes_min = 3"), encoding="utf-8")
    before, after = (sums(monthly_table(folder)) for folder in (ENVIRONMENTS, tmp_path / "environments"))

    assert after[0] - before[0] == pytest.approx(PRICES["m7i.large"].usd * 730, abs=1)
    assert after[1:] == before[1:]


def test_what_has_no_price_is_named(tmp_path):
    shutil.copytree(ENVIRONMENTS, tmp_path / "environments")
    platform = tmp_path / "environments/prod/platform.tfvars"
    text = platform.read_text(encoding="utf-8").replace("db.m7g.large", "db.r8g.large")
    platform.write_text(text, encoding="utf-8")

    with pytest.raises(DeployError, match=r"no price of db\.r8g\.large"):
        monthly_table(tmp_path / "environments")
