"""The generated tables say what the code says."""

from __future__ import annotations

import json

import pytest

from infra.tables import ROOT, main, module_table, role_table, with_table
from infra.terraform import DeployError

MODULES = sorted(path.parent for path in (ROOT / "modules").glob("*/README.md"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_table_of_a_module_is_current(module):
    page = (module / "README.md").read_text(encoding="utf-8")

    assert page == with_table(page, module_table(module)), "run `make infra-docs`"


def test_a_page_without_marks_is_refused():
    with pytest.raises(DeployError, match="once each"):
        with_table("# a page", "a table")


def test_a_denial_says_so_and_the_account_is_left_out():
    statement = {"Effect": "Deny", "Action": "iam:*", "Resource": ["arn:aws:iam::111122223333:role/x"]}

    assert role_table({"ci": json.dumps({"Statement": [statement]})}).splitlines()[-1] == (
        "| `ci` | deny | `iam:*` | `arn:aws:iam::ACCOUNT:role/x` |  |"
    )


@pytest.mark.proof
def test_the_table_of_roles_is_current(mirror, monkeypatch, capsys):
    monkeypatch.setenv("ADLOOM_TERRAFORM_MIRROR", str(mirror))

    status = main(["--check"])

    assert capsys.readouterr().out == ""
    assert status == 0
