"""
Run the whole loop on this machine: ingest, train, gate, release, serve, drift, retrain, refuse, roll back.

Real Airflow runs, MLflow, Git and HTTP; no cloud. Writes report.json and every part's words below its folder.

Example: adloom loop --model tiny --folder .adloom/loop
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from pipelines.loop.cluster import Cluster
from pipelines.loop.story import ENVIRONMENT, STAGES, Sizes, Story
from pipelines.loop.telling import Telling
from pipelines.loop.workshop import Workshop
from pipelines.recipe import DEFAULT
from pipelines.step import parser

RECIPES = DEFAULT.parent
MARK = "loop.log"
"""What a folder of ours holds: nothing else is ever deleted."""


def main(argv: Sequence[str] | None = None) -> int:
    """0 where every link held. Raises LoopError naming the one that did not."""
    options = parser("loop", __doc__)
    options.add_argument("--model", choices=("tiny", "full"), default="tiny", help="default: %(default)s")
    options.add_argument("--folder", type=Path, default=Path(".adloom/loop"), help="default: %(default)s")
    arguments = options.parse_args(argv)
    folder = _emptied(arguments.folder)
    workshop = Workshop(folder)
    sizes, base = _sizes(arguments.model, workshop)
    telling = Telling(folder, arguments.model, STAGES)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the service would outlive us
    with Cluster(workshop, ENVIRONMENT) as cluster:
        try:
            Story(workshop, cluster, telling, sizes, base).tell()
        finally:
            telling.table()
    return 0


def _sizes(model: str, workshop: Workshop) -> tuple[Sizes, str]:
    if model == "tiny":
        base = str(workshop.folder / "tiny")
        return Sizes(RECIPES / "loop-tiny.yaml", 300, 40, 150, 75, 60, 24), base
    return Sizes(RECIPES / "loop-full.yaml", 480, 40, 150, 75, 60, 24), ""


def _emptied(folder: Path) -> Path:
    """A fresh folder. Raises ValueError where it holds something that no loop made."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise ValueError(f"{folder} holds something else: name an empty folder with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    return folder
