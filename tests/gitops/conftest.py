"""What the tests of gitops/ need from outside: schemas of the custom resources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gitops.rendering import ROOT


@pytest.fixture(scope="session")
def crd_schemas(caller_environment):
    """Folder of `<group>_<version>_<Kind>.json`."""
    path = Path(caller_environment.get("ADLOOM_SHARED_DATA") or ROOT.parent / "shared/data") / "crd-schemas"
    if not path.is_dir():
        pytest.skip("NO CUSTOM RESOURCE IS CHECKED: set ADLOOM_SHARED_DATA to a folder that holds crd-schemas/")
    return path
