"""A few products of the sample catalogue, for whoever has no file at hand; tests/ui/test_upload.py ties them to it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.ui.upload import Upload, open_upload

FILE = Path(__file__).parent / "sample.csv"
NAME = "Sample catalogue"


@lru_cache(maxsize=1)
def sample_upload() -> Upload:
    """As if somebody had uploaded it, without the service's answer."""
    content = FILE.read_bytes()
    return open_upload(NAME, content, "text/csv", {})
