"""What a deploy changes of a file, and in which order environments take an image."""

from __future__ import annotations

import pytest

from model.truth import read_values
from pipelines.deployment import (
    ENVIRONMENTS,
    WANTED_FILE,
    DeployError,
    Order,
    RefusedDeployError,
    deploy,
    deployed,
    image_from,
    model_file,
    want_model,
    wanted_model,
    with_values,
)
from tests.pipelines.gitops_place import BEGIN, git, image, repository, shipped_files, text_of, titles

BUNDLE = "b" * 64


@pytest.fixture
def bare(tmp_path):
    return repository(tmp_path)


def order(environment, number, model=None, **rest):
    return Order(environment, image_from(image(number)), model, "Because.", **rest)


def run(bare, *args, **rest):
    return deploy(str(bare), order(*args, **rest))


def test_a_deploy_changes_two_lines_of_one_file(bare):
    landed = run(bare, "dev", 1, 7)
    changed = git(bare, "diff", "--numstat", "main~1", "main").split("\t")

    assert changed == ["2", "2", model_file("dev")]
    assert deployed(str(bare), "dev").values == {"IMAGE": image(1), "MODEL_VERSION": "7"}
    assert deployed(str(bare), "dev").commit == landed.commit


def test_a_promotion_of_the_same_model_changes_one_line_of_one_file(bare):
    run(bare, "dev", 1, 7)
    run(bare, "staging", 1)
    run(bare, "dev", 2)
    run(bare, "staging", 2)

    assert git(bare, "diff", "--numstat", "main~1", "main").split("\t") == ["1", "1", model_file("staging")]


def test_the_commit_reads_as_a_deployment_log(bare):
    run(bare, "dev", 1, 7)
    run(bare, "dev", 2, 8)
    told = git(bare, "log", "-1", "--format=%B", "main").splitlines()

    assert told == [
        "adloom-api: run 0.1.2 with model 8 in dev",
        "",
        "Because.",
        "",
        f"Image: docker.io/adloom/adloom-api:{image(2)}",
        f"Before: {image(1)} with model 7",
    ]


def test_the_same_deploy_twice_makes_no_second_commit(bare):
    first, second = run(bare, "dev", 1, 7), run(bare, "dev", 1, 7)

    assert (first.is_new, second.is_new) == (True, False)
    assert second.commit == first.commit


def test_a_promotion_takes_image_and_model_of_the_environment_before(bare):
    run(bare, "dev", 1, 7)
    for environment in ENVIRONMENTS[1:]:
        run(bare, environment, 1)

    assert {deployed(str(bare), each).values["MODEL_VERSION"] for each in ENVIRONMENTS} == {"7"}
    assert {deployed(str(bare), each).values["IMAGE"] for each in ENVIRONMENTS} == {image(1)}


@pytest.mark.parametrize(("environment", "source"), [("staging", "dev"), ("prod", "staging")])
def test_an_image_that_the_environment_before_does_not_run_is_refused(bare, environment, source):
    run(bare, "dev", 1, 7)
    if environment == "prod":
        run(bare, "staging", 1)
    before = titles(bare)

    with pytest.raises(RefusedDeployError, match=f"{source} does not run this image"):
        run(bare, environment, 2, 7)
    with pytest.raises(RefusedDeployError, match="with model 7, not 8"):
        run(bare, environment, 1, 8)
    assert titles(bare) == before


def test_order_can_be_set_aside_for_a_reason_that_stands_in_the_log(bare):
    run(bare, "prod", 2, 7, force_order="the cluster of staging is down")

    assert "Order of promotion set aside: the cluster of staging is down" in git(
        bare, "log", "-1", "--format=%B", "main"
    )


def test_without_a_model_the_first_environment_keeps_its_own_and_must_have_one(bare):
    with pytest.raises(RefusedDeployError, match="say with --model"):
        run(bare, "dev", 1)
    run(bare, "dev", 1, 7)
    run(bare, "dev", 2)

    assert deployed(str(bare), "dev").values == {"IMAGE": image(2), "MODEL_VERSION": "7"}


@pytest.mark.parametrize(
    "text",
    [
        "0.1.0",
        "0.1.0@sha256:" + "a" * 63,
        "0.1.0@sha256:" + "A" * 64,
        "0.1.0@sha512:" + "a" * 64,
        "@sha256:" + "a" * 64,
        "0.1.0@sha256:" + "a" * 64 + "\n",
        "docker.io/adloom/adloom-api:0.1.0@sha256:" + "a" * 64,
        "x y@sha256:" + "a" * 64,
        "0.1.0@sha256:" + "0" * 64,
    ],
)
def test_what_is_no_pinned_image_is_refused(text):
    with pytest.raises(ValueError, match=r"pinned image|placeholder"):
        image_from(text)


def test_the_shipped_files_are_placeholders_that_say_so_and_no_two_are_the_same():
    files = shipped_files()

    assert all("PLACEHOLDER" in text for text in files.values())
    assert len(set(files.values())) == len(files)
    for environment in ENVIRONMENTS:
        assert set(read_values(files[model_file(environment)])) == {"IMAGE", "MODEL_VERSION"}
    assert set(read_values(files[WANTED_FILE])) == {"MODEL_VERSION", "BUNDLE_DIGEST"}


def test_the_wanted_model_is_one_commit_to_one_file(bare):
    landed = want_model(str(bare), 7, BUNDLE, "Version 7 is champion.")
    again = want_model(str(bare), 7, BUNDLE, "Version 7 is champion.")

    assert (landed.is_new, again.is_new) == (True, False)
    assert wanted_model(str(bare)) == {"MODEL_VERSION": "7", "BUNDLE_DIGEST": BUNDLE}
    assert titles(bare) == [BEGIN, "ad-writer: want model 7 in the next image"]
    assert git(bare, "diff", "--name-only", "main~1", "main") == WANTED_FILE
    with pytest.raises(DeployError, match="no digest of its bundle"):
        want_model(str(bare), 8, "", "Because.")


@pytest.mark.parametrize("values", [{"A": "1\nB=2"}, {"A": "\0"}, {"a b": "1"}, {"": "1"}])
def test_what_is_no_line_of_its_own_is_not_written(values):
    with pytest.raises(DeployError, match="cannot be written as one line NAME=value"):
        with_values("", values)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=2\n"),
        ("A=1", "A=2"),
        ("B=1", "B=1\nA=2\n"),
        ("#A=1\nA=1\nAA=1\n", "#A=1\nA=2\nAA=1\n"),
        ("A = 1\n", "A=2\n"),
    ],
)
def test_a_value_replaces_its_own_line_or_comes_last(before, after):
    assert with_values(before, {"A": "2"}) == after
    assert read_values(after)["A"] == "2"


def test_a_backslash_in_a_value_stays_one():
    assert with_values("A=1\n", {"A": r"\1\n"}) == "A=\\1\\n\n"


def test_other_lines_stay_as_they_are(bare):
    before = text_of(bare, model_file("dev")).splitlines()
    run(bare, "dev", 1, 7)
    after = text_of(bare, model_file("dev")).splitlines()

    assert [line for line in before if line.startswith("#")] == [line for line in after if line.startswith("#")]
