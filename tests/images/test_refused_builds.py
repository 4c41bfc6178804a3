"""A build that is given the wrong model, or none, ends with one clear line and leaves no image."""

from __future__ import annotations

import pytest

from tests.real_parts import free_port

pytestmark = pytest.mark.proof
OTHER = "ab" * 32


@pytest.fixture
def refused(engine, image, machine_options, registry):
    """Build with these options, over what a build with the defaults has cached; its last line."""

    def build(*options, credentials=True):
        before = engine.images()
        given = ["--registry-credentials", registry.credentials] if credentials else []
        built = engine.build("api", "adloom-api:refused", *machine_options, *given, *options)

        assert built.status == 1, built.log[-2000:]
        assert built.said == {}
        assert built.last_line.startswith("build-image: error: ")
        assert "Traceback" not in built.log
        assert engine.images() == before
        assert engine.call("image", "ls", "--quiet", "adloom-api:refused") == ""
        return built.last_line.removeprefix("build-image: error: ")

    return build


def test_a_bundle_with_another_digest_than_the_one_wanted(refused, registry):
    said = refused("--registry", registry.uri, "--model", "1", "--bundle-digest", OTHER)

    assert said.startswith(f"version 1 of adloom-writer holds bundle {registry.bundles[1]} and not {OTHER}")


def test_a_version_that_is_not_registered(refused, registry):
    said = refused("--registry", registry.uri, "--model", "99", "--bundle-digest", OTHER)

    known = ", ".join(map(str, registry.bundles))
    assert said == f"adloom-writer has no version 99; there are: {known}"


def test_an_alias_that_points_nowhere(refused, registry):
    said = refused("--registry", registry.uri, "--model", "@nobody")

    assert said.startswith("the registry answered 40")


def test_a_registry_that_is_down(refused):
    port = free_port()
    said = refused("--registry", f"http://127.0.0.1:{port}", "--model", "1", "--bundle-digest", OTHER)

    assert said.startswith(f"nobody answers at http://127.0.0.1:{port} ")


def test_a_missing_secret(refused, registry):
    wanted = registry.bundles[1]
    said = refused("--registry", registry.uri, "--model", "1", "--bundle-digest", wanted, credentials=False)

    assert "refused the credentials of the build secret `registry`, or wants some" in said
    assert "MLFLOW_TRACKING_USERNAME" in said


def test_bytes_that_were_changed_in_the_store(refused, registry):
    kept = registry.credentials.parent / "kept"
    tokenizer = min(kept.rglob("tokenizer.json"), key=lambda path: path.stat().st_size)  # the tiny one's
    whole = tokenizer.read_bytes()
    tokenizer.write_bytes(whole.replace(b"{", b"[", 1))
    try:
        said = refused("--registry", registry.uri, "--model", "1", "--bundle-digest", registry.bundles[1])
    finally:
        tokenizer.write_bytes(whole)

    assert "tokenizer.json" in said
