"""
Build a run's bundle, score it on the held-out rows, certify it, and register it as the candidate.

Each part is a command of its own that finds what it did before, so a step that was killed goes on where it was.

Example: adloom evaluate-candidate --run 0123456789abcdef
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model.bundle import Bundle, open_bundle
from model.ledger import exclusive
from model.registry import is_empty, open_registry
from pipelines import commands, run_files
from pipelines.recipe import DEFAULT, Recipe, read_recipe
from pipelines.settings import PipelineSettings
from pipelines.step import give, parser, say

LOCK = ".lock"
SCORES, CERTIFICATE = "scores.json", "certificate.json"
EXIT_BREACHED = 1
"""Of `adloom certify`: the certificate is written and says no, which is the gate's to weigh."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("evaluate-candidate", __doc__)
    options.add_argument("--run", required=True, help="as `adloom train-candidate` gave it")
    options.add_argument("--recipe", type=Path, default=DEFAULT, help="the one it was trained by")
    arguments = options.parse_args(argv)
    settings = PipelineSettings()
    recipe = read_recipe(arguments.recipe)
    root = (settings.root / "candidates" / arguments.run).resolve()
    # A scheduler may start a step again while the first still runs.
    with exclusive(root / LOCK):
        record = run_files.fetch(settings.open_objects(), arguments.run, root / "run")
        made = _weights(record["kind"], str(record["base"]), root / "run")
        commands.run(["bundle", "build", *made, "--root", root], seconds_max=settings.step_seconds_max)
        bundle = open_bundle(root / "bundle")
        reports = root / "reports" / _judged_by(bundle, recipe)
        _judge(bundle, recipe, made, reports, settings.step_seconds_max)
        version, is_new = _register(bundle, reports, root / "run", settings)
    outcome = "evaluated" if is_new else "unchanged"
    references = {"bundle": bundle.digest, "run": arguments.run, "dataset": str(record["dataset"])}
    give({"outcome": outcome, "version": version, **references})
    return 0


def _judged_by(bundle: Bundle, recipe: Recipe) -> str:
    """Folder of the reports: another recipe asks for others."""
    return f"{bundle.digest[:16]}-{recipe.rows}-{recipe.candidates}-{recipe.certificate_rows}"


def _weights(kind: str, base: str, folder: Path) -> list[str]:
    """How `bundle build` and `certify` are told what to take."""
    if kind == "adapter":
        return [*(["--base", base] if base else []), "--adapter", str(folder / "adapter")]
    return ["--base", str(folder / "model")]


def _judge(bundle: Bundle, recipe: Recipe, made: Sequence[str], reports: Path, seconds_max: float) -> None:
    if not (reports / SCORES).is_file():
        rows = ["--rows", str(recipe.rows)] if recipe.rows else []
        wanted = ["--candidates", str(recipe.candidates), "--baselines", "none", *rows]
        places: list[str | Path] = ["--bundle", bundle.folder, "--out", reports]
        commands.run(["evaluate", *places, *wanted], seconds_max=seconds_max)
    if not (reports / CERTIFICATE).is_file():
        told: list[str | Path] = ["--bundle", bundle.folder, "--out", reports / CERTIFICATE]
        rows = ["--rows", str(recipe.certificate_rows)]
        commands.run(["certify", *told, *made, *rows], seconds_max=seconds_max, accept=(0, EXIT_BREACHED))


def _register(bundle: Bundle, reports: Path, run: Path, settings: PipelineSettings) -> tuple[int, bool]:
    """The version's number, and whether it is new; the one that it has where it is registered already."""
    before = None if is_empty(settings.registry) else _version_of(bundle, settings)
    files: list[str | Path] = ["--scores", reports / SCORES, "--certificate", reports / CERTIFICATE, "--run", run]
    places: list[str | Path] = ["--bundle", bundle.folder, "--registry", settings.registry]
    # Asked of a known one too: a registration that was cut off is finished.
    commands.run(["register", *places, *files], seconds_max=settings.step_seconds_max)
    number = _version_of(bundle, settings)
    assert number is not None
    say(f"bundle {bundle.digest[:12]} is version {number}")
    return number, before is None


def _version_of(bundle: Bundle, settings: PipelineSettings) -> int | None:
    versions = open_registry(settings.registry).versions()
    return next((one.number for one in versions if one.bundle == bundle.digest), None)
