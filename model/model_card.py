"""
The model card of a version, in Markdown: every figure in it comes from the files that were registered.

Knows no registry. Words that need no figure are written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model.submission import Submission, finite

HEADLINE = ("validity", "valid", "grounded", "structural", "makes_sense", "relevance", "rouge_l", "chrf", "untouched")
"""Scores in the order in which a reader wants them; others follow by name."""
EXPLAINED: Mapping[str, str] = {
    "validity": "validity score of an ad, 0 to 1",
    "valid": "share of ads whose validity is high enough to publish",
    "grounded": "share of ads without a claim that the product row does not support",
    "structural": "share of ads within every limit of their channel",
    "makes_sense": "share of ads that a reader marked as making sense for the product",
    "relevance": "cosine of sentence embeddings, ad against product row",
    "rouge_l": "ROUGE-L against the reference ad",
    "chrf": "chrF against the reference ad, 0 to 1",
    "untouched": "share of ads that nothing had to be mended in",
    "memorised_words": "longest run of words shared with a training ad",
}
WORST = 3
"""Channels and categories named as the weakest."""

USE = """\
## Intended use

It drafts short ads in English, one product at a time, for the channels that Adloom knows.
It takes its facts from the product's own title, description and attributes.
A person or the validity score decides what is published.

## Not for

- Claims about health, law, money or safety: it has not been tested on any.
- Prices, discounts, stock and deadlines: an ad must not promise what the product row does not say.
- Other languages, conversation, or facts about the world: it was tuned on English ads alone.
- Publishing without a look at the findings that come with each ad.
"""

HOW_MADE = "Each pair was written by hand for this purpose; none comes from a customer or from a page on the web."

FAULTS = """\
- It is a small model: a sentence may be fluent and still say little, or say something odd about the product.
- The grounding rules know a list of words; a wrong claim in words that they do not know passes as grounded.
- Scores on held-out products of the same kinds as the training products say little about kinds that are in neither.
"""

LICENCE = """\
## Licence and sources

