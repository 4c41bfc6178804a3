"""The stand-ins of one test."""

from __future__ import annotations

import pytest

from tests.workflows.stand_ins import StandIns


@pytest.fixture
def programs(tmp_path):
    return StandIns(tmp_path)
