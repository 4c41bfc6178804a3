"""The tiny bundle, built once a session."""

import importlib.util
import shutil

import pytest

from tests.tiny import build_tiny_bundle


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Folder that the tiny chain was built in: hub/, fp32/ and bundle/."""
    if importlib.util.find_spec("optimum") is None:
        pytest.skip("optimum is not installed: run `make test`, or pip install '.[train]'")
    folder = tmp_path_factory.mktemp("tiny")
    build_tiny_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_folder):
    """Folder of the tiny bundle; copy it before changing anything in it."""
    return tiny_folder / "bundle"


@pytest.fixture(scope="session")
def tiny_fp32(tiny_folder):
    """Folder of the tiny fused graph in fp32: what the engine runs, to compare with torch."""
    from model.training.fused import write_fused
    from model.training.weights import Weights, load

    folder = tiny_folder / "fused-fp32"
    folder.mkdir()
    model, _ = load(Weights(str(tiny_folder / "hub")))
    write_fused(model, folder / "model.onnx", "fp32")
    shutil.copy(tiny_folder / "hub/config.json", folder)
    return folder
