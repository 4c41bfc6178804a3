"""`make image` on a machine without a champion says what to do, and starts nothing."""

from __future__ import annotations

import os
import subprocess

from tests.repo.tree import ROOT

SCRIPT = ROOT / "app/bin/build-local"


def build_local(registry, *arguments):
    environment = os.environ | {"ADLOOM_REGISTRY": str(registry)}
    return subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_without_a_registry_it_names_the_commands_that_make_one(tmp_path):
    done = build_local(tmp_path, "adloom/adloom-api:dev")

    assert done.returncode == 1
    assert done.stderr == (
        f"build-local: error: {tmp_path} holds no registry: adloom register, then adloom promote, make a champion\n"
    )


def test_without_a_tag_it_shows_how_it_is_run(tmp_path):
    done = build_local(tmp_path)

    assert done.returncode == 2
    assert "app/bin/build-local TAG" in done.stderr