Adloom and its training pairs: Apache License 2.0; see LICENSE and NOTICE.
SmolLM2-135M-Instruct, https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct: Apache License 2.0.
Where another base is named above, its own licence holds.
"""


def model_card(submission: Submission, *, git_commit: str) -> str:
    """The whole card."""
    bundle, scores = submission.bundle, submission.scores
    parts = [
        f"# {bundle.manifest.name}, bundle {bundle.digest[:12]}\n",
        summary(submission) + "\n",
        USE,
        _identity(submission, git_commit),
        _training(submission),
        _scores(scores),
        _certificate(submission.certificate),
        _faults(submission),
        LICENCE,
        _reproduction(submission, git_commit),
    ]
    return "\n".join(parts)


def summary(submission: Submission) -> str:
    """The description of a version: two or three sentences."""
    scores = submission.scores
    figures = [
        f"{name} {_number(means['mean'])}"
        for name in HEADLINE
        if isinstance(means := scores.get("scores", {}).get(name), Mapping) and finite(means.get("mean")) is not None
    ]
    rows = scores.get("dataset", {}).get("rows", "an unknown number of")
    said = f"Writes e-commerce ads from product rows; {submission.bundle.manifest.scheme} weights."
    passed = "passed" if submission.certificate.get("passed") is True else "did not pass"
    scored = f"On {rows} held-out rows: {', '.join(figures) or 'no scores'}."
    return f"{said}\n{scored}\nIts quantization certificate {passed}."


def _identity(submission: Submission, git_commit: str) -> str:
    manifest = submission.bundle.manifest
    rows = [
        ("Bundle digest", f"`{submission.bundle.digest}`"),
        ("Base weights", f"`{manifest.base}`"),
        ("Quantization scheme", f"`{manifest.scheme}`"),
        ("Prompt digest", f"`{manifest.prompt_digest}`"),
        ("Size", f"{sum(entry.bytes for entry in manifest.files.values()):,} bytes"),
        ("Git commit", f"`{git_commit}`" if git_commit else "not recorded"),
        *((f"Built with {name}", version) for name, version in sorted(manifest.built_with.items())),
    ]
    return "## What it is\n\n" + _table(("", ""), rows)


def _training(submission: Submission) -> str:
    training = submission.training
    lines = ["## Training data\n"]
    if training.pairs is None:
        known = f"sha256 `{training.pairs_sha256}`" if training.pairs_sha256 else "no digest recorded"
        lines.append(f"The file of training pairs was not at hand when this card was made ({known}).")
    else:
        pairs = training.pairs
        lines += [
            (
                f"{pairs['rows']:,} pairs of a product and its ad, over {pairs['families']:,} product families, "
                f"{len(pairs['by_category']):,} categories and {len(pairs['by_channel']):,} channels; "
                f"{pairs['traps']:,} rows hold a trap."
            ),
            f"File sha256 `{training.pairs_sha256}`.",
            *([HOW_MADE] if pairs["ours"] else []),
            "Training refuses a file that shares a product, or eight words in a row, with the held-out rows.\n",
            _table(("voice", "pairs"), [(name, f"{count:,}") for name, count in pairs["by_voice"].items()]),
            _table(("channel", "pairs"), [(name, f"{count:,}") for name, count in pairs["by_channel"].items()]),
        ]
    lines.append("\n## Parameters\n")
    if training.parameters:
        shown = [(name, f"`{json.dumps(value)}`") for name, value in sorted(training.parameters.items())]
        lines.append(_table(("parameter", "value"), shown))
        lines.append(_last_step(training.metrics))
    else:
        lines.append("No training run was named when this version was registered.")
    return "\n".join(lines) + "\n"


def _last_step(metrics: Sequence[Mapping[str, float]]) -> str:
    if not metrics:
        return "Its metrics per step were not recorded."
    newest: dict[str, float] = {}
    for step in metrics:
        newest |= {name: value for name, value in step.items() if name not in ("step", "epoch")}
    figures = ", ".join(f"{name} {_number(value)}" for name, value in sorted(newest.items()))
    return f"After step {int(max(step['step'] for step in metrics)):,}: {figures}."


def _scores(scores: Mapping[str, Any]) -> str:
    dataset, settings = scores.get("dataset", {}), scores.get("settings", {})
    own = scores.get("scores", {})
    names = _ordered(own)
    lines = [
        "## Scores\n",
        (
            f"On {dataset.get('rows', 'unknown')} held-out rows (sha256 `{dataset.get('pairs_sha256', 'unknown')}`), "
            f"settings `{json.dumps(settings, sort_keys=True)}`, validity version `{scores.get('validity_version')}`."
        ),
        "Intervals are 95 %, by bootstrap over rows.\n",
        _table(
            ("score", "mean", "95 % interval", "what it is"),
            [(name, *_mean_and_interval(own[name]), EXPLAINED.get(name, "")) for name in names],
        ),
    ]
    if corpus := scores.get("corpus"):
        lines.append(_table(("over all ads", "value"), [(name, _number(value)) for name, value in corpus.items()]))
    if baselines := scores.get("baselines"):
        shared = [name for name in names if any(name in one.get("scores", {}) for one in baselines.values())]
        writers = {"this model": {"scores": own}, **baselines}
        body = [
            (writer, *(_mean_and_interval(one.get("scores", {}).get(name))[0] for name in shared))
            for writer, one in writers.items()
        ]
        lines += ["Against the baselines on the same rows:\n", _table(("writer", *shared), body)]
    return "\n".join(lines)


def _certificate(certificate: Mapping[str, Any]) -> str:
    rows = [row for row in certificate.get("rows", ()) if isinstance(row, Mapping)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    verdict = "Passed." if certificate.get("passed") is True else "Did not pass."
    breaches = "".join(f"\n- {breach}" for breach in certificate.get("breaches") or ())
    table = _table(tuple(names), [tuple(_cell(row.get(name)) for name in names) for row in rows]) if rows else ""
    return f"## Quantization certificate\n\n{verdict}{breaches}\n\n{table}"


def _faults(submission: Submission) -> str:
    scores = submission.scores
    lines = ["## Known faults\n", FAULTS.rstrip("\n")]
    for name, fault in (("grounded", "with an unsupported claim"), ("makes_sense", "that made no sense to a reader")):
        column = [finite(row.get(name)) for row in scores.get("per_row", ())]
        judged = [value for value in column if value is not None]
        if judged:
            found = sum(value < 1 for value in judged)
            lines.append(f"- {found} of the {len(judged)} held-out ads judged were ads {fault}.")
    for group in ("by_channel", "by_category"):
        weakest = _weakest(scores.get(group, {}))
        if weakest:
            lines.append(f"- Lowest validity {group.replace('_', ' ')}: {', '.join(weakest)}.")
    lines += [f"- Certificate: {breach}" for breach in submission.certificate.get("breaches") or ()]
    return "\n".join(lines) + "\n"


def _weakest(groups: Mapping[str, Any]) -> list[str]:
    means = {
        name: mean for name, one in groups.items() if (mean := finite(one.get("validity", {}).get("mean"))) is not None
    }
    return [f"{name} {_number(means[name])}" for name in sorted(means, key=lambda name: means[name])[:WORST]]


def _reproduction(submission: Submission, git_commit: str) -> str:
    settings, training = submission.scores.get("settings", {}), submission.training
    scheme = submission.bundle.manifest.scheme
    lines = ["## How to reproduce\n", "```"]
    lines += [f"git checkout {git_commit.removesuffix('-dirty')}"] if git_commit else []
    build = f"adloom bundle build --untuned --scheme {scheme}"
    if training.parameters:
        whole = training.parameters.get("method") == "full"
        lines.append("adloom train settings.yaml --out RUN")
        build = f"adloom bundle build {'--base RUN/model' if whole else '--adapter RUN/adapter'} --scheme {scheme}"
    options = "".join(
        f" --{name} {settings[name]}" for name in ("rows", "candidates", "seed") if settings.get(name) is not None
    )
    lines += [build, f"adloom evaluate{options}", "adloom certify", "adloom register", "```"]
    if training.parameters:
        lines.append("`settings.yaml` holds the parameters above, one a line, without digests.")
    if git_commit.endswith("-dirty"):
        lines.append("The working tree held changes that are in no commit.")
    return "\n".join(lines) + "\n"


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (HEADLINE.index(name) if name in HEADLINE else len(HEADLINE), name))


def _mean_and_interval(value: object) -> tuple[str, str]:
    if not isinstance(value, Mapping) or finite(value.get("mean")) is None:
        return "", ""
    low, high = (_number(value.get(end)) for end in ("low", "high"))
    return _number(value["mean"]), f"{low} to {high}" if low and high else ""


def _number(value: object) -> str:
    number = finite(value)
    if number is None:
        return ""
    return f"{number:,.0f}" if number.is_integer() and abs(number) >= 10 else f"{number:.4g}"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else _number(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"
