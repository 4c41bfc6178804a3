"""The model card says what the files say."""

import json

import pytest

from model.model_card import model_card, summary
from model.submission import SubmissionError, count_pairs, read_submission
from tests.registrations import COMMIT, PAIRS, ROWS, certificate_of, hand_in, scores_of, training_run, variant


@pytest.fixture
def submission(tiny_bundle, tmp_path):
    bundle = variant(tiny_bundle, tmp_path / "bundle", "adloom-writer")
    scores, certificate = hand_in(bundle, tmp_path / "reports")
    return read_submission(
        tmp_path / "bundle", scores=scores, certificate=certificate, run=training_run(tmp_path / "run")
    )


def again(submission, tmp_path, scores=None, certificate=None, **options):
    """The same bundle with other reports."""
    digest = submission.bundle.digest
    submission.scores_file.write_text(json.dumps(scores or scores_of(digest)))
    submission.certificate_file.write_text(json.dumps(certificate or certificate_of(digest)))
    return read_submission(
        tmp_path / "bundle", scores=submission.scores_file, certificate=submission.certificate_file, **options
    )


def test_a_card_has_every_part_that_a_reader_looks_for(submission):
    card = model_card(submission, git_commit=COMMIT)
    headings = [line[3:] for line in card.splitlines() if line.startswith("## ")]

    assert headings == [
        "Intended use", "Not for", "What it is", "Training data", "Parameters", "Scores",
        "Quantization certificate", "Known faults", "Licence and sources", "How to reproduce",
    ]  # fmt: skip
    assert card.startswith(f"# adloom-writer, bundle {submission.bundle.digest[:12]}\n")
    assert "SmolLM2-135M-Instruct" in card
    assert "Apache License 2.0" in card


def test_its_figures_are_those_of_the_files(submission):
    card = model_card(submission, git_commit=COMMIT)
    pairs = count_pairs(PAIRS)

    assert f"{pairs['rows']:,} pairs of a product and its ad, over {pairs['families']:,} product families" in card
    assert submission.training.pairs_sha256 in card
    assert "| chrf | 0.302 | 0.292 to 0.302 | chrF against the reference ad, 0 to 1 |" in card
    assert "| copy | 0.111 |" in card
    assert "| this model | 0.302 |" in card
    assert "| fused int8-weight | yes | 0.987 | 4.5 | 99 |" in card
    assert "| rank | `4` |" in card
    assert "After step 2: loss 2.25, validation_loss 2.125." in card
    assert "Lowest validity by channel: pinterest 0.911, x 1." in card
    assert f"0 of the {ROWS} held-out ads judged were ads with an unsupported claim." in card


def test_a_changed_figure_changes_the_card(submission, tmp_path):
    scores = scores_of(submission.bundle.digest)
    scores["per_row"][0]["grounded"] = 0.0
    scores["scores"]["chrf"]["mean"] = 0.456
    card = model_card(again(submission, tmp_path, scores), git_commit=COMMIT)

    assert f"1 of the {ROWS} held-out ads judged were ads with an unsupported claim." in card
    assert "| chrf | 0.456 |" in card


def test_a_certificate_that_did_not_pass_says_so_with_its_breaches(submission, tmp_path):
    assert "\nPassed.\n" in model_card(submission, git_commit="")
    assert summary(submission).endswith("Its quantization certificate passed.")

    failed = again(submission, tmp_path, certificate=certificate_of(submission.bundle.digest, passed=False))
    card = model_card(failed, git_commit="")
    assert "Did not pass.\n- Grounding fell by 0.1." in card
    assert "- Certificate: Grounding fell by 0.1." in card
    assert summary(failed).endswith("Its quantization certificate did not pass.")


def test_reproduction_names_the_commit_and_the_settings_that_were_used(submission):
    card = model_card(submission, git_commit=COMMIT + "-dirty")

    assert f"git checkout {COMMIT}\nadloom train settings.yaml --out RUN\n" in card
    assert "adloom bundle build --adapter RUN/adapter --scheme int8-weight" in card
    assert f"adloom evaluate --rows {ROWS} --candidates 2 --seed 0" in card
    assert "The working tree held changes" in card
    assert "The working tree held changes" not in model_card(submission, git_commit=COMMIT)


def test_what_is_not_known_is_said_and_not_invented(submission, tmp_path):
    untrained = again(submission, tmp_path)
    card = model_card(untrained, git_commit="")

    assert "No training run was named" in card
    assert "no digest recorded" in card
    assert "| Git commit | not recorded |" in card
    assert "git checkout" not in card
    assert "adloom bundle build --untuned" in card


def test_pairs_that_have_changed_since_the_run_are_not_counted(submission, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_bytes(PAIRS.read_bytes())
    run = training_run(tmp_path / "other-run", pairs)
    counted = again(submission, tmp_path, run=run)
    pairs.write_bytes(PAIRS.read_bytes() + PAIRS.read_bytes().splitlines(keepends=True)[0])
    changed = again(submission, tmp_path, run=run)

    assert counted.training.pairs["rows"] == count_pairs(PAIRS)["rows"]
    assert "written by hand" not in model_card(counted, git_commit="")  # another file: we cannot know how it was made
    assert "written by hand" in model_card(submission, git_commit="")
    assert changed.training.pairs is None
    assert "was not at hand when this card was made" in model_card(changed, git_commit="")


@pytest.mark.parametrize("content", ["", "{}\n", "[1]\n", "x\n"])
def test_a_file_that_holds_no_pairs_is_named(tmp_path, content):
    path = tmp_path / "pairs.jsonl"
    path.write_text(content)

    if content:
        with pytest.raises(SubmissionError, match=r"pairs\.jsonl is no file of training pairs"):
            count_pairs(path)
    else:
        assert count_pairs(path)["rows"] == 0


def test_a_bar_in_a_cell_does_not_break_the_table(submission, tmp_path):
    parameters = tmp_path / "more.json"
    parameters.write_text('{"note": "a|b"}')
    card = model_card(again(submission, tmp_path, parameters=parameters), git_commit="")

    assert '| note | `"a/b"` |' in card
